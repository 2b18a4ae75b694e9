//! Finding ggml's source, and checking that it is the one that is meant.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::{Failure, write_if_new};

/// The package that carries the source.
const PACKAGE: &str = "llama-cpp-sys-2";
/// The files that are read, with their SHA-256.
const SUMS: &str = include_str!("../source/SHA256SUMS");
const MANIFEST: &str = include_str!("../source/manifest.toml");
const LOCK: &str = include_str!("../source/lock.toml");

/// A folder with ggml's `include` and `src`.
pub struct Source {
    root: PathBuf,
}

impl Source {
    /// The folder that `GGML_SOURCE_DIR` names, taken as it is; else that of the package, checked.
    pub fn find(out: &Path) -> Result<Source, Failure> {
        println!("cargo:rerun-if-env-changed=GGML_SOURCE_DIR");
        println!("cargo:rerun-if-changed=source");
        if let Some(named) = env::var_os("GGML_SOURCE_DIR").filter(|named| !named.is_empty()) {
            let source = Source { root: PathBuf::from(named) };
            let missing = source.files().find(|file| !file.is_file());
            return match missing {
                Some(file) => Err(format!("GGML_SOURCE_DIR has no {}", file.display()).into()),
                None => Ok(source),
            };
        }
        let source = Source { root: package(out)?.join("llama.cpp").join("ggml") };
        source.check()?;
        Ok(source)
    }

    /// `include` or `src`.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// All files that are read.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        sums().map(|(_, file)| self.root.join(file))
    }

    fn check(&self) -> Result<(), Failure> {
        for (sum, file) in sums() {
            let path = self.root.join(file);
            let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            if found != sum {
                let path = path.display();
                return Err(format!("{path} isn't the published file (its SHA-256 is {found}, not {sum})").into());
            }
        }
        Ok(())
    }
}

fn sums() -> impl Iterator<Item = (&'static str, &'static str)> {
    SUMS.lines().filter_map(|line| line.split_once("  "))
}

/// Where the package is unpacked; it is fetched where it isn't there yet.
fn package(out: &Path) -> Result<PathBuf, Failure> {
    let folder = out.join("source");
    fs::create_dir_all(&folder)?;
    for (name, text) in [("Cargo.toml", MANIFEST), ("Cargo.lock", LOCK), ("lib.rs", "")] {
        write_if_new(&folder.join(name), text)?;
    }
    let here = metadata(&folder, &["--offline"]);
    let told = here.or_else(|_| metadata(&folder, &[]))?;
    let packages = told["packages"].as_array().into_iter().flatten();
    let manifest = packages.filter(|p| p["name"] == PACKAGE).find_map(|p| p["manifest_path"].as_str());
    let folder = manifest.and_then(|path| Path::new(path).parent());
    folder.map(Path::to_owned).ok_or_else(|| format!("cargo metadata tells no place of {PACKAGE}").into())
}

fn metadata(folder: &Path, more: &[&str]) -> Result<serde_json::Value, Failure> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version=1", "--locked"]).args(more).current_dir(folder);
    if let Ok(host) = env::var("HOST") {
        command.arg("--filter-platform").arg(host);
    }
    let output = command.output().map_err(|e| format!("cargo metadata: {e}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("; ");
        return Err(format!("its source, in the package {PACKAGE}, can't be fetched: {why}").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
