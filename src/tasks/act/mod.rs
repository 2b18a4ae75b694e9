//! One step of an agent: a goal and a screenshot in, the next action out. Nothing is carried out.
//!
//! The question is the one that Qwen2.5-VL was trained on: its function for computers or phones in the system message, the
//! goal and what was done so far, the screenshot. The answer is held to the form of a call, so it always is one.

mod tools;

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::geometry::{Point, View};
use super::python_json::python_json;
use crate::session::{
    Answer, Event, GenerateOptions, Grammar, GrammarError, Medium, Session, SessionError, Turn, TurnPart,
};

/// Steps of a history that are told; earlier ones are left out.
const MAX_STEPS: usize = 200;
/// The tags around a call.
const TAGS: [&str; 2] = ["<tool_call>", "</tool_call>"];
/// Arguments that are places on the screen.
const PLACES: [&str; 2] = ["coordinate", "coordinate2"];

/// What is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// With mouse and keyboard: `computer_use`.
    Computer,
    /// With a touchscreen: `mobile_use`.
    Phone,
}

/// A call of the device's function, with places in pixels of the screenshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// The function.
    pub name: String,
    /// What it is called with; `action` says what to do.
    pub arguments: Map<String, Value>,
    /// Width and height of the screenshot that the places are in.
    pub screen: [usize; 2],
}

/// A step that can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The question can't be answered.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The screenshot has no pixels.
    #[error("the screenshot has no pixels")]
    Empty,
    /// The answer isn't a call, although it was held to be one.
    #[error("the model's answer is no call: {0}")]
    NoCall(serde_json::Error),
}

impl From<GrammarError> for ActError {
    fn from(error: GrammarError) -> ActError {
        SessionError::from(error).into()
    }
}

/// What to do next, and the answer that says so.
///
/// # Errors
/// [`ActError`].
pub fn act(
    session: &mut Session<'_>,
    (device, goal, history): (Device, &str, &[Action]),
    screenshot: Medium,
    options: &GenerateOptions,
    on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<(Action, Answer), ActError> {
    let report = session.measure(&screenshot, &options.media)?.report();
    let view = View::of(&report).ok_or(ActError::Empty)?;
    let turn = Turn {
        system: Some(system(device, view.resized())),
        parts: vec![TurnPart::Text(query(goal, history, &view)), TurnPart::Medium(screenshot, None)],
    };
    let grammar = Some(Arc::new(Grammar::tool_call(&device.call(view.resized()))?));
    let answer = session.ask(&turn, &GenerateOptions { grammar, ..options.clone() }, on_event)?;
    let action = parse(&answer.text, &view).map_err(ActError::NoCall)?;
    Ok((action, answer))
}

/// The system message: the function, and how to call it.
fn system(device: Device, seen: [usize; 2]) -> String {
    let tool = python_json(&device.description(seen));
    let [open, close] = TAGS;
    format!(
        "You are a helpful assistant.\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou \
         are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{tool}\n</tools>\n\nFor each \
         function call, return a json object with function name and arguments within {open}{close} XML tags:\n{open}\n{{\"name\": \
         <function-name>, \"arguments\": <args-json-object>}}\n{close}"
    )
}

/// The goal, and what was done for it, with places as the model sees them now.
fn query(goal: &str, history: &[Action], view: &View) -> String {
    if history.is_empty() {
        return goal.to_owned();
    }
    let first = history.len().saturating_sub(MAX_STEPS);
    let steps = history.iter().enumerate().skip(first).map(|(i, action)| {
        let call = json!({"name": action.name, "arguments": as_seen(action, view)});
        format!("Step {}: {}; ", i + 1, python_json(&call))
    });
    let steps: String = steps.collect();
    format!(
        "The user query: {goal}\nTask progress (You have done the following operation on the current device): {steps}"
    )
}

/// The arguments with places as they would be in what the model sees: an earlier screenshot may have had another size.
fn as_seen(action: &Action, view: &View) -> Map<String, Value> {
    let mut arguments = action.arguments.clone();
    let then = View::new(action.screen, view.resized());
    for name in PLACES {
        if let (Some(value), Some(then)) = (arguments.get_mut(name), then)
            && let Some([x, y]) = pair(value)
        {
            *value = json!(then.point_seen(Point { x, y }).map(|n| n.round() as i64));
        }
    }
    arguments
}

/// The action that a call asks for, its places in the screenshot's own pixels.
fn parse(answer: &str, view: &View) -> Result<Action, serde_json::Error> {
    #[derive(Deserialize)]
    struct Call {
        name: String,
        arguments: Map<String, Value>,
    }
    let [open, close] = TAGS;
    let call = answer.trim().trim_start_matches(open).trim_end_matches(close);
    let Call { name, mut arguments } = serde_json::from_str(call)?;
    for place in PLACES {
        if let Some(value) = arguments.get_mut(place)
            && let Some([x, y]) = pair(value)
            // The middle of the pixel that the model means.
            && let Some(point) = view.point([x + 0.5, y + 0.5])
        {
            *value = json!(point.pixel(view.original()));
        }
    }
    Ok(Action { name, arguments, screen: view.original() })
}

fn pair(value: &Value) -> Option<[f64; 2]> {
    match value.as_array()?.as_slice() {
        [x, y] => Some([x.as_f64()?, y.as_f64()?]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(arguments: Value, screen: [usize; 2]) -> Action {
        let Value::Object(arguments) = arguments else { panic!("an object") };
        Action { name: "computer_use".to_owned(), arguments, screen }
    }

    #[test]
    fn places_are_told_in_the_screenshots_own_pixels() {
        let view = View::new([1920, 1080], [644, 364]).expect("sizes");
        let answer = "<tool_call>\n{\"name\": \"mobile_use\", \"arguments\": {\"action\": \"swipe\", \"coordinate\": [0, 0], \
                      \"coordinate2\": [643, 363]}}\n</tool_call>";
        let action = parse(answer, &view).expect("a call");
        assert_eq!((action.name.as_str(), action.screen), ("mobile_use", [1920, 1080]));
        assert_eq!(action.arguments["coordinate"], json!([1, 1]));
        assert_eq!(action.arguments["coordinate2"], json!([1918, 1078]));
    }

    #[test]
    fn steps_are_told_as_the_model_sees_them_now() {
        let view = View::new([1920, 1080], [960, 532]).expect("sizes");
        assert_eq!(query("Go on", &[], &view), "Go on");
        let steps = [
            action(json!({"action": "left_click", "coordinate": [1920, 1080]}), [3840, 2160]),
            action(json!({"action": "type", "text": "a; b"}), [1920, 1080]),
        ];
        let told = query("Go on", &steps, &view);
        assert_eq!(
            told,
            "The user query: Go on\nTask progress (You have done the following operation on the current device): Step 1: \
             {\"name\": \"computer_use\", \"arguments\": {\"action\": \"left_click\", \"coordinate\": [480, 266]}}; Step 2: \
             {\"name\": \"computer_use\", \"arguments\": {\"action\": \"type\", \"text\": \"a; b\"}}; "
        );
    }

    #[test]
    fn both_functions_are_told_whole_and_their_calls_can_be_held_to() {
        for device in [Device::Computer, Device::Phone] {
            let told = system(device, [1260, 700]);
            assert!(told.contains("The screen's resolution is 1260x700. "), "{told}");
            assert!(told.ends_with("<args-json-object>}\n</tool_call>"), "{told}");
            let description = device.description([1260, 700]);
            let actions = description["function"]["parameters"]["properties"]["action"]["enum"].clone();
            let schema = device.call([1260, 700]);
            let ways = schema["properties"]["arguments"]["anyOf"].as_array().expect("ways").iter();
            let mut covered: Vec<&str> = ways
                .flat_map(|way| way["properties"]["action"]["enum"].as_array().expect("actions"))
                .filter_map(Value::as_str)
                .collect();
            let mut wanted: Vec<&str> = actions.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
            covered.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(covered, wanted);
            Grammar::tool_call(&schema).expect("a grammar");
        }
    }
}
