//! The question that is put to the model.

/// Verbs that end a short phrase such as "the red car stops", and how a question has them.
const VERBS: [(&str, &str); 16] = [
    ("appears", "appear"),
    ("vanishes", "vanish"),
    ("disappears", "disappear"),
    ("moves", "move"),
    ("starts", "start"),
    ("stops", "stop"),
    ("begins", "begin"),
    ("ends", "end"),
    ("arrives", "arrive"),
    ("leaves", "leave"),
    ("opens", "open"),
    ("closes", "close"),
    ("falls", "fall"),
    ("speaks", "speak"),
    ("changes colour", "change colour"),
    ("changes color", "change color"),
];

/// `what`, a question or a phrase, as Qwen2.5-VL's video examples ask it: times wanted as JSON.
pub fn question(what: &str) -> String {
    let what = what.trim();
    let asked = if what.ends_with('?') {
        what.to_owned()
    } else {
        of_phrase(what)
            .unwrap_or_else(|| format!("When does this happen in the video: {}?", what.trim_end_matches('.')))
    };
    format!("{asked} Output start_time/end_time as JSON (mm:ss.ff).")
}

/// "the red car stops" → "When does the red car stop?"
fn of_phrase(what: &str) -> Option<String> {
    let what = what.trim_end_matches('.');
    let subject = ["a ", "an ", "the "].iter().any(|article| what.to_lowercase().starts_with(article));
    let (who, verb) =
        VERBS.iter().find_map(|(ends, asks)| Some((what.strip_suffix(ends)?.strip_suffix(' ')?, asks)))?;
    // More words than that are a sentence with a verb of its own.
    let short = who.split_whitespace().count() <= 5 && !who.contains(',');
    (subject && short).then(|| format!("When does {who} {verb}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_stay_and_phrases_become_questions() {
        let cases = [
            ("When does the red circle appear?", "When does the red circle appear?"),
            ("  Who comes in?  ", "Who comes in?"),
            ("the red circle appears", "When does the red circle appear?"),
            ("a dog moves.", "When does a dog move?"),
            ("the square changes colour", "When does the square change colour?"),
            ("a red car", "When does this happen in the video: a red car?"),
            ("someone stops", "When does this happen in the video: someone stops?"),
            (
                "the man who wears a hat sits down and the car stops",
                "When does this happen in the video: the man who wears a hat sits down and the car stops?",
            ),
            ("ein Auto hält", "When does this happen in the video: ein Auto hält?"),
        ];
        for (what, wanted) in cases {
            assert_eq!(question(what), format!("{wanted} Output start_time/end_time as JSON (mm:ss.ff)."));
        }
    }
}
