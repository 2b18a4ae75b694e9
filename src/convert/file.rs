//! What one GGUF file will hold, and writing it.

use std::collections::HashSet;
use std::io::Write;

use super::awq::{GROUP, PACK};
use super::checkpoint::{Checkpoint, Found};
use super::folder::Folder;
use super::layout::{Cut, Output, Wanted};
use super::metadata::Entries;
use super::rows::{self, Origin, Target};
use super::shard::Dtype;
use super::{Conversion, ConvertError, some_of};
use crate::gguf::{GgmlType, Gguf, GgufError, GgufWriter};
use crate::model::{TextConfig, VisionConfig};
use crate::quantize::{self, Mix, Rules};
use crate::text::{ChatTemplate, Tokenizer};

/// A GGUF file to be written.
#[derive(Debug)]
pub struct FilePlan {
    pub(super) metadata: Entries,
    /// In the file's order.
    pub tensors: Vec<TensorPlan>,
}

/// A tensor to be written.
#[derive(Debug)]
pub struct TensorPlan {
    /// Its name in the file.
    pub name: String,
    /// Its type there.
    pub ty: GgmlType,
    /// Its dimensions, the row's length first.
    pub dims: Vec<usize>,
    /// Its name in the checkpoint.
    source: String,
    origin: Origin,
}

impl TensorPlan {
    /// Its size in the file.
    pub fn bytes(&self) -> u64 {
        let rows: usize = self.dims[1..].iter().product();
        self.ty.row_bytes(self.dims[0]).unwrap_or(0) as u64 * rows as u64
    }
}

impl FilePlan {
    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(TensorPlan::bytes).sum()
    }

    /// Numbers in all tensors.
    pub fn weights(&self) -> u64 {
        self.tensors.iter().map(|t| t.dims.iter().product::<usize>() as u64).sum()
    }

    fn writer(&self, with_tensors: bool) -> Result<GgufWriter, GgufError> {
        let mut writer = GgufWriter::new();
        for (key, value) in &self.metadata {
            writer.metadata(key, value.clone())?;
        }
        for t in self.tensors.iter().filter(|_| with_tensors) {
            writer.tensor(&t.name, t.ty, &t.dims)?;
        }
        Ok(writer)
    }

    /// The file without its tensors, opened as a reader would.
    fn head(&self, folder: &Folder) -> Result<Gguf, ConvertError> {
        let name = folder.path().display().to_string();
        let mut bytes = Vec::new();
        self.writer(false)?.write_to(&mut bytes, &name, &mut |_, _| Ok(()))?;
        Ok(Gguf::from_vec(&name, bytes)?)
    }

    /// Gives the matrices the types of a mix that has better ones for some; of the others [`Planner::plan`] has done it.
    pub(super) fn choose_types(&mut self, folder: &Folder, mix: Mix) -> Result<(), ConvertError> {
        if one_type(mix) {
            return Ok(());
        }
        let tensors: Vec<(&str, &[usize])> = self.tensors.iter().map(|t| (t.name.as_str(), &t.dims[..])).collect();
        let chosen = quantize::types(&self.head(folder)?, &tensors, &Rules::new(mix))?;
        for (tensor, ty) in self.tensors.iter_mut().zip(chosen) {
            tensor.ty = ty.unwrap_or(tensor.ty);
        }
        Ok(())
    }

    /// Whether what reads the language model's file will take its metadata.
    pub(super) fn check_text(&self, folder: &Folder) -> Result<(), ConvertError> {
        let head = self.head(folder)?;
        TextConfig::from_gguf(&head).map_err(ConvertError::Model)?;
        let unusable = |source| ConvertError::UnusableText { folder: folder.path().to_owned(), source };
        Tokenizer::from_gguf(head.metadata()).map_err(unusable)?;
        ChatTemplate::from_gguf(head.metadata()).map_err(unusable)?;
        Ok(())
    }

    /// Whether what reads the vision tower's file will take its metadata.
    pub(super) fn check_vision(&self, folder: &Folder) -> Result<(), ConvertError> {
        VisionConfig::from_gguf(&self.head(folder)?).map_err(ConvertError::Model).map(|_| ())
    }
}

impl Conversion {
    /// Writes a file to `out`; `name` is for messages. `progress` is told how many of the tensors' bytes are written.
    ///
    /// # Errors
    /// `out` can't be written to, a file of the checkpoint can't be read, or a number is none or too large for its type.
    pub fn write(
        &self,
        file: &FilePlan,
        out: &mut dyn Write,
        name: &str,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), ConvertError> {
        let mut failed = None;
        let mut written = 0;
        let mut fill = |i: usize, out: &mut dyn Write| {
            let tensor = &file.tensors[i];
            let target = Target { source: &tensor.source, ty: tensor.ty, dims: &tensor.dims };
            let mut done = |bytes| {
                written += bytes;
                progress(written);
            };
            match rows::convert(&self.checkpoint, &tensor.origin, &target, self.threads, out, &mut done) {
                Ok(written) => written,
                Err(e) => {
                    failed = Some(e);
                    Err(std::io::Error::other("the checkpoint"))
                }
            }
        };
        let done = file.writer(true)?.write_to(out, name, &mut fill);
        match failed {
            Some(e) => Err(e),
            None => Ok(done?),
        }
    }
}

/// Finds a file's tensors in the checkpoint.
pub(super) struct Planner<'a> {
    pub folder: &'a Folder,
    pub checkpoint: &'a Checkpoint,
    pub awq: bool,
}

/// The three tensors of a 4-bit layer `….weight`.
fn awq_names(weight: &str) -> Option<[String; 3]> {
    let layer = weight.strip_suffix(".weight")?;
    Some(["qweight", "qzeros", "scales"].map(|part| format!("{layer}.{part}")))
}

impl Planner<'_> {
    /// Looks each tensor up and checks its shape and type. The order is the checkpoint's, as llama.cpp's converter keeps it.
    pub fn plan(&self, wanted: &[Wanted], mix: Mix) -> Result<FilePlan, ConvertError> {
        let mut missing = Vec::new();
        let mut found = Vec::new();
        for tensor in wanted {
            if let Some(plain) = self.checkpoint.get(&tensor.name) {
                plain.check_shape(&tensor.shape)?;
                if !matches!(plain.stored.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
                    return Err(plain.wrong_dtype("F32, F16 or BF16"));
                }
                found.push((plain.place, tensor, [plain.place; 3], false));
            } else if let Some(places) = self.awq_layer(tensor, &mut missing)? {
                found.push((places[0], tensor, places, true));
            }
        }
        if !missing.is_empty() {
            let folder = self.folder.path().to_owned();
            return Err(ConvertError::Missing { folder, count: missing.len(), names: some_of(&missing) });
        }
        found.sort_by_key(|&(place, ..)| place);
        let mut tensors = Vec::new();
        for (place, tensor, places, packed) in found {
            for output in &tensor.outputs {
                let origin = match output.cut {
                    _ if packed => Origin::Awq { places },
                    Cut::From(first) => Origin::Plain { place, first },
                    Cut::Frame(frame) => Origin::Frame { place, frame },
                };
                tensors.push(TensorPlan {
                    name: output.name.clone(),
                    ty: type_of(output, mix),
                    dims: output.dims.clone(),
                    source: self.checkpoint.at(place).stored.name.clone(),
                    origin,
                });
            }
        }
        Ok(FilePlan { metadata: Vec::new(), tensors })
    }

    /// The three tensors that stand for a plain one in a 4-bit checkpoint, their shapes checked; what is missing is noted.
    fn awq_layer(
        &self,
        tensor: &Wanted,
        missing: &mut Vec<String>,
    ) -> Result<Option<[super::checkpoint::Place; 3]>, ConvertError> {
        let names = awq_names(&tensor.name).filter(|_| self.awq && tensor.shape.len() == 2);
        let Some(names) = names.filter(|names| names.iter().any(|name| self.checkpoint.get(name).is_some())) else {
            missing.push(tensor.name.clone());
            return Ok(None);
        };
        let parts = [&names[0], &names[1], &names[2]].map(|name| self.checkpoint.get(name));
        let [Some(codes), Some(zeros), Some(scales)] = parts else {
            let absent = names.iter().filter(|name| self.checkpoint.get(name).is_none());
            missing.extend(absent.cloned());
            return Ok(None);
        };
        let (outs, ins) = (tensor.shape[0], tensor.shape[1]);
        codes.check_shape(&[ins, outs / PACK])?;
        zeros.check_shape(&[ins / GROUP, outs / PACK])?;
        scales.check_shape(&[ins / GROUP, outs])?;
        // What doesn't divide would have passed as a smaller layer.
        if !ins.is_multiple_of(GROUP) || !outs.is_multiple_of(PACK) {
            let wanted = vec![ins.next_multiple_of(GROUP), outs.div_ceil(PACK)];
            let (file, tensor) = (codes.shard.name(), codes.stored.name.clone());
            return Err(ConvertError::Shape { file, tensor, found: codes.stored.shape.clone(), wanted });
        }
        let dtypes: [(Found<'_>, &[Dtype], &str); 3] = [
            (codes, &[Dtype::I32], "I32"),
            (zeros, &[Dtype::I32], "I32"),
            (scales, &[Dtype::F16, Dtype::BF16, Dtype::F32], "F16, BF16 or F32"),
        ];
        for (part, allowed, wanted) in dtypes {
            if !allowed.contains(&part.stored.dtype) {
                return Err(part.wrong_dtype(wanted));
            }
        }
        Ok(Some([codes.place, zeros.place, scales.place]))
    }

    /// Whether the checkpoint holds nothing but these; with `any_vision`, whatever the vision tower may have.
    pub fn no_surplus<'w>(
        &self,
        known: impl Iterator<Item = &'w Wanted>,
        any_vision: bool,
    ) -> Result<(), ConvertError> {
        let mut names = HashSet::new();
        for tensor in known {
            names.insert(tensor.name.clone());
            if self.awq {
                names.extend(awq_names(&tensor.name).into_iter().flatten());
            }
        }
        // A copy of the embedding table may stand there.
        names.insert("lm_head.weight".to_owned());
        let known = |name: &&str| names.contains(*name) || any_vision && name.starts_with("visual.");
        let surplus: Vec<String> = self.checkpoint.names().filter(|name| !known(name)).map(str::to_owned).collect();
        if surplus.is_empty() {
            return Ok(());
        }
        let folder = self.folder.path().to_owned();
        Err(ConvertError::Surplus { folder, count: surplus.len(), names: some_of(&surplus) })
    }
}

/// Whether all matrices have the same type: files that llama.cpp's converter makes. All others come from its quantizer,
/// which begins with one of them.
fn one_type(mix: Mix) -> bool {
    matches!(mix, Mix::F32 | Mix::F16 | Mix::BF16 | Mix::Q8_0)
}

/// The type of a tensor as llama.cpp's converter has it, so that its readers find what they expect.
fn type_of(output: &Output, mix: Mix) -> GgmlType {
    let ty = if one_type(mix) { mix.usual() } else { GgmlType::F32 };
    if output.dims.len() == 1 {
        return GgmlType::F32;
    }
    if matches!(output.cut, Cut::Frame(_)) {
        return if ty == GgmlType::F16 { GgmlType::F16 } else { GgmlType::F32 };
    }
    // Rows that don't divide into blocks.
    if output.dims[0].is_multiple_of(ty.block_len()) { ty } else { GgmlType::F16 }
}
