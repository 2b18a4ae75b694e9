//! Reading the parts of a GGUF file that come before the tensors' data, with every length checked.

use super::GgufError;
use super::map::{SharedBytes, Storage};

/// Reads little-endian numbers and strings from the front of a file.
pub(super) struct Reader<'a> {
    pub file: &'a str,
    pub storage: &'a Storage,
    pub at: usize,
    /// GGUF version: 1 had 32-bit lengths, 2 and 3 have 64-bit ones.
    pub version: u32,
}

impl<'a> Reader<'a> {
    pub fn wrong(&self, problem: impl Into<String>) -> GgufError {
        GgufError::Format { file: self.file.to_string(), problem: problem.into() }
    }

    pub fn rest(&self) -> usize {
        self.storage.bytes().len() - self.at
    }

    /// The next `n` bytes; `what` names them in the error.
    pub fn take(&mut self, n: u64, what: &str) -> Result<&'a [u8], GgufError> {
        match usize::try_from(n) {
            Ok(n) if n <= self.rest() => {
                self.at += n;
                Ok(&self.storage.bytes()[self.at - n..self.at])
            }
            _ => Err(self.wrong(format!(
                "truncated or damaged: {what} at byte {} needs {n} bytes, but only {} are left; download it again",
                self.at,
                self.rest()
            ))),
        }
    }

    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64, what)?);
        Ok(out)
    }

    pub fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A string of at most `max` bytes.
    pub fn string(&mut self, max: u64, what: &str) -> Result<&'a str, GgufError> {
        let n = self.u64(what)?;
        if n > max {
            return Err(self.wrong(format!("damaged: {what} at byte {} claims {n} bytes (at most {max})", self.at)));
        }
        let start = self.at;
        let bytes = self.take(n, what)?;
        std::str::from_utf8(bytes).map_err(|_| self.wrong(format!("damaged: {what} at byte {start} is not UTF-8")))
    }

    /// The bytes from `start` to here, as a shared part.
    pub fn shared(&self, start: usize) -> SharedBytes {
        SharedBytes::new(self.storage.clone(), start..self.at)
    }
}

/// A name from the file as it may be shown: control characters escaped, cut after 80 characters, so that neither a
/// terminal nor the time that a message takes is in the file's hands.
pub(super) fn shown(name: &str) -> String {
    let mut out: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if name.chars().nth(80).is_some() {
        out.push('…');
    }
    out
}

/// Magic and version; leaves the reader at the counts.
pub(super) fn read_magic(r: &mut Reader<'_>) -> Result<(), GgufError> {
    let magic: [u8; 4] = r.array("the magic number")?;
    if &magic != b"GGUF" {
        let shown = String::from_utf8_lossy(&magic).escape_default().to_string();
        return Err(r.wrong(format!("not a GGUF file: it starts with `{shown}` instead of `GGUF`")));
    }
    r.version = r.u32("the version")?;
    match r.version {
        2 | 3 => Ok(()),
        v if v.swap_bytes() == 2 || v.swap_bytes() == 3 => {
            Err(r.wrong("a big-endian GGUF file; only little-endian ones are supported"))
        }
        v => Err(r.wrong(format!("GGUF version {v}; versions 2 and 3 are supported"))),
    }
}
