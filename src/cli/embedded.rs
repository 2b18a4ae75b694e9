//! The model inside the program, for a first try without any download.

/// A model pair as bytes of the program itself.
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    /// Its name, for messages.
    pub name: &'static str,
    /// The text model's GGUF file.
    pub model: &'static [u8],
    /// The vision model's GGUF file.
    pub mmproj: &'static [u8],
}

/// The demo model; `None` in builds that carry none, as all do so far.
pub fn demo() -> Option<Embedded> {
    None
}
