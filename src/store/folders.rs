//! The folders in which models lie: ours, and those of other programs, by each one's own documented rules.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Whose folder it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Ours.
    Qlens,
    /// The Hugging Face libraries' cache.
    HuggingFace,
    /// llama.cpp's cache.
    LlamaCpp,
    /// Ollama's manifests and blobs.
    Ollama,
    /// LM Studio's.
    LmStudio,
}

impl Holder {
    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Holder::Qlens => "qlens",
            Holder::HuggingFace => "Hugging Face",
            Holder::LlamaCpp => "llama.cpp",
            Holder::Ollama => "Ollama",
            Holder::LmStudio => "LM Studio",
        }
    }
}

/// A folder that may hold models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Whose.
    pub holder: Holder,
    /// Where; it needn't exist.
    pub path: PathBuf,
}

/// All folders that are looked into.
#[derive(Clone, Debug)]
pub struct Folders {
    own: PathBuf,
    all: Vec<Folder>,
}

impl Folders {
    /// The folders by the environment's variables, as each program reads them; `own` is ours, where it was set.
    pub fn from_env(own: Option<PathBuf>) -> Folders {
        Self::new(own, &|name| std::env::var_os(name), dirs::home_dir())
    }

    fn new(own: Option<PathBuf>, var: &dyn Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Folders {
        let var = |name: &str| var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let home = home.unwrap_or_default();
        let own = own.or_else(|| dirs::data_dir().map(|d| d.join("qlens/models"))).unwrap_or_else(|| "models".into());
        let mut all = vec![Folder { holder: Holder::Qlens, path: own.clone() }];
        let mut add = |holder, path: PathBuf| {
            if path.is_absolute() && all.iter().all(|f: &Folder| f.path != path) {
                all.push(Folder { holder, path });
            }
        };
        // huggingface_hub, "Environment variables": HF_HUB_CACHE, else HF_HOME/hub, else the cache folder's.
        let cache = var("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache"));
        let hub = var("HF_HUB_CACHE").or_else(|| var("HUGGINGFACE_HUB_CACHE"));
        let hub_home = var("HF_HOME").unwrap_or_else(|| cache.join("huggingface"));
        add(Holder::HuggingFace, hub.unwrap_or_else(|| hub_home.join("hub")));
        // llama.cpp, common/common.cpp: LLAMA_CACHE, else llama.cpp in the system's cache folder.
        let system_cache = var("XDG_CACHE_HOME").or_else(dirs::cache_dir).unwrap_or_else(|| home.join(".cache"));
        add(Holder::LlamaCpp, var("LLAMA_CACHE").unwrap_or_else(|| system_cache.join("llama.cpp")));
        // Ollama, FAQ: OLLAMA_MODELS, else the user's; the Linux service has its own user.
        match var("OLLAMA_MODELS") {
            Some(path) => add(Holder::Ollama, path),
            None => {
                add(Holder::Ollama, home.join(".ollama/models"));
                if cfg!(target_os = "linux") {
                    add(Holder::Ollama, "/usr/share/ollama/.ollama/models".into());
                }
            }
        }
        // LM Studio: its home is in a pointer file where it was moved; the second place is the older versions'.
        let pointer = std::fs::read_to_string(home.join(".lmstudio-home-pointer"));
        let moved = pointer.ok().map(|p| Path::new(p.trim()).join("models"));
        moved.into_iter().for_each(|path| add(Holder::LmStudio, path));
        add(Holder::LmStudio, home.join(".lmstudio/models"));
        add(Holder::LmStudio, home.join(".cache/lm-studio/models"));
        Folders { own, all }
    }

    /// Our own.
    pub fn own(&self) -> &Path {
        &self.own
    }

    /// All, ours first.
    pub fn all(&self) -> &[Folder] {
        &self.all
    }
}
