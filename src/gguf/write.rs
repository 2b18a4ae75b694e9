//! Writing GGUF files, version 3 (GGUF specification). What this writes, [`Gguf::open`](super::Gguf::open) accepts.

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::header::shown;
use super::limits::{MAX_ALIGNMENT, MAX_DIMS, MAX_KEY_BYTES, MAX_KEYS, MAX_NAME_BYTES, MAX_TENSORS};
use super::metadata::append_string;
use super::tensors::size_in_bytes;
use super::{GgmlType, GgufError, Value};

/// What a file is to hold. The tensors' bytes are asked for one tensor at a time while it is written, so that a model
/// larger than memory can be written.
#[derive(Debug, Default)]
pub struct GgufWriter {
    metadata: Vec<(String, Value)>,
    tensors: Vec<Planned>,
    names: HashSet<String>,
}

/// A tensor to be written.
#[derive(Debug)]
struct Planned {
    name: String,
    ty: GgmlType,
    dims: Vec<usize>,
    bytes: u64,
}

impl GgufWriter {
    /// A file with nothing in it.
    pub fn new() -> GgufWriter {
        GgufWriter::default()
    }

    /// Adds a metadata entry. `general.alignment` sets the tensors' alignment, else 32.
    ///
    /// # Errors
    /// The key is there already, too long, or the alignment is no power of two.
    pub fn metadata(&mut self, key: &str, value: impl Into<Value>) -> Result<&mut Self, GgufError> {
        let value = value.into();
        if self.metadata.iter().any(|(k, _)| k == key) {
            return Err(unwritable(format!("metadata `{}` is given twice", shown(key))));
        }
        if key.len() as u64 > MAX_KEY_BYTES || self.metadata.len() as u64 >= MAX_KEYS {
            let (n, at_most) = (key.len(), MAX_KEY_BYTES);
            return Err(unwritable(format!("a metadata key of {n} bytes (at most {at_most}, in {MAX_KEYS} entries)")));
        }
        if key == "general.alignment"
            && !matches!(value, Value::U32(a) if a.is_power_of_two() && u64::from(a) <= MAX_ALIGNMENT)
        {
            return Err(unwritable(format!(
                "`general.alignment` is {value}, not an unsigned 32-bit power of two up to {MAX_ALIGNMENT}"
            )));
        }
        self.metadata.push((key.to_owned(), value));
        Ok(self)
    }

    /// Adds a tensor; `dims` in ggml's order, the row length first.
    ///
    /// # Errors
    /// The name is there already or too long, or type and dimensions don't fit together.
    pub fn tensor(&mut self, name: &str, ty: GgmlType, dims: &[usize]) -> Result<&mut Self, GgufError> {
        let wrong = |problem: String| unwritable(format!("tensor `{}`: {problem}", shown(name)));
        if name.len() as u64 > MAX_NAME_BYTES || self.tensors.len() as u64 >= MAX_TENSORS {
            return Err(wrong(format!("a name of {} bytes (at most {MAX_NAME_BYTES})", name.len())));
        }
        if dims.len() > MAX_DIMS as usize {
            return Err(wrong(format!("{} dimensions (1 to {MAX_DIMS})", dims.len())));
        }
        let bytes = size_in_bytes(ty, dims).map_err(wrong)? as u64;
        if !self.names.insert(name.to_owned()) {
            return Err(wrong("it is given twice".into()));
        }
        self.tensors.push(Planned { name: name.to_owned(), ty, dims: dims.to_vec(), bytes });
        Ok(self)
    }

    /// Writes the file beside its place and moves it there when it is complete: a reader sees the old file or the new
    /// one, and a failure leaves no half file. `fill` writes the bytes of tensor `i`, in order, each once.
    ///
    /// # Errors
    /// The folder can't be written to, or as [`GgufWriter::write_to`].
    pub fn write_file(&self, path: &Path, fill: Fill<'_>) -> Result<(), GgufError> {
        let io = |source| GgufError::Io { path: path.to_path_buf(), source };
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".gguf-").suffix(".part");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder).map_err(io)?;
        let mut out = BufWriter::with_capacity(1 << 20, file.as_file_mut());
        self.write_to(&mut out, &path.display().to_string(), fill)?;
        out.flush().map_err(io)?;
        drop(out);
        file.as_file().sync_all().map_err(io)?;
        file.persist(path).map_err(|e| io(e.error))?;
        Ok(())
    }

    /// Writes the file's bytes; `name` is for messages.
    ///
    /// # Errors
    /// `out` or `fill` fails, or `fill` writes another number of bytes than the tensor has.
    pub fn write_to(&self, out: &mut dyn Write, name: &str, fill: Fill<'_>) -> Result<(), GgufError> {
        let io = |source| GgufError::Io { path: name.into(), source };
        let (head, alignment) = self.head().ok_or_else(|| unwritable("more than 2^64 bytes of tensors".into()))?;
        out.write_all(&head).map_err(io)?;
        pad(out, head.len() as u64, alignment).map_err(io)?;
        for (i, tensor) in self.tensors.iter().enumerate() {
            let mut exact = Exact { out, left: tensor.bytes };
            fill(i, &mut exact).map_err(io)?;
            if exact.left != 0 {
                let (label, written) = (shown(&tensor.name), tensor.bytes - exact.left);
                return Err(unwritable(format!("tensor `{label}`: {written} bytes instead of {}", tensor.bytes)));
            }
            pad(out, tensor.bytes, alignment).map_err(io)?;
        }
        Ok(())
    }

    /// All that comes before the tensors' data, and the alignment.
    fn head(&self) -> Option<(Vec<u8>, u64)> {
        let alignment = self.metadata.iter().find_map(|(key, value)| match value {
            Value::U32(a) if key == "general.alignment" => Some(u64::from(*a)),
            _ => None,
        });
        let alignment = alignment.unwrap_or(32);
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            append_string(key, &mut out);
            value.append_to(&mut out);
        }
        let mut offset = 0u64;
        for tensor in &self.tensors {
            append_string(&tensor.name, &mut out);
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|&d| out.extend((d as u64).to_le_bytes()));
            out.extend((tensor.ty as u32).to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset = offset.checked_add(tensor.bytes)?.checked_next_multiple_of(alignment)?;
        }
        Some((out, alignment))
    }
}

/// Writes the bytes of the tensor with this index.
pub type Fill<'a> = &'a mut dyn FnMut(usize, &mut dyn Write) -> io::Result<()>;

fn unwritable(problem: String) -> GgufError {
    GgufError::Unwritable { file: "GGUF file".into(), problem }
}

/// Zeros up to the next multiple of `alignment` after `len` bytes.
fn pad(out: &mut dyn Write, len: u64, alignment: u64) -> io::Result<()> {
    let zeros = len.next_multiple_of(alignment) - len;
    io::copy(&mut io::Read::take(io::repeat(0), zeros), out).map(|_| ())
}

/// Lets exactly the tensor's bytes through.
struct Exact<'a> {
    out: &'a mut dyn Write,
    left: u64,
}

impl Write for Exact<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.len() as u64 > self.left {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more bytes than the tensor has"));
        }
        let n = self.out.write(buf)?;
        self.left -= n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
