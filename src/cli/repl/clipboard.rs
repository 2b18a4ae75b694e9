//! The picture in the clipboard, by the tools that desktops bring: linking to each would need all of them everywhere.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::command::CommandError;

/// What is run in turn; the first that gives a picture wins.
const TOOLS: [&[&str]; 3] = [
    &["wl-paste", "--type", "image/png"],
    &["xclip", "-selection", "clipboard", "-target", "image/png", "-out"],
    &["pngpaste", "-"],
];
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_BYTES: u64 = 1 << 28;

/// The picture's file, as it lies in the clipboard.
///
/// # Errors
/// There is none, or no tool that can read it.
pub fn picture() -> Result<Vec<u8>, CommandError> {
    let mut tool = false;
    for line in TOOLS {
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(child) = command.spawn() else { continue };
        tool = true;
        if let Some(bytes) = output(child) {
            return Ok(bytes);
        }
    }
    Err(CommandError::Nothing(match tool {
        true => "there is no picture in the clipboard",
        false => {
            "no tool that reads the clipboard is installed: wl-clipboard (Wayland), xclip (X11) or pngpaste (macOS)"
        }
    }))
}

/// What a tool prints, if it does so in time and ends well.
fn output(mut child: Child) -> Option<Vec<u8>> {
    let out = child.stdout.take()?;
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.take(MAX_BYTES).read_to_end(&mut bytes).map(|_| bytes)
    });
    let start = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    let bytes = reader.join().ok()?.ok()?;
    (status.success() && !bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Option<Vec<u8>> {
        let mut command = Command::new("sh");
        output(command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a shell"))
    }

    #[test]
    fn only_what_a_tool_gives_well_counts() {
        assert_eq!(shell("printf picture"), Some(b"picture".to_vec()));
        assert_eq!(shell("printf half; exit 1"), None);
        assert_eq!(shell("true"), None);
    }
}
