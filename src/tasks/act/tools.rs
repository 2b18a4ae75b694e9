//! The functions that Qwen2.5-VL calls to use a computer or a phone, and the JSON schemas of the calls.
//!
//! Names, actions and arguments are those of its makers (`cookbooks/utils/agent_function_call.py` of QwenLM/Qwen2.5-VL),
//! which it was trained on; the explanations are our own.

use serde_json::{Value, json};

use super::Device;

/// Keys that may be pressed together.
const MAX_KEYS: usize = 8;
/// Seconds to wait at most.
const MAX_SECONDS: u32 = 3600;

impl Device {
    /// The name of its function.
    pub fn function(self) -> &'static str {
        match self {
            Device::Computer => "computer_use",
            Device::Phone => "mobile_use",
        }
    }

    /// The function as the model is told of it, for a screen of this width and height.
    pub(super) fn description(self, [width, height]: [usize; 2]) -> Value {
        let (description, parameters) = match self {
            Device::Computer => (COMPUTER.replace("{size}", &format!("{width}x{height}")), computer_parameters()),
            Device::Phone => (PHONE.replace("{size}", &format!("{width}x{height}")), phone_parameters()),
        };
        let name = self.function();
        json!({"type": "function", "function": {
            "name_for_human": name, "name": name, "description": description, "parameters": parameters,
            "args_format": "Format the arguments as a JSON object.",
        }})
    }

    /// The schema of a call, with places on a screen of this size.
    pub(super) fn call(self, [width, height]: [usize; 2]) -> Value {
        let along = |length: usize| json!({"type": "integer", "minimum": 0, "maximum": length.saturating_sub(1)});
        let place =
            json!({"type": "array", "prefixItems": [along(width), along(height)], "items": false, "minItems": 2});
        let text = json!({"type": "string"});
        let seconds = json!({"type": "number", "minimum": 0, "maximum": MAX_SECONDS});
        let status = json!({"enum": ["success", "failure"]});
        let keys = json!({"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 32}, "minItems": 1, "maxItems": MAX_KEYS});
        let ways: Vec<Value> = match self {
            Device::Computer => vec![
                way(&["key"], &[("keys", &keys)]),
                way(&["type"], &[("text", &text)]),
                way(
                    &["mouse_move", "left_click", "left_click_drag", "right_click", "middle_click", "double_click"],
                    &[("coordinate", &place)],
                ),
                way(&["scroll"], &[("pixels", &json!({"type": "integer", "minimum": -100_000, "maximum": 100_000}))]),
                way(&["wait"], &[("time", &seconds)]),
                way(&["terminate"], &[("status", &status)]),
            ],
            Device::Phone => vec![
                way(&["key", "type", "open"], &[("text", &text)]),
                way(&["click"], &[("coordinate", &place)]),
                way(&["long_press"], &[("coordinate", &place), ("time", &seconds)]),
                way(&["swipe"], &[("coordinate", &place), ("coordinate2", &place)]),
                way(&["system_button"], &[("button", &json!({"enum": ["Back", "Home", "Menu", "Enter"]}))]),
                way(&["wait"], &[("time", &seconds)]),
                way(&["terminate"], &[("status", &status)]),
            ],
        };
        json!({"type": "object", "properties": {
            "name": {"const": self.function()}, "arguments": {"anyOf": ways},
        }, "required": ["name", "arguments"]})
    }
}

/// Some actions with what they need.
fn way(actions: &[&str], needs: &[(&str, &Value)]) -> Value {
    let mut properties = serde_json::Map::new();
    properties.insert("action".to_owned(), json!({"enum": actions}));
    properties.extend(needs.iter().map(|(name, schema)| ((*name).to_owned(), (*schema).clone())));
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "required": required, "properties": properties})
}

const COMPUTER: &str = "\
Works a computer through its mouse and keyboard, as seen in the screenshot of its desktop.
* The screen's resolution is {size}. Places are counted in its pixels from the top left corner.
* Programs are started by clicking what is on the screen. There is no terminal.
* Programs take time to start and to react: where nothing has changed yet, wait.
* Click the middle of a button, link or icon, not its edge. Where a click had no effect, aim anew by the screenshot.";

const PHONE: &str = "\
Works a phone through its touchscreen, as seen in the screenshot.
* The screen's resolution is {size}. Places are counted in its pixels from the top left corner.
* Apps take time to start and to react: where nothing has changed yet, wait.
* Touch the middle of a button, link or icon, not its edge.";

const COMPUTER_ACTIONS: &str = "\
What to do, one of:
* `key`: press the given keys together, in order, and let go of them in reverse order.
* `type`: type a text on the keyboard.
* `mouse_move`: move the mouse pointer to a place (x, y).
* `left_click`, `right_click`, `middle_click`: click that mouse button at a place (x, y).
* `double_click`: click the left mouse button twice at a place (x, y).
* `left_click_drag`: hold the left mouse button and drag the pointer to a place (x, y).
* `scroll`: turn the mouse wheel.
* `wait`: wait some seconds for a change.
* `terminate`: end the task, and say whether it was done.";

const PHONE_ACTIONS: &str = "\
What to do, one of:
* `key`: send a key event of the device, named as adb's `keyevent` names it, such as \"volume_up\", \"power\" or \"camera\".
* `click`: touch a place (x, y).
* `long_press`: touch a place (x, y) for some seconds.
* `swipe`: swipe from a place (x, y) to another one (x2, y2).
* `type`: enter a text into the active input field.
* `system_button`: press a button of the system.
* `open`: open an app by its name.
* `wait`: wait some seconds for a change.
* `terminate`: end the task, and say whether it was done.";

const PLACE: &str = "(x, y): pixels from the left edge and from the top edge.";

fn status() -> Value {
    json!({
        "description": "Whether the task was done, for `action=terminate`.",
        "type": "string",
        "enum": ["success", "failure"],
    })
}

fn computer_parameters() -> Value {
    json!({
        "properties": {
            "action": {
                "description": COMPUTER_ACTIONS,
                "enum": [
                    "key", "type", "mouse_move", "left_click", "left_click_drag", "right_click", "middle_click", "double_click",
                    "scroll", "wait", "terminate",
                ],
                "type": "string",
            },
            "keys": {"description": "The keys, for `action=key`.", "type": "array"},
            "text": {"description": "The text, for `action=type`.", "type": "string"},
            "coordinate": {"description": format!("{PLACE} For `action=mouse_move`, clicks and drags."), "type": "array"},
            "pixels": {"description": "How far to scroll, up if positive, down if negative. For `action=scroll`.", "type": "number"},
            "time": {"description": "The seconds, for `action=wait`.", "type": "number"},
            "status": status(),
        },
        "required": ["action"],
        "type": "object",
    })
}

fn phone_parameters() -> Value {
    json!({
        "properties": {
            "action": {
                "description": PHONE_ACTIONS,
                "enum": ["key", "click", "long_press", "swipe", "type", "system_button", "open", "wait", "terminate"],
                "type": "string",
            },
            "coordinate": {
                "description": format!("{PLACE} For `action=click`, `action=long_press` and `action=swipe`."),
                "type": "array",
            },
            "coordinate2": {"description": format!("{PLACE} Where `action=swipe` ends."), "type": "array"},
            "text": {"description": "The text, for `action=key`, `action=type` and `action=open`.", "type": "string"},
            "time": {"description": "The seconds, for `action=long_press` and `action=wait`.", "type": "number"},
            "button": {
                "description": "The button: Back to what was shown before, Home to the home screen, Menu to the apps that are open, or Enter. For `action=system_button`.",
                "enum": ["Back", "Home", "Menu", "Enter"],
                "type": "string",
            },
            "status": status(),
        },
        "required": ["action"],
        "type": "object",
    })
}
