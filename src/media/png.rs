//! Pictures out: PNG.

use std::io::{self, Write};

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
    PngEncoder::new(out).write_image(&picture.data, width, height, ExtendedColorType::Rgb8).map_err(|error| match error
    {
        ImageError::IoError(error) => error,
        error => io::Error::other(error),
    })
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
}
