//! What a person has settled once: `config.toml`, then the environment, then what is typed.
//!
//! Every setting is the default of an option. So a value from the file goes through the same checks as a typed one, and
//! whatever is typed wins.

use std::io;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Command};
use toml_edit::{DocumentMut, Item, Value};

/// A setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// In the file; with `--` before it, the option.
    pub name: &'static str,
    /// The variable that goes before the file.
    pub variable: &'static str,
}

/// All settings, in the order in which they are shown.
pub const KEYS: [Key; 20] = [
    Key { name: "model", variable: "QLENS_MODEL" },
    Key { name: "models", variable: "QLENS_MODELS" },
    Key { name: "threads", variable: "QLENS_THREADS" },
    Key { name: "ctx", variable: "QLENS_CTX" },
    Key { name: "kv-type", variable: "QLENS_KV_TYPE" },
    Key { name: "vision-precision", variable: "QLENS_VISION_PRECISION" },
    Key { name: "media-cache", variable: "QLENS_MEDIA_CACHE" },
    Key { name: "max-tokens", variable: "QLENS_MAX_TOKENS" },
    Key { name: "temp", variable: "QLENS_TEMP" },
    Key { name: "top-k", variable: "QLENS_TOP_K" },
    Key { name: "top-p", variable: "QLENS_TOP_P" },
    Key { name: "min-p", variable: "QLENS_MIN_P" },
    Key { name: "repeat-penalty", variable: "QLENS_REPEAT_PENALTY" },
    Key { name: "min-pixels", variable: "QLENS_MIN_PIXELS" },
    Key { name: "max-pixels", variable: "QLENS_MAX_PIXELS" },
    Key { name: "fps", variable: "QLENS_FPS" },
    Key { name: "no-color", variable: "QLENS_NO_COLOR" },
    Key { name: "endpoint", variable: "HF_ENDPOINT" },
    Key { name: "connections", variable: "QLENS_CONNECTIONS" },
    Key { name: "patience", variable: "QLENS_PATIENCE" },
];

impl Key {
    /// The option's id: clap's derive makes it of the field's name.
    fn id(&self) -> String {
        self.name.replace('-', "_")
    }

    /// A value of the file as a shell would hand it over: no shell has read the file, so `~/` is still the home folder.
    fn at_home(&self, value: String) -> String {
        let path = ["model", "models", "media-cache"].contains(&self.name);
        let home = if path { value.strip_prefix("~/").zip(dirs::home_dir()) } else { None };
        home.map_or(value.clone(), |(rest, home)| home.join(rest).display().to_string())
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file.
    File,
    /// The environment.
    Environment,
}

/// A value that was set.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Which.
    pub key: &'static Key,
    /// As it would be typed.
    pub value: String,
    /// From where.
    pub origin: Origin,
}

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file can't be written.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file isn't TOML.
    #[error("{path}: {problem}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
    /// A value that the option wouldn't take either.
    #[error("{place}: {problem}")]
    Value {
        /// The key in the file, or the variable.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// What is settled.
#[derive(Debug, Default)]
pub struct Settings {
    /// The file, whether or not it exists; `None` where no folder is known for it.
    pub file: Option<PathBuf>,
    /// The values.
    pub values: Vec<Setting>,
    /// What in the file means nothing, a line each.
    pub unknown: Vec<String>,
}

impl Settings {
    /// Reads the file (`$QLENS_CONFIG`, else `qlens/config.toml` in the config folder) and the environment.
    ///
    /// # Errors
    /// The file can't be read, or isn't TOML; or a variable isn't text.
    pub fn load() -> Result<Settings, SettingsError> {
        let named = std::env::var_os("QLENS_CONFIG").map(PathBuf::from);
        let file = match named {
            // Set to nothing: no file.
            Some(path) => Some(path).filter(|p| !p.as_os_str().is_empty()),
            None => dirs::config_dir().map(|folder| folder.join("qlens/config.toml")),
        };
        let mut settings = Settings { file, ..Settings::default() };
        if let Some(path) = settings.file.clone() {
            match std::fs::read_to_string(&path) {
                Ok(text) => settings.read(&path, &text)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(SettingsError::Io { path, source }),
            }
        }
        for key in &KEYS {
            let Some(value) = std::env::var_os(key.variable).filter(|v| !v.is_empty()) else { continue };
            let value = value.into_string().map_err(|_| SettingsError::Value {
                place: format!("${}", key.variable),
                problem: "is not UTF-8 text".to_owned(),
            })?;
            settings.values.retain(|s| s.key != key);
            settings.values.push(Setting { key, value, origin: Origin::Environment });
        }
        Ok(settings)
    }

    fn read(&mut self, path: &Path, text: &str) -> Result<(), SettingsError> {
        let problem = |e: &dyn std::fmt::Display| {
            let said = e.to_string();
            said.lines().rfind(|l| !l.is_empty()).unwrap_or("not TOML").to_owned()
        };
        let page = text.parse::<DocumentMut>().map_err(|e| {
            let line = e.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            SettingsError::Toml { path: path.to_path_buf(), problem: format!("line {line}: {}", problem(&e.message())) }
        })?;
        for (name, item) in page.iter() {
            match (KEYS.iter().find(|key| key.name == name), scalar(item)) {
                (Some(key), Some(value)) => {
                    self.values.push(Setting { key, value: key.at_home(value), origin: Origin::File });
                }
                (Some(_), None) => {
                    let problem = "must be a text, a number, or true or false".to_owned();
                    return Err(SettingsError::Value { place: place(path, name), problem });
                }
                (None, _) => {
                    let guess = nearest(name).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                    self.unknown.push(format!("{} means nothing{guess}", place(path, name)));
                }
            }
        }
        Ok(())
    }

    /// Where a value comes from, in words.
    pub fn origin(&self, setting: &Setting) -> String {
        match (setting.origin, &self.file) {
            (Origin::File, Some(path)) => path.display().to_string(),
            (Origin::File, None) => "file".to_owned(),
            (Origin::Environment, _) => format!("${}", setting.key.variable),
        }
    }

    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.values.iter().find(|s| s.key.name == name)
    }

    /// Makes the values the defaults of their options, in every subcommand that has them.
    ///
    /// # Errors
    /// An option wouldn't take its value.
    pub fn apply(&self, mut command: Command) -> Result<Command, SettingsError> {
        let subcommands: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
        for setting in &self.values {
            let id = setting.key.id();
            if has(&command, &id) {
                self.check(&command, setting)?;
                let value = setting.value.clone();
                command = command.mut_arg(&id, |arg| arg.default_value(value));
            }
            for name in &subcommands {
                let Some(sub) = command.find_subcommand(name).filter(|sub| has(sub, &id)) else { continue };
                self.check(sub, setting)?;
                let value = setting.value.clone();
                command = command.mut_subcommand(name, |sub| sub.mut_arg(&id, |arg| arg.default_value(value)));
            }
        }
        Ok(command)
    }

    /// Types the value at a command that has nothing but the option.
    fn check(&self, command: &Command, setting: &Setting) -> Result<(), SettingsError> {
        let id = setting.key.id();
        let Some(arg) = command.get_arguments().find(|arg| arg.get_id() == id.as_str()) else { return Ok(()) };
        let problem = if matches!(arg.get_action(), ArgAction::SetTrue) {
            let fits = ["true", "false"].contains(&setting.value.as_str());
            (!fits).then(|| format!("`{}` is neither true nor false", setting.value))
        } else {
            let bare = arg.clone().global(false);
            let bare = Command::new("qlens").no_binary_name(true).disable_help_flag(true).arg(bare);
            let typed = bare.try_get_matches_from([format!("--{}={}", setting.key.name, setting.value)]);
            typed.err().map(|e| {
                let said = e.render().to_string();
                let first = said.lines().next().unwrap_or_default().to_owned();
                first.strip_prefix("error: ").map_or(first.clone(), str::to_owned)
            })
        };
        let Some(problem) = problem else { return Ok(()) };
        let place = match (setting.origin, &self.file) {
            (Origin::File, Some(path)) => place(path, setting.key.name),
            _ => format!("${}", setting.key.variable),
        };
        Err(SettingsError::Value { place, problem })
    }

    /// Sets or removes a key in the file, and leaves all else in it as it is.
    ///
    /// # Errors
    /// The file can't be read or written, or isn't TOML.
    pub fn store(path: &Path, name: &str, value: Option<&str>) -> Result<(), SettingsError> {
        let io = |source| SettingsError::Io { path: path.to_path_buf(), source };
        let text = match std::fs::read_to_string(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.map_err(io)?,
        };
        let wrong = |e: toml_edit::TomlError| SettingsError::Toml { path: path.to_path_buf(), problem: e.to_string() };
        let mut page = text.parse::<DocumentMut>().map_err(wrong)?;
        match value {
            Some(value) => page[name] = toml_edit::value(value),
            None => drop(page.remove(name)),
        }
        let unwritten = |source| SettingsError::Write { path: path.to_path_buf(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(unwritten)?;
        }
        super::interrupt::write_whole(path, page.to_string().as_bytes()).map_err(unwritten)
    }
}

fn has(command: &Command, id: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == id)
}

fn place(path: &Path, key: &str) -> String {
    format!("{}: `{key}`", path.display())
}

/// The value as it would be typed.
fn scalar(item: &Item) -> Option<String> {
    match item.as_value()? {
        Value::String(s) => Some(s.value().clone()),
        Value::Integer(n) => Some(n.value().to_string()),
        Value::Float(x) => Some(x.value().to_string()),
        Value::Boolean(b) => Some(b.value().to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}

/// The key that is at most two letters away, or differs in `_` and `-`.
fn nearest(name: &str) -> Option<&'static str> {
    let tidy = name.to_ascii_lowercase().replace('_', "-");
    let near = KEYS.iter().map(|key| (distance(&tidy, key.name), key.name)).min()?;
    (near.0 <= 2 && near.0 < near.1.len()).then_some(near.1)
}

/// Letters to insert, delete or replace (Levenshtein), by one row of the table at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j + 1] + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_understood() {
        assert_eq!(distance("thread", "threads"), 1);
        assert_eq!(distance("", "ctx"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("max_tokens"), Some("max-tokens"));
        assert_eq!(nearest("modle"), Some("model"));
        assert_eq!(nearest("colour"), None);
    }

    #[test]
    fn every_key_is_an_option() {
        use clap::CommandFactory;
        let command = super::super::args::Cli::command();
        for key in &KEYS {
            let somewhere = has(&command, &key.id()) || command.get_subcommands().any(|sub| has(sub, &key.id()));
            assert!(somewhere, "no subcommand has --{}", key.name);
        }
    }
}
