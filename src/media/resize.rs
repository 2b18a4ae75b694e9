//! Pillow's bicubic resizing of 8-bit pictures, to the bit.
//!
//! The original resizes with Pillow, and a model sees single levels, so the result has to be equal, not similar.
//! What Pillow does (`src/libImaging/Resample.c`):
//!
//! ```text
//! per axis: scale = in/out, support = 2 * max(scale, 1); output i covers center = (i + 0.5) * scale,
//!           taps trunc(center - support + 0.5) .. trunc(center + support + 0.5) cut to the picture,
//!           weights = Keys' cubic (a = -0.5) at (tap - center + 0.5) / max(scale, 1), divided by their sum,
//!           each then rounded to a whole number of 2^-22, half away from zero
//! pixel:    clamp((sum(weight * level) + 2^21) >> 22)
//! ```
//!
//! one axis after the other, rounding to 8 bits each time; an axis that keeps its length is left alone. The rows come
//! first, unless the height shrinks by more than twice the pixels that the width shrinks by (found by experiment with
//! Pillow 13, the reference's version, and confirmed on thousands of random sizes).
//!
//! The sums here run in `f64`: weights have 23 bits, levels 8, so every product and sum is a whole number below 2^53
//! and exact, in whatever order it is computed. That is the fastest form that every compiler vectorises by itself:
//! 32-bit integer products need SSE4.1, which a portable x86-64 program may not assume. (Splitting weights into 16-bit
//! halves for `pmaddwd` was tried; the compiler doesn't recognise the pattern.)

use std::borrow::Cow;
use std::thread;

use super::rgb::Rgb8;

/// Weights are whole multiples of 2^-PRECISION_BITS.
const PRECISION_BITS: u32 = 32 - 8 - 2;
/// Columns (times channel) that the vertical pass computes side by side.
const LANES: usize = 16;
/// Pictures with fewer pixels than this aren't worth waking a second thread.
const THREADED_PIXELS: usize = 1 << 19;

/// `src` resized to `width` x `height` pixels with Pillow's antialiased bicubic filter, equal to Pillow in every byte.
///
/// The work of large pictures is split over threads; the result doesn't depend on how many.
///
/// # Panics
/// If a side of `src`, `width` or `height` is 0.
pub fn resize_bicubic(src: &Rgb8, width: usize, height: usize) -> Rgb8 {
    assert!(src.width > 0 && src.height > 0 && width > 0 && height > 0, "a picture without pixels can't be resized");
    let rows = Filter::new(src.width, width);
    let columns = Filter::new(src.height, height);
    let threads = if src.width.saturating_mul(src.height) < THREADED_PIXELS {
        1
    } else {
        thread::available_parallelism().map_or(1, |n| n.get()).min(8)
    };
    let mut resized = Cow::Borrowed(src);
    let along_rows = |picture: &mut Cow<Rgb8>| {
        if picture.width != width {
            *picture = Cow::Owned(resize_rows(picture, &rows, threads));
        }
    };
    let columns_first = columns_first(src, width, height);
    if !columns_first {
        along_rows(&mut resized);
    }
    if src.height != height {
        resized = Cow::Owned(resize_columns(&resized, &columns, threads));
    }
    if columns_first {
        along_rows(&mut resized);
    }
    resized.into_owned()
}

/// Whether the columns are filtered before the rows. Each pass rounds, so the order shows in the result.
fn columns_first(src: &Rgb8, width: usize, height: usize) -> bool {
    // In whole numbers that can't overflow: lengths are those of slices in memory.
    let shrinks_by = |from: usize, to: usize| from as i128 - to as i128;
    height < src.height && shrinks_by(src.height, height) > 2 * shrinks_by(src.width, width)
}

/// The weights of one axis.
struct Filter {
    /// For each output: its first tap, and where its weights begin and end in `weights`.
    outputs: Vec<(usize, usize, usize)>,
    /// Whole numbers: weights times 2^22.
    weights: Vec<f64>,
}

impl Filter {
    fn new(n_in: usize, n_out: usize) -> Filter {
        let scale = n_in as f64 / n_out as f64;
        let stretch = scale.max(1.0);
        let support = 2.0 * stretch;
        let mut filter = Filter { outputs: Vec::with_capacity(n_out), weights: Vec::new() };
        let mut taps = Vec::new();
        for i in 0..n_out {
            let center = (i as f64 + 0.5) * scale;
            // Casts truncate toward zero as C's do; what lies outside the picture is cut off.
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(n_in);
            taps.clear();
            // The same order of operations as in C, so that the last bit is the same too.
            taps.extend(
                (0..end - first).map(|tap| cubic((tap as f64 + first as f64 - center + 0.5) * (1.0 / stretch))),
            );
            let sum: f64 = taps.iter().sum();
            let start = filter.weights.len();
            filter.weights.extend(taps.iter().map(|&w| {
                let scaled = if sum == 0.0 { w } else { w / sum } * f64::from(1u32 << PRECISION_BITS);
                (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }).trunc()
            }));
            filter.outputs.push((first, start, filter.weights.len()));
        }
        filter
    }

    /// The level of each of `N` lanes at output `i`, where `lines[t]` holds the lanes' levels at tap position `t`.
    #[inline(always)]
    fn apply<const N: usize>(&self, i: usize, lines: &[[f64; N]]) -> [u8; N] {
        let (first, start, end) = self.outputs[i];
        let mut sums = [f64::from(1u32 << (PRECISION_BITS - 1)); N];
        for (levels, &weight) in lines[first..].iter().zip(&self.weights[start..end]) {
            for lane in 0..N {
                sums[lane] += levels[lane] * weight;
            }
        }
        sums.map(|sum| ((sum as i32) >> PRECISION_BITS).clamp(0, 255) as u8)
    }
}

/// Keys' cubic convolution kernel with a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Calls `work(first row, rows)` on `threads` bands of `out`, a picture of rows `row_bytes` long.
fn in_bands(out: &mut [u8], row_bytes: usize, threads: usize, work: impl Fn(usize, &mut [u8]) + Sync) {
    let band_rows = (out.len() / row_bytes).div_ceil(threads).max(1);
    if threads == 1 {
        return work(0, out);
    }
    thread::scope(|scope| {
        for (i, band) in out.chunks_mut(band_rows * row_bytes).enumerate() {
            let work = &work;
            scope.spawn(move || work(i * band_rows, band));
        }
    });
}

/// Every row of `src` filtered to the filter's length.
fn resize_rows(src: &Rgb8, filter: &Filter, threads: usize) -> Rgb8 {
    let width = filter.outputs.len();
    let mut data = vec![0; width * src.height * 3];
    in_bands(&mut data, width * 3, threads, |y0, band| {
        // A fourth lane, always 0, makes a pixel two whole SSE registers.
        let mut pixels = vec![[0f64; 4]; src.width];
        for (dy, out_row) in band.chunks_exact_mut(width * 3).enumerate() {
            let row = src.row(y0 + dy).as_chunks::<3>().0;
            for (pixel, &[r, g, b]) in pixels.iter_mut().zip(row) {
                *pixel = [f64::from(r), f64::from(g), f64::from(b), 0.0];
            }
            for (x, out) in out_row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let [r, g, b, _] = filter.apply(x, &pixels);
                *out = [r, g, b];
            }
        }
    });
    Rgb8 { width, height: src.height, data }
}

/// Every column of `src` filtered to the filter's length.
fn resize_columns(src: &Rgb8, filter: &Filter, threads: usize) -> Rgb8 {
    let row_bytes = src.width * 3;
    let height = filter.outputs.len();
    let mut data = vec![0; row_bytes * height];
    in_bands(&mut data, row_bytes, threads, |y0, band| {
        let rows = band.len() / row_bytes;
        // Only the source rows that this band's outputs look at.
        let first = filter.outputs[y0].0;
        let (last, start, end) = filter.outputs[y0 + rows - 1];
        let needed = first..last + (end - start);
        let mut strip = vec![[0f64; LANES]; needed.end];
        for x0 in (0..row_bytes).step_by(LANES) {
            let lanes = LANES.min(row_bytes - x0);
            for y in needed.clone() {
                for (to, &from) in strip[y].iter_mut().zip(&src.row(y)[x0..x0 + lanes]) {
                    *to = f64::from(from);
                }
            }
            for (dy, out_row) in band.chunks_exact_mut(row_bytes).enumerate() {
                out_row[x0..x0 + lanes].copy_from_slice(&filter.apply(y0 + dy, &strip)[..lanes]);
            }
        }
    });
    Rgb8 { width: src.width, height, data }
}

#[cfg(test)]
mod tests;
