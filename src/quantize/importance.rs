//! Importance matrices: how strongly each column of a matrix is used, so that rounding errors go where they matter less.
//!
//! llama.cpp has two formats for them: GGUF files of `NAME.in_sum2` (sums of squared inputs, a column each) and
//! `NAME.counts` (inputs that were added up), and before that a plain list, often named `.dat`.

use std::collections::BTreeMap;
use std::path::Path;

use super::QuantizeError;
use crate::gguf::{Array, Fill, GgmlType, Gguf, GgufError, GgufWriter, StringArray, Tensor, Value};

const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";
/// Bytes of a name in the old format.
const MAX_NAME_BYTES: u64 = 1 << 10;

/// The inputs of one matrix, added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Sums of squares, a column each.
    pub sums: Vec<f32>,
    /// How many inputs were added up.
    pub count: u64,
}

/// What a file says of a model's matrices.
#[derive(Clone, Debug, Default)]
pub struct Importance {
    file: String,
    /// The columns' mean squares, by the matrix's name.
    means: BTreeMap<String, Vec<f32>>,
    datasets: Vec<String>,
    chunks: u32,
}

impl Importance {
    /// Reads a file of either format.
    ///
    /// # Errors
    /// It can't be read, is of neither format, is damaged, or holds something else than finite numbers from 0 up.
    pub fn open(path: &Path) -> Result<Importance, QuantizeError> {
        let read = |source| QuantizeError::Read { path: path.to_owned(), source };
        let mut start = [0; 4];
        let mut file = std::fs::File::open(path).map_err(read)?;
        let is_gguf = std::io::Read::read_exact(&mut file, &mut start).is_ok() && &start == b"GGUF";
        let name = path.display().to_string();
        let found = if is_gguf {
            from_gguf(&Gguf::open(path)?, &name)?
        } else {
            let bytes = std::fs::read(path).map_err(read)?;
            List { bytes: &bytes, at: 0, file: &name }.read()?
        };
        for (name, means) in &found.means {
            if let Some((i, x)) = means.iter().enumerate().find(|(_, x)| !(0.0..f32::INFINITY).contains(*x)) {
                return Err(found.wrong(format!("`{}`: column {i} is {x}, not a number from 0 up", shown(name))));
            }
        }
        if found.means.is_empty() {
            return Err(found.wrong("holds no importance matrix"));
        }
        Ok(found)
    }

    /// The file it is from, as it was named.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Matrices that it knows.
    pub fn len(&self) -> usize {
        self.means.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.means.is_empty()
    }

    /// What it was made from.
    pub fn datasets(&self) -> &[String] {
        &self.datasets
    }

    /// Into how many pieces that was cut; 0 where it isn't known.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// The weights of a tensor's columns, for all its matrices one after the other; `None` where there is no entry.
    ///
    /// # Errors
    /// The entry is about another number of columns. (The embedding table's is passed over: it isn't multiplied.)
    pub fn columns(&self, name: &str, tensor: &Tensor) -> Result<Option<&[f32]>, QuantizeError> {
        let Some(means) = self.means.get(name) else { return Ok(None) };
        let wanted = tensor.row_len() * tensor.dims().iter().skip(2).product::<usize>();
        match means.len() == wanted {
            true => Ok(Some(means)),
            false if name == "token_embd.weight" => Ok(None),
            false => {
                let (file, tensor) = (self.file.clone(), name.to_owned());
                Err(QuantizeError::EntryLength { file, tensor, found: means.len(), wanted })
            }
        }
    }

    /// Writes what was added up, in llama.cpp's GGUF format.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(
        entries: &BTreeMap<String, Entry>,
        dataset: &str,
        (chunks, chunk_size): (u32, u32),
        out: &mut dyn std::io::Write,
        name: &str,
    ) -> Result<(), GgufError> {
        let mut writer = GgufWriter::new();
        writer.metadata("general.type", "imatrix")?;
        let datasets = StringArray::from_texts(&[dataset])?;
        writer.metadata("imatrix.datasets", Value::Array(Array::Strings(datasets)))?;
        writer.metadata("imatrix.chunk_count", Value::U32(chunks))?;
        writer.metadata("imatrix.chunk_size", Value::U32(chunk_size))?;
        for (name, entry) in entries {
            writer.tensor(&format!("{name}{SUMS}"), GgmlType::F32, &[entry.sums.len(), 1])?;
            writer.tensor(&format!("{name}{COUNTS}"), GgmlType::F32, &[1, 1])?;
        }
        let all: Vec<&Entry> = entries.values().collect();
        let fill: Fill<'_> = &mut |i, out| {
            let entry = all[i / 2];
            if i % 2 == 1 {
                return out.write_all(&(entry.count as f32).to_le_bytes());
            }
            let bytes: Vec<u8> = entry.sums.iter().flat_map(|x| x.to_le_bytes()).collect();
            out.write_all(&bytes)
        };
        writer.write_to(out, name, fill)
    }

    fn wrong(&self, problem: impl Into<String>) -> QuantizeError {
        QuantizeError::Importance { file: self.file.clone(), problem: problem.into() }
    }
}

/// A name from a file as it may be shown.
fn shown(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}

fn from_gguf(gguf: &Gguf, file: &str) -> Result<Importance, QuantizeError> {
    let mut found = Importance { file: file.to_owned(), ..Importance::default() };
    let metadata = gguf.metadata();
    if let Some(sets) = metadata.strings("imatrix.datasets")? {
        found.datasets = sets.iter().map(str::to_owned).collect();
    }
    found.chunks = metadata.u32("imatrix.chunk_count")?.unwrap_or(0);
    for sums in gguf.tensors() {
        let Some(name) = sums.name().strip_suffix(SUMS) else { continue };
        let wrong = |problem: &str| found.wrong(format!("`{}`: {problem}", shown(name)));
        let counts = gguf.tensor(&format!("{name}{COUNTS}")).ok_or_else(|| wrong("has sums and no counts"))?;
        if sums.ty() != GgmlType::F32 || counts.ty() != GgmlType::F32 {
            return Err(wrong("sums and counts must be F32"));
        }
        let counts: Vec<f32> = numbers(counts.bytes()).collect();
        let n = sums.row_len();
        if counts.len() != sums.n_rows() {
            return Err(wrong("has not as many counts as sums"));
        }
        // A matrix that never got an input has no more important columns.
        let mean = |(i, sum): (usize, f32)| if counts[i / n] > 0.0 { sum / counts[i / n] } else { 1.0 };
        let means = numbers(sums.bytes()).enumerate().map(mean).collect();
        found.means.insert(name.to_owned(), means);
    }
    Ok(found)
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))
}

/// The old format: the number of entries; of each the name's length, the name, the number of calls, the number of columns,
/// their sums; then, in files that aren't the oldest, the number of pieces, and the data set's name with its length. All
/// numbers have 32 bits.
struct List<'a> {
    bytes: &'a [u8],
    at: usize,
    file: &'a str,
}

impl<'a> List<'a> {
    fn read(mut self) -> Result<Importance, QuantizeError> {
        let mut found = Importance { file: self.file.to_owned(), ..Importance::default() };
        let entries = self.count("the number of entries")?;
        for _ in 0..entries {
            let name = self.text()?;
            let calls = self.count("a number of calls")?;
            let columns = self.count("a number of columns")?;
            let sums = self.take(columns * 4, "an entry's numbers")?;
            let calls = if calls > 0 { calls as f32 } else { 1.0 };
            found.means.insert(name, numbers(sums).map(|sum| sum / calls).collect());
        }
        if self.at < self.bytes.len() {
            found.chunks = self.count("the number of pieces")? as u32;
            if self.at < self.bytes.len() {
                found.datasets.push(self.text()?);
            }
        }
        Ok(found)
    }

    fn wrong(&self, problem: String) -> QuantizeError {
        QuantizeError::Importance { file: self.file.to_owned(), problem }
    }

    fn take(&mut self, n: u64, what: &str) -> Result<&'a [u8], QuantizeError> {
        let left = self.bytes.len() - self.at;
        match usize::try_from(n) {
            Ok(n) if n <= left => {
                self.at += n;
                Ok(&self.bytes[self.at - n..self.at])
            }
            _ => Err(self.wrong(format!(
                "no importance matrix, or truncated: {what} at byte {} needs {n} bytes, but only {left} are left",
                self.at
            ))),
        }
    }

    /// A number that is none below 0.
    fn count(&mut self, what: &str) -> Result<u64, QuantizeError> {
        let at = self.at;
        let bytes = self.take(4, what)?;
        let n = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        u64::try_from(n).map_err(|_| self.wrong(format!("no importance matrix: {what} at byte {at} is {n}")))
    }

    fn text(&mut self) -> Result<String, QuantizeError> {
        let at = self.at;
        let n = self.count("a name's length")?;
        if n > MAX_NAME_BYTES {
            let at_most = MAX_NAME_BYTES;
            return Err(
                self.wrong(format!("no importance matrix: a name at byte {at} has {n} bytes (at most {at_most})"))
            );
        }
        let bytes = self.take(n, "a name")?;
        // Some have a zero at the end.
        let text = bytes.split(|&b| b == 0).next().unwrap_or_default();
        let text = std::str::from_utf8(text);
        text.map(str::to_owned)
            .map_err(|_| self.wrong(format!("no importance matrix: a name at byte {at} is not UTF-8")))
    }
}
