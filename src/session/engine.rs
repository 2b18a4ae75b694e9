//! Loaded models: text model, tokenizer, template, and the vision tower once it is needed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::Session;
use super::constraint::SharedVocabulary;
use super::error::{LoadError, SessionError};
use super::media_files::{MediaFiles, MediaFolder};
use super::pair::find_mmproj;
use super::prompt::PadTokens;
use crate::gguf::{GgmlType, Gguf, Tensor};
use crate::kernels::{Cpu, KvType};
use crate::media::{PatchConfig, PixelBudget};
use crate::model::{CpuCompute, LanguageModel, Precision, VisionConfig, VisionModel, Yarn, inside_language_model};
use crate::quant;
use crate::text::{ChatTemplate, Tokenizer};

/// Which files to load, and how to run them.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The text model's file, or the first part of a split one.
    pub model: PathBuf,
    /// The vision tower's file; `None` looks beside the model.
    pub mmproj: Option<PathBuf>,
    /// Threads; `None` for one per physical core.
    pub threads: Option<usize>,
    /// Tokens that a conversation may hold; `None` for what the model was trained on.
    pub ctx: Option<usize>,
    /// Element type of the KV cache.
    pub kv_type: KvType,
    /// Stretches positions for longer contexts; `None` as the file says.
    pub yarn: Option<Yarn>,
    /// How the vision tower's float weights are computed with.
    pub vision_precision: Precision,
    /// Where encoded pictures and clips are kept for other runs; `None` keeps them for this one only.
    pub media_folder: Option<MediaFolder>,
}

impl EngineOptions {
    /// The defaults for a model file.
    pub fn new(model: impl Into<PathBuf>) -> EngineOptions {
        EngineOptions {
            model: model.into(),
            mmproj: None,
            threads: None,
            ctx: None,
            kv_type: KvType::F16,
            yarn: None,
            vision_precision: Precision::default(),
            media_folder: None,
        }
    }
}

/// The released models' positions; longer contexts need YaRN, which harms the model elsewhere.
const DEFAULT_CTX: usize = 32768;

/// A loaded model, shared by its sessions.
pub struct Engine {
    pub(super) cpu: Arc<Cpu>,
    pub(super) text: LanguageModel<CpuCompute>,
    pub(super) tokenizer: Arc<Tokenizer>,
    /// For answers that are held to a grammar.
    pub(super) vocabulary: SharedVocabulary,
    pub(super) template: ChatTemplate,
    pub(super) pads: Option<PadTokens>,
    pub(super) ctx: usize,
    pub(super) kv_type: KvType,
    yarn: Option<Yarn>,
    vision_precision: Precision,
    model: PathBuf,
    mapped_bytes: u64,
    /// Views of all weights, to tell models apart.
    tensors: Vec<Tensor>,
    mmproj: Option<Gguf>,
    /// The vision tower is inside the text model's file, which then stands in `mmproj` too.
    whole: bool,
    vision: OnceLock<VisionModel<CpuCompute>>,
    media_folder: Option<MediaFolder>,
    media_files: OnceLock<MediaFiles>,
}

impl Engine {
    /// Maps the files and checks all that can be checked without computing.
    ///
    /// # Errors
    /// [`LoadError`] says which file and what is wrong with it.
    pub fn load(options: &EngineOptions) -> Result<Engine, LoadError> {
        let gguf = Gguf::open(&options.model)?;
        let mmproj = options.mmproj.as_deref().map(Gguf::open).transpose()?;
        Self::from_gguf(gguf, mmproj, options)
    }

    /// Like [`Engine::load`] with files that are open already; `options` gives the rest.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub fn from_gguf(gguf: Gguf, mmproj: Option<Gguf>, options: &EngineOptions) -> Result<Engine, LoadError> {
        let cpu = Arc::new(Cpu::new(options.threads)?);
        // The tokenizer is the most work, and the weights (from a cold disk) the most waiting: both at once.
        let (text, tokenizer) = std::thread::scope(|scope| {
            let tokenizer = scope.spawn(|| Tokenizer::from_gguf(gguf.metadata()));
            let text = LanguageModel::load(&gguf, &mut CpuCompute::new(cpu.clone()));
            (text, tokenizer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let mut text = text?;
        if let Some(yarn) = options.yarn {
            text = text.with_yarn(yarn);
        }
        let named = |source| LoadError::Text { file: gguf.name().to_string(), source };
        let tokenizer = tokenizer.map_err(named)?;
        let template = ChatTemplate::from_gguf(gguf.metadata()).map_err(named)?;
        if tokenizer.vocab_size() > text.vocab_size() {
            let file = gguf.name().to_string();
            return Err(LoadError::Vocabulary { file, tokens: tokenizer.vocab_size(), rows: text.vocab_size() });
        }
        let pad = |name| tokenizer.special_id(name);
        let pads = match (pad("<|image_pad|>"), pad("<|video_pad|>")) {
            (Some(image), Some(video)) => Some(PadTokens { image, video }),
            _ => None,
        };
        let trained = text.config().context_length.min(DEFAULT_CTX);
        let stretched = options.yarn.map(|y| (y.original as f64 * f64::from(y.factor)) as usize);
        let ctx = options.ctx.or(stretched).unwrap_or(trained).max(1);
        let mut engine = Engine {
            whole: mmproj.is_none() && inside_language_model(&gguf),
            cpu,
            text,
            tokenizer: Arc::new(tokenizer),
            vocabulary: SharedVocabulary::default(),
            template,
            pads,
            ctx,
            kv_type: options.kv_type,
            yarn: options.yarn,
            vision_precision: options.vision_precision,
            model: options.model.clone(),
            mapped_bytes: gguf.mapped_bytes(),
            tensors: gguf.tensors().cloned().collect(),
            mmproj: None,
            vision: OnceLock::new(),
            media_folder: options.media_folder.clone(),
            media_files: OnceLock::new(),
        };
        engine.mmproj = match mmproj {
            Some(m) => Some(engine.check_pair(m)?),
            None if engine.whole => Some(engine.check_pair(gguf)?),
            None => find_mmproj(&options.model).iter().find_map(|p| engine.try_pair(p)),
        };
        Ok(engine)
    }

    /// A new conversation.
    pub fn new_session(&self) -> Session<'_> {
        Session::new(self)
    }

    /// The text model's file.
    pub fn model_path(&self) -> &Path {
        &self.model
    }

    /// The vision tower's file, where there is one.
    pub fn mmproj_name(&self) -> Option<&str> {
        self.mmproj.as_ref().map(Gguf::name)
    }

    /// The vision tower's file, where it isn't the text model's.
    fn own_mmproj(&self) -> Option<&Gguf> {
        self.mmproj.as_ref().filter(|_| !self.whole)
    }

    /// Bytes of the files that are mapped.
    pub fn mapped_bytes(&self) -> u64 {
        self.mapped_bytes + self.own_mmproj().map_or(0, Gguf::mapped_bytes)
    }

    /// SHA-256 of the weights' names, types and shapes and of each one's beginning: two models that differ in it differ,
    /// and it costs no reading of gigabytes.
    pub fn fingerprint(&self) -> [u8; 32] {
        hash_tensors(self.tensors.iter().chain(self.own_mmproj().into_iter().flat_map(Gguf::tensors))).finalize().into()
    }

    /// Encoded media of earlier runs, where they are kept.
    pub(super) fn media_files(&self) -> Option<&MediaFiles> {
        let folder = self.media_folder.as_ref()?;
        Some(self.media_files.get_or_init(|| {
            let mut hash = hash_tensors(self.mmproj.iter().flat_map(Gguf::tensors));
            // Instruction sets differ in how they round.
            let bfloat16 = if self.cpu.has_bfloat16() { " bf16" } else { "" };
            hash.update(format!("{:?} {}{bfloat16}", self.vision_precision, self.cpu.isa().name()));
            MediaFiles::new(folder.clone(), hash.finalize().into(), self.text.config().hidden_size)
        }))
    }

    /// Types of weights that are computed with through ggml, slower than others; each once.
    pub fn foreign_types(&self) -> Vec<GgmlType> {
        let all = self.tensors.iter().chain(self.own_mmproj().into_iter().flat_map(Gguf::tensors));
        let mut types: Vec<GgmlType> = all.map(Tensor::ty).filter(|ty| quant::foreign(*ty)).collect();
        types.sort_unstable();
        types.dedup();
        types
    }

    /// What the contents of a KV cache depend on beside the weights, and with them all answers.
    pub fn cache_settings(&self) -> String {
        format!("{:?} {:?} {:?}", self.kv_type, self.yarn, self.vision_precision)
    }

    /// The kernels and threads in use.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// The kernels and threads in use, to share with another computation.
    pub fn cpu_arc(&self) -> Arc<Cpu> {
        self.cpu.clone()
    }

    /// Tokens that a conversation may hold.
    pub fn ctx(&self) -> usize {
        self.ctx
    }

    /// How keys and values are kept.
    pub fn kv_type(&self) -> KvType {
        self.kv_type
    }

    /// The language model's weights.
    pub fn language(&self) -> &LanguageModel<CpuCompute> {
        &self.text
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How pictures are cut into patches for this model.
    ///
    /// # Errors
    /// As [`Engine::vision`].
    pub fn patch_config(&self) -> Result<PatchConfig, SessionError> {
        let c = self.vision()?.config();
        Ok(PatchConfig {
            patch_size: c.patch_size,
            temporal_patch_size: c.temporal_patch_size,
            merge_size: c.merge_size,
            mean: c.image_mean,
            std: c.image_std,
            min_pixels: c.image_min_pixels.unwrap_or(PixelBudget::DEFAULT.min_pixels),
        })
    }

    /// The vision tower, taken from its file at the first call.
    ///
    /// # Errors
    /// There is no mmproj file, or it is unusable.
    pub fn vision(&self) -> Result<&VisionModel<CpuCompute>, SessionError> {
        if let Some(v) = self.vision.get() {
            return Ok(v);
        }
        let Some(gguf) = &self.mmproj else {
            let others = find_mmproj(&self.model);
            let hint = match others.first() {
                None => String::new(),
                Some(p) => format!(" that fits ({} belongs to another model)", p.display()),
            };
            return Err(SessionError::NoMmproj { model: self.model.clone(), hint });
        };
        let mut compute = CpuCompute::new(self.cpu.clone());
        let loaded = VisionModel::load(gguf, &mut compute, self.vision_precision).map_err(LoadError::from)?;
        Ok(self.vision.get_or_init(|| loaded))
    }

    fn check_pair(&self, mmproj: Gguf) -> Result<Gguf, LoadError> {
        let vision = VisionConfig::from_gguf(&mmproj)?.projection_dim;
        let text = self.text.config().hidden_size;
        if vision != text {
            let model = self.model.display().to_string();
            return Err(LoadError::Pair { model, mmproj: mmproj.name().to_string(), text, vision });
        }
        Ok(mmproj)
    }

    /// A file that was only guessed to belong to the model: whatever is wrong with it, it is just not the one.
    fn try_pair(&self, path: &Path) -> Option<Gguf> {
        let found = Gguf::open(path).map_err(LoadError::from).and_then(|g| self.check_pair(g));
        found.inspect_err(|e| tracing::debug!("not using {}: {e}", path.display())).ok()
    }
}

/// Names, types and shapes of tensors, and each one's beginning.
fn hash_tensors<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Sha256 {
    const BEGINNING: usize = 4096;
    let mut hash = Sha256::new();
    for tensor in tensors {
        hash.update(format!("{} {} {:?}\n", tensor.name(), tensor.ty().name(), tensor.dims()));
        hash.update(&tensor.bytes()[..tensor.bytes().len().min(BEGINNING)]);
    }
    hash
}
