//! Models of the released shapes with random weights, for measuring: no download, and any program that reads GGUF files
//! takes them.

mod blocks;
mod shape;
mod vocabulary;

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::cli::exit::CliError;
use crate::cli::interrupt::Unfinished;
use crate::cli::progress::Progress;
use crate::cli::screen::Manner;
use crate::gguf::{Array, GgmlType, GgufError, GgufWriter, StringArray, Value};
use blocks::Fill;
use shape::Shape;
pub use shape::Spec;
use vocabulary::Vocabulary;

/// Changes whenever what is written does, so that older files aren't taken for it.
const VERSION: u32 = 1;

/// ChatML with room for pictures.
const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string \
                        %}{{ message['content'] }}{% else %}{% for part in message['content'] %}{% if part['type'] == \
                        'text' %}{{ part['text'] }}{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|>\
                        <|vision_end|>{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}{% endfor %}\
                        {% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// A text model's file and its vision model's.
#[derive(Clone, Debug)]
pub struct Pair {
    pub text: PathBuf,
    pub vision: PathBuf,
}

/// The pair of this kind in the cache folder; made now where it isn't there.
///
/// # Errors
/// There is no cache folder, or it can't be written to.
pub fn pair(spec: &Spec, manner: &Manner) -> Result<Pair, CliError> {
    let folder = dirs::cache_dir().ok_or(CliError::NoCacheFolder)?.join("qlens").join(format!("synthetic-{VERSION}"));
    std::fs::create_dir_all(&folder).map_err(|source| CliError::Write { path: folder.clone(), source })?;
    let pair = Pair { text: folder.join(spec.text_file()), vision: folder.join(spec.vision_file()) };
    for (path, plan) in [(&pair.text, text_plan as fn(&Spec) -> _), (&pair.vision, vision_plan)] {
        if !path.exists() {
            let plan = plan(spec).map_err(CliError::Gguf)?;
            write(path, &plan, manner)?;
        }
    }
    Ok(pair)
}

/// A file to be written, and what its tensors are filled with.
struct Plan {
    writer: GgufWriter,
    fills: Vec<(GgmlType, usize, Fill, u64)>,
}

impl Plan {
    fn new(arch: &str, name: &str, file_type: u32) -> Result<Plan, GgufError> {
        let mut writer = GgufWriter::new();
        writer.metadata("general.architecture", arch)?.metadata("general.name", name)?;
        writer.metadata("general.file_type", Value::U32(file_type))?;
        writer.metadata("general.quantization_version", Value::U32(2))?;
        Ok(Plan { writer, fills: Vec::new() })
    }

    fn numbers(&mut self, prefix: &str, numbers: &[(&str, usize)]) -> Result<(), GgufError> {
        for (key, n) in numbers {
            // Shapes are far below 2^32.
            self.writer.metadata(&format!("{prefix}.{key}"), Value::U32(*n as u32))?;
        }
        Ok(())
    }

    fn tensor(&mut self, name: &str, ty: GgmlType, dims: &[usize], fill: Fill) -> Result<(), GgufError> {
        self.writer.tensor(name, ty, dims)?;
        let (cols, rows) = (dims[0], dims[1..].iter().product::<usize>());
        // A patch's row is the product of its three dimensions; for the weights' spread that is its length.
        let fan_in = if dims.len() == 4 { dims[..3].iter().product() } else { cols };
        let bytes = cols / ty.block_len() * ty.block_bytes() * rows;
        self.fills.push((ty, fan_in, fill, bytes as u64));
        Ok(())
    }

    fn matrix(&mut self, name: &str, ty: GgmlType, rows: usize, cols: usize) -> Result<(), GgufError> {
        self.tensor(name, ty, &[cols, rows], Fill::Weights)
    }

    fn vector(&mut self, name: &str, len: usize, fill: Fill) -> Result<(), GgufError> {
        self.tensor(name, GgmlType::F32, &[len], fill)
    }
}

fn text_plan(spec: &Spec) -> Result<Plan, GgufError> {
    let s = spec.size.shape();
    let mut plan = text_header(spec)?;
    let embed = if s.tied { spec.text.output() } else { spec.text.usual() };
    plan.matrix("token_embd.weight", embed, s.vocab, s.hidden)?;
    plan.vector("output_norm.weight", s.hidden, Fill::Ones)?;
    if !s.tied {
        plan.matrix("output.weight", spec.text.output(), s.vocab, s.hidden)?;
    }
    for i in 0..s.layers {
        text_block(&mut plan, spec, &s, i)?;
    }
    Ok(plan)
}

fn text_header(spec: &Spec) -> Result<Plan, GgufError> {
    let s = spec.size.shape();
    let mut plan = Plan::new("qwen2vl", spec.size.name(), spec.text.file_type())?;
    plan.numbers(
        "qwen2vl",
        &[
            ("context_length", 128_000),
            ("embedding_length", s.hidden),
            ("block_count", s.layers),
            ("feed_forward_length", s.ffn),
            ("attention.head_count", s.heads),
            ("attention.head_count_kv", s.kv_heads),
        ],
    )?;
    let [t, h, w] = s.sections;
    plan.writer
        .metadata("qwen2vl.rope.freq_base", Value::F32(1e6))?
        .metadata("qwen2vl.attention.layer_norm_rms_epsilon", Value::F32(1e-6))?
        .metadata("qwen2vl.rope.dimension_sections", [t, h, w, 0].as_slice())?;
    tokenizer(&mut plan.writer, s.vocab)?;
    Ok(plan)
}

fn text_block(plan: &mut Plan, spec: &Spec, s: &Shape, i: usize) -> Result<(), GgufError> {
    let name = |part: &str| format!("blk.{i}.{part}");
    let (usual, sensitive) = (spec.text.usual(), spec.text.sensitive(i, s.layers));
    let kv = s.kv_heads * (s.hidden / s.heads);
    plan.vector(&name("attn_norm.weight"), s.hidden, Fill::Ones)?;
    for (part, ty, rows) in [("attn_q", usual, s.hidden), ("attn_k", usual, kv), ("attn_v", sensitive, kv)] {
        plan.matrix(&name(&format!("{part}.weight")), ty, rows, s.hidden)?;
        plan.vector(&name(&format!("{part}.bias")), rows, Fill::Small)?;
    }
    plan.matrix(&name("attn_output.weight"), usual, s.hidden, s.hidden)?;
    plan.vector(&name("ffn_norm.weight"), s.hidden, Fill::Ones)?;
    plan.matrix(&name("ffn_gate.weight"), usual, s.ffn, s.hidden)?;
    plan.matrix(&name("ffn_up.weight"), usual, s.ffn, s.hidden)?;
    plan.matrix(&name("ffn_down.weight"), sensitive, s.hidden, s.ffn)
}

fn tokenizer(writer: &mut GgufWriter, rows: usize) -> Result<(), GgufError> {
    let v = Vocabulary::new(rows, &mut fastrand::Rng::with_seed(1));
    let texts = |list: &[String]| StringArray::from_texts(list).map(|a| Value::Array(Array::Strings(a)));
    let id = |text| Value::U32(v.special(text).unwrap_or(0));
    writer
        .metadata("tokenizer.ggml.model", "gpt2")?
        .metadata("tokenizer.ggml.pre", "qwen2")?
        .metadata("tokenizer.ggml.tokens", texts(&v.tokens)?)?
        .metadata("tokenizer.ggml.token_type", v.types.as_slice())?
        .metadata("tokenizer.ggml.merges", texts(&v.merges)?)?
        .metadata("tokenizer.ggml.eos_token_id", id("<|im_end|>"))?
        .metadata("tokenizer.ggml.padding_token_id", id("<|endoftext|>"))?
        .metadata("tokenizer.ggml.bos_token_id", id("<|endoftext|>"))?
        .metadata("tokenizer.ggml.add_bos_token", Value::Bool(false))?
        .metadata("tokenizer.chat_template", TEMPLATE)?;
    Ok(())
}

fn vision_plan(spec: &Spec) -> Result<Plan, GgufError> {
    let (shape, s) = (spec.size.shape(), spec.size.shape().vision);
    let mut plan = vision_header(spec)?;
    for name in ["v.patch_embd.weight", "v.patch_embd.weight.1"] {
        plan.tensor(name, GgmlType::F16, &[14, 14, 3, s.hidden], Fill::Weights)?;
    }
    for i in 0..s.layers {
        vision_block(&mut plan, spec, i)?;
    }
    plan.vector("v.post_ln.weight", s.hidden, Fill::Ones)?;
    let merged = 4 * s.hidden;
    for (name, rows) in [("mm.0", merged), ("mm.2", shape.hidden)] {
        plan.matrix(&format!("{name}.weight"), spec.vision.of(merged), rows, merged)?;
        plan.vector(&format!("{name}.bias"), rows, Fill::Small)?;
    }
    Ok(plan)
}

fn vision_header(spec: &Spec) -> Result<Plan, GgufError> {
    let (shape, s) = (spec.size.shape(), spec.size.shape().vision);
    let mut plan = Plan::new("clip", spec.size.name(), spec.vision.file_type())?;
    plan.writer
        .metadata("general.type", "mmproj")?
        .metadata("clip.has_vision_encoder", Value::Bool(true))?
        .metadata("clip.projector_type", "qwen2.5vl_merger")?
        .metadata("clip.use_silu", Value::Bool(true))?
        .metadata("clip.vision.attention.layer_norm_epsilon", Value::F32(1e-6))?
        .metadata("clip.vision.image_mean", [0.481_454_66f32, 0.457_827_5, 0.408_210_73].as_slice())?
        .metadata("clip.vision.image_std", [0.268_629_54f32, 0.261_302_6, 0.275_777_1].as_slice())?;
    plan.numbers(
        "clip.vision",
        &[
            ("image_size", 560),
            ("patch_size", 14),
            ("embedding_length", s.hidden),
            ("feed_forward_length", s.ffn),
            ("block_count", s.layers),
            ("projection_dim", shape.hidden),
            ("attention.head_count", s.heads),
            ("n_wa_pattern", 8),
        ],
    )?;
    Ok(plan)
}

fn vision_block(plan: &mut Plan, spec: &Spec, i: usize) -> Result<(), GgufError> {
    let s = spec.size.shape().vision;
    let name = |part: &str| format!("v.blk.{i}.{part}");
    plan.vector(&name("ln1.weight"), s.hidden, Fill::Ones)?;
    plan.vector(&name("ln2.weight"), s.hidden, Fill::Ones)?;
    let (h, f) = (s.hidden, s.ffn);
    let parts = [
        ("attn_q", h, h),
        ("attn_k", h, h),
        ("attn_v", h, h),
        ("attn_out", h, h),
        ("ffn_gate", f, h),
        ("ffn_up", f, h),
        ("ffn_down", h, f),
    ];
    for (part, rows, cols) in parts {
        plan.matrix(&name(&format!("{part}.weight")), spec.vision.of(cols), rows, cols)?;
        plan.vector(&name(&format!("{part}.bias")), rows, Fill::Small)?;
    }
    Ok(())
}

/// Writes the file; it has its name when it is whole.
fn write(path: &Path, plan: &Plan, manner: &Manner) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: path.to_path_buf(), source };
    let total: u64 = plan.fills.iter().map(|f| f.3).sum();
    manner.note(&format!("making {} ({})", path.display(), crate::cli::memory::human_bytes(total)));
    let mut progress = Progress::start(manner, "making a model");
    let mut file = Unfinished::beside(path).map_err(failed)?;
    let mut pools = Pools { made: HashMap::new(), rng: fastrand::Rng::with_seed(2) };
    let mut done = 0;
    let mut fill = |i: usize, out: &mut dyn Write| {
        let (ty, cols, fill, bytes) = plan.fills[i];
        pools.write(ty, cols, fill, bytes, out)?;
        done += bytes;
        progress.count("making a model", (done >> 20) as usize, (total >> 20) as usize);
        Ok(())
    };
    let mut out = BufWriter::with_capacity(1 << 20, &mut file);
    plan.writer.write_to(&mut out, &path.display().to_string(), &mut fill)?;
    out.flush().map_err(failed)?;
    drop(out);
    file.finish(path).map_err(failed)
}

/// Random blocks, made once per kind of tensor.
struct Pools {
    made: HashMap<(GgmlType, usize, bool), Vec<u8>>,
    rng: fastrand::Rng,
}

impl Pools {
    /// Writes `bytes` of blocks from a random place of the pool on.
    fn write(&mut self, ty: GgmlType, cols: usize, fill: Fill, bytes: u64, out: &mut dyn Write) -> io::Result<()> {
        let rng = &mut self.rng;
        let pool = self.made.entry((ty, cols, fill == Fill::Ones)).or_insert_with(|| blocks::pool(ty, cols, fill, rng));
        let blocks = pool.len() / ty.block_bytes();
        let (mut at, mut left) = (self.rng.usize(..blocks) * ty.block_bytes(), bytes);
        while left > 0 {
            let part = &pool[at..];
            let n = part.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            out.write_all(&part[..n])?;
            left -= n as u64;
            at = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
