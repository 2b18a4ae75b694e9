//! From what a model tells to the clip's own time.

use super::parse::RawEvent;
use super::{Event, Level};

/// A model that counts a little too far means the end.
const SLACK: f64 = 2.0;

/// The part of a clip that a model was shown, in seconds of the clip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub start: f64,
    pub end: f64,
}

impl Window {
    pub fn seconds(&self) -> f64 {
        self.end - self.start
    }
}

/// The events in the clip's own time, in order; and how many lie outside of what was shown, and are left out.
pub(super) fn place(raw: &[RawEvent], window: Window, level: Level) -> (Vec<Event>, usize) {
    let mut events: Vec<Event> = Vec::new();
    let mut outside = 0;
    for event in raw {
        let end = event.end.unwrap_or(event.start);
        // Told the wrong way round.
        let (start, end) = (event.start.min(end), event.start.max(end));
        if start > window.seconds() + SLACK {
            outside += 1;
            continue;
        }
        let inside = |seconds: f64| (window.start + seconds).clamp(window.start, window.end);
        let description = event.description.clone();
        events.push(Event { start: inside(start), end: inside(end), description, level });
    }
    sort(&mut events);
    (events, outside)
}

/// By beginning, then by end.
pub(super) fn sort(events: &mut [Event]) {
    events.sort_by(|a, b| a.start.total_cmp(&b.start).then(a.end.total_cmp(&b.end)));
}

/// Events that end where a window ends and go on where the next begins become one.
pub(super) fn join(events: Vec<Event>, borders: &[f64]) -> Vec<Event> {
    const NEAR: f64 = 1.0;
    let mut joined: Vec<Event> = Vec::new();
    for event in events {
        let goes_on = joined.iter_mut().find(|earlier| {
            borders.iter().any(|border| (earlier.end - border).abs() <= NEAR && (event.start - border).abs() <= NEAR)
                && earlier.start < event.start
        });
        match goes_on {
            Some(earlier) => earlier.end = earlier.end.max(event.end),
            None => joined.push(event),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(start: f64, end: Option<f64>) -> RawEvent {
        RawEvent { start, end, description: "x".to_owned() }
    }

    fn event(start: f64, end: f64) -> Event {
        Event { start, end, description: "x".to_owned(), level: Level::Fine }
    }

    #[test]
    fn events_are_moved_clamped_and_ordered() {
        let window = Window { start: 100.0, end: 110.0 };
        let told = [raw(8.0, Some(30.0)), raw(3.0, Some(1.0)), raw(2.0, None), raw(11.0, Some(12.0)), raw(50.0, None)];
        let (events, outside) = place(&told, window, Level::Fine);
        let spans: Vec<_> = events.iter().map(|e| (e.start, e.end)).collect();
        assert_eq!(spans, [(101.0, 103.0), (102.0, 102.0), (108.0, 110.0), (110.0, 110.0)]);
        assert_eq!(outside, 1);
    }

    #[test]
    fn an_event_across_a_border_is_one() {
        let events = vec![event(5.0, 9.8), event(10.2, 14.0), event(10.5, 11.0), event(18.0, 20.0), event(20.0, 21.0)];
        let joined = join(events, &[10.0]);
        let spans: Vec<_> = joined.iter().map(|e| (e.start, e.end)).collect();
        assert_eq!(spans, [(5.0, 14.0), (10.5, 11.0), (18.0, 20.0), (20.0, 21.0)]);
    }
}
