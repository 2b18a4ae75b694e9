//! A file's tensors, and what becomes of each.

use std::cmp::Ordering;

use super::state::{Part, State};
use super::{Importance, QuantizeError, Rules};
use crate::gguf::{GgmlType, Gguf, Tensor, Value};
use crate::quant;

/// The version of the block formats that is written into files.
const QUANTIZATION_VERSION: u32 = 2;
/// What is told anew of a file, or no longer true of it.
const REPLACED: [&str; 5] =
    ["general.quantization_version", "general.file_type", "split.no", "split.count", "split.tensors.count"];
/// What earlier quantizing left.
const ABOUT_IMPORTANCE: [&str; 4] = [
    "quantize.imatrix.file",
    "quantize.imatrix.dataset",
    "quantize.imatrix.entries_count",
    "quantize.imatrix.chunks_count",
];

/// A file to be made.
pub struct Plan<'a> {
    pub(super) source: &'a Gguf,
    pub(super) metadata: Vec<(String, Value)>,
    /// In the order in which they are written.
    pub tensors: Vec<Planned<'a>>,
}

/// A tensor, and what becomes of it.
pub struct Planned<'a> {
    /// As it is.
    pub tensor: &'a Tensor,
    /// The type that it gets.
    pub ty: GgmlType,
    /// Whether its rows are no whole blocks of the type that was meant.
    pub fallback: bool,
    /// The weights of its columns, where they are known and used.
    pub(super) importance: Option<&'a [f32]>,
}

impl Planned<'_> {
    /// Bytes that it will take.
    pub fn bytes(&self) -> u64 {
        let row = self.ty.row_bytes(self.tensor.row_len()).unwrap_or(0);
        row as u64 * self.tensor.n_rows() as u64
    }

    /// Whether its bytes stay the same.
    pub fn kept(&self) -> bool {
        self.ty == self.tensor.ty()
    }
}

impl<'a> Plan<'a> {
    /// What `rules` make of `source`.
    ///
    /// # Errors
    /// The file is of another architecture; a type can't be made, or not without importance; or a tensor would be quantized
    /// a second time without leave.
    pub fn new(source: &'a Gguf, rules: &Rules, importance: Option<&'a Importance>) -> Result<Plan<'a>, QuantizeError> {
        let names: Vec<&str> = source.tensors().map(Tensor::name).collect();
        let mut states = States::of(source, &names, importance.is_some())?;
        let mut tensors: Vec<&Tensor> = source.tensors().collect();
        // llama.cpp's order, and the one in which its rules count.
        tensors.sort_by(|a, b| in_order(a.name(), b.name()));
        let planned = tensors.into_iter().map(|tensor| plan(source, tensor, rules, importance, &mut states));
        let tensors = planned.collect::<Result<Vec<_>, _>>()?;
        Ok(Plan { source, metadata: metadata(source, rules, importance)?, tensors })
    }

    /// Bytes of all tensors before.
    pub fn bytes_before(&self) -> u64 {
        self.tensors.iter().map(|t| t.tensor.bytes().len() as u64).sum()
    }

    /// Bytes of all tensors after.
    pub fn bytes_after(&self) -> u64 {
        self.tensors.iter().map(Planned::bytes).sum()
    }

    /// Numbers of all tensors.
    pub fn weights(&self) -> u64 {
        self.tensors.iter().map(|t| t.tensor.row_len() as u64 * t.tensor.n_rows() as u64).sum()
    }

    /// Tensors whose shape forbade the type that was meant.
    pub fn fallbacks(&self) -> usize {
        self.tensors.iter().filter(|t| t.fallback).count()
    }
}

/// The rules' progress through a language model, and through a vision model, also where both are in one file.
struct States {
    text: State,
    vision: State,
}

impl States {
    /// `head` tells the model's shape, `names` all of its tensors.
    fn of(head: &Gguf, names: &[&str], importance: bool) -> Result<States, QuantizeError> {
        let metadata = head.metadata();
        let arch = metadata.require_str("general.architecture")?;
        let values =
            |inside: fn(&str) -> bool| names.iter().filter(|name| inside(name) && Part::of(name).is_value()).count();
        let vision = State { values: values(of_vision), tied: true, importance, ..State::default() };
        let text = match arch {
            "clip" => State::default(),
            "qwen2vl" | "qwen2" | "qwen25vl" => {
                let number = |key: &str| metadata.require_u32(&format!("{arch}.{key}")).map(|n| n as usize);
                let layers = number("block_count")?;
                let heads = number("attention.head_count")?;
                let kv_heads = metadata.u32(&format!("{arch}.attention.head_count_kv"))?.map_or(heads, |n| n as usize);
                State {
                    layers,
                    group: heads.checked_div(kv_heads).unwrap_or(0),
                    values: values(|name| !of_vision(name)),
                    tied: !names.contains(&"output.weight"),
                    importance,
                    large: arch == "qwen2" && layers == 80,
                    ..State::default()
                }
            }
            other => {
                let (file, found) = (head.name().to_owned(), other.chars().take(40).collect());
                return Err(QuantizeError::Architecture { file, found });
            }
        };
        Ok(States { text, vision })
    }
}

/// Whether a tensor belongs to the vision tower or the merger.
fn of_vision(name: &str) -> bool {
    name.starts_with("v.") || name.starts_with("mm.")
}

fn plan<'a>(
    source: &Gguf,
    tensor: &'a Tensor,
    rules: &Rules,
    importance: Option<&'a Importance>,
    states: &mut States,
) -> Result<Planned<'a>, QuantizeError> {
    let (name, dims) = (tensor.name(), tensor.dims());
    let kept = Planned { tensor, ty: tensor.ty(), fallback: false, importance: None };
    if !rules.takes(name, dims) {
        return Ok(kept);
    }
    let state = if of_vision(name) { &mut states.vision } else { &mut states.text };
    let (ty, fallback) = rules.target(name, dims, state);
    if ty == tensor.ty() {
        return Ok(Planned { fallback, ..kept });
    }
    can_be_made(ty)?;
    let float = matches!(tensor.ty(), GgmlType::F32 | GgmlType::F16 | GgmlType::BF16);
    if !float && !rules.requantize {
        let (file, tensor) = (source.name().to_owned(), name.to_owned());
        return Err(QuantizeError::Requantize { file, tensor, found: kept.ty, wanted: ty });
    }
    let weights = match importance {
        Some(importance) => importance.columns(name, tensor)?,
        None => None,
    };
    if weights.is_none() && rules.needs_importance(name, ty) {
        let tensor = name.to_owned();
        return Err(match importance {
            None => QuantizeError::NeedsImportance { tensor, ty },
            Some(i) => QuantizeError::NoEntry { file: i.file().to_owned(), tensor, ty },
        });
    }
    Ok(Planned { tensor, ty, fallback, importance: weights })
}

/// The types that `rules` give tensors of these names and dimensions (the row's length first) in a model whose metadata is
/// `head`'s; `None` for those that aren't quantized.
///
/// # Errors
/// The model is of another architecture; or a type can't be made, or not without importance.
pub fn types(head: &Gguf, tensors: &[(&str, &[usize])], rules: &Rules) -> Result<Vec<Option<GgmlType>>, QuantizeError> {
    let names: Vec<&str> = tensors.iter().map(|(name, _)| *name).collect();
    let mut states = States::of(head, &names, false)?;
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|&a, &b| in_order(names[a], names[b]));
    let mut types = vec![None; tensors.len()];
    for at in order {
        let (name, dims) = tensors[at];
        if !rules.takes(name, dims) {
            continue;
        }
        let state = if of_vision(name) { &mut states.vision } else { &mut states.text };
        let (chosen, _) = rules.target(name, dims, state);
        can_be_made(chosen)?;
        if rules.needs_importance(name, chosen) {
            return Err(QuantizeError::NeedsImportance { tensor: name.to_owned(), ty: chosen });
        }
        types[at] = Some(chosen);
    }
    Ok(types)
}

fn can_be_made(ty: GgmlType) -> Result<(), QuantizeError> {
    match (quant::quantizes(ty), cfg!(feature = "ggml")) {
        (true, _) => Ok(()),
        (false, true) => Err(QuantizeError::NoTarget { ty }),
        (false, false) => Err(QuantizeError::BuiltWithout { ty }),
    }
}

/// First by the block's number (what is in none comes first), then by name.
fn in_order(a: &str, b: &str) -> Ordering {
    let block = |name: &str| {
        let (digits, _) = name.strip_prefix("blk.")?.split_once('.')?;
        digits.parse::<u64>().ok()
    };
    block(a).cmp(&block(b)).then_with(|| a.cmp(b))
}

/// The file's own metadata, and what is done to it.
fn metadata(
    source: &Gguf,
    rules: &Rules,
    importance: Option<&Importance>,
) -> Result<Vec<(String, Value)>, QuantizeError> {
    let gone = |key: &str| REPLACED.contains(&key) || importance.is_some() && ABOUT_IMPORTANCE.contains(&key);
    let kept = source.metadata().iter().filter(|(key, _)| !gone(key));
    let mut all: Vec<(String, Value)> = kept.map(|(key, value)| (key.to_owned(), value.clone())).collect();
    let mut add = |key: &str, value| all.push((key.to_owned(), value));
    add(REPLACED[0], Value::U32(QUANTIZATION_VERSION));
    add(REPLACED[1], Value::U32(rules.mix.number()));
    if let Some(importance) = importance {
        add(ABOUT_IMPORTANCE[0], Value::from(importance.file()));
        if let Some(set) = importance.datasets().first() {
            add(ABOUT_IMPORTANCE[1], Value::from(set.as_str()));
        }
        add(ABOUT_IMPORTANCE[2], Value::U32(u32::try_from(importance.len()).unwrap_or(u32::MAX)));
        if importance.chunks() > 0 {
            add(ABOUT_IMPORTANCE[3], Value::U32(importance.chunks()));
        }
    }
    Ok(all)
}
