//! What can be wrong with a checkpoint's folder.

use std::path::PathBuf;

use crate::gguf::{GgmlType, GgufError};
use crate::model::ModelError;
use crate::quantize::QuantizeError;
use crate::text::TextError;

/// A checkpoint that can't be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The folder lacks a file.
    #[error("{folder}: there is no {file} in this folder; {hint}")]
    NoFile {
        /// The folder.
        folder: PathBuf,
        /// The file.
        file: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A file of settings is larger than any such file.
    #[error("{file}: {found} bytes; such a file has at most {limit}")]
    FileSize {
        /// The file.
        file: PathBuf,
        /// Its size.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// A file isn't JSON, or not of the right shape.
    #[error("{file}: {source}")]
    Json {
        /// The file.
        file: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A file isn't text.
    #[error("{file}: not UTF-8 text")]
    Text {
        /// The file.
        file: PathBuf,
    },
    /// A setting has a value with which no model can be converted.
    #[error("{file}: `{key}` is {found}, not {wanted}")]
    Setting {
        /// The file.
        file: PathBuf,
        /// The key, with dots.
        key: String,
        /// Its value.
        found: String,
        /// What it may be.
        wanted: String,
    },
    /// A safetensors file is damaged.
    #[error("{file}: {problem}")]
    Shard {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: ShardProblem,
    },
    /// The index names a file that isn't one of this folder.
    #[error(
        "{index}: puts tensor `{tensor}` into `{shard}`, which is not the name of a .safetensors file in this folder"
    )]
    ShardName {
        /// The index.
        index: PathBuf,
        /// The tensor.
        tensor: String,
        /// The name.
        shard: String,
    },
    /// A file that the index names isn't there.
    #[error("{index}: names {shard}, which is missing from this folder; download it again")]
    ShardMissing {
        /// The index.
        index: PathBuf,
        /// The file.
        shard: String,
    },
    /// Index and file disagree.
    #[error("{index}: puts tensor `{tensor}` into {shard}, but that file doesn't hold it")]
    NotInShard {
        /// The index.
        index: PathBuf,
        /// The tensor.
        tensor: String,
        /// The file.
        shard: String,
    },
    /// A tensor is there twice.
    #[error("tensor `{tensor}` is in the checkpoint twice, in {first} and as `{again}` in {second}")]
    Twice {
        /// The tensor.
        tensor: String,
        /// Its name the second time.
        again: String,
        /// The first file.
        first: String,
        /// The second file.
        second: String,
    },
    /// Tensors are missing.
    #[error("{folder}: missing tensors ({count}): {names}")]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// How many.
        count: usize,
        /// The first of them.
        names: String,
    },
    /// There are tensors that the model doesn't have.
    #[error("{folder}: tensors that belong to no part of this model ({count}): {names}")]
    Surplus {
        /// The folder.
        folder: PathBuf,
        /// How many.
        count: usize,
        /// The first of them.
        names: String,
    },
    /// A tensor has another shape than the settings say.
    #[error("{file}: tensor `{tensor}` has the shape {found:?}, but by config.json it must be {wanted:?}")]
    Shape {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the settings ask for.
        wanted: Vec<usize>,
    },
    /// A tensor's numbers are of a type that it can't have.
    #[error("{file}: tensor `{tensor}` is {found}, not {wanted}")]
    Dtype {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: &'static str,
        /// The types that it may have.
        wanted: &'static str,
    },
    /// A number that is none, or too large for the type.
    #[error("tensor `{tensor}`: number {at} is {value}, which {ty} can't hold{hint}")]
    Value {
        /// The tensor.
        tensor: String,
        /// Which number.
        at: u64,
        /// The number.
        value: f32,
        /// The type it was to become.
        ty: GgmlType,
        /// What to do, or nothing.
        hint: &'static str,
    },
    /// The output matrix should be the embedding table, and is another.
    #[error(
        "{folder}: config.json says that the output matrix is the embedding table (tie_word_embeddings), but \
         `{head}` holds other numbers; if it is the right one, set tie_word_embeddings to false"
    )]
    TiedHead {
        /// The folder.
        folder: PathBuf,
        /// The matrix.
        head: String,
    },
    /// The tokenizer can't be written as GGUF.
    #[error("{file}: {problem}")]
    Tokenizer {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: TokenizerProblem,
    },
    /// The tensors can't be made of such types.
    #[error(transparent)]
    Types(#[from] QuantizeError),
    /// The result could not be used: the tokenizer.
    #[error("{folder}: its tokenizer can't be used: {source}")]
    UnusableText {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: TextError,
    },
    /// The result could not be used: the hyperparameters.
    #[error(transparent)]
    Model(ModelError),
    /// The result can't be written.
    #[error(transparent)]
    Gguf(#[from] GgufError),
}

/// What is wrong with a safetensors file.
#[derive(Debug, thiserror::Error)]
pub enum ShardProblem {
    /// Not even a header's length.
    #[error("{bytes} bytes are no safetensors file")]
    Short {
        /// Its size.
        bytes: u64,
    },
    /// A header that can't be.
    #[error("damaged, or no safetensors file: its header would have {found} bytes (at most {limit} here)")]
    HeaderLength {
        /// The length as it stands in the file.
        found: u64,
        /// The longest that it could have.
        limit: u64,
    },
    /// The header can't be read.
    #[error("damaged: its header is not what a safetensors file has: {source}")]
    Header {
        /// Why.
        source: serde_json::Error,
    },
    /// A type that isn't known.
    #[error("tensor `{tensor}` has the unknown type {found}")]
    Dtype {
        /// The tensor.
        tensor: String,
        /// The type.
        found: String,
    },
    /// Place and shape disagree.
    #[error("damaged: tensor `{tensor}` has the shape {shape:?} but bytes {start} to {end}")]
    Size {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
        /// Where it begins.
        start: u64,
        /// Where it ends.
        end: u64,
    },
    /// Tensors overlap, or leave a hole.
    #[error("damaged: tensor `{tensor}` begins at byte {start} of the data, but the one before it ends at {end}")]
    Place {
        /// The tensor.
        tensor: String,
        /// Where it begins.
        start: u64,
        /// Where it should.
        end: u64,
    },
    /// The file is too short.
    #[error("truncated: its tensors need {needed} bytes, but the file has {found}; download it again")]
    Truncated {
        /// What the tensors need.
        needed: u64,
        /// What is there.
        found: u64,
    },
    /// The file is too long.
    #[error("damaged: {extra} bytes follow its last tensor")]
    Longer {
        /// How many.
        extra: u64,
    },
    /// A name occurs twice.
    #[error("damaged: tensor `{tensor}` occurs twice")]
    Twice {
        /// The tensor.
        tensor: String,
    },
}

/// What is wrong with a tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerProblem {
    /// Not byte-level BPE.
    #[error("its model is {found}, not byte-level BPE")]
    Model {
        /// What it is.
        found: String,
    },
    /// It splits text by another rule.
    #[error("it splits text by another rule than Qwen2's: {found}")]
    Split {
        /// The rule.
        found: String,
    },
    /// There are no merges.
    #[error("it has no merges")]
    NoMerges,
    /// A merge is no pair.
    #[error("merge {index} is {found}, not a pair of tokens")]
    Merge {
        /// Which.
        index: usize,
        /// What it is.
        found: String,
    },
    /// A token's number is beyond the embedding table.
    #[error("token {token} has the number {id}, but the embedding table has {rows} rows")]
    Id {
        /// The token.
        token: String,
        /// Its number.
        id: u64,
        /// The table's rows.
        rows: usize,
    },
    /// Two tokens have one number.
    #[error("tokens {first} and {second} both have the number {id}")]
    SameId {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// Their number.
        id: usize,
    },
}
