//! Pictures out: PNG, and JPEG where size counts.

use std::io::{self, Write};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError};

use super::rgb::Rgb8;

/// Writes `picture` as a PNG file.
///
/// # Errors
/// Whatever writing to `out` gives; and if a side has more than 2^32 pixels.
pub fn write_png(picture: &Rgb8, out: &mut dyn Write) -> io::Result<()> {
    let side = |pixels: usize| u32::try_from(pixels).map_err(io::Error::other);
    let (width, height) = (side(picture.width)?, side(picture.height)?);
    PngEncoder::new(out).write_image(&picture.data, width, height, ExtendedColorType::Rgb8).map_err(io_error)
}

/// Writes `picture` as a JPEG file in which writing stays sharp.
///
/// # Errors
/// Whatever writing to `out` gives; and if a side has more than 65535 pixels, JPEG's limit.
pub fn write_jpeg(picture: &Rgb8, out: &mut dyn Write) -> io::Result<()> {
    const QUALITY: u8 = 90;
    let side = |pixels: usize| u16::try_from(pixels).map(u32::from).map_err(io::Error::other);
    let (width, height) = (side(picture.width)?, side(picture.height)?);
    let encoder = JpegEncoder::new_with_quality(out, QUALITY);
    encoder.write_image(&picture.data, width, height, ExtendedColorType::Rgb8).map_err(io_error)
}

fn io_error(error: ImageError) -> io::Error {
    match error {
        ImageError::IoError(error) => error,
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Limits, Source, load_picture};

    #[test]
    fn what_is_written_is_read_again() {
        let picture = Rgb8 { width: 3, height: 2, data: (0..18).map(|i| i * 14).collect() };
        let mut bytes = Vec::new();
        write_png(&picture, &mut bytes).expect("written");
        let source = Source::Bytes { name: "x".into(), bytes: bytes.into() };
        assert!(load_picture(&source, &Limits::default()).expect("a PNG file").image == picture);
    }

    #[test]
    fn jpeg_is_nearly_the_same() {
        let picture = Rgb8::filled(40, 30, [200, 40, 90]);
        let mut bytes = Vec::new();
        write_jpeg(&picture, &mut bytes).expect("written");
        let source = Source::Bytes { name: "x".into(), bytes: bytes.into() };
        let read = load_picture(&source, &Limits::default()).expect("a JPEG file").image;
        assert_eq!((read.width, read.height), (40, 30));
        assert!(read.data.iter().zip(&picture.data).all(|(a, b)| a.abs_diff(*b) < 6));
        assert!(write_jpeg(&Rgb8::filled(70_000, 1, [0; 3]), &mut Vec::new()).is_err());
    }
}
