//! Luma and chroma → RGB, for the matrices that the video library's converter can't be told.

use crate::media::rgb::Rgb8;

/// How RGB makes up luma: the shares of red and blue; green has the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Matrix {
    red: f64,
    blue: f64,
}

impl Matrix {
    /// Standard definition.
    pub(super) const BT601: Matrix = Matrix { red: 0.299, blue: 0.114 };
    /// High definition.
    pub(super) const BT709: Matrix = Matrix { red: 0.2126, blue: 0.0722 };
    /// Ultra-high definition; for "constant luminance" an approximation.
    pub(super) const BT2020: Matrix = Matrix { red: 0.2627, blue: 0.0593 };
    /// Early high definition.
    pub(super) const SMPTE240M: Matrix = Matrix { red: 0.212, blue: 0.087 };
}

/// Fractional bits of the fixed-point sums.
const BITS: u32 = 16;

/// Three planes of one size, each with its bytes per row, as RGB. Levels are 16–235 (chroma 16–240) unless
/// `full_range`.
///
/// # Panics
/// If a plane is shorter than `height` rows of `width` bytes.
pub(super) fn to_rgb(
    planes: [(&[u8], usize); 3],
    width: usize,
    height: usize,
    matrix: Matrix,
    full_range: bool,
) -> Rgb8 {
    let (black, luma_span, chroma_span) = if full_range { (0.0, 255.0, 255.0) } else { (16.0, 219.0, 224.0) };
    let fixed = |value: f64| (value * f64::from(1u32 << BITS)).round() as i32;
    let green = 1.0 - matrix.red - matrix.blue;
    let per_chroma = 2.0 * 255.0 / chroma_span;
    let luma_gain = fixed(255.0 / luma_span);
    let offset = (1 << (BITS - 1)) - fixed(black * 255.0 / luma_span);
    let red_v = fixed(per_chroma * (1.0 - matrix.red));
    let blue_u = fixed(per_chroma * (1.0 - matrix.blue));
    let green_u = fixed(-per_chroma * (1.0 - matrix.blue) * matrix.blue / green);
    let green_v = fixed(-per_chroma * (1.0 - matrix.red) * matrix.red / green);

    let row = |(plane, stride): (&'_ [u8], usize), y: usize| plane[y * stride..][..width].to_vec();
    let mut data = vec![0; width * height * 3];
    for (y, out) in data.chunks_exact_mut((width * 3).max(1)).enumerate() {
        let [luma, u, v] = planes.map(|plane| row(plane, y));
        for (((pixel, &luma), &u), &v) in out.as_chunks_mut::<3>().0.iter_mut().zip(&luma).zip(&u).zip(&v) {
            let luma = i32::from(luma) * luma_gain + offset;
            let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
            let level = |sum: i32| (sum >> BITS).clamp(0, 255) as u8;
            *pixel = [level(luma + red_v * v), level(luma + green_u * u + green_v * v), level(luma + blue_u * u)];
        }
    }
    Rgb8 { width, height, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RGB → YUV by the definition and back again.
    #[test]
    fn inverts_the_definition() {
        let colours = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [17, 200, 90]];
        for matrix in [Matrix::BT601, Matrix::BT709, Matrix::BT2020, Matrix::SMPTE240M] {
            for (full_range, colour) in [true, false].into_iter().flat_map(|f| colours.map(|c| (f, c))) {
                let [r, g, b] = colour.map(f64::from);
                let y = matrix.red * r + (1.0 - matrix.red - matrix.blue) * g + matrix.blue * b;
                let (u, v) = ((b - y) / (1.0 - matrix.blue) / 2.0, (r - y) / (1.0 - matrix.red) / 2.0);
                let (y, u, v) = if full_range {
                    (y, u + 128.0, v + 128.0)
                } else {
                    (16.0 + y * 219.0 / 255.0, 128.0 + u * 224.0 / 255.0, 128.0 + v * 224.0 / 255.0)
                };
                let planes = [y, u, v].map(|level| [level.round().clamp(0.0, 255.0) as u8; 3]);
                let picture = to_rgb([0, 1, 2].map(|i| (&planes[i][..], 1)), 1, 3, matrix, full_range);
                for (got, want) in picture.data.iter().zip(colour.iter().cycle()) {
                    assert!(got.abs_diff(*want as u8) <= 2, "{matrix:?} {full_range} {colour:?}: {:?}", picture.data);
                }
            }
        }
    }
}
