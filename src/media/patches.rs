//! Pixels → rows of normalised patches, the vision tower's input.

use super::error::{MediaError, MediaProblem};
use super::resize::resize_bicubic;
use super::rgb::Rgb8;
use super::smart_resize::{PixelBudget, smart_resize};

/// More pixels after resizing than this are refused: their patches would take 1 GiB (the released model's own limit is
/// a tenth of it).
const MAX_RESIZED_PIXELS: usize = 1 << 27;

/// How pixels become patches; the model's file says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PatchConfig {
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Frames in a patch.
    pub temporal_patch_size: usize,
    /// Patches in each direction that are merged into one token.
    pub merge_size: usize,
    /// What is subtracted from each channel's levels (0–1).
    pub mean: [f32; 3],
    /// What each channel's levels are then divided by.
    pub std: [f32; 3],
    /// Smaller pictures are enlarged to about this many pixels, where nothing else is asked for.
    pub min_pixels: usize,
}

impl Default for PatchConfig {
    /// As Qwen2.5-VL was trained.
    fn default() -> PatchConfig {
        PatchConfig {
            patch_size: 14,
            temporal_patch_size: 2,
            merge_size: 2,
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
            min_pixels: PixelBudget::DEFAULT.min_pixels,
        }
    }
}

impl PatchConfig {
    /// Resized sides are multiples of this many pixels.
    pub fn factor(&self) -> usize {
        self.patch_size * self.merge_size
    }

    /// Values in one patch: channel, time, row, column.
    pub fn patch_len(&self) -> usize {
        3 * self.temporal_patch_size * self.patch_size * self.patch_size
    }

    /// What each channel's 256 levels become: x/255, minus mean, over std. In the original's types (the quotient in 64
    /// bits, rounded to 32, the rest in 32), so that values are equal to its own in every bit.
    fn levels(&self) -> [[f32; 256]; 3] {
        let value = |c: usize, x: usize| ((x as f64 * (1.0 / 255.0)) as f32 - self.mean[c]) / self.std[c];
        std::array::from_fn(|c| std::array::from_fn(|x| value(c, x)))
    }
}

/// The patches of a picture, or of a clip's frames.
#[derive(Clone, Debug, PartialEq)]
pub struct Patches {
    /// `[n_patches, 3 * 2 * 14 * 14]`. Rows are ordered (grid t, block row, block column, row in block, column in
    /// block), a block being what becomes one token; a row is (channel, time, row, column).
    pub pixel_values: Vec<f32>,
    /// Patches in time, down and across.
    pub grid_thw: [usize; 3],
    /// Width and height in pixels after resizing.
    pub resized: (usize, usize),
}

/// Resizes a picture to what `budget` allows and cuts it into patches. Its one frame fills every time slot.
///
/// # Errors
/// As [`smart_resize`], and if the budget asks for more pixels than can be held.
pub fn picture_patches(img: &Rgb8, budget: PixelBudget, cfg: &PatchConfig) -> Result<Patches, MediaError> {
    let (height, width) = size_for(img, budget, cfg.factor())?;
    check_resized(width, height)?;
    let resized = resize_bicubic(img, width, height);
    let mut pixel_values = Vec::new();
    let frames = vec![&resized; cfg.temporal_patch_size];
    write_frame_group(&frames, cfg, &mut pixel_values);
    let grid_thw = [1, height / cfg.patch_size, width / cfg.patch_size];
    Ok(Patches { pixel_values, grid_thw, resized: (width, height) })
}

/// The size that a picture is resized to. One that was resized before, and is to have as many pixels as it has, is taken as it
/// is: rounding may have made it longer than pictures may be.
fn size_for(img: &Rgb8, budget: PixelBudget, factor: usize) -> Result<(usize, usize), MediaError> {
    let pixels = img.width.saturating_mul(img.height);
    let done = img.width.is_multiple_of(factor) && img.height.is_multiple_of(factor) && pixels > 0;
    if done && [budget.min_pixels, budget.max_pixels] == [pixels; 2] {
        return Ok((img.height, img.width));
    }
    smart_resize(img.height, img.width, factor, budget.min_pixels, budget.max_pixels)
}

/// Refuses resized pictures whose patches would not fit.
pub(super) fn check_resized(width: usize, height: usize) -> Result<(), MediaError> {
    if width.checked_mul(height).is_none_or(|pixels| pixels > MAX_RESIZED_PIXELS) {
        return Err(MediaProblem::BudgetTooLarge { width, height, limit: MAX_RESIZED_PIXELS }.into());
    }
    Ok(())
}

/// Appends the patches of one group of frames, `[grid h * grid w, patch_len]`, to `out`.
///
/// `frames` are `cfg.temporal_patch_size` pictures of one size, resized already; the same picture may stand for several
/// frames.
///
/// # Panics
/// If there is another number of frames, if their sizes differ, or if a side isn't a multiple of `cfg.factor()`.
pub fn write_frame_group(frames: &[&Rgb8], cfg: &PatchConfig, out: &mut Vec<f32>) {
    assert_eq!(frames.len(), cfg.temporal_patch_size, "a group has a fixed number of frames");
    let (width, height, factor) = (frames[0].width, frames[0].height, cfg.factor());
    assert!(frames.iter().all(|f| (f.width, f.height) == (width, height)), "the frames of a group are of one size");
    assert!(width % factor == 0 && height % factor == 0, "{width}x{height} isn't a multiple of {factor}");
    let levels = cfg.levels();
    let start = out.len();
    out.resize(start + height / cfg.patch_size * (width / cfg.patch_size) * cfg.patch_len(), 0.0);
    let mut rows = out[start..].chunks_exact_mut(cfg.patch_len());
    for (block_y, block_x) in grid(height / factor, width / factor) {
        for (dy, dx) in grid(cfg.merge_size, cfg.merge_size) {
            let (y, x) = (block_y * factor + dy * cfg.patch_size, block_x * factor + dx * cfg.patch_size);
            if let Some(row) = rows.next() {
                write_patch(frames, (x, y), &levels, cfg, row);
            }
        }
    }
}

fn grid(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |y| (0..columns).map(move |x| (y, x)))
}

/// The patch whose top left pixel is `(x, y)`, as `out[channel, time, row, column]`.
fn write_patch(frames: &[&Rgb8], (x, y): (usize, usize), levels: &[[f32; 256]; 3], cfg: &PatchConfig, out: &mut [f32]) {
    let side = cfg.patch_size;
    for (c, channel) in out.chunks_exact_mut(frames.len() * side * side).enumerate() {
        for t in 0..frames.len() {
            // Still pictures fill every slot with the same frame: look it up once, then copy.
            if t > 0 && std::ptr::eq(frames[t], frames[t - 1]) {
                let (done, rest) = channel.split_at_mut(t * side * side);
                rest[..side * side].copy_from_slice(&done[(t - 1) * side * side..]);
                continue;
            }
            for (dy, line) in channel[t * side * side..][..side * side].chunks_exact_mut(side).enumerate() {
                let pixels = &frames[t].row(y + dy)[x * 3..(x + side) * 3];
                for (value, pixel) in line.iter_mut().zip(pixels.as_chunks::<3>().0) {
                    *value = levels[c][usize::from(pixel[c])];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_original_order() {
        // 56x84: 2x3 blocks of 2x2 patches. Red holds the row of a pixel, green its column, blue the frame.
        let frame = |t: u8| {
            let pixels = (0..84u8).flat_map(|y| (0..56u8).flat_map(move |x| [y, x, t]));
            Rgb8 { width: 56, height: 84, data: pixels.collect() }
        };
        let cfg = PatchConfig::default();
        let levels = cfg.levels();
        let mut values = Vec::new();
        write_frame_group(&[&frame(0), &frame(1)], &cfg, &mut values);
        assert_eq!(values.len(), 24 * 1176);
        let mut expected = Vec::new();
        for (by, bx, py, px) in (0..3).flat_map(|a| (0..2).flat_map(move |b| (0..4).map(move |p| (a, b, p / 2, p % 2))))
        {
            for (c, t, dy, dx) in
                (0..3).flat_map(|c| (0..2).flat_map(move |t| (0..196).map(move |i| (c, t, i / 14, i % 14))))
            {
                let (y, x) = (by * 28 + py * 14 + dy, bx * 28 + px * 14 + dx);
                expected.push(levels[c][[y, x, t][c]]);
            }
        }
        assert_eq!(values, expected);
    }

    #[test]
    fn still_pictures_fill_both_time_slots() {
        let picture = Rgb8 { width: 28, height: 28, data: (0..28 * 28 * 3).map(|i| (i * 7 % 256) as u8).collect() };
        let budget = PixelBudget { min_pixels: 784, max_pixels: 784 };
        let patches = picture_patches(&picture, budget, &PatchConfig::default()).expect("fits");
        assert_eq!((patches.grid_thw, patches.resized), ([1, 2, 2], (28, 28)));
        for channel in patches.pixel_values.chunks(392) {
            assert_eq!(channel[..196], channel[196..]);
        }
    }

    #[test]
    fn absurd_budgets_are_refused() {
        let budget = PixelBudget { min_pixels: usize::MAX, max_pixels: usize::MAX };
        let error = picture_patches(&Rgb8::filled(10, 10, [0; 3]), budget, &PatchConfig::default()).expect_err("huge");
        assert!(error.to_string().contains("lower it"), "{error}");
    }
}
