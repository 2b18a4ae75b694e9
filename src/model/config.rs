//! Hyperparameters, read from GGUF metadata and checked.

use super::{ModelError, Yarn};
use crate::gguf::{Gguf, Metadata};

/// Upper bounds far above every released model; they keep products of sizes from overflowing.
const MAX_WIDTH: usize = 1 << 20;
const MAX_LAYERS: usize = 1024;
const MAX_HEADS: usize = 4096;
/// Pixels along the side of what becomes one token, 28 in every released model: the least picture is of this size.
const MAX_TOKEN_SIDE: usize = 128;
/// The most that pictures are enlarged to: what larger ones are reduced to.
const MAX_MIN_PIXELS: usize = 1280 * 28 * 28;

/// The architecture of a single file that holds both the language model and the vision tower, as Ollama's converter writes
/// it (ollama/ollama, `convert/convert_qwen25vl.go`): the tower's keys and tensors have names of their own.
pub(super) const SINGLE_FILE: &str = "qwen25vl";

/// Hyperparameters of the language model (architectures `qwen2vl` and `qwen2`, and `qwen25vl` with its tower inside).
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of transformer blocks.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads (grouped-query attention).
    pub n_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Width of the feed-forward network.
    pub ffn_size: usize,
    /// RMSNorm epsilon.
    pub rms_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// How many of the `head_dim / 2` rotary frequencies follow the t, h and w positions (M-RoPE).
    pub mrope_sections: [usize; 3],
    /// Positions that the model was trained on.
    pub context_length: usize,
    /// How rotary positions are stretched beyond that, where the file says so.
    pub yarn: Option<Yarn>,
}

/// Hyperparameters of the vision tower and merger (`clip` with `qwen2.5vl_merger`, or inside a `qwen25vl` file).
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Width of the tower.
    pub hidden_size: usize,
    /// Number of blocks.
    pub n_layers: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Width of the feed-forward network.
    pub ffn_size: usize,
    /// RMSNorm epsilon.
    pub rms_eps: f32,
    /// Pixels along a patch's side.
    pub patch_size: usize,
    /// Frames per patch.
    pub temporal_patch_size: usize,
    /// Patches along the side of the square that the merger turns into one token.
    pub merge_size: usize,
    /// Pixels along an attention window's side.
    pub window_size: usize,
    /// For each block, whether it attends to the whole frame rather than to windows.
    pub full_attention: Vec<bool>,
    /// Width of the merger's output: the language model's hidden size.
    pub projection_dim: usize,
    /// Mean of the training pictures' channels, in units of 0…1.
    pub image_mean: [f32; 3],
    /// Standard deviation of the training pictures' channels, in units of 0…1.
    pub image_std: [f32; 3],
    /// Smaller pictures are enlarged to about this many pixels, where nobody asks for another bound; the released models'
    /// files don't say. It is transformers' `min_pixels`, under the name that llama.cpp has for it.
    pub image_min_pixels: Option<usize>,
}

/// One file's metadata with the checks that every size goes through.
struct Keys<'a> {
    file: &'a str,
    meta: &'a Metadata,
}

impl Keys<'_> {
    fn wrong(&self, key: &str, found: impl ToString, wanted: impl ToString) -> ModelError {
        ModelError::Hyperparameter {
            file: self.file.to_string(),
            key: key.to_string(),
            found: found.to_string(),
            wanted: wanted.to_string(),
        }
    }

    /// A size in `1..=max`; `default` stands in where the key is absent.
    fn size(&self, key: &str, max: usize, default: Option<usize>) -> Result<usize, ModelError> {
        let n = match (self.meta.u64(key)?, default) {
            (Some(n), _) => n,
            (None, Some(default)) => return Ok(default),
            (None, None) => self.meta.require_u64(key)?,
        };
        match usize::try_from(n) {
            Ok(n) if (1..=max).contains(&n) => Ok(n),
            _ => Err(self.wrong(key, n, format!("between 1 and {max}"))),
        }
    }

    /// A size that may be absent.
    fn optional(&self, key: &str, max: usize) -> Result<Option<usize>, ModelError> {
        self.meta.u64(key)?.map(|_| self.size(key, max, None)).transpose()
    }

    /// A finite number above zero.
    fn positive(&self, key: &str, default: Option<f32>) -> Result<f32, ModelError> {
        let x = match (self.meta.f32(key)?, default) {
            (Some(x), _) => x,
            (None, Some(default)) => default,
            (None, None) => self.meta.require_f32(key)?,
        };
        if x.is_finite() && x > 0.0 { Ok(x) } else { Err(self.wrong(key, x, "a finite number above zero")) }
    }

    fn triple(&self, key: &str, default: [f32; 3]) -> Result<[f32; 3], ModelError> {
        let Some(v) = self.meta.f32s(key)? else { return Ok(default) };
        match <[f32; 3]>::try_from(v.as_slice()) {
            Ok(t) if t.iter().all(|x| x.is_finite()) => Ok(t),
            _ => Err(self.wrong(key, format!("{v:?}"), "three finite numbers")),
        }
    }
}

impl TextConfig {
    /// Reads the language model's hyperparameters.
    ///
    /// # Errors
    /// Another architecture, a missing key, or a value outside any such model's range, each by name.
    pub fn from_gguf(gguf: &Gguf) -> Result<TextConfig, ModelError> {
        let keys = Keys { file: gguf.name(), meta: gguf.metadata() };
        let arch = keys.meta.require_str("general.architecture")?;
        if !matches!(arch, "qwen2vl" | "qwen2" | SINGLE_FILE) {
            return Err(ModelError::Architecture {
                file: keys.file.to_string(),
                found: arch.to_string(),
                wanted: "`qwen2vl`, `qwen2`, `qwen25vl`",
            });
        }
        let key = |name: &str| format!("{arch}.{name}");
        let hidden_size = keys.size(&key("embedding_length"), MAX_WIDTH, None)?;
        let n_heads = keys.size(&key("attention.head_count"), MAX_HEADS, None)?;
        let n_kv_heads = keys.size(&key("attention.head_count_kv"), MAX_HEADS, Some(n_heads))?;
        if n_heads % n_kv_heads != 0 {
            let wanted = format!("a divisor of the {n_heads} query heads");
            return Err(keys.wrong(&key("attention.head_count_kv"), n_kv_heads, wanted));
        }
        if hidden_size % n_heads != 0 && keys.meta.get(&key("attention.key_length")).is_none() {
            return Err(keys.wrong(&key("attention.head_count"), n_heads, format!("a divisor of {hidden_size}")));
        }
        let head_dim = keys.size(&key("attention.key_length"), MAX_WIDTH, Some(hidden_size / n_heads))?;
        if head_dim % 2 != 0 {
            return Err(keys.wrong("head size", head_dim, "even, as rotary positions need"));
        }
        let yarn = match keys.meta.str(&key("rope.scaling.type"))?.unwrap_or("none") {
            "none" => None,
            "yarn" => Some(Yarn {
                factor: keys.positive(&key("rope.scaling.factor"), None)?,
                original: keys.size(&key("rope.scaling.original_context_length"), 1 << 28, None)?,
            }),
            scaling => return Err(keys.wrong(&key("rope.scaling.type"), scaling, "`none` or `yarn`")),
        };
        Ok(TextConfig {
            hidden_size,
            n_layers: keys.size(&key("block_count"), MAX_LAYERS, None)?,
            n_heads,
            n_kv_heads,
            head_dim,
            ffn_size: keys.size(&key("feed_forward_length"), MAX_WIDTH, None)?,
            rms_eps: keys.positive(&key("attention.layer_norm_rms_epsilon"), Some(1e-6))?,
            rope_theta: keys.positive(&key("rope.freq_base"), Some(1e6))?,
            mrope_sections: Self::sections(&keys, arch, head_dim / 2)?,
            context_length: keys.size(&key("context_length"), 1 << 28, None)?,
            yarn,
        })
    }

    /// The M-RoPE sections; a text-only model has one, for its one kind of position.
    fn sections(keys: &Keys, arch: &str, half: usize) -> Result<[usize; 3], ModelError> {
        let single = arch == SINGLE_FILE;
        let key = &format!("{arch}.rope.{}", if single { "mrope_section" } else { "dimension_sections" });
        let Some(v) = keys.meta.u32s(key)? else {
            return match arch {
                "qwen2" => Ok([half, 0, 0]),
                // The first of these files leave out what is the same in all released models.
                _ if single && half == 64 => Ok([16, 24, 24]),
                _ => Err(keys.wrong(key, "missing", "three sizes (t, h, w)")),
            };
        };
        let wanted = format!("three sizes (t, h, w) that add up to {half}, half of a head");
        let given = v.get(..3).map(|s| [s[0] as usize, s[1] as usize, s[2] as usize]);
        match given {
            Some(s) if s.iter().sum::<usize>() == half && v[3..].iter().all(|&x| x == 0) => Ok(s),
            _ => Err(keys.wrong(key, format!("{v:?}"), wanted)),
        }
    }
}

impl VisionConfig {
    /// Reads the vision tower's hyperparameters from an mmproj file, or from a single file that has the tower inside.
    ///
    /// # Errors
    /// Another projector, a missing key, or a value outside any such model's range, each by name.
    pub fn from_gguf(gguf: &Gguf) -> Result<VisionConfig, ModelError> {
        let keys = Keys { file: gguf.name(), meta: gguf.metadata() };
        let single = Self::is_single_file(&keys)?;
        let prefix = if single { "qwen25vl.vision" } else { "clip.vision" };
        let key = |name: &str| format!("{prefix}.{name}");
        let hidden_size = keys.size(&key("embedding_length"), MAX_WIDTH, None)?;
        let n_heads = keys.size(&key("attention.head_count"), MAX_HEADS, None)?;
        if hidden_size % n_heads != 0 || (hidden_size / n_heads) % 4 != 0 {
            let wanted = format!("a divisor of {hidden_size} that leaves heads of a multiple of 4");
            return Err(keys.wrong(&key("attention.head_count"), n_heads, wanted));
        }
        let n_layers = keys.size(&key("block_count"), MAX_LAYERS, None)?;
        let patch_size = keys.size(&key("patch_size"), 256, None)?;
        let merge_size = keys.size(&key("spatial_merge_size"), 16, Some(2))?;
        if patch_size * merge_size > MAX_TOKEN_SIDE {
            let wanted = format!("at most {}", MAX_TOKEN_SIDE / merge_size);
            return Err(keys.wrong(&key("patch_size"), patch_size, wanted));
        }
        let window_size = keys.size(&key("window_size"), 1 << 16, Some(112))?;
        if window_size % (patch_size * merge_size) != 0 {
            let wanted = format!("a multiple of {} (patch size times merge size)", patch_size * merge_size);
            return Err(keys.wrong(&key("window_size"), window_size, wanted));
        }
        let (ffn_size, projection_dim) = if single {
            Self::inner_widths(gguf, &keys)?
        } else {
            let width = |name| keys.size(&key(name), MAX_WIDTH, None);
            (width("feed_forward_length")?, width("projection_dim")?)
        };
        Ok(VisionConfig {
            hidden_size,
            n_layers,
            n_heads,
            head_dim: hidden_size / n_heads,
            ffn_size,
            rms_eps: keys.positive(&key("attention.layer_norm_epsilon"), Some(1e-6))?,
            patch_size,
            temporal_patch_size: 2,
            merge_size,
            window_size,
            full_attention: Self::full_attention(&keys, single, n_layers)?,
            projection_dim,
            image_mean: keys.triple(&key("image_mean"), [0.481_454_66, 0.457_827_5, 0.408_210_73])?,
            image_std: keys.triple(&key("image_std"), [0.268_629_54, 0.261_302_6, 0.275_777_1])?,
            image_min_pixels: keys.optional(&key("image_min_pixels"), MAX_MIN_PIXELS)?,
        })
    }

    /// Whether the tower is inside a language model's file; it is refused if it is neither there nor of this kind.
    fn is_single_file(keys: &Keys) -> Result<bool, ModelError> {
        let wrong = |found: &str, wanted| ModelError::Architecture {
            file: keys.file.to_string(),
            found: found.to_string(),
            wanted,
        };
        match keys.meta.require_str("general.architecture")? {
            SINGLE_FILE => return Ok(true),
            "clip" => {}
            arch => return Err(wrong(arch, "`clip` (an mmproj file)")),
        }
        let projector = match keys.meta.str("clip.projector_type")? {
            Some(p) => p,
            None => keys.meta.str("clip.vision.projector_type")?.unwrap_or("missing"),
        };
        if projector != "qwen2.5vl_merger" {
            return Err(wrong(projector, "the projector `qwen2.5vl_merger`"));
        }
        Ok(false)
    }

    /// The widths of the feed-forward network and of the merger's output. Single files have no keys for them: the first
    /// is in the tensors' shapes alone, the second is the language model's.
    fn inner_widths(gguf: &Gguf, keys: &Keys) -> Result<(usize, usize), ModelError> {
        let gate = "v.blk.0.ffn_gate.weight";
        let Some(tensor) = gguf.tensor(gate) else {
            return Err(ModelError::MissingTensor { file: keys.file.to_string(), tensor: gate.to_string() });
        };
        let ffn = tensor.n_rows();
        if !(1..=MAX_WIDTH).contains(&ffn) {
            return Err(keys.wrong(gate, format!("{ffn} rows"), format!("between 1 and {MAX_WIDTH} rows")));
        }
        Ok((ffn, keys.size("qwen25vl.embedding_length", MAX_WIDTH, None)?))
    }

    /// Which blocks see the whole frame: listed, or each k-th (blocks k-1, 2k-1, …).
    fn full_attention(keys: &Keys, single: bool, n_layers: usize) -> Result<Vec<bool>, ModelError> {
        let listed = if single { "qwen25vl.vision.fullatt_block_indexes" } else { "clip.vision.wa_layer_indexes" };
        if let Some(list) = keys.meta.u32s(listed)? {
            if let Some(&bad) = list.iter().find(|&&i| i as usize >= n_layers) {
                return Err(keys.wrong(listed, bad, format!("a block below {n_layers}")));
            }
            return Ok((0..n_layers).map(|i| list.iter().any(|&l| l as usize == i)).collect());
        }
        // All released models have 8; of single files the first leave it out.
        let default = if single { Some(8) } else { None };
        let pattern = keys.size("clip.vision.n_wa_pattern", MAX_LAYERS, default)?;
        Ok((0..n_layers).map(|i| (i + 1) % pattern == 0).collect())
    }

    /// Patches that the merger turns into one token.
    pub fn merge_unit(&self) -> usize {
        self.merge_size * self.merge_size
    }

    /// Numbers in one frame's part of a patch: channels × height × width.
    pub fn patch_len(&self) -> usize {
        3 * self.patch_size * self.patch_size
    }
}
