//! The language model: Qwen2.5 blocks with grouped-query attention, M-RoPE and SwiGLU.

use std::io::{self, Read, Write};

use super::compute::{CacheShape, Compute, HeadDims, Input, Job, Place, View};
use super::positions::Position;
use super::rope::{Yarn, inverse_frequencies, mrope_tables};
use super::weights::{Linear, Loader, Precision};
use super::{ModelError, TextConfig};
use crate::gguf::Gguf;
use crate::kernels::{FEW_TOKENS, KvType};

/// Weights of one transformer block.
struct Block<C: Compute> {
    attn_norm: C::Buf,
    q: Linear<C>,
    k: Linear<C>,
    v: Linear<C>,
    attn_out: Linear<C>,
    ffn_norm: C::Buf,
    gate: Linear<C>,
    up: Linear<C>,
    down: Linear<C>,
}

/// The language model's weights on one backend.
pub struct LanguageModel<C: Compute> {
    config: TextConfig,
    vocab_size: usize,
    embed: C::Matrix,
    blocks: Vec<Block<C>>,
    output_norm: C::Buf,
    /// The output matrix, or `None` where it is the embedding table (tied).
    output: Option<C::Matrix>,
    inv_freq: Vec<f32>,
    /// What rotary cosines and sines are multiplied by; 1 without YaRN.
    attention_factor: f32,
}

/// What goes into one forward pass, in order.
#[derive(Clone, Copy, Debug)]
pub enum ChunkInput<'a> {
    /// Token ids, each below the vocabulary's size.
    Tokens(&'a [u32]),
    /// Encoded media `[tokens, H]`.
    Embeddings(&'a [f32]),
}

/// KV cache and activations of one conversation. No memory is asked for after the first passes.
pub struct LanguageState<C: Compute> {
    cache: C::Cache,
    /// Tokens that the cache holds.
    len: usize,
    capacity: usize,
    max_chunk: usize,
    act: Activations<C>,
}

/// Buffers for the activations of one chunk, `[max_chunk, …]`.
struct Activations<C: Compute> {
    x: C::Buf,
    q: C::Buf,
    k: C::Buf,
    v: C::Buf,
    attn: C::Buf,
    gate: C::Buf,
    up: C::Buf,
    cos: C::Buf,
    sin: C::Buf,
    logits: C::Buf,
}

impl<C: Compute> LanguageModel<C> {
    /// Takes the language model's tensors from `gguf`.
    ///
    /// # Errors
    /// A tensor is missing, has another shape, or a type without a kernel.
    pub fn load(gguf: &Gguf, compute: &mut C) -> Result<Self, ModelError> {
        let config = TextConfig::from_gguf(gguf)?;
        let mut load = Loader { gguf, compute, precision: Precision::Exact };
        let hidden = config.hidden_size;
        let vocab_size = match gguf.tensor("token_embd.weight").map(|t| t.dims()) {
            Some(&[_, n]) if n > 0 && u32::try_from(n).is_ok() => n,
            _ => load.tensor("token_embd.weight", &[hidden, 1]).map(|_| 1)?,
        };
        let embed = load.matrix("token_embd.weight", vocab_size, hidden)?;
        let output = match gguf.tensor("output.weight") {
            Some(_) => Some(load.matrix("output.weight", vocab_size, hidden)?),
            None => None,
        };
        let blocks = (0..config.n_layers).map(|i| Block::load(&mut load, &config, i)).collect::<Result<_, _>>()?;
        let output_norm = load.vector("output_norm.weight", hidden)?;
        let inv_freq = inverse_frequencies(config.rope_theta, config.head_dim);
        let yarn = config.yarn;
        let model =
            LanguageModel { config, vocab_size, embed, blocks, output_norm, output, inv_freq, attention_factor: 1.0 };
        Ok(match yarn {
            Some(yarn) => model.with_yarn(yarn),
            None => model,
        })
    }

    /// The same model with its rotary positions stretched. What was read before belongs to the old positions.
    pub fn with_yarn(mut self, yarn: Yarn) -> Self {
        self.inv_freq = yarn.frequencies(self.config.rope_theta, self.config.head_dim);
        self.attention_factor = yarn.attention_factor();
        self.config.yarn = Some(yarn);
        self
    }

    /// The hyperparameters.
    pub fn config(&self) -> &TextConfig {
        &self.config
    }

    /// The blocks' matrices.
    pub fn matrices(&self) -> impl Iterator<Item = &C::Matrix> {
        self.blocks.iter().flat_map(Block::matrices)
    }

    /// The matrix that makes the logits.
    pub fn output_matrix(&self) -> &C::Matrix {
        self.output.as_ref().unwrap_or(&self.embed)
    }

    /// Rows of the embedding table.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// An empty conversation with room for `capacity` tokens, read at most `max_chunk` at a time.
    ///
    /// # Errors
    /// The cache's size overflows or its memory can't be had.
    pub fn new_state(
        &self,
        compute: &mut C,
        ty: KvType,
        capacity: usize,
        max_chunk: usize,
    ) -> Result<LanguageState<C>, ModelError> {
        let c = &self.config;
        let shape = CacheShape { ty, n_layers: c.n_layers, n_kv_heads: c.n_kv_heads, head_dim: c.head_dim, capacity };
        let cache = compute.cache(shape)?;
        let mut buf = |width: usize| compute.buf(max_chunk * width);
        let act = Activations {
            x: buf(c.hidden_size)?,
            q: buf(c.n_heads * c.head_dim)?,
            k: buf(c.n_kv_heads * c.head_dim)?,
            v: buf(c.n_kv_heads * c.head_dim)?,
            attn: buf(c.n_heads * c.head_dim)?,
            gate: buf(c.ffn_size)?,
            up: buf(c.ffn_size)?,
            cos: buf(c.head_dim / 2)?,
            sin: buf(c.head_dim / 2)?,
            logits: compute.buf(FEW_TOKENS.min(max_chunk) * self.vocab_size)?,
        };
        Ok(LanguageState { cache, len: 0, capacity, max_chunk, act })
    }

    /// Reads `chunk` at `positions` after what `state` holds. `keep_going` is asked before each block.
    ///
    /// # Errors
    /// [`ModelError::Interrupted`]; `state` then still holds what it held before.
    ///
    /// # Panics
    /// The chunk is empty, longer than the state's chunks or its free room, or its parts don't add up to `positions`.
    pub fn forward(
        &self,
        compute: &mut C,
        state: &mut LanguageState<C>,
        chunk: &[ChunkInput<'_>],
        positions: &[Position],
        keep_going: &dyn Fn() -> bool,
    ) -> Result<(), ModelError> {
        let tokens = positions.len();
        assert!((1..=state.max_chunk).contains(&tokens), "a chunk of {tokens} tokens");
        assert!(state.len + tokens <= state.capacity, "the cache is full");
        self.embed_chunk(compute, state, chunk, tokens);
        let (mut cos, mut sin) = mrope_tables(positions, &self.inv_freq, self.config.mrope_sections);
        if self.attention_factor != 1.0 {
            cos.iter_mut().chain(&mut sin).for_each(|x| *x *= self.attention_factor);
        }
        compute.write(&mut state.act.cos, 0, &cos);
        compute.write(&mut state.act.sin, 0, &sin);
        for layer in 0..self.blocks.len() {
            if !keep_going() {
                return Err(ModelError::Interrupted);
            }
            self.block(compute, state, layer, tokens);
        }
        state.len += tokens;
        Ok(())
    }

    fn embed_chunk(&self, compute: &mut C, state: &mut LanguageState<C>, chunk: &[ChunkInput<'_>], tokens: usize) {
        let hidden = self.config.hidden_size;
        let mut row = 0;
        for part in chunk {
            match part {
                ChunkInput::Tokens(ids) => {
                    compute.embed(&self.embed, ids, &mut state.act.x, row);
                    row += ids.len();
                }
                ChunkInput::Embeddings(data) => {
                    compute.write(&mut state.act.x, row * hidden, data);
                    row += data.len() / hidden;
                }
            }
        }
        assert_eq!(row, tokens, "the chunk's parts against its positions");
    }

    fn block(&self, compute: &mut C, state: &mut LanguageState<C>, layer: usize, tokens: usize) {
        let (c, b) = (&self.config, &self.blocks[layer]);
        let place = Place { layer, start: state.len };
        let Activations { x, q, k, v, attn, gate, up, cos, sin, .. } = &mut state.act;
        let norm = Input::RmsNorm { x: View::all(x), weight: &b.attn_norm, eps: c.rms_eps };
        compute.linear(tokens, norm, &mut [b.q.to(q), b.k.to(k), b.v.to(v)]);
        compute.rope(tokens, q, c.n_heads, (cos, sin), c.head_dim / 2);
        compute.rope(tokens, k, c.n_kv_heads, (cos, sin), c.head_dim / 2);
        compute.cache_store(&mut state.cache, place, tokens, k, v);
        let dims = HeadDims { n_heads: c.n_heads, n_kv_heads: c.n_kv_heads, head_dim: c.head_dim };
        compute.attend_cached(dims, tokens, q, (&state.cache, place), attn);
        compute.linear(tokens, Input::Plain(View::all(attn)), &mut [b.attn_out.add_to(x)]);
        let norm = Input::RmsNorm { x: View::all(x), weight: &b.ffn_norm, eps: c.rms_eps };
        compute.linear(tokens, norm, &mut [b.gate.to(gate), b.up.to(up)]);
        let swiglu = Input::SwiGlu { gate: View::all(gate), up: View::all(up) };
        compute.linear(tokens, swiglu, &mut [b.down.add_to(x)]);
    }

    /// Logits of tokens of the chunk that was read last, from `row` on, into `out`, `[tokens, vocab]`. Each token's are the
    /// same with any others beside it.
    ///
    /// # Panics
    /// Rows are outside the chunks' size, or `out` hasn't room for 1 to [`FEW_TOKENS`] tokens.
    pub fn logits(&self, compute: &mut C, state: &mut LanguageState<C>, row: usize, out: &mut [f32]) {
        let tokens = out.len() / self.vocab_size;
        assert!((1..=FEW_TOKENS).contains(&tokens) && out.len() == tokens * self.vocab_size, "{tokens} tokens' logits");
        assert!(row + tokens <= state.max_chunk, "logits of rows from {row} on");
        let act = &mut state.act;
        let x = View { buf: &act.x, at: row * self.config.hidden_size };
        let norm = Input::RmsNorm { x, weight: &self.output_norm, eps: self.config.rms_eps };
        let job = Job { weight: self.output_matrix(), bias: None, out: &mut act.logits, at: 0, accumulate: false };
        compute.linear(tokens, norm, &mut [job]);
        compute.read(&act.logits, 0, out);
    }

    /// Logits of the tokens from `first` on of the chunk that was read last, into `out` `[tokens, vocab]`. A few at a
    /// time: as precise as those from which an answer's tokens are chosen, and each weight is read less often.
    ///
    /// # Errors
    /// There is no memory for a few rows of logits.
    ///
    /// # Panics
    /// `out` is not a whole number of vocabularies long, or reaches outside the chunks' size.
    pub fn logits_of(
        &self,
        compute: &mut C,
        state: &mut LanguageState<C>,
        first: usize,
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        const AT_ONCE: usize = FEW_TOKENS;
        let (vocab, hidden) = (self.vocab_size, self.config.hidden_size);
        assert!(out.len().is_multiple_of(vocab) && first + out.len() / vocab <= state.max_chunk);
        let mut logits = compute.buf(AT_ONCE.min(out.len() / vocab) * vocab)?;
        for (i, out) in out.chunks_mut(AT_ONCE * vocab).enumerate() {
            let x = View { buf: &state.act.x, at: (first + i * AT_ONCE) * hidden };
            let norm = Input::RmsNorm { x, weight: &self.output_norm, eps: self.config.rms_eps };
            let job = Job { weight: self.output_matrix(), bias: None, out: &mut logits, at: 0, accumulate: false };
            compute.linear(out.len() / vocab, norm, &mut [job]);
            compute.read(&logits, 0, out);
        }
        Ok(())
    }
}

impl<C: Compute> Block<C> {
    fn matrices(&self) -> [&C::Matrix; 7] {
        [&self.q, &self.k, &self.v, &self.attn_out, &self.gate, &self.up, &self.down].map(|l| &l.weight)
    }

    fn load(load: &mut Loader<C>, c: &TextConfig, i: usize) -> Result<Self, ModelError> {
        let name = |part: &str| format!("blk.{i}.{part}");
        let (hidden, heads, kv) = (c.hidden_size, c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim);
        Ok(Block {
            attn_norm: load.vector(&name("attn_norm.weight"), hidden)?,
            q: load.linear(&name("attn_q"), heads, hidden)?,
            k: load.linear(&name("attn_k"), kv, hidden)?,
            v: load.linear(&name("attn_v"), kv, hidden)?,
            attn_out: load.linear(&name("attn_output"), hidden, heads)?,
            ffn_norm: load.vector(&name("ffn_norm.weight"), hidden)?,
            gate: load.linear(&name("ffn_gate"), c.ffn_size, hidden)?,
            up: load.linear(&name("ffn_up"), c.ffn_size, hidden)?,
            down: load.linear(&name("ffn_down"), hidden, c.ffn_size)?,
        })
    }
}

impl<C: Compute> LanguageState<C> {
    /// Tokens held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been read yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tokens that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The longest chunk that [`LanguageModel::forward`] takes.
    pub fn max_chunk(&self) -> usize {
        self.max_chunk
    }

    /// Forgets all but the first `len` tokens.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Writes the keys and values that are held.
    ///
    /// # Errors
    /// Whatever writing to `out` gives.
    pub fn write_cache(&self, compute: &C, out: &mut dyn Write) -> io::Result<()> {
        compute.cache_write(&self.cache, self.len, out)
    }

    /// Holds the `len` tokens that [`LanguageState::write_cache`] of a state of the same model and type wrote; nothing
    /// where that fails.
    ///
    /// # Errors
    /// Whatever reading gives.
    ///
    /// # Panics
    /// `len` is more than the capacity.
    pub fn read_cache(&mut self, compute: &mut C, len: usize, input: &mut dyn Read) -> io::Result<()> {
        self.len = 0;
        compute.cache_read(&mut self.cache, len, input)?;
        self.len = len;
        Ok(())
    }

    /// Makes a context of `len` tokens without computing them, for measurements: the keys and values that are held are
    /// repeated until there are enough.
    ///
    /// # Panics
    /// Nothing is held, or `len` is more than the capacity.
    pub fn repeat_to(&mut self, compute: &mut C, len: usize) {
        compute.cache_repeat(&mut self.cache, self.len, len);
        self.len = len;
    }

    /// The keys and values.
    pub fn cache(&self) -> &C::Cache {
        &self.cache
    }
}

impl<C: Compute> Linear<C> {
    /// The product that replaces `out`.
    pub fn to<'a>(&'a self, out: &'a mut C::Buf) -> Job<'a, C> {
        Job { weight: &self.weight, bias: self.bias.as_ref(), out, at: 0, accumulate: false }
    }

    /// The product that is added to `out`.
    pub fn add_to<'a>(&'a self, out: &'a mut C::Buf) -> Job<'a, C> {
        Job { accumulate: true, ..self.to(out) }
    }
}
