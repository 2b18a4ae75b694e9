//! What has been done of a run over many files: a line for each result, so that the run can go on after any end.
//!
//! The first line says which run it is; a line is added, and brought to the disk, when a result is there. A line that
//! was cut off (the machine went down) counts as not written.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::exit::CliError;
use super::super::screen::write_json;

const VERSION: u32 = 1;

/// What results belong to. None of them may be used for anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The command.
    pub task: String,
    /// The model's fingerprint, in hexadecimal.
    pub model: String,
    /// What is asked.
    pub question: String,
    /// The options that change the answer.
    pub options: String,
}

/// A file that can't be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// Something else.
    #[error("is not a --resume file of `qlens {task}` ({reason})")]
    Format {
        /// The command.
        task: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another run's.
    #[error("belongs to a run with another {what}; name another file, or delete it to begin anew")]
    Other {
        /// What differs.
        what: &'static str,
    },
    /// Another process is at it.
    #[error("is in use by another run; each --shard needs a file of its own")]
    Busy,
}

#[derive(Serialize, Deserialize)]
struct Head {
    qlens_resume: u32,
    #[serde(flatten)]
    key: Key,
}

#[derive(Serialize, Deserialize)]
struct Line<R> {
    sha256: String,
    unit: String,
    result: R,
}

/// Results of this run and of earlier ones, by the content that they are of.
#[derive(Debug)]
pub struct Resume {
    path: PathBuf,
    file: File,
    done: HashMap<(String, String), Value>,
}

impl Resume {
    /// Opens the file, or begins it.
    ///
    /// # Errors
    /// It can't be read or written, is something else, another run's, or in use.
    pub fn open(path: &Path, key: &Key) -> Result<Resume, CliError> {
        let io = |source| CliError::Write { path: path.to_path_buf(), source };
        let wrong = |source| CliError::Resume { path: path.to_path_buf(), source };
        let format = |reason: String| wrong(ResumeError::Format { task: key.task.clone(), reason });
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        // Some file systems have no locks; then it is the person who has to see to it.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(wrong(ResumeError::Busy));
        }
        let mut lines = BufReader::new(file.try_clone().map_err(io)?);
        let (mut done, mut whole, mut line) = (HashMap::new(), 0, Vec::new());
        while lines.read_until(b'\n', &mut line).map_err(io)? > 0 && line.ends_with(b"\n") {
            if whole == 0 {
                let value: Value = serde_json::from_slice(&line).map_err(|e| format(e.to_string()))?;
                let version = value.get("qlens_resume").and_then(Value::as_u64);
                if version != Some(VERSION.into()) {
                    return Err(format("it doesn't begin as one of this version".to_owned()));
                }
                let head: Head = serde_json::from_value(value).map_err(|e| format(e.to_string()))?;
                head.key.same(key).map_err(wrong)?;
            } else {
                let Line { sha256, unit, result } =
                    serde_json::from_slice(&line).map_err(|e| format(format!("at byte {whole}: {e}")))?;
                done.insert((sha256, unit), result);
            }
            whole += line.len() as u64;
            line.clear();
        }
        // Nothing of somebody else's file is overwritten: without a whole line, it has to be the beginning of one of ours.
        if whole == 0 && !line.is_empty() && !line.starts_with(b"{\"qlens_resume\":") {
            return Err(format("its first line is none".to_owned()));
        }
        file.set_len(whole).and_then(|()| file.seek(SeekFrom::End(0))).map_err(io)?;
        let mut resume = Resume { path: path.to_path_buf(), file, done };
        if whole == 0 {
            resume.write(&Head { qlens_resume: VERSION, key: key.clone() })?;
        }
        Ok(resume)
    }

    /// The result of a unit of the file with this content.
    pub fn find(&self, sha256: &str, unit: &str) -> Option<&Value> {
        self.done.get(&(sha256.to_owned(), unit.to_owned()))
    }

    /// Adds a result.
    ///
    /// # Errors
    /// It can't be written.
    pub fn add<R: Serialize>(&mut self, sha256: &str, unit: &str, result: &R) -> Result<(), CliError> {
        self.write(&Line { sha256: sha256.to_owned(), unit: unit.to_owned(), result })?;
        // The same content under another name isn't looked at again in this run either.
        if let Ok(value) = serde_json::to_value(result) {
            self.done.insert((sha256.to_owned(), unit.to_owned()), value);
        }
        Ok(())
    }

    fn write<T: Serialize>(&mut self, value: &T) -> Result<(), CliError> {
        let mut line = Vec::new();
        let written: io::Result<()> = write_json(value, &mut line).and_then(|()| {
            line.push(b'\n');
            self.file.write_all(&line)?;
            self.file.sync_data()
        });
        written.map_err(|source| CliError::Write { path: self.path.clone(), source })
    }
}

impl Key {
    fn same(&self, wanted: &Key) -> Result<(), ResumeError> {
        let same = |what, same| if same { Ok(()) } else { Err(ResumeError::Other { what }) };
        same("command", self.task == wanted.task)?;
        same("model", self.model == wanted.model)?;
        same("question", self.question == wanted.question)?;
        same("set of options", self.options == wanted.options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key { task: "locate".into(), model: "m".into(), question: "q".into(), options: "o".into() }
    }

    #[test]
    fn results_are_found_again_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("done.jsonl");
        let mut resume = Resume::open(&path, &key()).expect("new");
        resume.add("aa", "", &"first\u{9b}").expect("added");
        resume.add("bb", "page=2", &[1.5, 2.5]).expect("added");
        assert!(resume.find("aa", "").is_some());
        let busy = Resume::open(&path, &key()).expect_err("in use").to_string();
        assert!(busy.contains("in use"), "{busy}");
        drop(resume);
        let mut torn = OpenOptions::new().append(true).open(&path).expect("there");
        torn.write_all(b"{\"sha256\":\"cc\",\"unit\":\"\",\"resu").expect("written");
        drop(torn);
        let mut resume = Resume::open(&path, &key()).expect("goes on");
        assert_eq!(resume.find("aa", ""), Some(&Value::from("first\u{9b}")));
        assert_eq!(resume.find("bb", "page=2"), Some(&serde_json::json!([1.5, 2.5])));
        assert!(resume.find("bb", "page=1").is_none() && resume.find("cc", "").is_none());
        resume.add("dd", "", &1).expect("added");
        drop(resume);
        assert!(Resume::open(&path, &key()).expect("whole").find("dd", "").is_some());
    }

    #[test]
    fn other_files_are_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("done.jsonl");
        drop(Resume::open(&path, &key()).expect("new"));
        let refused = |key: Key| Resume::open(&path, &key).expect_err("another's").to_string();
        assert!(refused(Key { task: "parse".into(), ..key() }).contains("another command"));
        assert!(refused(Key { model: "x".into(), ..key() }).contains("another model"));
        assert!(refused(Key { question: "x".into(), ..key() }).contains("another question"));
        assert!(refused(Key { options: "x".into(), ..key() }).contains("another set of options"));
        for other in ["my notes", "my notes\n", "{\"qlens_resume\":2}\n", "[1]\n"] {
            std::fs::write(&path, other).expect("written");
            let said = Resume::open(&path, &key()).expect_err("not ours").to_string();
            assert!(said.contains("not a --resume file"), "{other}: {said}");
            assert_eq!(std::fs::read_to_string(&path).expect("there"), other);
        }
        // Killed while the first line was written.
        std::fs::write(&path, "{\"qlens_resume\":1,\"ta").expect("written");
        drop(Resume::open(&path, &key()).expect("begun anew"));
        drop(Resume::open(&path, &key()).expect("whole"));
    }
}
