//! Pictures and clips in; pixels the model was trained on out.
//!
//! The way of a picture: [`Source`] (what the reader named) → [`load_picture`] (decoded by content, upright, RGB over
//! white) → [`picture_patches`] ([`smart_resize()`], [`resize_bicubic`], normalised patch rows for the vision tower).
//! The way of a clip: [`Clip::open`] (when are its frames shown) → [`Clip::plan`] (which of them, at which size, by
//! [`sampling`]) → [`Clip::groups`] (decoded, resized and cut into patches, two frames at a time).
//!
//! Everything here treats files as hostile: sizes are checked against [`Limits`] before memory is asked for, and every
//! refusal is a [`MediaError`] that names the file and what is wrong with it.

#![forbid(unsafe_code)]

mod animation;
mod clip;
mod colour;
mod document;
mod error;
mod frames;
mod jpeg;
mod medium;
mod moving;
mod palette_tiff;
mod patches;
mod picture;
mod png;
mod resize;
mod rgb;
pub mod sampling;
mod smart_resize;
mod sniff;
mod source;
mod timeline;

pub use document::{Document, end_programs};
pub use error::{MediaError, MediaErrorKind, MediaProblem};
pub use frames::{ClipFrames, ClipGroups, DecodeAhead, FrameGroup, Stills};
pub use medium::Medium;
pub use moving::{Clip, ClipInfo, ClipPlan, ClipWarning};
pub use patches::{PatchConfig, Patches, picture_patches, write_frame_group};
pub use picture::{Picture, PictureInfo, load_picture};
pub use png::{write_jpeg, write_png};
pub use resize::resize_bicubic;
pub use rgb::Rgb8;
pub use smart_resize::{PixelBudget, smart_resize};
pub use sniff::{MediaKind, PictureFormat, sniff};
pub use source::{Limits, Source, piped_clips};
pub use timeline::Part;
