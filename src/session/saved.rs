//! Conversations on disk: messages, the pictures as the model saw them, and the KV cache, so that talking goes on at once.
//!
//! The file: `QLSESS01`, the header's length (u64), the header (JSON), each picture (PNG, lengths in the header), the keys
//! of the cached tokens (u64 each), their KV cache, and the SHA-256 of all that. Numbers are little-endian.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::conversation::Session;
use super::error::SessionError;
use super::medium::{MediaKey, MediaReport, PreparedMedium};
use super::prompt::{OF_A_MEDIUM, PastMessage, PastPart, medium_key};
use crate::media::{Limits, MediaError, Source, load_picture, write_png};
use crate::text::Role;

const MAGIC: &[u8; 8] = b"QLSESS01";
/// Of the header: words of a whole context many times over.
const MAX_HEADER_BYTES: u64 = 64 << 20;
const MAX_PICTURE_BYTES: u64 = 256 << 20;

/// Why a saved conversation can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("is no conversation that `/save` wrote")]
    Foreign,
    /// It was changed or cut off.
    #[error("is damaged ({0}); the conversation can't be restored from it")]
    Damaged(&'static str),
    /// A picture in it can't be read.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The model can't take it.
    #[error(transparent)]
    Session(Box<SessionError>),
}

/// How a conversation was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// With all that was computed: the next question is answered at once.
    Whole,
    /// It was saved with another model or other settings of it: the next question reads it again.
    Again,
}

#[derive(Serialize, Deserialize)]
struct Header {
    /// Of the weights.
    fingerprint: [u8; 32],
    /// What the KV cache depends on beside them.
    settings: String,
    tokens: usize,
    starts: Vec<usize>,
    messages: Vec<SavedMessage>,
}

#[derive(Serialize, Deserialize)]
struct SavedMessage {
    role: String,
    parts: Vec<SavedPart>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SavedPart {
    Text(String),
    Medium(Box<SavedMedium>),
}

#[derive(Serialize, Deserialize)]
struct SavedMedium {
    report: MediaReport,
    sha256: [u8; 32],
    settings: String,
    /// Length of its PNG; absent for clips.
    png: Option<u64>,
}

impl Session<'_> {
    /// Writes the conversation, with the KV cache if `whole`.
    ///
    /// # Errors
    /// Whatever writing to `out` gives.
    pub fn save(&self, whole: bool, out: &mut dyn Write) -> io::Result<()> {
        let mut pictures = Vec::new();
        let messages = self.messages.iter().map(|m| saved_message(m, &mut pictures)).collect::<io::Result<_>>()?;
        let state = self.state.as_ref().filter(|_| whole);
        let header = Header {
            fingerprint: self.engine.fingerprint(),
            settings: self.engine.cache_settings(),
            tokens: state.map_or(0, |s| s.len()),
            starts: self.starts.clone(),
            messages,
        };
        let header = serde_json::to_vec(&header)?;
        let mut out = Hashing { inner: out, hash: Sha256::new() };
        out.write_all(MAGIC)?;
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        pictures.iter().try_for_each(|png| out.write_all(png))?;
        if let Some(state) = state {
            self.cached.iter().try_for_each(|key| out.write_all(&key.to_le_bytes()))?;
            state.write_cache(&self.compute, &mut out)?;
        }
        let Hashing { inner, hash } = out;
        inner.write_all(&hash.finalize())?;
        inner.flush()
    }

    /// Replaces the conversation by a saved one. On an error it stays as it was, but for what it had computed.
    ///
    /// # Errors
    /// [`SavedError`] says what is wrong with the file.
    pub fn load(&mut self, input: &mut dyn Read) -> Result<Loaded, SavedError> {
        let mut input = Hashing { inner: input, hash: Sha256::new() };
        let header = read_header(&mut input)?;
        let config = match header.messages.iter().any(has_media) {
            true => Some(self.engine.patch_config().map_err(|e| SavedError::Session(Box::new(e)))?),
            false => None,
        };
        let (mut messages, mut media) = (Vec::new(), Vec::new());
        for message in header.messages {
            let mut parts = Vec::new();
            for part in message.parts {
                parts.push(match part {
                    SavedPart::Text(text) => PastPart::Text(text),
                    SavedPart::Medium(medium) => {
                        let config = config.as_ref().ok_or(SavedError::Damaged("a medium without a place"))?;
                        let png = medium.png.map(|len| read_bytes(&mut input, len, MAX_PICTURE_BYTES)).transpose()?;
                        let (told, medium) = restored(*medium, png, config)?;
                        let medium = Arc::new(medium);
                        media.push((told.cache_hash(), medium.clone()));
                        PastPart::Medium(medium)
                    }
                });
            }
            let role = Role::from_name(&message.role).ok_or(SavedError::Damaged("a message is nobody's"))?;
            messages.push(PastMessage { role, parts });
        }
        if !in_turns(&messages, header.starts.len()) {
            return Err(SavedError::Damaged("its exchanges don't add up"));
        }
        let same = header.fingerprint == self.engine.fingerprint()
            && header.settings == self.engine.cache_settings()
            && header.tokens <= self.engine.ctx;
        let cached = self.read_cache(&mut input, header.tokens, same)?;
        self.cached = known(std::mem::take(&mut self.cached), &media);
        self.messages = messages;
        self.starts = header.starts;
        Ok(if cached { Loaded::Whole } else { Loaded::Again })
    }

    /// Takes the KV cache over if it is of `same` model, and checks the sum; whether it is there.
    fn read_cache(
        &mut self,
        input: &mut Hashing<&mut dyn Read>,
        tokens: usize,
        same: bool,
    ) -> Result<bool, SavedError> {
        self.truncate(0);
        let mut keys = Vec::new();
        let mut rest = None;
        if same && tokens > 0 {
            let bytes = read_bytes(input, (tokens as u64).saturating_mul(8), 8 * self.engine.ctx as u64)?;
            keys = bytes.as_chunks::<8>().0.iter().map(|key| u64::from_le_bytes(*key)).collect();
            self.ensure_state().map_err(|e| SavedError::Session(Box::new(e)))?;
            if let Some(state) = &mut self.state {
                state.read_cache(&mut self.compute, tokens, input).map_err(cut_off)?;
            }
        } else if tokens > 0 {
            // How long another model's cache is, isn't known: the sum is what the file ends with.
            rest = Some(rest_of(input)?);
        }
        let sum = match rest {
            Some(sum) => sum,
            None => {
                let found: [u8; 32] = input.hash.clone().finalize().into();
                let mut sum = [0; 32];
                input.inner.read_exact(&mut sum).map_err(cut_off)?;
                sum == found && input.inner.read(&mut [0])? == 0
            }
        };
        if !sum {
            self.truncate(0);
            return Err(SavedError::Damaged("its checksum is wrong"));
        }
        let whole = !keys.is_empty();
        self.cached = keys;
        Ok(whole)
    }
}

/// The keys of cached tokens with each medium's own in the place of those that the file has for it. What the file says of
/// other media is nobody's: it could pass for a picture that is yet to be shown.
fn known(keys: Vec<u64>, media: &[(u64, Arc<PreparedMedium>)]) -> Vec<u64> {
    let mut own = HashMap::new();
    for (told, medium) in media {
        // No more of them than that can be in the cache, whatever the file says of a clip.
        if own.len() >= keys.len() {
            break;
        }
        let base = medium.key().cache_hash();
        let tokens = medium.tokens().min(keys.len()) as u64;
        own.extend((0..tokens).map(|i| (medium_key(*told, i), medium_key(base, i))));
    }
    let key = |key: u64| if key < OF_A_MEDIUM { key } else { own.get(&key).copied().unwrap_or(u64::MAX) };
    keys.into_iter().map(key).collect()
}

/// Reads to the end; whether the last 32 bytes are the SHA-256 of all before them.
fn rest_of(input: &mut Hashing<&mut dyn Read>) -> io::Result<bool> {
    let mut hash = input.hash.clone();
    let mut held = Vec::new();
    let mut block = vec![0; 1 << 16];
    loop {
        let n = input.inner.read(&mut block)?;
        if n == 0 {
            return Ok(held.len() == 32 && hash.finalize()[..] == held[..]);
        }
        held.extend_from_slice(&block[..n]);
        let sure = held.len().saturating_sub(32);
        hash.update(&held[..sure]);
        held.drain(..sure);
    }
}

fn read_header(input: &mut Hashing<&mut dyn Read>) -> Result<Header, SavedError> {
    let mut magic = [0; 8];
    input.read_exact(&mut magic).map_err(|_| SavedError::Foreign)?;
    if &magic != MAGIC {
        return Err(SavedError::Foreign);
    }
    let mut len = [0; 8];
    input.read_exact(&mut len).map_err(cut_off)?;
    let json = read_bytes(input, u64::from_le_bytes(len), MAX_HEADER_BYTES)?;
    serde_json::from_slice(&json).map_err(|_| SavedError::Damaged("its header can't be read"))
}

/// `len` bytes; memory is asked for as they come.
fn read_bytes(input: &mut impl Read, len: u64, most: u64) -> Result<Vec<u8>, SavedError> {
    if len > most {
        return Err(SavedError::Damaged("a length in it is absurd"));
    }
    let mut bytes = Vec::new();
    input.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len { Ok(bytes) } else { Err(SavedError::Damaged("it is cut off")) }
}

fn cut_off(e: io::Error) -> SavedError {
    if e.kind() == io::ErrorKind::UnexpectedEof { SavedError::Damaged("it is cut off") } else { SavedError::Io(e) }
}

/// Whether these are `exchanges` questions with their answers, a system message perhaps before them.
fn in_turns(messages: &[PastMessage], exchanges: usize) -> bool {
    let turns = match messages.first() {
        Some(first) if first.role == Role::System => &messages[1..],
        _ => messages,
    };
    let roles = [Role::User, Role::Assistant];
    turns.len() == 2 * exchanges && turns.iter().zip(roles.iter().cycle()).all(|(m, role)| m.role == *role)
}

fn has_media(message: &SavedMessage) -> bool {
    message.parts.iter().any(|part| matches!(part, SavedPart::Medium(_)))
}

fn restored(
    medium: SavedMedium,
    png: Option<Vec<u8>>,
    config: &crate::media::PatchConfig,
) -> Result<(MediaKey, PreparedMedium), SavedError> {
    let name = medium.report.name.clone();
    let image = match png {
        None => None,
        Some(bytes) => {
            let limits = Limits { max_pixels: 1 << 26, ..Limits::default() };
            Some(load_picture(&Source::Bytes { name, bytes: bytes.into() }, &limits)?.image)
        }
    };
    let told = MediaKey { sha256: medium.sha256, settings: medium.settings };
    let restored = PreparedMedium::restored(medium.report, told.clone(), image, config);
    restored.map(|medium| (told, medium)).ok_or(SavedError::Damaged("a picture's sizes don't fit"))
}

fn saved_message(message: &PastMessage, pictures: &mut Vec<Vec<u8>>) -> io::Result<SavedMessage> {
    let mut parts = Vec::new();
    for part in &message.parts {
        parts.push(match part {
            PastPart::Text(text) => SavedPart::Text(text.clone()),
            PastPart::Medium(medium) => {
                let png = match medium.pixels() {
                    None => None,
                    Some(pixels) => {
                        let mut png = Vec::new();
                        write_png(&pixels, &mut png)?;
                        pictures.push(png);
                        pictures.last().map(|png| png.len() as u64)
                    }
                };
                let MediaKey { sha256, settings } = medium.key().clone();
                SavedPart::Medium(Box::new(SavedMedium { report: medium.report(), sha256, settings, png }))
            }
        });
    }
    Ok(SavedMessage { role: message.role.name().to_owned(), parts })
}

/// Passes bytes on, and hashes them.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
}

impl Read for Hashing<&mut dyn Read> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hash.update(&buf[..n]);
        Ok(n)
    }
}

impl Write for Hashing<&mut dyn Write> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
