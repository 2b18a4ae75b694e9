//! Encoded media in a folder, so that another run needn't encode them again.
//!
//! A file is named by what its content depends on: the medium's bytes and how they were measured, the vision model's
//! weights, how they are computed with, and the version of the program. It holds
//!
//! ```text
//! magic (8 bytes), version u32, width u32, tokens u64, name (32 bytes), numbers f32 [tokens, width], SHA-256 of all before
//! ```
//!
//! in little-endian order. Nothing in it is believed that isn't expected: another size, name or checksum, and the file is
//! removed. Files appear complete (written beside their place, then renamed), and the least recently used ones go first
//! where the folder grows beyond its limit. Whatever fails here costs time, never an answer.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::medium::MediaKey;

const MAGIC: &[u8; 8] = b"qlensmed";
const VERSION: u32 = 1;
/// Magic, version, width, tokens, name.
const HEADER: usize = 8 + 4 + 4 + 8 + 32;
const SUM: usize = 32;
const EXTENSION: &str = "qlensmedia";
/// What a run that was killed left half-written.
const PARTIAL: &str = ".partial-";
/// Nobody writes for so long.
const STALE: Duration = Duration::from_secs(3600);

/// Where encoded media are kept, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaFolder {
    /// The folder; it is made where it is missing, and must be nobody else's.
    pub path: PathBuf,
    /// Bytes that its files may have together.
    pub limit_bytes: u64,
}

/// The folder, as one model uses it.
pub(super) struct MediaFiles {
    folder: MediaFolder,
    /// What all encodings of this model depend on.
    model: [u8; 32],
    width: usize,
}

impl MediaFiles {
    /// `model` tells what encodings depend on beside the medium, `width` is the numbers per token.
    pub fn new(folder: MediaFolder, model: [u8; 32], width: usize) -> MediaFiles {
        MediaFiles { folder, model, width }
    }

    fn name(&self, key: &MediaKey) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [env!("CARGO_PKG_VERSION").as_bytes(), &self.model, &key.sha256, key.settings.as_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn path(&self, name: &[u8; 32]) -> PathBuf {
        let hex: String = name.iter().map(|b| format!("{b:02x}")).collect();
        self.folder.path.join(hex).with_extension(EXTENSION)
    }

    fn header(&self, tokens: usize, name: &[u8; 32]) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&(self.width as u32).to_le_bytes());
        header[16..24].copy_from_slice(&(tokens as u64).to_le_bytes());
        header[24..].copy_from_slice(name);
        header
    }

    /// The encoding of a medium of so many tokens, if it is there.
    pub fn get(&self, key: &MediaKey, tokens: usize) -> Option<Vec<f32>> {
        let name = self.name(key);
        let path = self.path(&name);
        let file = File::open(&path).ok()?;
        match self.read(&file, tokens, &name) {
            Ok(data) => {
                // It counts as used now; where that can't be noted, it goes earlier than it should.
                let _ = file.set_modified(SystemTime::now());
                Some(data)
            }
            Err(e) => {
                tracing::debug!("{}: {e}; removed", path.display());
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    fn read(&self, mut file: &File, tokens: usize, name: &[u8; 32]) -> io::Result<Vec<f32>> {
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let numbers = tokens.checked_mul(self.width).ok_or_else(|| damaged("too large"))?;
        let expected = numbers.checked_mul(4).and_then(|n| n.checked_add(HEADER + SUM));
        if !file.metadata().is_ok_and(|m| m.is_file() && usize::try_from(m.len()).ok() == expected) {
            return Err(damaged("another size than expected"));
        }
        let mut header = [0; HEADER];
        file.read_exact(&mut header)?;
        if header != self.header(tokens, name) {
            return Err(damaged("another medium, model or version"));
        }
        let mut data = vec![0.0f32; numbers];
        file.read_exact(bytemuck::cast_slice_mut(&mut data))?;
        let mut sum = [0; SUM];
        file.read_exact(&mut sum)?;
        let mut hash = Sha256::new();
        hash.update(header);
        hash.update(bytemuck::cast_slice::<f32, u8>(&data));
        if hash.finalize()[..] != sum {
            return Err(damaged("its checksum is another"));
        }
        if cfg!(target_endian = "big") {
            data.iter_mut().for_each(|x| *x = f32::from_bits(x.to_bits().swap_bytes()));
        }
        Ok(data)
    }

    /// Keeps an encoding, `[tokens, width]`.
    pub fn put(&self, key: &MediaKey, data: &[f32]) {
        if let Err(e) = self.write(key, data) {
            tracing::debug!("{}: {e}", self.folder.path.display());
        }
    }

    fn write(&self, key: &MediaKey, data: &[f32]) -> io::Result<()> {
        let bytes = (HEADER + SUM + size_of_val(data)) as u64;
        if bytes > self.folder.limit_bytes {
            return Ok(());
        }
        make_folder(&self.folder.path)?;
        let name = self.name(key);
        let mut file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(&self.folder.path)?;
        let header = self.header(data.len() / self.width, &name);
        let numbers: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut hash = Sha256::new();
        hash.update(header);
        hash.update(&numbers);
        for part in [&header[..], &numbers, &hash.finalize()] {
            file.write_all(part)?;
        }
        make_room(&self.folder, bytes)?;
        file.persist(self.path(&name)).map_err(|e| e.error)?;
        Ok(())
    }
}

/// Others have no business with what somebody looked at.
fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Removes the least recently used files until `bytes` more fit, and what killed runs left.
fn make_room(folder: &MediaFolder, bytes: u64) -> io::Result<()> {
    let (mut kept, mut total) = (Vec::new(), bytes);
    for entry in fs::read_dir(&folder.path)?.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let path = entry.path();
        if path.extension().is_some_and(|e| e == EXTENSION) && meta.is_file() {
            total += meta.len();
            kept.push((used, meta.len(), path));
        } else if entry.file_name().to_string_lossy().starts_with(PARTIAL) && used.elapsed().is_ok_and(|t| t > STALE) {
            let _ = fs::remove_file(path);
        }
    }
    kept.sort();
    for (_, len, path) in kept {
        if total <= folder.limit_bytes {
            break;
        }
        // Another run may have been quicker.
        let _ = fs::remove_file(path);
        total -= len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 8;

    fn files(path: &Path, limit_bytes: u64) -> MediaFiles {
        MediaFiles::new(MediaFolder { path: path.to_owned(), limit_bytes }, [7; 32], WIDTH)
    }

    fn key(n: u8) -> MediaKey {
        MediaKey { sha256: [n; 32], settings: "[28, 28]".into() }
    }

    fn data(tokens: usize) -> Vec<f32> {
        (0..tokens * WIDTH).map(|i| i as f32 * 0.37 - 1.0).collect()
    }

    #[test]
    fn what_was_kept_comes_back_to_the_bit_and_for_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let f = files(&dir.path().join("made/when/needed"), 1 << 20);
        assert!(f.get(&key(1), 5).is_none());
        f.put(&key(1), &data(5));
        assert_eq!(f.get(&key(1), 5), Some(data(5)));
        assert!(f.get(&key(2), 5).is_none());
        let other_size = MediaKey { settings: "[56, 28]".into(), ..key(1) };
        assert!(f.get(&other_size, 5).is_none());
        let other_model = MediaFiles { model: [8; 32], folder: f.folder.clone(), width: WIDTH };
        assert!(other_model.get(&key(1), 5).is_none());
        assert_eq!(f.get(&key(1), 5), Some(data(5)), "the questions of others leave it alone");
    }

    #[test]
    fn every_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let f = files(dir.path(), 1 << 20);
        f.put(&key(1), &data(2));
        let path = f.path(&f.name(&key(1)));
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&path, bytes).unwrap();
            assert!(f.get(&key(1), 2).is_none(), "byte {at}");
            assert!(!path.exists(), "byte {at}: removed");
        }
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            assert!(f.get(&key(1), 2).is_none(), "cut to {len}");
        }
        fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        assert!(f.get(&key(1), 2).is_none());
        // The right file for another number of tokens is none for this one.
        fs::write(&path, &whole).unwrap();
        assert!(f.get(&key(1), 3).is_none());
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let size = (HEADER + SUM + 5 * WIDTH * 4) as u64;
        let f = files(dir.path(), 2 * size);
        let age = |n: u8, seconds| {
            let file = File::options().append(true).open(f.path(&f.name(&key(n)))).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        };
        f.put(&key(1), &data(5));
        f.put(&key(2), &data(5));
        age(1, 200);
        age(2, 100);
        assert!(f.get(&key(1), 5).is_some());
        f.put(&key(3), &data(5));
        assert!(f.get(&key(2), 5).is_none(), "used longest ago");
        assert!(f.get(&key(1), 5).is_some() && f.get(&key(3), 5).is_some());
        f.put(&key(4), &data(500));
        assert!(f.get(&key(4), 500).is_none() && f.get(&key(3), 5).is_some(), "larger than the folder may be");
    }

    #[test]
    fn what_killed_runs_left_is_removed_and_others_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let f = files(dir.path(), 1 << 20);
        let (old, new, own) =
            (dir.path().join(".partial-a"), dir.path().join(".partial-b"), dir.path().join("mine.txt"));
        for path in [&old, &new, &own] {
            fs::write(path, "x").unwrap();
        }
        for path in [&old, &own] {
            let file = File::options().append(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - 2 * STALE).unwrap();
        }
        f.put(&key(1), &data(1));
        assert!(!old.exists() && new.exists() && own.exists());
    }

    #[test]
    fn a_folder_that_cant_be_used_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let f = files(&file, 1 << 20);
        f.put(&key(1), &data(1));
        assert!(f.get(&key(1), 1).is_none());
    }
}
