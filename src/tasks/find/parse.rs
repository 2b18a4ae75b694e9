//! Reading the times in what a model said.

use serde_json::{Map, Value};

use super::super::said::{for_each_json, same_key, tidy};
use super::clock::parse_clock;

/// Events of one answer at most; more are a model that has got stuck.
const MAX_EVENTS: usize = 1000;
/// Values within values that are looked into.
const MAX_DEPTH: usize = 8;

const STARTS: [&str; 8] =
    ["start_time", "start", "begin", "from", "start_timestamp", "time_start", "begin_time", "starttime"];
const ENDS: [&str; 8] = ["end_time", "end", "to", "end_timestamp", "time_end", "stop", "stop_time", "endtime"];
const BOTH: [&str; 6] = ["timestamp", "timestamps", "time", "time_range", "interval", "range"];
const WORDS: [&str; 9] = ["description", "event", "label", "caption", "text", "content", "activity", "action", "name"];

/// An event as a model tells it: seconds from where the frames begin that it was shown.
#[derive(Clone, Debug, PartialEq)]
pub struct RawEvent {
    /// When it begins.
    pub start: f64,
    /// When it ends, where that was said.
    pub end: Option<f64>,
    /// What it is; may be empty.
    pub description: String,
}

/// What could be read of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The events, in the order in which they were told, none twice.
    pub events: Vec<RawEvent>,
    /// Whether the answer says something of the wanted kind: events, or an empty list.
    pub understood: bool,
}

/// The events in an answer about frames that span `duration` seconds: from JSON, whole or cut off, with or without prose
/// around it; else from lines of prose with times in them.
pub fn parse_events(answer: &str, duration: f64) -> Reading {
    let mut events = Vec::new();
    let mut empty_list = false;
    for_each_json(answer, |value| {
        empty_list |= matches!(&value, Value::Array(list) if list.is_empty());
        collect(&value, duration, 0, &mut events);
    });
    if events.is_empty() && !empty_list {
        events = answer.lines().filter_map(|line| from_prose(line, duration)).collect();
    }
    let mut kept: Vec<RawEvent> = Vec::new();
    for event in events {
        if kept.len() < MAX_EVENTS && !kept.contains(&event) {
            kept.push(event);
        }
    }
    Reading { understood: empty_list || !kept.is_empty(), events: kept }
}

/// Events anywhere in a JSON value.
fn collect(value: &Value, duration: f64, depth: usize, events: &mut Vec<RawEvent>) {
    if depth > MAX_DEPTH || events.len() > MAX_EVENTS {
        return;
    }
    match value {
        Value::Array(list) => list.iter().for_each(|value| collect(value, duration, depth + 1, events)),
        Value::Object(object) => match from_object(object, duration) {
            Some(event) => events.push(event),
            None => object.values().for_each(|value| collect(value, duration, depth + 1, events)),
        },
        _ => {}
    }
}

fn from_object(object: &Map<String, Value>, duration: f64) -> Option<RawEvent> {
    let value = |names: &[&str]| {
        names.iter().find_map(|name| object.iter().find(|(key, _)| same_key(key, name)).map(|(_, value)| value))
    };
    let description = value(&WORDS).and_then(Value::as_str).map(tidy).unwrap_or_default();
    let time = |value: &Value| time_of(value, duration);
    let (start, end) = match value(&STARTS).and_then(time) {
        Some(start) => (start, value(&ENDS).and_then(time)),
        None => span_of(value(&BOTH)?, duration)?,
    };
    Some(RawEvent { start, end, description })
}

fn time_of(value: &Value, duration: f64) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64().filter(|s| s.is_finite() && *s >= 0.0),
        Value::String(text) => parse_clock(text, duration),
        _ => None,
    }
}

/// A time, or two: `[1.5, 3]`, `"00:01.50 - 00:03.00"`.
fn span_of(value: &Value, duration: f64) -> Option<(f64, Option<f64>)> {
    match value {
        Value::Array(list) => {
            let mut times = list.iter().map(|value| time_of(value, duration));
            Some((times.next()??, times.next().flatten()))
        }
        Value::String(text) => {
            let times = times_in(text, duration, false);
            Some((times.first()?.seconds, times.get(1).map(|time| time.seconds)))
        }
        value => Some((time_of(value, duration)?, None)),
    }
}

/// A line such as `- 00:12.50 to 00:15.00: a car stops` or `From 12.5s to 15 seconds, a car stops.`
fn from_prose(line: &str, duration: f64) -> Option<RawEvent> {
    let times = times_in(line, duration, true);
    let (first, second) = (times.first()?, times.get(1));
    // What stands after the times; else what stands before.
    let (before, after) = (&line[..first.from], &line[second.unwrap_or(first).to..]);
    let words = |text: &str| {
        let trimmed = text.trim_matches(|c: char| !c.is_alphanumeric());
        trimmed.split_whitespace().any(|word| word.len() > 2).then(|| tidy(trimmed))
    };
    let description = words(after).or_else(|| words(before)).unwrap_or_default();
    Some(RawEvent { start: first.seconds, end: second.map(|time| time.seconds), description })
}

/// A time in a text, and where it stands.
struct Time {
    seconds: f64,
    from: usize,
    to: usize,
}

/// The times in a text. In prose (`marked`), a number is one only with a colon in it or seconds behind it.
fn times_in(text: &str, duration: f64, marked: bool) -> Vec<Time> {
    let bytes = text.as_bytes();
    let in_time = |b: u8| b.is_ascii_digit() || matches!(b, b':' | b'.' | b',');
    let mut times = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        // Not within a word, such as the 2 of "B2".
        let starts = bytes[at].is_ascii_digit() && (at == 0 || !bytes[at - 1].is_ascii_alphanumeric());
        if !starts {
            at += 1;
            continue;
        }
        let length = bytes[at..].iter().take_while(|&&b| in_time(b)).count();
        let number = text[at..at + length].trim_end_matches([':', '.', ',']);
        let rest = text[at + number.len()..].trim_start();
        let unit = ["seconds", "second", "secs", "sec", "s"].into_iter().find(|unit| {
            let after = rest.strip_prefix(unit).map(|after| after.chars().next());
            after.is_some_and(|next| next.is_none_or(|c| !c.is_alphanumeric()))
        });
        let to = match unit {
            Some(unit) => text.len() - rest.len() + unit.len(),
            None => at + number.len(),
        };
        if (!marked || unit.is_some() || number.contains(':'))
            && let Some(seconds) = parse_clock(number, duration)
        {
            times.push(Time { seconds, from: at, to });
        }
        at += length.max(1);
    }
    times
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Level;
    use super::super::place::{Window, place};
    use super::*;

    type Span = (f64, Option<f64>);

    fn spans(answer: &str) -> Vec<(f64, Option<f64>)> {
        parse_events(answer, 60.0).events.iter().map(|e| (e.start, e.end)).collect()
    }

    #[test]
    fn json_in_all_its_forms() {
        let cases: &[(&str, &[Span])] = &[
            (r#"[{"start_time": "00:01.50", "end_time": "00:03.00", "description": "x"}]"#, &[(1.5, Some(3.0))]),
            ("```json\n[\n {\"start_time\": \"00:01.50\", \"end_time\": \"00:03\"}\n]\n```", &[(1.5, Some(3.0))]),
            (
                r#"{"events": [{"start": 1.5, "end": 3}, {"Start Time": 4, "END": "5s"}]}"#,
                &[(1.5, Some(3.0)), (4.0, Some(5.0))],
            ),
            (
                r#"Sure! {"timestamp": "00:01 - 00:03", "event": "a"} and {"time": [4, 5]}"#,
                &[(1.0, Some(3.0)), (4.0, Some(5.0))],
            ),
            (r#"[{"timestamp": 7}]"#, &[(7.0, None)]),
            // Cut off within the second event.
            (r#"[{"start_time": "00:01.00", "end_time": "00:02.00"}, {"start_time": "00:0"#, &[(1.0, Some(2.0))]),
            // The same again and again.
            (r#"[{"start": 1, "end": 2}, {"start": 1, "end": 2}]"#, &[(1.0, Some(2.0))]),
            (r#"[{"start": -1}, {"start": "soon"}, {"start": null}]"#, &[]),
        ];
        for (answer, wanted) in cases {
            assert_eq!(spans(answer), *wanted, "{answer}");
        }
    }

    #[test]
    fn prose_with_times() {
        let read = |answer: &str| {
            let events = parse_events(answer, 60.0).events;
            events.into_iter().map(|e| (e.start, e.end, e.description)).collect::<Vec<_>>()
        };
        let event = |start, end, words: &str| vec![(start, end, words.to_owned())];
        assert_eq!(read("- 00:12.50 to 00:15.00: a car stops"), event(12.5, Some(15.0), "a car stops"));
        assert_eq!(read("From 12.5s to 15 seconds, a car stops."), event(12.5, Some(15.0), "a car stops"));
        assert_eq!(read("A car stops at 0:12."), event(12.0, None, "A car stops at"));
        assert_eq!(read("There are 3 cars, and none stops."), vec![]);
        assert_eq!(read("In room B2:15 nothing happens"), vec![]);
        assert_eq!(read("It lasts 3 seasons"), vec![]);
    }

    #[test]
    fn nothing_found_is_understood_and_nonsense_is_not() {
        for (answer, understood) in [("[]", true), ("```json\n[]\n```", true), ("", false), ("I see no car.", false)] {
            let reading = parse_events(answer, 60.0);
            assert!(reading.events.is_empty() && reading.understood == understood, "{answer}");
        }
    }

    #[test]
    fn descriptions_can_do_no_harm() {
        let answer = format!(r#"[{{"start": 1, "description": "a\u001b[2J\n\u202e b{}"}}]"#, "x".repeat(10_000));
        let event = &parse_events(&answer, 60.0).events[0];
        assert!(!event.description.contains(char::is_control), "{}", event.description);
        assert!(event.description.starts_with("a[2J b") && event.description.chars().count() <= 501);
    }

    #[test]
    fn hostile_answers_end_soon() {
        for answer in
            ["[".repeat(100_000), "{\"a\":".repeat(20_000), "{\"start\":1,".repeat(20_000), "9".repeat(100_000)]
        {
            parse_events(&answer, 60.0);
        }
        let many: String = (0..5000).map(|i| format!("{{\"start\": {i}}}\n")).collect();
        assert_eq!(parse_events(&many, 60.0).events.len(), MAX_EVENTS);
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_panic_and_placed_inside(
            pieces in prop::collection::vec(
                prop_oneof![
                    Just("{\"start_time\": \"".to_owned()), Just("\", \"end\": ".to_owned()), Just("}".to_owned()),
                    Just("[".to_owned()), Just("]".to_owned()), Just("…".to_owned()), Just(" s".to_owned()), Just("\n".to_owned()),
                    "[0-9]{1,4}[:.,]?", "[0-9]{2}:[0-9]{2}", "\\PC{0,4}",
                ],
                0..24,
            ),
            start in 0.0f64..1e4,
            seconds in 0.0f64..1e4,
        ) {
            let answer = pieces.concat();
            let window = Window { start, end: start + seconds };
            let reading = parse_events(&answer, seconds);
            let (events, outside) = place(&reading.events, window, Level::Whole);
            prop_assert_eq!(events.len() + outside, reading.events.len());
            prop_assert!(events.is_sorted_by_key(|e| e.start));
            for event in events {
                prop_assert!(window.start <= event.start && event.start <= event.end && event.end <= window.end);
            }
        }
    }

    #[test]
    fn text_beyond_ascii() {
        let reading = parse_events("Ein Auto hält … 00:03 – 00:04 … „schön“ 5 s", 60.0);
        assert_eq!(reading.events[0].start, 3.0);
        assert_eq!(reading.events[0].end, Some(4.0));
    }
}
