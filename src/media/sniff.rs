//! What a file is, by its first bytes; its name is never believed.

use std::fmt;

/// How many bytes of a file [`sniff`] wants to see.
pub(super) const SNIFF_BYTES: usize = 512;

/// What kind of medium a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// A still picture, or an animation of which the first frame is taken.
    Picture(PictureFormat),
    /// A clip in a container of the given name.
    Clip(&'static str),
}

/// A picture format that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureFormat {
    /// JPEG (baseline, progressive; grey, YCbCr, RGB, CMYK, YCCK).
    Jpeg,
    /// PNG.
    Png,
    /// GIF; the first frame.
    Gif,
    /// WebP, lossy and lossless; of an animation the first frame.
    WebP,
    /// Windows bitmap.
    Bmp,
    /// TIFF; the first page.
    Tiff,
}

impl PictureFormat {
    /// Every format, in the order in which messages list them.
    pub const ALL: [PictureFormat; 6] = [
        PictureFormat::Jpeg,
        PictureFormat::Png,
        PictureFormat::WebP,
        PictureFormat::Gif,
        PictureFormat::Bmp,
        PictureFormat::Tiff,
    ];

    /// The format's usual name.
    pub fn name(self) -> &'static str {
        match self {
            PictureFormat::Jpeg => "JPEG",
            PictureFormat::Png => "PNG",
            PictureFormat::Gif => "GIF",
            PictureFormat::WebP => "WebP",
            PictureFormat::Bmp => "BMP",
            PictureFormat::Tiff => "TIFF",
        }
    }

    pub(super) fn of_library(self) -> image::ImageFormat {
        match self {
            PictureFormat::Jpeg => image::ImageFormat::Jpeg,
            PictureFormat::Png => image::ImageFormat::Png,
            PictureFormat::Gif => image::ImageFormat::Gif,
            PictureFormat::WebP => image::ImageFormat::WebP,
            PictureFormat::Bmp => image::ImageFormat::Bmp,
            PictureFormat::Tiff => image::ImageFormat::Tiff,
        }
    }
}

impl fmt::Display for PictureFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a file that begins with `head` holds, or `None` if it is neither a picture nor a clip of a known format.
///
/// 512 bytes are enough. Only the type is told: the rest of the file may still be damaged.
pub fn sniff(head: &[u8]) -> Option<MediaKind> {
    if foreign(head).is_some() {
        return None;
    }
    picture(head).map(MediaKind::Picture).or_else(|| clip(head).map(MediaKind::Clip))
}

fn picture(head: &[u8]) -> Option<PictureFormat> {
    let starts = |magic: &[u8]| head.starts_with(magic);
    if starts(b"\xff\xd8\xff") {
        Some(PictureFormat::Jpeg)
    } else if starts(b"\x89PNG\r\n\x1a\n") {
        Some(PictureFormat::Png)
    } else if starts(b"GIF87a") || starts(b"GIF89a") {
        Some(PictureFormat::Gif)
    } else if starts(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        Some(PictureFormat::WebP)
    } else if starts(b"II*\0") || starts(b"MM\0*") {
        Some(PictureFormat::Tiff)
    } else if starts(b"BM") && head.get(6..10) == Some(&[0; 4]) {
        // Two letters alone would claim many a text; the four reserved bytes are always zero.
        Some(PictureFormat::Bmp)
    } else {
        None
    }
}

/// What a file that begins with `head` is, if it is of a kind that people try and that can't be read here: its name and
/// what to convert it to.
pub(super) fn foreign(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let brand = head.get(8..12).filter(|_| head.get(4..8) == Some(b"ftyp"));
    match brand {
        Some(b"heic" | b"heix" | b"hevc" | b"heim" | b"heis" | b"mif1" | b"msf1") => {
            return Some(("HEIC picture", "JPEG or PNG"));
        }
        Some(b"avif" | b"avis") => return Some(("AVIF picture", "JPEG or PNG")),
        _ => {}
    }
    let kinds: [(&[u8], _, _); 4] = [
        (b"%PDF-", "PDF document", "pictures of its pages, or let `qlens parse` read it"),
        (b"\xff\x0a", "JPEG XL picture", "JPEG or PNG"),
        (b"\0\0\0\x0cJXL ", "JPEG XL picture", "JPEG or PNG"),
        (b"8BPS", "Photoshop picture", "PNG"),
    ];
    kinds.into_iter().find(|(magic, ..)| head.starts_with(magic)).map(|(_, name, target)| (name, target))
}

fn clip(head: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| head.starts_with(magic);
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if at(4, b"ftyp") {
        Some(if at(8, b"qt  ") { "MOV" } else { "MP4" })
    } else if [b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"].iter().any(|kind| at(4, *kind)) {
        Some("MOV")
    } else if starts(b"\x1a\x45\xdf\xa3") {
        Some("Matroska or WebM")
    } else if starts(b"RIFF") && at(8, b"AVI ") {
        Some("AVI")
    } else if starts(b"FLV\x01") {
        Some("FLV")
    } else if starts(b"OggS") {
        Some("Ogg")
    } else if starts(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11") {
        Some("ASF")
    } else if starts(b"\x00\x00\x01\xba") || starts(b"\x00\x00\x01\xb3") {
        Some("MPEG")
    } else if head.len() > 188 && (at(0, b"G") && at(188, b"G") || at(4, b"G") && at(196, b"G")) {
        Some("MPEG transport stream")
    } else if starts(b"YUV4MPEG2 ") {
        Some("YUV4MPEG2")
    } else {
        None
    }
}

/// The first bytes in a form that can stand in a message: text as text, else in hexadecimal.
pub(super) fn readable(head: &[u8]) -> String {
    let head = &head[..head.len().min(12)];
    if head.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
        format!("\"{}\"", String::from_utf8_lossy(head))
    } else {
        head.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_content() {
        let cases: [(&[u8], Option<MediaKind>); 9] = [
            (b"\xff\xd8\xff\xe0rest", Some(MediaKind::Picture(PictureFormat::Jpeg))),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some(MediaKind::Picture(PictureFormat::WebP))),
            (b"RIFF\x10\0\0\0AVI LIST", Some(MediaKind::Clip("AVI"))),
            (b"\0\0\0\x20ftypisom", Some(MediaKind::Clip("MP4"))),
            (b"\x1a\x45\xdf\xa3", Some(MediaKind::Clip("Matroska or WebM"))),
            (b"\0\0\0\x20ftypheic", None),
            (b"BMW is a maker of cars", None),
            (b"", None),
            (b"GIF", None),
        ];
        for (head, kind) in cases {
            assert_eq!(sniff(head), kind, "{}", readable(head));
        }
    }

    #[test]
    fn bytes_in_messages() {
        assert_eq!(readable(b"%PDF-1.4 something"), "\"%PDF-1.4 som\"");
        assert_eq!(readable(b"\0\x01"), "00 01");
    }
}
