//! What a line of a conversation asks for: a slash command, or a question.

use std::path::PathBuf;

use super::paths::{self, UnclosedQuote};
use crate::cli::args::parse_positive;

/// A command, as `/help` lists them.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Attach pictures (or clips).
    Image(Vec<String>),
    /// Attach a clip, at so many frames per second.
    Video(String, Option<f64>),
    /// Attach the picture in the clipboard.
    Paste,
    /// List what is shown.
    Files,
    /// Take the n-th medium out, or the oldest one.
    Drop(Option<usize>),
    /// Begin anew.
    Clear,
    /// Take the last exchange back.
    Undo,
    /// Another answer to the last question.
    Retry,
    /// Ask the last question in other words.
    Edit(Option<String>),
    /// Set (or show) the system message.
    System(Option<String>),
    /// Set (or show) an option.
    Set(Option<(String, String)>),
    /// Go on with another model.
    Model(String),
    /// Write the conversation so that it can be gone on with.
    Save(PathBuf),
    /// Go on with a saved conversation.
    Load(PathBuf),
    /// Write it for people or programs.
    Export(PathBuf),
    /// Tokens and speed.
    Stats,
    /// The list of commands.
    Help,
    /// Leave.
    Quit,
}

/// Every command: name, arguments, what it does.
pub const COMMANDS: [(&str, &str, &str); 18] = [
    ("image", "PATH…", "show pictures with the next question"),
    ("video", "PATH [FPS]", "show a clip, FPS frames a second"),
    ("paste", "", "show the picture that is in the clipboard"),
    ("files", "", "list what is shown, and its tokens"),
    ("drop", "[N]", "take picture or clip N (of /files) out, else the oldest"),
    ("clear", "", "begin a new conversation"),
    ("undo", "", "take the last question and its answer back"),
    ("retry", "", "answer the last question again"),
    ("edit", "[TEXT]", "ask the last question in other words"),
    ("system", "[TEXT]", "set the system message of the next conversation"),
    ("set", "[NAME VALUE]", "temp, top-k, top-p, seed, max-tokens, stats"),
    ("model", "NAME", "go on with another model"),
    ("save", "FILE", "keep the conversation, to /load it later"),
    ("load", "FILE", "go on with a saved conversation"),
    ("export", "FILE.md|.json|.html", "write the conversation with its pictures"),
    ("stats", "", "tokens, context left, speed of the last answer"),
    ("help", "", "this list"),
    ("quit", "", "leave (also Ctrl-D)"),
];

/// A line that isn't understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such command.
    #[error("there is no command /{0}; /help lists them (a question that begins with a slash: //…)")]
    Unknown(String),
    /// Arguments are missing, or too many.
    #[error("/{name} takes {arguments}")]
    Arguments {
        /// The command.
        name: &'static str,
        /// What it takes.
        arguments: &'static str,
    },
    /// A quote isn't closed.
    #[error(transparent)]
    Quote(#[from] UnclosedQuote),
    /// A number isn't one.
    #[error("`{found}` is not {wanted}")]
    Value {
        /// What was typed.
        found: String,
        /// What is wanted.
        wanted: &'static str,
    },
    /// There is nothing to work on.
    #[error("{0}")]
    Nothing(&'static str),
}

/// The command in `line`, or `None` where it is a question.
///
/// # Errors
/// It begins like a command and is none.
pub fn parse(line: &str) -> Result<Option<Command>, CommandError> {
    let Some(rest) = line.trim().strip_prefix('/').filter(|rest| !rest.starts_with('/')) else { return Ok(None) };
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let rest = rest.trim();
    // A beginning that only one command has is enough; `/e` would be two.
    let mut fitting = COMMANDS.iter().filter(|c| c.0 == word).chain(COMMANDS.iter().filter(|c| c.0.starts_with(word)));
    let unknown = || CommandError::Unknown(word.to_owned());
    let first = fitting.next().filter(|_| !word.is_empty()).ok_or_else(unknown)?;
    if first.0 != word && fitting.next().is_some() {
        return Err(unknown());
    }
    let &(name, arguments, _) = first;
    if arguments.is_empty() && !rest.is_empty() {
        return Err(CommandError::Arguments { name, arguments: "nothing more" });
    }
    let missing = || CommandError::Arguments { name, arguments };
    let words = || paths::split_args(rest);
    let text = (!rest.is_empty()).then(|| rest.to_owned());
    let one = || -> Result<String, CommandError> {
        let mut words = words()?;
        if words.len() == 1 { Ok(words.remove(0)) } else { Err(missing()) }
    };
    let file = || one().map(|word| paths::file_of(&word));
    Ok(Some(match name {
        "image" => Command::Image(
            words().map_err(CommandError::from).and_then(|w| if w.is_empty() { Err(missing()) } else { Ok(w) })?,
        ),
        "video" => video(words()?).ok_or_else(missing)??,
        "paste" => Command::Paste,
        "files" => Command::Files,
        "drop" => {
            Command::Drop(text.map(|n| number(&n, "the number of a picture or clip, as /files shows it")).transpose()?)
        }
        "clear" => Command::Clear,
        "undo" => Command::Undo,
        "retry" => Command::Retry,
        "edit" => Command::Edit(text),
        "system" => Command::System(text),
        "set" => Command::Set(match text {
            None => None,
            Some(text) => {
                let (name, value) = text.split_once(|c: char| c.is_whitespace() || c == '=').ok_or_else(missing)?;
                Some((name.to_owned(), value.trim().to_owned()))
            }
        }),
        "model" => Command::Model(file()?.display().to_string()),
        "save" => Command::Save(file()?),
        "load" => Command::Load(file()?),
        "export" => Command::Export(file()?),
        "stats" => Command::Stats,
        "help" => Command::Help,
        _ => Command::Quit,
    }))
}

fn video(mut words: Vec<String>) -> Option<Result<Command, CommandError>> {
    let fps = match words.len() {
        1 => None,
        2 => words.pop(),
        _ => return None,
    };
    // As --fps takes it.
    let fps = fps.map(|fps| match parse_positive(&fps) {
        Ok(n) => Ok(f64::from(n)),
        Err(_) => Err(CommandError::Value { found: fps, wanted: "a number of frames per second, at most 100" }),
    });
    Some(fps.transpose().map(|fps| Command::Video(words.remove(0), fps)))
}

/// `text` as a number.
pub fn number<T: std::str::FromStr>(text: &str, wanted: &'static str) -> Result<T, CommandError> {
    text.parse().map_err(|_| CommandError::Value { found: text.to_owned(), wanted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        parse(line).expect("understood").expect("a command")
    }

    #[test]
    fn commands_are_told_from_questions() {
        assert_eq!(parse("What is 1/2?"), Ok(None));
        assert_eq!(parse("//etc is what?"), Ok(None));
        assert_eq!(command("/image 'a b.png' c\\ d.jpg"), Command::Image(vec!["a b.png".into(), "c d.jpg".into()]));
        assert_eq!(command(" /video clip.mp4 0.5 "), Command::Video("clip.mp4".into(), Some(0.5)));
        let home = dirs::home_dir().expect("a home");
        assert_eq!(command("/save ~/talk.qls"), Command::Save(home.join("talk.qls")));
        assert_eq!(command("/load talk.qls"), Command::Load("talk.qls".into()));
        assert_eq!(command("/model owner/repo:Q8_0"), Command::Model("owner/repo:Q8_0".into()));
        assert_eq!(command("/set temp 0.7"), Command::Set(Some(("temp".into(), "0.7".into()))));
        assert_eq!(command("/set temp=0.7"), Command::Set(Some(("temp".into(), "0.7".into()))));
        assert_eq!(command("/q"), Command::Quit);
        assert_eq!(command("/edit  say it shorter"), Command::Edit(Some("say it shorter".into())));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |line: &str| parse(line).expect_err("not understood");
        assert_eq!(wrong("/fly"), CommandError::Unknown("fly".into()));
        assert_eq!(wrong("/"), CommandError::Unknown(String::new()));
        assert_eq!(wrong("/s"), CommandError::Unknown("s".into()), "system, set, save or stats");
        assert!(matches!(wrong("/video"), CommandError::Arguments { .. }));
        assert!(matches!(wrong("/video a.mp4 -1"), CommandError::Value { .. }));
        assert!(matches!(wrong("/video a.mp4 101"), CommandError::Value { .. }));
        assert!(matches!(wrong("/video a.mp4 inf"), CommandError::Value { .. }));
        assert!(matches!(wrong("/undo it"), CommandError::Arguments { .. }));
        assert!(matches!(wrong("/image 'a"), CommandError::Quote(_)));
        assert!(matches!(wrong("/drop first"), CommandError::Value { .. }));
    }
}
