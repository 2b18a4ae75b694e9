//! The question that is put to the model.

/// What places are wanted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Boxes.
    Boxes,
    /// Points.
    Points,
}

const ARTICLES: [&str; 3] = ["a ", "an ", "the "];
const EVERY: [&str; 3] = ["every ", "each ", "all "];

/// The things that `what` names, separated by commas.
pub fn labels(what: &str) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for label in what.split(',').map(|label| label.split_whitespace().collect::<Vec<_>>().join(" ")) {
        if !label.is_empty() && !labels.contains(&label) {
            labels.push(label);
        }
    }
    labels
}

/// Whether the words ask for all there are by themselves: `every dog`.
pub fn names_all(what: &str) -> bool {
    let lower = what.to_lowercase();
    EVERY.iter().any(|word| lower.starts_with(word))
}

/// `what`, a thing in a few words, as Qwen2.5-VL's examples ask where it is; `all` of it, or the one.
pub fn question(what: &str, wanted: Wanted, all: bool) -> String {
    let lower = what.to_lowercase();
    let starts = |words: &[&str]| words.iter().find(|word| lower.starts_with(*word)).map_or(0, |word| word.len());
    // Cutting off ASCII words leaves a character's border; lower case may be longer than what it is made from.
    let bare = |length: usize| what.get(length..).unwrap_or(what);
    let thing = if names_all(what) {
        what.to_owned()
    } else if all {
        format!("every {}", bare(starts(&ARTICLES)))
    } else if starts(&ARTICLES) > 0 {
        what.to_owned()
    } else {
        format!("the {what}")
    };
    match wanted {
        Wanted::Boxes => format!("Locate {thing}, output its bbox coordinates in JSON format."),
        Wanted::Points if thing.starts_with("every ") => {
            format!("Point to {thing}, output the point coordinates in JSON format.")
        }
        Wanted::Points => format!("Point to {thing}, output its coordinates in JSON format."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_become_questions() {
        let cases = [
            ("red circle", false, "Locate the red circle, output its bbox coordinates in JSON format."),
            ("the red circle", false, "Locate the red circle, output its bbox coordinates in JSON format."),
            ("an apple", false, "Locate an apple, output its bbox coordinates in JSON format."),
            ("red circle", true, "Locate every red circle, output its bbox coordinates in JSON format."),
            ("A red circle", true, "Locate every red circle, output its bbox coordinates in JSON format."),
            ("all red circles", true, "Locate all red circles, output its bbox coordinates in JSON format."),
            ("Every shape", false, "Locate Every shape, output its bbox coordinates in JSON format."),
            ("İ the", true, "Locate every İ the, output its bbox coordinates in JSON format."),
        ];
        for (what, all, wanted) in cases {
            assert_eq!(question(what, Wanted::Boxes, all), wanted);
        }
        let point = |what, all| question(what, Wanted::Points, all);
        assert_eq!(point("dog", true), "Point to every dog, output the point coordinates in JSON format.");
        assert_eq!(point("dog", false), "Point to the dog, output its coordinates in JSON format.");
    }

    #[test]
    fn several_labels() {
        assert_eq!(labels(" a red  car, dog,,dog , "), ["a red car", "dog"]);
        assert!(labels(" , ").is_empty());
    }
}
