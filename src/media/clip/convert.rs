//! Decoded frames → RGB.

use ffmpeg_next as ffmpeg;

use ffmpeg::format::Pixel;
use ffmpeg::frame;
use ffmpeg::software::scaling;
use frame_colour::Colour;

use super::yuv::{self, Matrix};
use crate::media::error::MediaProblem;
use crate::media::rgb::Rgb8;
use crate::media::source::Limits;

/// A conversion to RGB, kept while frames stay alike.
pub(super) struct Converter {
    scaler: scaling::Context,
    source: (Pixel, u32, u32),
    out: frame::Video,
}

/// A decoded frame as RGB.
///
/// Colours go as the ffmpeg program converts them without options, which the original's readers amount to: BT.601
/// where the stream doesn't say otherwise, chroma not interpolated. The library's converter can't be told another
/// matrix through its safe interface; for other matrices and ranges it only evens out the planes, and
/// [`yuv::to_rgb`] does the rest. High dynamic range isn't tone-mapped, alpha not composited.
pub(super) fn convert(
    frame: &frame::Video,
    kept: &mut Option<Converter>,
    limits: &Limits,
) -> Result<Rgb8, MediaProblem> {
    let (width, height) = (frame.width(), frame.height());
    limits.check_size(width.into(), height.into(), 0)?;
    let own = own_matrix(frame);
    let (target, flags) = match own {
        // "Point": each chroma sample as it stands, as in the direct conversion.
        Some((_, _, jpeg)) => (if jpeg { Pixel::YUVJ444P } else { Pixel::YUV444P }, scaling::Flags::POINT),
        None => (Pixel::RGB24, scaling::Flags::BICUBIC),
    };
    let source = (frame.format(), width, height);
    let failed = |error: ffmpeg::Error| MediaProblem::Codec {
        codec: format!("{:?}", frame.format()),
        detail: error.to_string(),
    };
    if kept.as_ref().is_none_or(|c| c.source != source || c.out.format() != target) {
        let scaler = scaling::Context::get(source.0, width, height, target, width, height, flags).map_err(failed)?;
        *kept = Some(Converter { scaler, source, out: frame::Video::new(target, width, height) });
    }
    let Some(Converter { scaler, out, .. }) = kept else { return Err(MediaProblem::NoFrames) };
    scaler.run(frame, out).map_err(failed)?;
    let (width, height) = (width as usize, height as usize);
    if let Some((matrix, full_range, _)) = own {
        let planes = [0, 1, 2].map(|i| (out.data(i), out.stride(i)));
        return Ok(yuv::to_rgb(planes, width, height, matrix, full_range));
    }
    let mut data = Vec::with_capacity(width * height * 3);
    for row in out.data(0).chunks(out.stride(0)).take(height) {
        data.extend_from_slice(&row[..width * 3]);
    }
    Ok(Rgb8 { width, height, data })
}

/// As ffmpeg numbers it.
const FULL_RANGE: u32 = 2;

/// The matrix (by the numbers of H.273's table 4), whether levels use the full range, and whether the pixel type itself
/// says that they do: for frames that the library's converter would get wrong.
fn own_matrix(frame: &frame::Video) -> Option<(Matrix, bool, bool)> {
    let jpeg = matches!(
        frame.format(),
        Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P | Pixel::YUVJ411P
    );
    // RGB, palettes and grey have no matrix.
    const YUV: [&str; 8] = ["yuv", "nv", "p0", "p2", "p4", "uyvy", "yvyu", "y2"];
    let name = frame.format().descriptor()?.name();
    if !YUV.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    let Colour { matrix, range } = frame_colour::of(frame);
    let full_range = jpeg || range == FULL_RANGE;
    let matrix = match matrix {
        1 => Matrix::BT709,
        9 | 10 => Matrix::BT2020,
        7 => Matrix::SMPTE240M,
        // Those that nothing is known of, too: a file may hold any number.
        _ if full_range && !jpeg => Matrix::BT601,
        _ => return None,
    };
    Some((matrix, full_range, jpeg))
}
