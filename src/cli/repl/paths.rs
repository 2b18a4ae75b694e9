//! Files in what is typed: arguments of commands, and paths that were pasted or dragged into a question.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// A quote without its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quote {0} is not closed")]
pub struct UnclosedQuote(char);

/// Endings of files that are taken for media where only a name is given.
const ENDINGS: [&str; 18] = [
    "jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff", "mp4", "mkv", "webm", "mov", "avi", "m4v", "mpg",
    "mpeg", "ts", "ogv",
];

/// Whether a file is named like a picture or a clip.
pub fn looks_like_media(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|e| ENDINGS.contains(&e.as_str()))
}

/// A word of a line, quotes and backslashes taken away, and where it stands.
struct Word {
    text: String,
    span: Range<usize>,
}

/// Splits as shells do: spaces part words, quotes and backslashes keep them together.
fn words(line: &str) -> Result<Vec<Word>, UnclosedQuote> {
    let mut found = Vec::new();
    let mut chars = line.char_indices().peekable();
    while let Some(&(start, first)) = chars.peek() {
        if first.is_whitespace() {
            chars.next();
            continue;
        }
        let (mut text, mut end, mut quote) = (String::new(), start, None);
        while let Some(&(at, c)) = chars.peek() {
            if quote.is_none() && c.is_whitespace() {
                break;
            }
            chars.next();
            end = at + c.len_utf8();
            match quote {
                Some(q) if c == q => quote = None,
                None if c == '\'' || c == '"' => quote = Some(c),
                None if c == '\\' && !cfg!(windows) => {
                    if let Some((at, c)) = chars.next() {
                        text.push(c);
                        end = at + c.len_utf8();
                    }
                }
                _ => text.push(c),
            }
        }
        if let Some(q) = quote {
            return Err(UnclosedQuote(q));
        }
        found.push(Word { text, span: start..end });
    }
    Ok(found)
}

/// The arguments of a command.
///
/// # Errors
/// A quote isn't closed.
pub fn split_args(line: &str) -> Result<Vec<String>, UnclosedQuote> {
    Ok(words(line)?.into_iter().map(|word| word.text).collect())
}

/// The file that an argument means: `~/` is the home folder, and `file://` an address that file managers paste.
pub fn file_of(arg: &str) -> PathBuf {
    if let Some(path) = arg.strip_prefix("file://") {
        let path = path.strip_prefix("localhost").unwrap_or(path);
        return PathBuf::from(percent_decoded(path));
    }
    match (arg.strip_prefix("~/"), dirs::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(arg),
    }
}

fn percent_decoded(text: &str) -> String {
    let hex = |c: Option<&u8>| c.and_then(|&c| (c as char).to_digit(16));
    let (mut bytes, mut out) = (text.as_bytes().iter(), Vec::new());
    while let Some(&b) = bytes.next() {
        let mut ahead = bytes.clone();
        match (b, hex(ahead.next()), hex(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                bytes = ahead;
            }
            _ => out.push(b),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The media files that a question names, and the question without them where they stand at its beginning or end (as
/// dragging leaves them); between words they stay, being part of the sentence.
pub fn media_in(line: &str, exists: &dyn Fn(&Path) -> bool) -> (Vec<PathBuf>, String) {
    // An apostrophe is no quote: then words are words.
    let Ok(words) = words(line) else { return (Vec::new(), line.to_owned()) };
    let found: Vec<Option<PathBuf>> = words
        .iter()
        .map(|word| {
            let path = file_of(&word.text);
            // A name alone is taken for a file only with its ending: "cat" may be one, and is more likely a cat.
            (looks_like_media(&path) && exists(&path)).then_some(path)
        })
        .collect();
    let first = found.iter().position(Option::is_none);
    let last = found.iter().rposition(Option::is_none);
    let rest = match (first, last) {
        (Some(first), Some(last)) => line[words[first].span.start..words[last].span.end].to_owned(),
        _ => String::new(),
    };
    (found.into_iter().flatten().collect(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> (Vec<PathBuf>, String) {
        media_in(line, &|path| !path.ends_with("missing.png"))
    }

    #[test]
    fn dragged_files_are_found() {
        assert_eq!(found("/tmp/a.png"), (vec!["/tmp/a.png".into()], String::new()));
        assert_eq!(found("'/tmp/a b.png' What is it?"), (vec!["/tmp/a b.png".into()], "What is it?".into()));
        assert_eq!(found("What is it? /tmp/a\\ b.JPG "), (vec!["/tmp/a b.JPG".into()], "What is it?".into()));
        assert_eq!(found("file:///tmp/a%20b%C3%A9.mp4"), (vec!["/tmp/a bé.mp4".into()], String::new()));
        let between = "Is a.png larger than b.png ?";
        assert_eq!(found(between), (vec!["a.png".into(), "b.png".into()], between.into()));
    }

    #[test]
    fn words_stay_words() {
        for line in ["What's a cat?", "missing.png", "/etc/passwd", "50% of 7/2", "a.txt", ""] {
            assert_eq!(found(line), (vec![], line.into()));
        }
    }

    #[test]
    fn arguments_are_split_as_shells_do() {
        assert_eq!(split_args(r#"a "b c" d\ e 'f"g' h"i j"k"#).expect("closed"), ["a", "b c", "d e", "f\"g", "hi jk"]);
        assert_eq!(split_args("\"a"), Err(UnclosedQuote('"')));
        assert_eq!(percent_decoded("%zz%4%41%"), "%zz%4A%");
    }
}
