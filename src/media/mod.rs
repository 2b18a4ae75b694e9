//! Pictures and clips in; pixels the model was trained on out.
//!
//! The way of a picture: [`Source`] (what the reader named) → [`load_picture`] (decoded by content, upright, RGB over
//! white) → [`picture_patches`] ([`smart_resize`], [`resize_bicubic`], normalised patch rows for the vision tower).
//! A clip goes through [`sampling`] instead: which frames, at which size, and how many seconds a group of two covers.
//!
//! Everything here treats files as hostile: sizes are checked against [`Limits`] before memory is asked for, and every
//! refusal is a [`MediaError`] that names the file and what is wrong with it.

#![forbid(unsafe_code)]

mod colour;
mod error;
mod jpeg;
mod patches;
mod picture;
mod resize;
mod rgb;
pub mod sampling;
mod smart_resize;
mod sniff;
mod source;

pub use error::{MediaError, MediaErrorKind, MediaProblem};
pub use patches::{PatchConfig, Patches, picture_patches, write_frame_group};
pub use picture::{Picture, PictureInfo, load_picture};
pub use resize::resize_bicubic;
pub use rgb::Rgb8;
pub use smart_resize::{PixelBudget, smart_resize};
pub use sniff::{MediaKind, PictureFormat, sniff};
pub use source::{Limits, Source};
