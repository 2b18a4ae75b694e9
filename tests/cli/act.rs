//! `qlens act`.

use std::fs;

use serde_json::{Value, json};

use crate::util::{json as parse, png, reference, run, run_with_input, scratch, with_model};

const COMPUTER: [&str; 11] = [
    "key",
    "type",
    "mouse_move",
    "left_click",
    "left_click_drag",
    "right_click",
    "middle_click",
    "double_click",
    "scroll",
    "wait",
    "terminate",
];
const PHONE: [&str; 9] = ["key", "click", "long_press", "swipe", "type", "system_button", "open", "wait", "terminate"];

/// A screenshot of 333 x 111 pixels, which is seen with other sides.
fn screen(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("screen.png");
    fs::write(&path, png(333, 111)).expect("written");
    path.display().to_string()
}

/// Asserts that every place lies on the screen.
fn on_the_screen(action: &Value) {
    for name in ["coordinate", "coordinate2"] {
        if let Some(place) = action["arguments"].get(name) {
            let inside =
                |i: usize| place[i].as_u64().is_some_and(|n| n < action["screen"][i].as_u64().expect("a size"));
            assert!(inside(0) && inside(1), "{action}");
        }
    }
}

#[test]
fn a_step_is_one_line_of_json_that_can_be_the_next_ones_history() {
    let folder = scratch();
    let (screen, history) = (screen(&folder), folder.path().join("steps.jsonl"));
    let history_arg = history.display().to_string();
    fs::write(&history, "").expect("written");
    for (device, name, actions) in [("computer", "computer_use", &COMPUTER[..]), ("phone", "mobile_use", &PHONE[..])] {
        for seed in ["1", "2", "3", "4"] {
            let words = ["act", "--goal", "Open \u{1b}[31mit", "--device", device, "--history", &history_arg, &screen];
            let said = run(with_model(&[&words[..], &["--temp", "2", "--seed", seed, "--max-tokens", "60"]].concat()));
            assert_eq!(said.answer().lines().count(), 1);
            let action = parse(said.answer());
            assert_eq!((&action["name"], &action["screen"]), (&json!(name), &json!([333, 111])));
            let what = action["arguments"]["action"].as_str().expect("an action");
            assert!(actions.contains(&what), "{action}");
            on_the_screen(&action);
            let mut steps = fs::read_to_string(&history).expect("there");
            steps.push_str(said.answer());
            fs::write(&history, steps).expect("written");
        }
    }
    assert_eq!(fs::read_to_string(&history).expect("there").lines().count(), 8);
}

#[test]
fn a_step_is_whole_wherever_the_model_is_cut_off() {
    let folder = scratch();
    let screen = screen(&folder);
    for most in ["1", "2", "5"] {
        let words = ["act", "--goal", "x", "--max-tokens", most, "--temp", "3", "--seed", most, &screen];
        let said = run(with_model(&words));
        on_the_screen(&parse(said.answer()));
        assert!(said.stderr.contains("brought to an end"), "{said:?}");
    }
    let bytes = fs::read(&screen).expect("there");
    let piped = run_with_input(with_model(&["act", "--goal", "x", "-q", "-"]), &bytes);
    assert_eq!(parse(piped.answer())["screen"], json!([333, 111]));
}

#[test]
fn what_is_no_history_or_no_screen_is_refused() {
    let folder = scratch();
    let screen = screen(&folder);
    let history = folder.path().join("steps.jsonl");
    fs::write(&history, "\n{\"name\": 1}\n").expect("written");
    let history = history.display().to_string();
    run(with_model(&["act", "--goal", "x", "--history", &history, &screen]))
        .fails(65, &["steps.jsonl: line 2 is no action"]);
    run(with_model(&["act", "--goal", "x", "--history", "missing.jsonl", &screen])).fails(66, &["missing.jsonl"]);
    run(with_model(&["act", "--goal", "x", "missing.png"])).fails(66, &["missing.png"]);
    let none = run(with_model(&["act", &screen]));
    assert_eq!(none.code, Some(2), "{none:?}");
    if cfg!(feature = "video") {
        let clip = reference("tiny-tied/clip0.mp4").display().to_string();
        run(with_model(&["act", "--goal", "x", &clip])).fails(65, &["is a clip, not a picture of a screen"]);
    }
}
