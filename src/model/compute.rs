//! The few operations that the model is made of; a backend carries them out where its numbers live.

use std::io::{self, Read, Write};

use super::ModelError;
use super::weights::Precision;
use crate::gguf::Tensor;
pub use crate::kernels::HeadDims;

/// Part of a buffer, from element `at` on; how far it reaches follows from the operation.
#[derive(Debug)]
pub struct View<'a, B> {
    /// The buffer.
    pub buf: &'a B,
    /// First element.
    pub at: usize,
}

impl<'a, B> View<'a, B> {
    /// The whole of `buf`.
    pub fn all(buf: &'a B) -> Self {
        View { buf, at: 0 }
    }
}

impl<B> Clone for View<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for View<'_, B> {}

/// What a matrix product reads, `[tokens, columns of the matrix]`, and what is done to it on the way.
#[derive(Debug)]
pub enum Input<'a, B> {
    /// The numbers as they are.
    Plain(View<'a, B>),
    /// RMSNorm over each row (Zhang and Sennrich 2019).
    RmsNorm {
        /// The rows.
        x: View<'a, B>,
        /// One factor per column.
        weight: &'a B,
        /// Added to the mean square.
        eps: f32,
    },
    /// `silu(gate) · up` (Shazeer 2020).
    SwiGlu {
        /// The gate's rows.
        gate: View<'a, B>,
        /// The other factor's rows.
        up: View<'a, B>,
    },
    /// The exact GELU, by the error function.
    Gelu(View<'a, B>),
}

/// One matrix product `out[tokens, rows] = input · weightᵀ + bias`, or added to what `out` holds.
pub struct Job<'a, C: Compute + ?Sized> {
    /// `[rows, columns]`
    pub weight: &'a C::Matrix,
    /// `[rows]`
    pub bias: Option<&'a C::Buf>,
    /// Where the result goes.
    pub out: &'a mut C::Buf,
    /// First element of the result in `out`.
    pub at: usize,
    /// Add to `out` rather than replace it.
    pub accumulate: bool,
}

/// A backend. Buffers hold f32 and start as zeros; every size is in elements.
///
/// # Panics
/// Operations panic where a buffer is shorter than the operation's shape: the model's own code sizes them.
pub trait Compute {
    /// Activations and small weight vectors.
    type Buf;
    /// A weight matrix, in whatever type the file has.
    type Matrix;
    /// Keys and values of all layers.
    type Cache;

    /// Takes a 2-D tensor as a matrix; fails where its type has no kernel.
    fn matrix(&mut self, tensor: &Tensor) -> Result<Self::Matrix, ModelError>;
    /// Like [`Compute::matrix`], but float weights may be computed with as 8-bit codes with a scale per 64, for speed.
    fn matrix_in_eight_bits(&mut self, tensor: &Tensor) -> Result<Self::Matrix, ModelError>;
    /// A buffer of `len` zeros.
    fn buf(&mut self, len: usize) -> Result<Self::Buf, ModelError>;
    /// Copies `data` into `buf` at `at`.
    fn write(&mut self, buf: &mut Self::Buf, at: usize, data: &[f32]);
    /// Copies from `buf` at `at` into `out`.
    fn read(&mut self, buf: &Self::Buf, at: usize, out: &mut [f32]);
    /// Dequantizes rows `ids` of `table` into `out`, `[ids, columns]`, from row `at_row` on.
    fn embed(&mut self, table: &Self::Matrix, ids: &[u32], out: &mut Self::Buf, at_row: usize);
    /// Carries out `jobs`, which share one input of `tokens` rows.
    fn linear(&mut self, tokens: usize, input: Input<'_, Self::Buf>, jobs: &mut [Job<'_, Self>]);
    /// RMSNorm of `rows` rows as wide as `weight`, from `x` into `out`.
    fn rms_norm(&mut self, rows: usize, x: View<'_, Self::Buf>, weight: &Self::Buf, eps: f32, out: &mut Self::Buf);
    /// Turns `x`, `[tokens, n_heads, head_dim]`, by the tables, `[tokens, head_dim / 2]` each; `head_dim` follows from
    /// the tables' length.
    fn rope(&mut self, tokens: usize, x: &mut Self::Buf, n_heads: usize, tables: (&Self::Buf, &Self::Buf), half: usize);
    /// An empty cache with room for `capacity` tokens.
    fn cache(&mut self, shape: CacheShape) -> Result<Self::Cache, ModelError>;
    /// Stores keys and values, `[tokens, n_kv_heads, head_dim]`, at `start..start + tokens`.
    fn cache_store(&mut self, cache: &mut Self::Cache, place: Place, tokens: usize, k: &Self::Buf, v: &Self::Buf);
    /// Copies what the first `held` tokens left over all up to `len`, again and again.
    fn cache_repeat(&mut self, cache: &mut Self::Cache, held: usize, len: usize);
    /// Writes what the first `len` tokens left, to be read by [`Compute::cache_read`] of a cache of the same shape.
    fn cache_write(&self, cache: &Self::Cache, len: usize, out: &mut dyn Write) -> io::Result<()>;
    /// Takes the first `len` tokens from what [`Compute::cache_write`] wrote.
    fn cache_read(&mut self, cache: &mut Self::Cache, len: usize, input: &mut dyn Read) -> io::Result<()>;
    /// Causal attention of `q`, `[tokens, n_heads, head_dim]`, over the cache: token `i` sees `0..=start + i`.
    fn attend_cached(
        &mut self,
        dims: HeadDims,
        tokens: usize,
        q: &Self::Buf,
        cache: (&Self::Cache, Place),
        out: &mut Self::Buf,
    );
    /// Attention of `[patches, n_heads, head_dim]` within each segment between `cu_seqlens`; where `precision` isn't exact,
    /// the inputs of its products may be rounded to bfloat16.
    fn attend_segments(
        &mut self,
        dims: HeadDims,
        qkv: [&Self::Buf; 3],
        cu_seqlens: &[usize],
        precision: Precision,
        out: &mut Self::Buf,
    );
}

/// How large a KV cache is.
#[derive(Clone, Copy, Debug)]
pub struct CacheShape {
    /// Element type.
    pub ty: crate::kernels::KvType,
    /// Transformer blocks.
    pub n_layers: usize,
    /// Key heads per block.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Tokens.
    pub capacity: usize,
}

/// A layer of the cache, and the index of the first token that an operation is about.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The transformer block.
    pub layer: usize,
    /// The first token.
    pub start: usize,
}
