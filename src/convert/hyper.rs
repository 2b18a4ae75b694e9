//! Hyperparameters, from `config.json` and `preprocessor_config.json`.

use serde_json::{Value, json};

use super::ConvertError;
use super::folder::{Folder, Settings};

const MAX_WIDTH: u32 = 1 << 20;
const MAX_LAYERS: u32 = 1024;
const MAX_VOCAB: u32 = 1 << 21;

/// The language model's numbers.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub vocab: u32,
    pub hidden: u32,
    pub ffn: u32,
    pub layers: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    pub context: u32,
    pub rope_theta: f32,
    pub rms_eps: f32,
    pub sections: Vec<u32>,
    pub yarn: Option<Yarn>,
    /// Whether the output matrix is the embedding table; `None` where the settings don't say.
    pub tied: Option<bool>,
}

/// Positions stretched beyond those of the training.
#[derive(Clone, Copy, Debug)]
pub(super) struct Yarn {
    pub factor: f32,
    pub original: u32,
}

/// The vision tower's and merger's numbers.
#[derive(Clone, Debug)]
pub(super) struct Vision {
    pub hidden: u32,
    pub ffn: u32,
    pub layers: u32,
    pub heads: u32,
    pub patch: u32,
    pub merge: u32,
    pub window: u32,
    pub image_size: u32,
    pub full_attention: Vec<u32>,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// All of it.
#[derive(Debug)]
pub(super) struct Hyper {
    pub text: Text,
    pub vision: Option<Vision>,
    /// Linear layers of the language model are stored in 4 bits as AWQ does.
    pub awq: bool,
    /// The file itself: special tokens may stand there.
    pub config: Settings,
}

impl Hyper {
    /// Reads and checks the settings; those of the vision tower only where they are wanted.
    pub fn read(folder: &Folder, with_vision: bool) -> Result<Hyper, ConvertError> {
        let hint = "name the folder of a downloaded checkpoint";
        let missing = |file, hint| ConvertError::NoFile { folder: folder.path().to_owned(), file, hint };
        let config = folder.json("config.json")?.ok_or_else(|| missing("config.json", hint))?;
        match config.str("model_type")? {
            Some("qwen2_5_vl") => {}
            _ => return Err(config.wrong("model_type", "\"qwen2_5_vl\", the only kind of model that is converted")),
        }
        let text = text(&text_settings(&config)?)?;
        let vision = if with_vision { Some(vision(folder, &config, &text)?) } else { None };
        Ok(Hyper { text, vision, awq: awq(&config)?, config })
    }
}

/// The language model's settings: inside of `text_config` since transformers 4.52, at the top before.
fn text_settings(config: &Settings) -> Result<Settings, ConvertError> {
    let Some(mut inner) = config.inner("text_config")? else { return Ok(config.clone()) };
    // Newer files have at the top what older readers expect there; what stands inside counts.
    if inner.get("num_hidden_layers").is_none() {
        return Ok(config.clone());
    }
    if inner.get("tie_word_embeddings").is_none()
        && let Some(tied) = config.get("tie_word_embeddings")
    {
        inner.object.insert("tie_word_embeddings".into(), tied.clone());
    }
    // The top level's is what transformers goes by for the whole model.
    if let (Some(top), Some(own)) = (config.get("tie_word_embeddings"), inner.get("tie_word_embeddings"))
        && top != own
    {
        return Err(config.wrong("tie_word_embeddings", format!("{own}, as in text_config")));
    }
    Ok(inner)
}

fn text(t: &Settings) -> Result<Text, ConvertError> {
    t.only("hidden_act", &[json!("silu")], ", as in every released model")?;
    t.only("use_sliding_window", &[json!(false)], "; attention in windows is not supported")?;
    let hidden = t.require_size("hidden_size", MAX_WIDTH)?;
    let heads = t.require_size("num_attention_heads", 4096)?;
    let kv_heads = t.size("num_key_value_heads", 4096)?.unwrap_or(heads);
    let head_dim = t.size("head_dim", MAX_WIDTH)?.unwrap_or(hidden / heads);
    if !hidden.is_multiple_of(heads) || head_dim != hidden / heads {
        return Err(t.wrong("num_attention_heads", format!("a number of heads that together are {hidden} wide")));
    }
    if !heads.is_multiple_of(kv_heads) {
        return Err(t.wrong("num_key_value_heads", format!("a divisor of {heads}")));
    }
    // Called `rope_scaling` up to transformers 4, where the base stands beside it; `rope_parameters` from 5 on.
    let rope = match t.inner("rope_parameters")? {
        Some(rope) => rope,
        None => t.inner("rope_scaling")?.ok_or_else(|| t.wrong("rope_scaling", "an object with mrope_section"))?,
    };
    let rope_theta = match t.positive("rope_theta")? {
        Some(theta) => theta,
        None => rope.positive("rope_theta")?.ok_or_else(|| t.wrong("rope_theta", "a number above zero"))?,
    };
    let half = head_dim / 2;
    let sections = rope.sizes("mrope_section")?.filter(|s| s.len() == 3 && s.iter().sum::<u32>() == half);
    let wanted = || format!("three sizes (t, h, w) that add up to {half}, half of a head");
    let sections = sections.ok_or_else(|| rope.wrong("mrope_section", wanted()))?;
    Ok(Text {
        vocab: t.require_size("vocab_size", MAX_VOCAB)?,
        hidden,
        ffn: t.require_size("intermediate_size", MAX_WIDTH)?,
        layers: t.require_size("num_hidden_layers", MAX_LAYERS)?,
        heads,
        kv_heads,
        head_dim,
        context: t.require_size("max_position_embeddings", 1 << 28)?,
        rope_theta,
        rms_eps: t.positive("rms_norm_eps")?.unwrap_or(1e-6),
        sections,
        yarn: yarn(&rope)?,
        tied: t.bool("tie_word_embeddings")?,
    })
}

fn yarn(rope: &Settings) -> Result<Option<Yarn>, ConvertError> {
    // Versions differ in the key, and some files have both.
    let kind = match (rope.str("rope_type")?, rope.str("type")?) {
        (Some("default" | "mrope") | None, Some(kind)) | (Some(kind), _) => kind,
        (None, None) => "default",
    };
    match kind {
        "default" | "mrope" => Ok(None),
        "yarn" => Ok(Some(Yarn {
            factor: rope.positive("factor")?.ok_or_else(|| rope.wrong("factor", "a number above zero"))?,
            original: rope.require_size("original_max_position_embeddings", 1 << 28)?,
        })),
        _ => {
            let key = if rope.get("rope_type").is_some() { "rope_type" } else { "type" };
            Err(rope.wrong(key, "\"default\", \"mrope\" or \"yarn\""))
        }
    }
}

fn vision(folder: &Folder, config: &Settings, text: &Text) -> Result<Vision, ConvertError> {
    let v = config.inner("vision_config")?.ok_or_else(|| config.wrong("vision_config", "an object"))?;
    v.only("hidden_act", &[json!("silu")], ", as in every released model")?;
    for key in ["in_chans", "in_channels"] {
        v.only(key, &[json!(3)], " channels")?;
    }
    v.only("temporal_patch_size", &[json!(2)], " frames in a patch")?;
    v.only("tokens_per_second", &[json!(2), json!(2.0)], ": GGUF files have no place for another number")?;
    if v.size("out_hidden_size", MAX_WIDTH)?.is_some_and(|out| out != text.hidden) {
        return Err(v.wrong("out_hidden_size", format!("{}, the language model's hidden_size", text.hidden)));
    }
    let hidden = v.require_size("hidden_size", MAX_WIDTH)?;
    let heads = v.require_size("num_heads", 4096)?;
    if !hidden.is_multiple_of(heads) || !(hidden / heads).is_multiple_of(4) {
        return Err(v.wrong("num_heads", format!("a divisor of {hidden} that leaves heads of a multiple of 4")));
    }
    let layers = v.require_size("depth", MAX_LAYERS)?;
    let (patch, merge) = (v.size("patch_size", 256)?.unwrap_or(14), v.size("spatial_merge_size", 16)?.unwrap_or(2));
    let window = v.size("window_size", 1 << 16)?.unwrap_or(112);
    if !window.is_multiple_of(patch * merge) {
        return Err(v.wrong("window_size", format!("a multiple of {} (patch size times merge size)", patch * merge)));
    }
    let full_attention = v.sizes("fullatt_block_indexes")?.unwrap_or_else(|| vec![7, 15, 23, 31]);
    if full_attention.iter().any(|&block| block >= layers) {
        return Err(v.wrong("fullatt_block_indexes", format!("a list of blocks below {layers}")));
    }
    let pictures = pictures(folder)?;
    for (key, value) in [("patch_size", patch), ("merge_size", merge), ("temporal_patch_size", 2)] {
        pictures.only(key, &[json!(value)], ", as in config.json")?;
    }
    Ok(Vision {
        hidden,
        ffn: v.require_size("intermediate_size", MAX_WIDTH)?,
        layers,
        heads,
        patch,
        merge,
        window,
        image_size: v.size("image_size", 1 << 16)?.unwrap_or(560),
        full_attention,
        mean: pictures.require_triple("image_mean")?,
        std: pictures.require_triple("image_std")?,
    })
}

/// How pictures are prepared; newer versions keep it in the processor's file.
fn pictures(folder: &Folder) -> Result<Settings, ConvertError> {
    if let Some(own) = folder.json("preprocessor_config.json")? {
        return Ok(own);
    }
    if let Some(inside) =
        folder.json("processor_config.json")?.map(|p| p.inner("image_processor")).transpose()?.flatten()
    {
        return Ok(inside);
    }
    Err(ConvertError::NoFile {
        folder: folder.path().to_owned(),
        file: "preprocessor_config.json",
        hint: "it says how pictures are prepared; download it too, or convert the text model alone (--only text)",
    })
}

/// Whether the checkpoint is quantized as AWQ does, in the one layout that there is.
fn awq(config: &Settings) -> Result<bool, ConvertError> {
    let Some(q) = config.inner("quantization_config")? else { return Ok(false) };
    if q.str("quant_method")? != Some("awq") {
        return Err(q.wrong("quant_method", "\"awq\"; of other quantized checkpoints, convert the original"));
    }
    let gemm = |key: &str| match q.get(key) {
        Some(Value::String(version)) if !version.eq_ignore_ascii_case("gemm") => Err(q.wrong(key, "\"gemm\"")),
        _ => Ok(()),
    };
    gemm("version")?;
    for key in ["bits", "w_bit"] {
        q.only(key, &[json!(4)], " bits")?;
    }
    for key in ["group_size", "q_group_size"] {
        q.only(key, &[json!(128)], " weights in a group")?;
    }
    q.only("zero_point", &[json!(true)], "")?;
    Ok(true)
}
