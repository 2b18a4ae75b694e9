//! Conversations in files: saved to go on with, or on the way to another model.

use std::io::{BufReader, BufWriter, Read};
use std::path::Path;

use super::{Carried, Repl};
use crate::cli::exit::CliError;
use crate::cli::interrupt::Unfinished;
use crate::cli::progress::Progress;
use crate::session::{Loaded, SavedError};

impl Repl<'_> {
    /// Writes the conversation with all that was computed.
    pub(super) fn save(&mut self, file: &Path) -> Result<(), CliError> {
        let failed = |source| CliError::Write { path: file.to_path_buf(), source };
        refuse_to_replace_others(file)?;
        let mut progress = Progress::start(&self.manner, "saving the conversation");
        let mut out = BufWriter::new(Unfinished::beside(file).map_err(failed)?);
        self.asker.session().save(true, &mut out).map_err(failed)?;
        let out = out.into_inner().map_err(|e| failed(e.into_error()))?;
        out.finish(file).map_err(failed)?;
        progress.stop();
        let tokens = self.asker.session().held_tokens();
        self.manner.note(&format!("saved in {} ({tokens} tokens); /load goes on with it", file.display()));
        Ok(())
    }

    /// Goes on with a saved conversation.
    pub(super) fn load(&mut self, file: &Path) -> Result<(), CliError> {
        let opened = std::fs::File::open(file);
        let opened = opened.map_err(|source| CliError::Read { path: file.to_path_buf(), source })?;
        let failed = |source| CliError::Saved { path: file.to_path_buf(), source };
        let mut progress = Progress::start(&self.manner, "loading the conversation");
        let loaded = self.asker.session().load(&mut BufReader::with_capacity(1 << 20, opened)).map_err(failed)?;
        progress.stop();
        self.pending.clear();
        let history = self.asker.session().history();
        let questions = history.iter().filter(|said| said.role == crate::text::Role::User).count();
        let how = match loaded {
            Loaded::Whole => "it goes on at once",
            Loaded::Again => "it was saved with another model or other settings: the next question reads it again",
        };
        self.manner.note(&format!("{questions} questions and their answers loaded; {how}"));
        Ok(())
    }

    /// What another model needs to go on.
    ///
    /// # Errors
    /// A picture can't be written as PNG.
    pub fn into_carried(mut self) -> Result<Carried, CliError> {
        let mut saved = Vec::new();
        let failed = |source| CliError::Write { path: "the conversation".into(), source };
        self.asker.session().save(false, &mut saved).map_err(failed)?;
        let (options, system, pending) = (self.asker.options, self.system, self.pending);
        Ok(Carried { options, system, pending, media: Vec::new(), saved: Some(saved) })
    }

    pub(super) fn take_over(&mut self, mut saved: &[u8]) -> Result<(), CliError> {
        let failed = |source| CliError::Saved { path: "the conversation".into(), source };
        self.asker.session().load(&mut saved).map_err(failed)?;
        Ok(())
    }
}

/// A saved conversation may be replaced by a newer one; anything else is not ours to lose.
fn refuse_to_replace_others(file: &Path) -> Result<(), CliError> {
    let Ok(mut there) = std::fs::File::open(file) else { return Ok(()) };
    let mut start = [0; 6];
    match there.read_exact(&mut start) {
        Ok(()) if &start == b"QLSESS" => Ok(()),
        _ => Err(CliError::Saved { path: file.to_path_buf(), source: SavedError::Foreign }),
    }
}
