//! The model inside the program, for a first try without any download: `models/README.md` says what it knows.

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

/// Bytes that begin where a mapped file would: on a boundary that every type of tensor can be read from.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!("../../models/demo-q8_0.gguf"));
static MMPROJ: &Aligned<[u8]> = &Aligned(*include_bytes!("../../models/mmproj-demo-q8_0.gguf"));

/// The demo model.
pub fn demo() -> Embedded {
    Embedded { name: "qlens-demo", model: &MODEL.0, mmproj: &MMPROJ.0 }
}
