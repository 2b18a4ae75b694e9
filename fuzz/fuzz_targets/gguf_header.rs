//! Any bytes are a model that can be read through and through, or are refused with one line.
#![no_main]

#[path = "../gguf_check.rs"]
mod gguf_check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = gguf_check::check(bytes);
});
