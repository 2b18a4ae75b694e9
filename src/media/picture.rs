//! A picture file → upright RGB pixels.

use std::io::Cursor;

use image::error::LimitErrorKind;
use image::{ColorType, ImageDecoder, ImageError, ImageReader};
use sha2::{Digest, Sha256};

use super::colour;
use super::error::{MediaError, MediaProblem};
use super::jpeg;
use super::palette_tiff::PaletteTiff;
use super::rgb::{Rgb8, Turn};
use super::sniff::{MediaKind, PictureFormat};
use super::source::{self, Limits, Source};

/// A decoded picture and where it came from.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The pixels: upright, transparency over white.
    pub image: Rgb8,
    /// Facts about the file.
    pub info: PictureInfo,
}

impl Picture {
    /// A picture that is at hand as pixels, such as a frame of a clip, identified by them.
    pub fn of_pixels(image: Rgb8, name: String) -> Picture {
        let mut hash = Sha256::new();
        hash.update(format!("{}x{}\n", image.width, image.height));
        hash.update(&image.data);
        let (width, height) = (image.width, image.height);
        let sha256 = hash.finalize().into();
        let info = PictureInfo { name, format: PictureFormat::Png, width, height, orientation: 1, sha256 };
        Picture { image, info }
    }
}

/// Facts about a picture file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureInfo {
    /// The name that the reader gave.
    pub name: String,
    /// The format, by its content.
    pub format: PictureFormat,
    /// Width in pixels, upright.
    pub width: usize,
    /// Height in pixels, upright.
    pub height: usize,
    /// The EXIF orientation, 1 to 8, that has been undone; 1 where none is given.
    pub orientation: u8,
    /// SHA-256 of the file's bytes.
    pub sha256: [u8; 32],
}

/// Reads and decodes a picture. The format goes by the content, whatever the file's name says.
///
/// The picture is turned upright as its EXIF orientation says. The original implementation ignores that and sees
/// photos of a turned camera lying on their side; people, and what models were told about such photos, don't.
/// Transparency is composited over white. Of animations and multi-page files, the first picture is taken.
/// Colour profiles are ignored, as in the original.
///
/// # Errors
/// If the source can't be read, isn't a picture of a known format, is truncated or damaged, or exceeds `limits`, which
/// is found out before memory for the pixels is asked for.
pub fn load_picture(source: &Source, limits: &Limits) -> Result<Picture, MediaError> {
    let name = source.name();
    load(source, limits, &name).map_err(|problem| MediaError::from(problem).at(&name))
}

fn load(source: &Source, limits: &Limits, name: &str) -> Result<Picture, MediaProblem> {
    let bytes = source.read_picture(limits.max_picture_bytes)?;
    let format = match source::known(&bytes)? {
        MediaKind::Picture(format) => format,
        MediaKind::Clip(container) => return Err(MediaProblem::ClipNotPicture { container }),
    };
    let (image, orientation) = decode(&bytes, format, limits)?;
    let info = PictureInfo {
        name: name.to_owned(),
        format,
        width: image.width,
        height: image.height,
        orientation,
        sha256: Sha256::digest(&bytes).into(),
    };
    Ok(Picture { image, info })
}

/// The pixels, upright, and the EXIF orientation that was undone.
fn decode(bytes: &[u8], format: PictureFormat, limits: &Limits) -> Result<(Rgb8, u8), MediaProblem> {
    if format == PictureFormat::Jpeg && !jpeg::is_whole(bytes) {
        return Err(MediaProblem::Truncated { format });
    }
    let failed = |error| problem_of(error, format);
    let palette = if format == PictureFormat::Tiff { PaletteTiff::of(bytes) } else { None };
    let bytes = palette.as_ref().map_or(bytes, |tiff| &tiff.grey);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format.of_library());
    // The size is checked below, with a message that has numbers; this bounds what decoders use beside the pixels.
    let mut decoder_limits = image::Limits::no_limits();
    decoder_limits.max_alloc = Some(limits.max_pixels.saturating_mul(8));
    reader.limits(decoder_limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    limits.check_size(width.into(), height.into(), decoder.total_bytes())?;
    // A damaged EXIF block is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let kind = decoder.color_type();
    let n_bytes = usize::try_from(decoder.total_bytes()).map_err(|_| MediaProblem::TooManyPixels {
        width: width.into(),
        height: height.into(),
        limit: limits.max_pixels,
    })?;
    let mut pixels = vec![0; n_bytes];
    decoder.read_image(&mut pixels).map_err(failed)?;
    let looked_up = palette.filter(|_| kind == ColorType::L8).map(|tiff| tiff.colours_of(&pixels));
    let data = looked_up
        .or_else(|| colour::to_rgb(pixels, kind))
        .ok_or_else(|| MediaProblem::Unsupported { format, detail: format!("pixels of type {kind:?}") })?;
    let image = Rgb8 { width: width as usize, height: height as usize, data };
    Ok((image.turned(Turn::of_exif(orientation)), orientation.to_exif()))
}

/// The decoder's error in our words.
pub(super) fn problem_of(error: ImageError, format: PictureFormat) -> MediaProblem {
    // Decoders' messages repeat the format or run over several lines; one line of it is enough.
    let detail = |error: &dyn std::error::Error| error.to_string().lines().next().unwrap_or_default().to_owned();
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            MediaProblem::Truncated { format }
        }
        ImageError::Unsupported(error) => MediaProblem::Unsupported { format, detail: detail(&error) },
        ImageError::Limits(error) if matches!(error.kind(), LimitErrorKind::InsufficientMemory) => {
            MediaProblem::Unsupported { format, detail: "decoding it would take too much memory".to_owned() }
        }
        ImageError::Decoding(error) => match std::error::Error::source(&error) {
            Some(cause) if is_end_of_data(cause) => MediaProblem::Truncated { format },
            Some(cause) => MediaProblem::Damaged { format, detail: detail(cause) },
            None => MediaProblem::Damaged { format, detail: detail(&error) },
        },
        error => MediaProblem::Damaged { format, detail: detail(&error) },
    }
}

/// Whether an error, or what caused it, is that the data ended.
fn is_end_of_data(error: &(dyn std::error::Error + 'static)) -> bool {
    let own = error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::UnexpectedEof);
    own || error.source().is_some_and(is_end_of_data)
}
