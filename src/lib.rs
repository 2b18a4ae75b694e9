//! qlens answers questions about pictures, documents and clips with Qwen2.5-VL, from GGUF files, on the reader's own
//! computer.
//!
//! The rooms, lowest first; each may use only those above it in this list (see `ARCHITECTURE.md`):
//! [`gguf`], [`quant`], [`kernels`], [`quantize`], [`model`], [`text`], [`media`], [`session`], [`tasks`], [`store`],
//! [`convert`], [`cli`].

pub mod cli;
pub mod convert;
pub mod gguf;
pub mod kernels;
pub mod media;
pub mod model;
pub mod quant;
pub mod quantize;
pub mod session;
pub mod store;
pub mod tasks;
pub mod text;
