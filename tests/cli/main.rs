//! The real binary, run as a person or a script runs it; one file per theme.

mod act;
mod bad_input;
mod bench;
#[cfg(feature = "video")]
mod clips;
mod convert;
mod eval;
mod extract;
#[cfg(feature = "video")]
mod find;
mod form;
mod inspect;
mod locate;
mod many;
mod models;
mod output;
mod page;
mod parse;
mod pull;
mod quantize;
mod reference;
mod server;
mod settings;
#[cfg(unix)]
mod signals;
#[cfg(target_os = "linux")]
mod terminal;
mod trace;
mod usage;
mod util;
