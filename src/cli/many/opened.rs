//! A file that something is to be asked about: a picture, a clip, or a document of pages.

use std::ffi::OsStr;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::exit::CliError;
use crate::media::{self, Clip, Document, Limits, MediaKind, Part, Picture, PictureFormat, Source};
use crate::session::Medium;

/// Which part of a file one question is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// All of it.
    #[default]
    Whole,
    /// The frame of a clip at these seconds.
    Time(f64),
    /// A page of a document, from 1.
    Page(usize),
}

/// As it stands in `--resume` files; empty for the whole.
impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unit::Whole => Ok(()),
            Unit::Time(seconds) => write!(f, "t={seconds:.3}"),
            Unit::Page(page) => write!(f, "page={page}"),
        }
    }
}

impl Unit {
    /// What is added to the stem of a file name that is made of the file's: `-t12.5`, `-p03`.
    pub fn suffix(&self) -> String {
        match self {
            Unit::Whole => String::new(),
            Unit::Time(seconds) => format!("-t{seconds}"),
            Unit::Page(page) => format!("-p{page:02}"),
        }
    }
}

/// A file that has been looked into so far as to know what it is.
pub struct Opened {
    name: String,
    content: Content,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Opened").field(&self.name).finish()
    }
}

enum Content {
    /// Decoded when it is wanted: what was done before needn't be.
    Still(Source),
    Picture(Arc<Picture>),
    Clip(Arc<Clip>, Option<Part>),
    Document(Document),
}

impl Opened {
    /// Opens what an argument names: a file, a part of a clip (`clip.mp4#t=12.5`), or `-`; PDF documents where they are
    /// wanted.
    ///
    /// # Errors
    /// It can't be read, or is none of these.
    pub fn open(arg: &OsStr, documents: bool) -> Result<Opened, CliError> {
        let (file, part) = Part::split_arg(arg);
        let no_part = |name: &str| match part {
            None => Ok(()),
            Some(_) => Err(CliError::PartOfPicture { name: name.to_owned() }),
        };
        let (source, limits) = (Source::from_arg(&file), Limits::default());
        let source = if documents { source.fetch_any(&limits) } else { source.fetch(&limits) }?;
        if documents && let Some(document) = Document::of(&source)? {
            no_part(document.name())?;
            return Ok(Opened { name: document.name().to_owned(), content: Content::Document(document) });
        }
        let name = source.name();
        let content = match source.kind()? {
            MediaKind::Picture(format) if !matches!(format, PictureFormat::Gif | PictureFormat::WebP) => {
                no_part(&name)?;
                Content::Still(source)
            }
            _ => match media::Medium::load(source, &Limits::default())? {
                media::Medium::Clip(clip) => Content::Clip(clip.into(), part),
                media::Medium::Picture(picture) => {
                    no_part(&name)?;
                    Content::Picture(Arc::new(picture))
                }
            },
        };
        Ok(Opened { name, content })
    }

    /// The name that the reader gave.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the file's bytes.
    ///
    /// # Errors
    /// If reading fails.
    pub fn sha256(&self) -> Result<[u8; 32], CliError> {
        Ok(match &self.content {
            Content::Still(source) => source.sha256()?,
            Content::Picture(picture) => picture.info.sha256,
            Content::Clip(clip, _) => clip.sha256()?,
            Content::Document(document) => document.sha256()?,
        })
    }

    /// What a result about `unit` belongs to, beside the file's content.
    pub fn key(&self, unit: Unit) -> String {
        match (&self.content, unit) {
            (Content::Clip(_, Some(Part { start, end })), Unit::Whole) => format!("part={start:?},{end:?}"),
            _ => unit.to_string(),
        }
    }

    /// What of it is looked at as a picture: a picture whole; of a clip the frame at `#t=12.5`, or with `#t=10,20` one
    /// `every` so many seconds of that part; of a document the pages that `pages` keeps.
    ///
    /// # Errors
    /// A clip without a time, or a part outside of it; a document of which no page is kept.
    pub fn pictures(&self, every: Option<f64>, pages: &Pages) -> Result<Vec<Unit>, CliError> {
        match &self.content {
            Content::Still(_) | Content::Picture(_) => Ok(vec![Unit::Whole]),
            Content::Clip(clip, part) => moments(clip, *part, every),
            Content::Document(document) => {
                let kept: Vec<Unit> = (1..=document.n_pages()).filter(|&p| pages.has(p)).map(Unit::Page).collect();
                if kept.is_empty() {
                    return Err(CliError::NoSuchPages { name: self.name.clone(), pages: document.n_pages() });
                }
                Ok(kept)
            }
        }
    }

    /// One of [`Opened::pictures`], in its original's pixels; pages are drawn with `dpi` pixels an inch.
    ///
    /// # Errors
    /// It can't be decoded.
    pub fn picture(&self, unit: Unit, dpi: f64) -> Result<Arc<Picture>, CliError> {
        match (&self.content, unit) {
            (Content::Still(source), _) => Ok(Arc::new(media::load_picture(source, &Limits::default())?)),
            (Content::Picture(picture), _) => Ok(picture.clone()),
            (Content::Document(document), Unit::Page(page)) => Ok(Arc::new(document.page(page, dpi)?)),
            (Content::Document(document), _) => Ok(Arc::new(document.page(1, dpi)?)),
            (Content::Clip(clip, _), unit) => {
                let time = if let Unit::Time(seconds) = unit { seconds } else { 0.0 };
                let stills = clip.stills(&[time], None);
                let no_frame = || CliError::NoFrame { name: self.name.clone(), seconds: time };
                let frame = clip.still_frames(&stills)?.next().ok_or_else(no_frame)??;
                let name = format!("{}, {time} s", self.name);
                Ok(Arc::new(Picture::of_pixels(frame, name)))
            }
        }
    }

    /// The whole of it, to be shown to a model.
    ///
    /// # Errors
    /// It can't be decoded, or is a document.
    pub fn medium(&self) -> Result<Medium, CliError> {
        match &self.content {
            Content::Clip(clip, part) => Ok(Medium::Clip(clip.clone(), *part)),
            _ => Ok(Medium::Picture(self.picture(Unit::Whole, 0.0)?)),
        }
    }
}

/// Frames that one clip is taken apart into at most.
const MAX_MOMENTS: usize = 100_000;

fn moments(clip: &Clip, part: Option<Part>, every: Option<f64>) -> Result<Vec<Unit>, CliError> {
    let name = &clip.info().name;
    let duration = clip.info().duration;
    let (start, end) = match (part, every) {
        (None, None) => return Err(CliError::NoTime { name: name.clone() }),
        (None, Some(_)) => (0.0, duration),
        (Some(Part { start, end: None }), _) => (start, start),
        (Some(Part { start, end: Some(end) }), _) => (start, end.min(duration)),
    };
    if start > duration || end < start {
        return Err(CliError::OutsideClip { name: name.clone(), seconds: start.max(end), duration });
    }
    let every = every.unwrap_or(1.0);
    let n = ((end - start) / every + 1e-6).floor() as usize + 1;
    // Not to the microsecond: these stand in names of files.
    let time = |i: usize| Unit::Time(((start + i as f64 * every) * 1000.0).round() / 1000.0);
    Ok((0..n.min(MAX_MOMENTS)).map(time).collect())
}

/// Pages of a document, as they are typed: `3`, `2-5`, `1,4-`, `-2`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages(Vec<(usize, usize)>);

impl Pages {
    /// Whether a page, from 1, is wanted. Of none that was named, all are.
    pub fn has(&self, page: usize) -> bool {
        self.0.is_empty() || self.0.iter().any(|&(from, to)| (from..=to).contains(&page))
    }

    /// Reads what was typed.
    ///
    /// # Errors
    /// It isn't of that kind.
    pub fn parse(typed: &str) -> Result<Pages, String> {
        let wrong = || "must be pages such as 3, 2-5 or 1,4-".to_owned();
        let number = |text: &str, open: usize| {
            if text.is_empty() { Some(open) } else { text.parse::<usize>().ok().filter(|&n| n > 0) }
        };
        let range = |text: &str| {
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            let range = (number(from, 1)?, number(to, usize::MAX)?);
            (range.0 <= range.1 && !text.trim_matches('-').is_empty()).then_some(range)
        };
        typed.split(',').map(|text| range(text.trim())).collect::<Option<_>>().map(Pages).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_as_they_are_typed() {
        let kept = |typed: &str| -> Vec<usize> {
            let pages = Pages::parse(typed).expect("pages");
            (1..=6).filter(|&page| pages.has(page)).collect()
        };
        assert_eq!(kept("3"), [3]);
        assert_eq!(kept("2-3, 5-"), [2, 3, 5, 6]);
        assert_eq!(kept("-2"), [1, 2]);
        assert!((1..9).all(|page| Pages::default().has(page)));
        for wrong in ["", "0", "x", "3-2", "-", "1,,2", "1-2-3"] {
            assert!(Pages::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn units_in_names_and_files() {
        assert_eq!((Unit::Whole.suffix(), Unit::Whole.to_string()), (String::new(), String::new()));
        assert_eq!((Unit::Time(12.5).suffix(), Unit::Time(12.5).to_string()), ("-t12.5".into(), "t=12.500".into()));
        assert_eq!((Unit::Page(3).suffix(), Unit::Page(3).to_string()), ("-p03".into(), "page=3".into()));
    }
}
