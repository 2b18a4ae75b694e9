//! Where models live: our own folder, what other programs have downloaded, and the hub from which more can be fetched.
//!
//! Nothing here knows which models can be run: whoever asks says so with a [`Judge`].
#![forbid(unsafe_code)]

mod catalog;
mod discover;
mod error;
mod fetch;
mod folders;
mod hub;
mod label;
mod layouts;
mod listing;
mod partial;
mod pull;

pub use catalog::{CatalogEntry, catalog, catalog_entry};
pub use discover::{Listing, Skipped, discover};
pub use error::StoreError;
pub use fetch::Watch;
pub use folders::{Folder, Folders, Holder};
pub use hub::{Hub, HubOptions, RemoteFile};
pub use label::bits_per_weight;
pub use listing::{Judge, Kind, Model, Verdict};
pub use pull::{Pulled, Wanted, choose, pull};
#[cfg(test)]
mod tests;
