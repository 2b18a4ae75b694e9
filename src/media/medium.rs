//! Whatever a reader names: a picture or a clip.

use super::error::MediaError;
use super::moving::Clip;
use super::picture::{Picture, load_picture};
use super::sniff::{MediaKind, PictureFormat};
use super::source::{Limits, Source};

/// A picture, decoded, or a clip, opened.
pub enum Medium {
    /// A still picture.
    Picture(Picture),
    /// Anything that moves.
    Clip(Box<Clip>),
}

impl Medium {
    /// Loads what `source` names, whichever it is by its content. Standard input is taken in first; animated GIF and
    /// WebP are clips.
    ///
    /// # Errors
    /// As [`load_picture`] and [`Clip::open`].
    pub fn load(source: Source, limits: &Limits) -> Result<Medium, MediaError> {
        let source = source.fetch(limits)?;
        let clip = |source| Clip::open(source, limits).map(|clip| Medium::Clip(Box::new(clip)));
        match source.kind()? {
            MediaKind::Clip(_) => clip(&source),
            MediaKind::Picture(PictureFormat::Gif | PictureFormat::WebP) => match clip(&source) {
                // What fails as an animation may still be a picture, or says better as one what is wrong.
                Err(_) => load_picture(&source, limits).map(Medium::Picture),
                Ok(clip) => Ok(clip),
            },
            MediaKind::Picture(_) => load_picture(&source, limits).map(Medium::Picture),
        }
    }

    /// SHA-256 of the file's bytes, by which what was computed of it can be found again.
    ///
    /// # Errors
    /// If a clip can't be read once more.
    pub fn sha256(&self) -> Result<[u8; 32], MediaError> {
        match self {
            Medium::Picture(picture) => Ok(picture.info.sha256),
            Medium::Clip(clip) => clip.sha256(),
        }
    }
}
