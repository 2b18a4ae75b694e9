//! Events as subtitles and chapters.

use std::fmt::Write as _;

use super::Event;

/// A cue that is shown for less than this is not seen.
const SHORTEST: f64 = 0.5;

/// SubRip: what nearly every player opens beside a clip.
pub fn srt(events: &[Event], what: &str) -> String {
    let mut out = String::new();
    for (i, event) in events.iter().enumerate() {
        let (start, end) = span(event);
        let text = text_of(event, what);
        let _ = write!(out, "{}\n{} --> {}\n{text}\n\n", i + 1, stamp(start, ','), stamp(end, ','));
    }
    out
}

/// WebVTT, as subtitles or chapters (`<track kind="chapters">`).
pub fn vtt(events: &[Event], what: &str) -> String {
    let mut out = "WEBVTT\n".to_owned();
    for (i, event) in events.iter().enumerate() {
        let (start, end) = span(event);
        let text = text_of(event, what).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = write!(out, "\n{}\n{} --> {}\n{text}\n", i + 1, stamp(start, '.'), stamp(end, '.'));
    }
    out
}

fn span(event: &Event) -> (f64, f64) {
    (event.start, event.end.max(event.start + SHORTEST))
}

/// `hh:mm:ss,mmm`
fn stamp(seconds: f64, point: char) -> String {
    let ms = (seconds.max(0.0) * 1000.0).round() as u64;
    format!("{:02}:{:02}:{:02}{point}{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// One line that is not empty and holds no arrow, which would be read as a time.
fn text_of(event: &Event, what: &str) -> String {
    let words = if event.description.trim().is_empty() { what } else { &event.description };
    let line: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ").replace("-->", "→");
    if line.is_empty() { "·".to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::find::Level;

    fn events() -> Vec<Event> {
        let event = |start, end, description: &str| Event {
            start,
            end,
            description: description.to_owned(),
            level: Level::Whole,
        };
        vec![
            event(1.5, 3.0, "a <b>car</b> & a bus"),
            event(3723.0014, 3723.0014, ""),
            event(4000.0, 4001.0, "x -->\n\n2\u{1b} y"),
        ]
    }

    #[test]
    fn subrip() {
        let wanted = "1\n00:00:01,500 --> 00:00:03,000\na <b>car</b> & a bus\n\n\
                      2\n01:02:03,001 --> 01:02:03,501\nthe car\n\n\
                      3\n01:06:40,000 --> 01:06:41,000\nx → 2 y\n\n";
        assert_eq!(srt(&events(), "the car"), wanted);
        assert_eq!(srt(&[], "x"), "");
    }

    #[test]
    fn web_vtt() {
        let wanted = "WEBVTT\n\n1\n00:00:01.500 --> 00:00:03.000\na &lt;b&gt;car&lt;/b&gt; &amp; a bus\n\n\
                      2\n01:02:03.001 --> 01:02:03.501\nthe car\n\n\
                      3\n01:06:40.000 --> 01:06:41.000\nx → 2 y\n";
        assert_eq!(vtt(&events(), "the car"), wanted);
        assert_eq!(vtt(&[], "x"), "WEBVTT\n");
    }
}
