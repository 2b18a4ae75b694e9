//! Every kind of pixel that decoders hand out, as 8-bit RGB over white.
//!
//! The rules follow Pillow where the original relies on it, with three differences, each towards what a person sees:
//!
//! - 16-bit levels keep their high byte. Pillow does that for colour, but cuts 16-bit grey off at 255, which turns
//!   nearly all of such a picture white.
//! - Transparency of grey and palette pictures counts too; the original composites only RGBA and shows the colours
//!   that such pictures hide.
//! - Float levels 0–1 become 0–255, as other viewers do; Pillow reads them as 0–255.

use image::ColorType;

/// `pixels`, as `kind` says and in the machine's byte order, as RGB; `None` if that kind isn't known here.
pub(super) fn to_rgb(pixels: Vec<u8>, kind: ColorType) -> Option<Vec<u8>> {
    Some(match kind {
        ColorType::Rgb8 => pixels,
        ColorType::L8 => map(&pixels, |&[l]: &[u8; 1]| [l; 3]),
        ColorType::La8 => map(&pixels, |&[l, a]: &[u8; 2]| [over_white(l, a); 3]),
        ColorType::Rgba8 => map(&pixels, |&[r, g, b, a]: &[u8; 4]| [r, g, b].map(|c| over_white(c, a))),
        ColorType::L16 => map(&pixels, |p: &[u8; 2]| [high(p, 0); 3]),
        ColorType::La16 => map(&pixels, |p: &[u8; 4]| [over_white(high(p, 0), high(p, 1)); 3]),
        ColorType::Rgb16 => map(&pixels, |p: &[u8; 6]| [0, 1, 2].map(|c| high(p, c))),
        ColorType::Rgba16 => map(&pixels, |p: &[u8; 8]| [0, 1, 2].map(|c| over_white(high(p, c), high(p, 3)))),
        ColorType::Rgb32F => map(&pixels, |p: &[u8; 12]| [0, 1, 2].map(|c| real(p, c))),
        ColorType::Rgba32F => map(&pixels, |p: &[u8; 16]| [0, 1, 2].map(|c| over_white(real(p, c), real(p, 3)))),
        _ => return None,
    })
}

fn map<const N: usize>(pixels: &[u8], convert: impl Fn(&[u8; N]) -> [u8; 3]) -> Vec<u8> {
    pixels.as_chunks::<N>().0.iter().flat_map(convert).collect()
}

/// The high byte of 16-bit level `i`.
fn high(pixel: &[u8], i: usize) -> u8 {
    (u16::from_ne_bytes([pixel[2 * i], pixel[2 * i + 1]]) >> 8) as u8
}

/// Float level `i` of 0–1; the cast sends what isn't a number to 0.
fn real(pixel: &[u8], i: usize) -> u8 {
    let bytes = [pixel[4 * i], pixel[4 * i + 1], pixel[4 * i + 2], pixel[4 * i + 3]];
    (f32::from_ne_bytes(bytes) * 255.0).round().clamp(0.0, 255.0) as u8
}

/// A level over white as Pillow's `paste` with a mask computes it: the nearest whole number, by its shift trick.
fn over_white(level: u8, alpha: u8) -> u8 {
    let (level, alpha) = (u32::from(level), u32::from(alpha));
    let sum = 255 * (255 - alpha) + level * alpha + 128;
    ((sum + (sum >> 8)) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compositing_rounds_to_nearest() {
        for (level, alpha) in (0..=255u8).flat_map(|l| (0..=255u8).map(move |a| (l, a))) {
            let exact = (255.0 * (255.0 - f64::from(alpha)) + f64::from(level) * f64::from(alpha)) / 255.0;
            assert_eq!(over_white(level, alpha), exact.round() as u8, "level {level}, alpha {alpha}");
        }
    }

    #[test]
    fn each_kind_of_pixel() {
        let wide = |levels: &[u16]| levels.iter().flat_map(|l| l.to_ne_bytes()).collect::<Vec<u8>>();
        let reals = |levels: &[f32]| levels.iter().flat_map(|l| l.to_ne_bytes()).collect::<Vec<u8>>();
        let cases = [
            (ColorType::L8, vec![7], [7, 7, 7]),
            (ColorType::La8, vec![7, 0], [255, 255, 255]),
            (ColorType::Rgb8, vec![1, 2, 3], [1, 2, 3]),
            (ColorType::Rgba8, vec![0, 100, 255, 128], [127, 177, 255]),
            (ColorType::L16, wide(&[0x80ff]), [0x80; 3]),
            (ColorType::La16, wide(&[0x80ff, 0xffff]), [0x80; 3]),
            (ColorType::Rgb16, wide(&[0xffff, 0x0100, 0x00ff]), [255, 1, 0]),
            (ColorType::Rgba16, wide(&[0xffff, 0x0100, 0x00ff, 0]), [255; 3]),
            (ColorType::Rgb32F, reals(&[0.5, -3.0, 1e9]), [128, 0, 255]),
            (ColorType::Rgba32F, reals(&[f32::NAN, 1.0, 0.2, 1.0]), [0, 255, 51]),
        ];
        for (kind, pixels, rgb) in cases {
            assert_eq!(to_rgb(pixels, kind).as_deref(), Some(&rgb[..]), "{kind:?}");
        }
    }
}
