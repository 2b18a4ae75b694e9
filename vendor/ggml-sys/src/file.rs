//! What ggml's own reader finds in a GGUF file: a second opinion on files that were made or checked by other code.

use std::ffi::{CStr, CString};
use std::path::Path;
use std::ptr::null_mut;

use crate::raw;

/// A file's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Entries of metadata.
    pub entries: usize,
    /// Where the tensors' data begin, in bytes from the file's start.
    pub data_offset: usize,
    /// The tensors, in the file's order.
    pub tensors: Vec<Stored>,
}

/// Where a tensor lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// Its type's number.
    pub ty: u32,
    /// Bytes from the start of the data.
    pub offset: usize,
}

/// What is in a file; `None` where ggml can't read it, about which it prints on standard error. It is meant for files that
/// are whole: ggml checks less than a stranger's file needs.
pub fn contents(path: &Path) -> Option<Contents> {
    let path = CString::new(path.to_str()?).ok()?;
    let params = raw::gguf_init_params { no_alloc: true, ctx: null_mut() };
    // SAFETY: the path is a string that outlives the call, and without a context only the head is read.
    let file = Opened(unsafe { raw::gguf_init_from_file(path.as_ptr(), params) });
    if file.0.is_null() {
        return None;
    }
    // SAFETY: the file is open until `file` is dropped.
    let (entries, data_offset, count) =
        unsafe { (raw::gguf_get_n_kv(file.0), raw::gguf_get_data_offset(file.0), raw::gguf_get_n_tensors(file.0)) };
    let tensor = |i: i64| {
        // SAFETY: `i` counts the file's tensors, whose names are strings that live as long as the file is open.
        let (name, ty, offset) = unsafe {
            let name = CStr::from_ptr(raw::gguf_get_tensor_name(file.0, i));
            (name, raw::gguf_get_tensor_type(file.0, i), raw::gguf_get_tensor_offset(file.0, i))
        };
        Some(Stored { name: name.to_str().ok()?.to_owned(), ty, offset })
    };
    let tensors = (0..count).map(tensor).collect::<Option<Vec<_>>>()?;
    Some(Contents { entries: usize::try_from(entries).ok()?, data_offset, tensors })
}

struct Opened(*mut raw::gguf_context);

impl Drop for Opened {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: it was opened, and nobody else has it.
            unsafe { raw::gguf_free(self.0) }
        }
    }
}
