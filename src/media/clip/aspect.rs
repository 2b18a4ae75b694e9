//! The shape of pixels as a container tells it: `pasp` in MP4 and MOV, `DisplayWidth` and `DisplayHeight` in Matroska and
//! WebM. The ffmpeg bindings give only what the codec tells; where both speak, the container is believed, as by players.
//!
//! Only a hint is read here: what is damaged or odd tells nothing, and every loop is bounded.

use std::io::SeekFrom;
use std::ops::Range;

use crate::media::source::ReadSeek;

/// Boxes or elements that are looked at on one level.
const MAX_PARTS: usize = 4096;

/// Width of a pixel over its height in stream `index`, where the container tells it.
pub(super) fn pixel_aspect(file: &mut dyn ReadSeek, index: usize) -> Option<f64> {
    let mut head = [0; 8];
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_exact(&mut head).ok()?;
    let end = file.seek(SeekFrom::End(0)).ok()?;
    match head {
        [0x1a, 0x45, 0xdf, 0xa3, ..] => matroska(&mut Parts { file, ebml: true }, 0..end, index),
        [_, _, _, _, kind @ ..] if [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"].contains(&&kind) => {
            mp4(&mut Parts { file, ebml: false }, 0..end, index)
        }
        _ => None,
    }
}

/// Two numbers as a ratio, where both count.
fn ratio(width: u64, height: u64) -> Option<f64> {
    (width > 0 && height > 0).then(|| width as f64 / height as f64)
}

fn mp4(parts: &mut Parts<'_>, file: Range<u64>, index: usize) -> Option<f64> {
    let moov = parts.nth(file, tag(b"moov"), 0)?;
    let mut inner = parts.nth(moov, tag(b"trak"), index)?;
    for name in [b"mdia", b"minf", b"stbl", b"stsd"] {
        inner = parts.nth(inner, tag(name), 0)?;
    }
    // Version and count; then the first description: its header, and 78 bytes of a picture's.
    let entry = parts.part(inner.start.checked_add(8)?, inner.end)?.inside;
    let pasp = parts.nth(entry.start.checked_add(78)?..entry.end, tag(b"pasp"), 0)?;
    let bytes: [u8; 8] = parts.bytes(pasp)?.try_into().ok()?;
    let [w0, w1, w2, w3, h0, h1, h2, h3] = bytes;
    ratio(u32::from_be_bytes([w0, w1, w2, w3]).into(), u32::from_be_bytes([h0, h1, h2, h3]).into())
}

fn tag(name: &[u8; 4]) -> u64 {
    u32::from_be_bytes(*name).into()
}

const SEGMENT: u64 = 0x1853_8067;
const CLUSTER: u64 = 0x1f43_b675;
const TRACKS: u64 = 0x1654_ae6b;
const TRACK_ENTRY: u64 = 0xae;
const TRACK_TYPE: u64 = 0x83;
const VIDEO: u64 = 0xe0;
const PIXEL_SIZE: [u64; 2] = [0xb0, 0xba];
const DISPLAY_SIZE: [u64; 2] = [0x54b0, 0x54ba];
const DISPLAY_UNIT: u64 = 0x54b2;

fn matroska(parts: &mut Parts<'_>, file: Range<u64>, index: usize) -> Option<f64> {
    let segment = parts.nth(file, SEGMENT, 0)?;
    let tracks = parts.nth(segment, TRACKS, 0)?;
    let mut n_streams = 0;
    for i in 0..MAX_PARTS {
        let entry = parts.nth(tracks.clone(), TRACK_ENTRY, i)?;
        // Pictures, sound and subtitles become streams; other tracks don't.
        if !matches!(parts.number(&entry, TRACK_TYPE), Some(1 | 2 | 17)) {
            continue;
        }
        if n_streams == index {
            let video = parts.nth(entry, VIDEO, 0)?;
            // 4: "unknown".
            if parts.number(&video, DISPLAY_UNIT).unwrap_or(0) > 3 {
                return None;
            }
            let [pixel_width, pixel_height] = PIXEL_SIZE.map(|id| parts.number(&video, id));
            let [width, height] = DISPLAY_SIZE.map(|id| parts.number(&video, id));
            let shown = ratio(width.or(pixel_width)?, height.or(pixel_height)?)?;
            return Some(shown / ratio(pixel_width?, pixel_height?)?);
        }
        n_streams += 1;
    }
    None
}

/// A box or an element.
struct Part {
    id: u64,
    /// Where its content is.
    inside: Range<u64>,
}

/// Reads boxes (MP4) or elements (EBML).
struct Parts<'a> {
    file: &'a mut dyn ReadSeek,
    ebml: bool,
}

impl Parts<'_> {
    /// The content of the `n`-th part called `id` directly within `range`.
    fn nth(&mut self, range: Range<u64>, id: u64, mut n: usize) -> Option<Range<u64>> {
        let mut at = range.start;
        for _ in 0..MAX_PARTS {
            let part = self.part(at, range.end)?;
            if part.id == id {
                if n == 0 {
                    return Some(part.inside);
                }
                n -= 1;
            }
            // What describes the tracks stands before the pictures; beyond, a file without sizes can't be walked.
            if self.ebml && part.id == CLUSTER {
                return None;
            }
            at = part.inside.end;
        }
        None
    }

    /// The part that begins at `at`, cut to `end`.
    fn part(&mut self, at: u64, end: u64) -> Option<Part> {
        if at >= end {
            return None;
        }
        self.file.seek(SeekFrom::Start(at)).ok()?;
        let (id, size, header) = if self.ebml { self.ebml_header()? } else { self.box_header()? };
        let start = at.checked_add(header)?;
        let until = size.map_or(Some(end), |size| start.checked_add(size))?.min(end);
        // Each step goes forward, so that no file can hold the walk up.
        (start <= until).then_some(Part { id, inside: start..until })
    }

    /// Name, size of the content (`None`: to the end) and length of the header.
    fn box_header(&mut self) -> Option<(u64, Option<u64>, u64)> {
        let (size, id) = (self.be(4)?, self.be(4)?);
        match size {
            0 => Some((id, None, 8)),
            1 => Some((id, Some(self.be(8)?.checked_sub(16)?), 16)),
            size => Some((id, Some(size.checked_sub(8)?), 8)),
        }
    }

    fn ebml_header(&mut self) -> Option<(u64, Option<u64>, u64)> {
        let (id, id_length) = self.variable(4, true)?;
        let (size, size_length) = self.variable(8, false)?;
        let unknown = size == (1 << (7 * size_length)) - 1;
        Some((id, (!unknown).then_some(size), id_length + size_length))
    }

    /// A number whose first byte's leading zeros tell its length, with or without that mark.
    fn variable(&mut self, longest: u64, keep_mark: bool) -> Option<(u64, u64)> {
        let first = self.be(1)?;
        let length = u64::from((first as u8).leading_zeros()) + 1;
        if length > longest {
            return None;
        }
        let mark = 0x80 >> (length - 1);
        let rest = if length > 1 { self.be(length - 1)? } else { 0 };
        let top = if keep_mark { first } else { first & (mark - 1) };
        Some((top << (8 * (length - 1)) | rest, length))
    }

    /// A big-endian number of at most eight bytes.
    fn be(&mut self, n: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact(bytes.get_mut(8usize.checked_sub(n as usize)?..)?).ok()?;
        Some(u64::from_be_bytes(bytes))
    }

    /// The first element called `id` within `range`, as a number.
    fn number(&mut self, range: &Range<u64>, id: u64) -> Option<u64> {
        let inside = self.nth(range.clone(), id, 0)?;
        let n = inside.end - inside.start;
        self.file.seek(SeekFrom::Start(inside.start)).ok()?;
        if n <= 8 { self.be(n) } else { None }
    }

    /// A short content.
    fn bytes(&mut self, range: Range<u64>) -> Option<Vec<u8>> {
        let n = usize::try_from(range.end - range.start).ok().filter(|&n| n <= 64)?;
        let mut bytes = vec![0; n];
        self.file.seek(SeekFrom::Start(range.start)).ok()?;
        self.file.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn aspect(bytes: &[u8], index: usize) -> Option<f64> {
        pixel_aspect(&mut Cursor::new(bytes.to_vec()), index)
    }

    fn boxed(name: &[u8; 4], inside: &[u8]) -> Vec<u8> {
        [&(inside.len() as u32 + 8).to_be_bytes(), &name[..], inside].concat()
    }

    /// Sound, then pictures of 64:45.
    fn an_mp4() -> Vec<u8> {
        let pasp = boxed(b"pasp", &[64u32.to_be_bytes(), 45u32.to_be_bytes()].concat());
        let entry = boxed(b"avc1", &[&[0; 78][..], &boxed(b"avcC", &[1, 2, 3]), &pasp].concat());
        let stsd = boxed(b"stsd", &[&[0; 8][..], &entry].concat());
        let in_track = |stbl: Vec<u8>| {
            boxed(b"trak", &boxed(b"mdia", &[boxed(b"mdhd", &[0; 4]), boxed(b"minf", &boxed(b"stbl", &stbl))].concat()))
        };
        let sound = in_track(boxed(b"stsd", &[&[0; 8][..], &boxed(b"mp4a", &[0; 28])].concat()));
        let long = [&1u32.to_be_bytes()[..], b"mdat", &116u64.to_be_bytes(), &[7; 100]].concat();
        [boxed(b"ftyp", b"isom"), long, boxed(b"moov", &[sound, in_track(stsd)].concat())].concat()
    }

    fn element(id: &[u8], inside: &[u8]) -> Vec<u8> {
        [id, &[0x40 | (inside.len() >> 8) as u8, inside.len() as u8], inside].concat()
    }

    /// A control track, then pictures of 720x576 shown as 1024x576; the segment's size is unknown.
    fn a_matroska() -> Vec<u8> {
        let video =
            [element(&[0xb0], &[0x02, 0xd0]), element(&[0xba], &[0x02, 0x40]), element(&[0x54, 0xb0], &[0x04, 0x00])];
        let control = element(&[0xae], &element(&[0x83], &[0x20]));
        let pictures = element(&[0xae], &[element(&[0x83], &[1]), element(&[0xe0], &video.concat())].concat());
        let tracks = element(&[0x16, 0x54, 0xae, 0x6b], &[control, pictures].concat());
        let segment = [&[0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &tracks].concat();
        [element(&[0x1a, 0x45, 0xdf, 0xa3], &[0; 20]), segment].concat()
    }

    #[test]
    fn what_containers_tell() {
        assert_eq!(aspect(&an_mp4(), 1), Some(64.0 / 45.0));
        assert_eq!([aspect(&an_mp4(), 0), aspect(&an_mp4(), 2)], [None, None]);
        let found = aspect(&a_matroska(), 0).expect("told");
        assert!((found - 64.0 / 45.0).abs() < 1e-12, "{found}");
        assert_eq!(aspect(&a_matroska(), 1), None);
        assert_eq!(aspect(b"RIFF....AVI LIST", 0), None);
    }

    #[test]
    fn damage_tells_nothing_and_ends_soon() {
        for whole in [an_mp4(), a_matroska()] {
            for cut in 0..whole.len() {
                aspect(&whole[..cut], 0);
            }
            for at in 0..whole.len() {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut damaged = whole.clone();
                    damaged[at] = value;
                    for index in [0, 1] {
                        let found = aspect(&damaged, index);
                        assert!(found.is_none_or(|a| a.is_finite() && a > 0.0), "{found:?}");
                    }
                }
            }
        }
        // Empty boxes without end.
        let empty = [boxed(b"ftyp", b""), boxed(b"free", b"").repeat(100_000)].concat();
        assert_eq!(aspect(&empty, 0), None);
    }
}
