//! The tensors of a GGUF file (GGUF specification, "gguf_tensor_info_t"): where each lies, checked against the file.

use std::collections::HashSet;
use std::sync::Arc;

use super::header::{Reader, shown};
use super::limits::{MAX_DIMS, MAX_NAME_BYTES, MAX_TENSORS};
use super::map::SharedBytes;
use super::{GgmlType, GgufError};

/// A tensor: a view into the mapped file, cheap to clone.
#[derive(Clone, Debug)]
pub struct Tensor {
    name: Arc<str>,
    ty: GgmlType,
    dims: Vec<usize>,
    data: SharedBytes,
}

impl Tensor {
    /// A tensor from bytes in memory.
    ///
    /// # Errors
    /// The bytes are not as many as type and dimensions ask for.
    pub fn from_parts(name: &str, ty: GgmlType, dims: &[usize], bytes: Vec<u8>) -> Result<Tensor, GgufError> {
        let wrong = |problem| GgufError::Format { file: format!("tensor `{name}`"), problem };
        let wanted = size_in_bytes(ty, dims).map_err(wrong)?;
        if wanted != bytes.len() {
            return Err(wrong(format!("{} bytes instead of {wanted}", bytes.len())));
        }
        Ok(Tensor { name: name.into(), ty, dims: dims.to_vec(), data: SharedBytes::owned(bytes) })
    }

    /// Its name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its numbers are stored.
    pub fn ty(&self) -> GgmlType {
        self.ty
    }

    /// Dimensions in ggml's order: the first varies fastest and is the row length.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Elements of a row.
    pub fn row_len(&self) -> usize {
        self.dims[0]
    }

    /// Rows: the product of all dimensions but the first.
    pub fn n_rows(&self) -> usize {
        self.dims[1..].iter().product()
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.dims[0] / self.ty.block_len() * self.ty.block_bytes()
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        self.data.bytes()
    }

    /// Tells the system that its memory may be taken back for now: a mapped file's bytes are read again when they are
    /// needed. For those who go through a file larger than memory once.
    pub fn give_back(&self) {
        self.data.give_back();
    }

    /// Bytes of row `i`.
    ///
    /// # Panics
    /// There is no such row.
    pub fn row(&self, i: usize) -> &[u8] {
        &self.bytes()[i * self.row_bytes()..][..self.row_bytes()]
    }

    /// The rows `start..start + len` as a tensor `[row_len, len]`.
    ///
    /// # Panics
    /// There are no such rows.
    pub fn slice_rows(&self, start: usize, len: usize) -> Tensor {
        let row = self.row_bytes();
        let data = self.data.slice(start * row..(start + len) * row);
        Tensor { name: self.name.clone(), ty: self.ty, dims: vec![self.dims[0], len], data }
    }

    /// The same numbers under other dimensions.
    ///
    /// # Errors
    /// The dimensions hold another number of elements, or cut through blocks.
    pub fn reshape(&self, dims: &[usize]) -> Result<Tensor, GgufError> {
        let same = dims.iter().product::<usize>() == self.dims.iter().product::<usize>();
        match size_in_bytes(self.ty, dims) {
            Ok(n) if same && n == self.bytes().len() => Ok(Tensor { dims: dims.to_vec(), ..self.clone() }),
            _ => Err(GgufError::Format {
                file: format!("tensor `{}`", self.name),
                problem: format!(
                    "its shape {:?} can't become {dims:?} in blocks of {}",
                    self.dims,
                    self.ty.block_len()
                ),
            }),
        }
    }
}

/// Bytes of a tensor, or what is wrong with its shape.
pub(super) fn size_in_bytes(ty: GgmlType, dims: &[usize]) -> Result<usize, String> {
    let Some((&row, rest)) = dims.split_first() else { return Err("it has no dimensions".into()) };
    if dims.contains(&0) {
        return Err(format!("its dimensions {dims:?} have a zero"));
    }
    if row % ty.block_len() != 0 {
        return Err(format!("its rows of {row} are no whole number of {ty} blocks of {}", ty.block_len()));
    }
    // Elements are bounded too: no later product of dimensions can overflow.
    let elements = dims.iter().try_fold(1usize, |a, &d| a.checked_mul(d));
    let bytes = ty.row_bytes(row).and_then(|b| rest.iter().try_fold(b, |a, &d| a.checked_mul(d)));
    match (elements, bytes) {
        (Some(e), Some(b)) if e <= isize::MAX as usize && b <= isize::MAX as usize => Ok(b),
        _ => Err(format!("its dimensions {dims:?} overflow")),
    }
}

/// A tensor's entry before the data section's place is known.
struct Entry {
    name: String,
    ty: GgmlType,
    dims: Vec<usize>,
    offset: u64,
    bytes: usize,
}

fn read_entry(r: &mut Reader<'_>) -> Result<Entry, GgufError> {
    let name = r.string(MAX_NAME_BYTES, "a tensor's name")?.to_string();
    let label = shown(&name);
    let n_dims = r.u32("a tensor's number of dimensions")?;
    if !(1..=MAX_DIMS).contains(&n_dims) {
        return Err(r.wrong(format!("damaged: tensor `{label}` has {n_dims} dimensions (1 to {MAX_DIMS})")));
    }
    let mut dims = Vec::new();
    for _ in 0..n_dims {
        let d = r.u64("a tensor's dimension")?;
        let d = usize::try_from(d).map_err(|_| r.wrong(format!("damaged: tensor `{label}` has a dimension of {d}")))?;
        dims.push(d);
    }
    let number = r.u32("a tensor's type")?;
    let Some(ty) = GgmlType::from_u32(number) else {
        return Err(r.wrong(format!("tensor `{label}` has type number {number}, which is unknown or no longer used")));
    };
    let offset = r.u64("a tensor's offset")?;
    let bytes = size_in_bytes(ty, &dims).map_err(|p| r.wrong(format!("damaged: tensor `{label}`: {p}")))?;
    Ok(Entry { name, ty, dims, offset, bytes })
}

/// Reads all entries and checks that each tensor lies within the file, aligned, apart from the others.
pub(super) fn read_tensors(r: &mut Reader<'_>, n: u64, alignment: u64) -> Result<Vec<Tensor>, GgufError> {
    let left = (r.storage.bytes().len() - r.at) as u64;
    // An entry takes 32 bytes at least.
    if n > MAX_TENSORS.min(left / 32) {
        return Err(r.wrong(format!("damaged: {n} tensors, but only {left} bytes are left in the file")));
    }
    let entries = (0..n).map(|_| read_entry(r)).collect::<Result<Vec<_>, _>>()?;
    let mut names = HashSet::new();
    if let Some(twice) = entries.iter().find(|e| !names.insert(e.name.as_str())) {
        return Err(r.wrong(format!("damaged: tensor `{}` occurs twice", shown(&twice.name))));
    }
    let data_start = (r.at as u64).next_multiple_of(alignment);
    let file_len = r.storage.bytes().len() as u64;
    let mut tensors = Vec::with_capacity(entries.len());
    let mut ranges: Vec<(u64, u64, usize)> = Vec::with_capacity(entries.len());
    for (i, e) in entries.iter().enumerate() {
        let start = data_start.checked_add(e.offset);
        let end = start.and_then(|s| s.checked_add(e.bytes as u64));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(r.wrong(format!("damaged: tensor `{}` has offset {}", shown(&e.name), e.offset)));
        };
        if e.offset % alignment != 0 {
            let name = shown(&e.name);
            return Err(
                r.wrong(format!("damaged: tensor `{name}` has offset {}, no multiple of {alignment}", e.offset))
            );
        }
        if end > file_len {
            let name = shown(&e.name);
            return Err(r.wrong(format!(
                "truncated or damaged: tensor `{name}` ends at byte {end}, but the file has {file_len}; download it again"
            )));
        }
        ranges.push((start, end, i));
        let data = SharedBytes::new(r.storage.clone(), start as usize..end as usize);
        tensors.push(Tensor { name: e.name.as_str().into(), ty: e.ty, dims: e.dims.clone(), data });
    }
    ranges.sort_unstable();
    if let Some(w) = ranges.windows(2).find(|w| w[0].1 > w[1].0) {
        let name = |i: usize| shown(&entries[i].name);
        return Err(r.wrong(format!("damaged: tensors `{}` and `{}` overlap", name(w[0].2), name(w[1].2))));
    }
    Ok(tensors)
}
