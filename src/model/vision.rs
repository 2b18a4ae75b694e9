//! The vision tower and merger (Qwen2.5-VL report, section 2.1.1): windowed attention in most blocks, RMSNorm, SwiGLU,
//! 2-D rotary positions; then groups of 2×2 patches become one token of the language model's width.

use super::compute::{Compute, HeadDims, Input, Job, View};
use super::config::SINGLE_FILE;
use super::rope::{inverse_frequencies, vision_tables};
use super::weights::{Linear, Loader, Precision};
use super::windows::WindowOrder;
use super::{ModelError, VisionConfig};
use crate::gguf::Gguf;

/// Patches whose feed-forward activations are held at a time: they are the widest, and so few stay in the last cache.
const FFN_CHUNK: usize = 256;

struct Block<C: Compute> {
    norm1: C::Buf,
    q: Linear<C>,
    k: Linear<C>,
    v: Linear<C>,
    attn_out: Linear<C>,
    norm2: C::Buf,
    gate: Linear<C>,
    up: Linear<C>,
    down: Linear<C>,
    full_attention: bool,
}

/// The tensors outside the blocks, which the two kinds of files name differently; the blocks' have the same names.
struct Names {
    patch_embed: [&'static str; 2],
    post_norm: &'static str,
    merger: [&'static str; 2],
}

/// In llama.cpp's mmproj files.
const MMPROJ_NAMES: Names = Names {
    patch_embed: ["v.patch_embd.weight", "v.patch_embd.weight.1"],
    post_norm: "v.post_ln.weight",
    merger: ["mm.0", "mm.2"],
};

/// In Ollama's single files.
const SINGLE_FILE_NAMES: Names = Names {
    patch_embed: ["v.patch_embd_0.weight", "v.patch_embd_1.weight"],
    post_norm: "v.merger.ln_q.weight",
    merger: ["v.merger.mlp.0", "v.merger.mlp.2"],
};

/// Whether a language model's file has its vision tower inside, as Ollama's `qwen25vl` files do.
pub fn inside_language_model(gguf: &Gguf) -> bool {
    let arch = gguf.metadata().str("general.architecture");
    matches!(arch, Ok(Some(SINGLE_FILE))) && gguf.tensor(SINGLE_FILE_NAMES.patch_embed[0]).is_some()
}

/// The vision tower's weights on one backend.
pub struct VisionModel<C: Compute> {
    config: VisionConfig,
    precision: Precision,
    /// The patch convolution's two halves in time, `[hidden, 3 · 14 · 14]` each.
    patch_embed: [C::Matrix; 2],
    patch_bias: Option<C::Buf>,
    blocks: Vec<Block<C>>,
    post_norm: C::Buf,
    merger: [Linear<C>; 2],
    inv_freq: Vec<f32>,
}

/// Where the tower is, for progress and for comparing it with the original. Rows are in window order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The patches are embedded.
    PatchEmbed,
    /// Block `.0` is done.
    Block(usize),
}

/// Follows an encoding.
pub trait VisionObserver {
    /// Called after each stage; `false` stops the encoding.
    fn stage(&mut self, done: Stage, n_blocks: usize) -> bool;

    /// Whether [`VisionObserver::activations`] should be called.
    fn wants_activations(&self) -> bool {
        false
    }

    /// The activations `[patches, hidden]` after a stage, in window order.
    fn activations(&mut self, _stage: Stage, _x: &[f32]) {}
}

/// Activations of one encoding.
struct Activations<C: Compute> {
    x: C::Buf,
    q: C::Buf,
    k: C::Buf,
    v: C::Buf,
    attn: C::Buf,
    cos: C::Buf,
    sin: C::Buf,
}

impl<C: Compute> VisionModel<C> {
    /// Takes the tower's and merger's tensors from `gguf`, to compute with them in `precision`.
    ///
    /// # Errors
    /// A tensor is missing, has another shape, or a type without a kernel.
    pub fn load(gguf: &Gguf, compute: &mut C, precision: Precision) -> Result<Self, ModelError> {
        let config = VisionConfig::from_gguf(gguf)?;
        let mut load = Loader { gguf, compute, precision };
        let (hidden, side) = (config.hidden_size, config.patch_size);
        let mut patch = |name: &str| {
            let tensor = load.tensor(name, &[side, side, 3, hidden])?;
            load.take(&tensor.reshape(&[config.patch_len(), hidden])?)
        };
        let names = if inside_language_model(gguf) { &SINGLE_FILE_NAMES } else { &MMPROJ_NAMES };
        let patch_embed = [patch(names.patch_embed[0])?, patch(names.patch_embed[1])?];
        let patch_bias = load.optional_vector("v.patch_embd.bias", hidden)?;
        let blocks = (0..config.n_layers).map(|i| Block::load(&mut load, &config, i)).collect::<Result<_, _>>()?;
        let post_norm = load.vector(names.post_norm, hidden)?;
        let merged = hidden * config.merge_unit();
        let merger = [
            load.linear(names.merger[0], merged, merged)?,
            load.linear(names.merger[1], config.projection_dim, merged)?,
        ];
        let inv_freq = inverse_frequencies(10000.0, config.head_dim / 2);
        Ok(VisionModel { config, precision, patch_embed, patch_bias, blocks, post_norm, merger, inv_freq })
    }

    /// The hyperparameters.
    pub fn config(&self) -> &VisionConfig {
        &self.config
    }

    /// The matrices that each patch goes through.
    pub fn patch_matrices(&self) -> impl Iterator<Item = &C::Matrix> {
        self.patch_embed.iter().chain(self.blocks.iter().flat_map(Block::matrices))
    }

    /// The matrices that each merged token goes through.
    pub fn token_matrices(&self) -> impl Iterator<Item = &C::Matrix> {
        self.merger.iter().map(|l| &l.weight)
    }

    /// Encodes patches `[P, 3 · 2 · 14 · 14]` of a picture or clip of `grid_thw` patches (rows in the order of the
    /// media room: by merged token, then within it) into `[P / 4, projection_dim]`, in reading order.
    ///
    /// # Errors
    /// [`ModelError::Interrupted`] when the observer says so, or memory can't be had.
    ///
    /// # Panics
    /// `pixel_values` is not as long as `grid_thw` says, or the grid is no multiple of the merge size.
    pub fn encode(
        &self,
        compute: &mut C,
        pixel_values: &[f32],
        grid_thw: [usize; 3],
        observer: &mut dyn VisionObserver,
    ) -> Result<Vec<f32>, ModelError> {
        let c = &self.config;
        let patches = grid_thw.iter().product::<usize>();
        assert_eq!(pixel_values.len(), patches * c.patch_len() * c.temporal_patch_size, "pixels of {grid_thw:?}");
        assert!(grid_thw[1..].iter().all(|n| n.is_multiple_of(c.merge_size)), "grid {grid_thw:?}");
        let order = WindowOrder::new(grid_thw, c);
        let mut act = self.activations(compute, patches)?;
        self.embed_patches(compute, pixel_values, &order, &mut act)?;
        self.report(compute, &act, patches, Stage::PatchEmbed, observer)?;
        let (cos, sin) = vision_tables(&order.rows_cols(grid_thw, c.merge_size), &self.inv_freq);
        compute.write(&mut act.cos, 0, &cos);
        compute.write(&mut act.sin, 0, &sin);
        let mut ffn =
            [compute.buf(FFN_CHUNK.min(patches) * c.ffn_size)?, compute.buf(FFN_CHUNK.min(patches) * c.ffn_size)?];
        for (i, block) in self.blocks.iter().enumerate() {
            self.attention(compute, block, &order, patches, &mut act);
            self.feed_forward(compute, block, patches, &mut act, &mut ffn);
            self.report(compute, &act, patches, Stage::Block(i), observer)?;
        }
        self.merge(compute, &order, act)
    }

    fn activations(&self, compute: &mut C, patches: usize) -> Result<Activations<C>, ModelError> {
        let c = &self.config;
        let mut buf = |width: usize| compute.buf(patches * width);
        Ok(Activations {
            x: buf(c.hidden_size)?,
            q: buf(c.hidden_size)?,
            k: buf(c.hidden_size)?,
            v: buf(c.hidden_size)?,
            attn: buf(c.hidden_size)?,
            cos: buf(c.head_dim / 2)?,
            sin: buf(c.head_dim / 2)?,
        })
    }

    /// The convolution over (2 frames, 14, 14) as two matrix products, one per frame, on rows put into window order.
    fn embed_patches(
        &self,
        compute: &mut C,
        pixels: &[f32],
        order: &WindowOrder,
        act: &mut Activations<C>,
    ) -> Result<(), ModelError> {
        let c = &self.config;
        let (unit, plane) = (c.merge_unit(), c.patch_size * c.patch_size);
        let row_len = c.patch_len() * c.temporal_patch_size;
        let patches = order.index.len() * unit;
        let mut frame_rows = compute.buf(patches * c.patch_len())?;
        let mut host = vec![0.0; patches * c.patch_len()];
        for (frame, weight) in self.patch_embed.iter().enumerate() {
            let mut out = host.chunks_exact_mut(plane);
            for patch in order.index.iter().flat_map(|&token| token * unit..(token + 1) * unit) {
                let row = &pixels[patch * row_len..][..row_len];
                for channel in row.chunks_exact(plane * c.temporal_patch_size) {
                    // `out` has exactly one plane per patch and channel.
                    if let Some(out) = out.next() {
                        out.copy_from_slice(&channel[frame * plane..][..plane]);
                    }
                }
            }
            compute.write(&mut frame_rows, 0, &host);
            let bias = if frame == 0 { self.patch_bias.as_ref() } else { None };
            let job = Job { weight, bias, out: &mut act.x, at: 0, accumulate: frame > 0 };
            compute.linear(patches, Input::Plain(View::all(&frame_rows)), &mut [job]);
        }
        Ok(())
    }

    fn attention(
        &self,
        compute: &mut C,
        block: &Block<C>,
        order: &WindowOrder,
        patches: usize,
        act: &mut Activations<C>,
    ) {
        let c = &self.config;
        let Activations { x, q, k, v, attn, cos, sin } = act;
        let norm = Input::RmsNorm { x: View::all(x), weight: &block.norm1, eps: c.rms_eps };
        compute.linear(patches, norm, &mut [block.q.to(q), block.k.to(k), block.v.to(v)]);
        compute.rope(patches, q, c.n_heads, (cos, sin), c.head_dim / 2);
        compute.rope(patches, k, c.n_heads, (cos, sin), c.head_dim / 2);
        let dims = HeadDims { n_heads: c.n_heads, n_kv_heads: c.n_heads, head_dim: c.head_dim };
        let borders = if block.full_attention { &order.cu_seqlens } else { &order.cu_window_seqlens };
        compute.attend_segments(dims, [q, k, v], borders, self.precision, attn);
        compute.linear(patches, Input::Plain(View::all(attn)), &mut [block.attn_out.add_to(x)]);
    }

    fn feed_forward(
        &self,
        compute: &mut C,
        block: &Block<C>,
        patches: usize,
        act: &mut Activations<C>,
        [gate, up]: &mut [C::Buf; 2],
    ) {
        let c = &self.config;
        for start in (0..patches).step_by(FFN_CHUNK) {
            let rows = FFN_CHUNK.min(patches - start);
            let at = start * c.hidden_size;
            let x = View { buf: &act.x, at };
            let norm = Input::RmsNorm { x, weight: &block.norm2, eps: c.rms_eps };
            compute.linear(rows, norm, &mut [block.gate.to(gate), block.up.to(up)]);
            let swiglu = Input::SwiGlu { gate: View::all(gate), up: View::all(up) };
            compute.linear(rows, swiglu, &mut [Job { at, ..block.down.add_to(&mut act.x) }]);
        }
    }

    fn merge(&self, compute: &mut C, order: &WindowOrder, act: Activations<C>) -> Result<Vec<f32>, ModelError> {
        let c = &self.config;
        let tokens = order.index.len();
        let Activations { x, q: mut normed, .. } = act;
        compute.rms_norm(tokens * c.merge_unit(), View::all(&x), &self.post_norm, c.rms_eps, &mut normed);
        let mut inner = x;
        compute.linear(tokens, Input::Plain(View::all(&normed)), &mut [self.merger[0].to(&mut inner)]);
        let width = c.projection_dim;
        let mut out = compute.buf(tokens * width)?;
        compute.linear(tokens, Input::Gelu(View::all(&inner)), &mut [self.merger[1].to(&mut out)]);
        let mut window_order = vec![0.0; tokens * width];
        compute.read(&out, 0, &mut window_order);
        let mut reading_order = vec![0.0; tokens * width];
        for (row, &place) in window_order.chunks_exact(width).zip(&order.index) {
            reading_order[place * width..][..width].copy_from_slice(row);
        }
        Ok(reading_order)
    }

    fn report(
        &self,
        compute: &mut C,
        act: &Activations<C>,
        patches: usize,
        stage: Stage,
        observer: &mut dyn VisionObserver,
    ) -> Result<(), ModelError> {
        if observer.wants_activations() {
            let mut x = vec![0.0; patches * self.config.hidden_size];
            compute.read(&act.x, 0, &mut x);
            observer.activations(stage, &x);
        }
        if observer.stage(stage, self.blocks.len()) { Ok(()) } else { Err(ModelError::Interrupted) }
    }
}

impl<C: Compute> Block<C> {
    fn matrices(&self) -> [&C::Matrix; 7] {
        [&self.q, &self.k, &self.v, &self.attn_out, &self.gate, &self.up, &self.down].map(|l| &l.weight)
    }

    fn load(load: &mut Loader<C>, c: &VisionConfig, i: usize) -> Result<Self, ModelError> {
        let name = |part: &str| format!("v.blk.{i}.{part}");
        let hidden = c.hidden_size;
        let [q, k, v] = if load.gguf.tensor(&name("attn_qkv.weight")).is_some() {
            let stem = name("attn_qkv");
            let mut part = |which| load.linear_third(&stem, which, hidden, hidden);
            [part(0)?, part(1)?, part(2)?]
        } else {
            let mut part = |which: &str| load.linear(&name(which), hidden, hidden);
            [part("attn_q")?, part("attn_k")?, part("attn_v")?]
        };
        Ok(Block {
            norm1: load.vector(&name("ln1.weight"), hidden)?,
            q,
            k,
            v,
            attn_out: load.linear(&name("attn_out"), hidden, hidden)?,
            norm2: load.vector(&name("ln2.weight"), hidden)?,
            gate: load.linear(&name("ffn_gate"), c.ffn_size, hidden)?,
            up: load.linear(&name("ffn_up"), c.ffn_size, hidden)?,
            down: load.linear(&name("ffn_down"), hidden, c.ffn_size)?,
            full_attention: c.full_attention[i],
        })
    }
}
