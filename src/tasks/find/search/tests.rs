use super::super::journal::Key;
use super::*;

/// A watcher without a model: things happen at known times, and each look tells those that it covers, rounded to its
/// frames, as the model would.
struct Mock {
    duration: f64,
    happens: Vec<(f64, f64)>,
    room: usize,
    asked: Vec<(Option<Part>, usize)>,
    kept: usize,
    /// Fail at this question.
    fail_at: usize,
    /// Close looks see nothing.
    blind: bool,
}

impl Mock {
    fn new(duration: f64, happens: &[(f64, f64)]) -> Mock {
        let happens = happens.to_vec();
        Mock { duration, happens, room: 31_000, asked: Vec::new(), kept: 0, fail_at: usize::MAX, blind: false }
    }
}

const FPS: f64 = 2.0;

impl Watcher for Mock {
    type Error = &'static str;

    fn look(&self, part: Option<Part>, max_tokens: Option<usize>) -> Result<Option<Look>, &'static str> {
        let Part { start, end } = part.unwrap_or(Part { start: 0.0, end: None });
        let end = end.unwrap_or(self.duration).min(self.duration);
        if start >= end {
            return Err("outside");
        }
        let mut frames = (((end - start) * FPS) as usize / 2 * 2).clamp(4, 768);
        // As the released sampling: smaller frames, then fewer; 16 tokens a group at least.
        let free = 300 * frames / 2;
        let tokens = max_tokens.map_or(free, |most| free.min(most));
        if tokens < 16 {
            return Ok(None);
        }
        frames = frames.min(tokens / 16 * 2);
        let pixels = tokens / (frames / 2) * 784;
        Ok(Some(Look { start, end, frames, fps: frames as f64 / (end - start), pixels, tokens }))
    }

    fn ask(&mut self, part: Option<Part>, max_tokens: usize, _: &str) -> Result<Said, &'static str> {
        self.asked.push((part, max_tokens));
        if self.asked.len() > self.fail_at {
            return Err("interrupted");
        }
        let look = self.look(part, Some(max_tokens))?.ok_or("too few tokens")?;
        let close = part.is_some();
        let seen = |t: f64| ((t.clamp(look.start, look.end) - look.start) * look.fps).round() / look.fps;
        let told = self.happens.iter().filter(|(s, e)| *e >= look.start && *s <= look.end && !(close && self.blind));
        let events: Vec<String> = told
            .map(|&(s, e)| format!(r#"{{"start_time": {}, "end_time": {}, "description": "it"}}"#, seen(s), seen(e)))
            .collect();
        Ok(Said { answer: format!("[{}]", events.join(", ")), stop: StopReason::End, seconds: 1.0 })
    }

    fn room(&self, _: &str) -> usize {
        self.room
    }

    fn wanted(&self) -> Wanted {
        Wanted { fps: FPS, clip_fps: 25.0, pixels: 100_352, token_pixels: 784, max_frames: 768 }
    }

    fn keep(&mut self, journal: &Journal) -> Result<(), &'static str> {
        self.kept = journal.passes.len();
        Ok(())
    }
}

fn request(budget: Option<usize>) -> Request {
    Request { question: "When?".to_owned(), part: None, budget }
}

fn journal() -> Journal {
    Journal::new(Key { clip: "c".into(), model: "m".into(), question: "q".into(), options: "o".into() })
}

fn run(mock: &mut Mock, budget: Option<usize>) -> Found {
    search(mock, &request(budget), &mut journal()).expect("no failure")
}

#[test]
fn a_short_clip_is_looked_at_once() {
    let mut mock = Mock::new(30.0, &[(3.0, 7.5), (20.0, 29.5)]);
    let found = run(&mut mock, None);
    assert_eq!((mock.asked.len(), mock.kept, found.passes[0].level), (1, 1, Level::Whole));
    let spans: Vec<_> = found.events.iter().map(|e| (e.start, e.end)).collect();
    assert_eq!(spans, [(3.0, 7.5), (20.0, 29.5)]);
}

#[test]
fn an_hour_is_looked_at_coarsely_and_then_closely_where_it_answers() {
    let happens = [(500.3, 504.8), (1800.0, 2600.2), (3590.0, 3600.0)];
    let mut mock = Mock::new(3600.0, &happens);
    let found = run(&mut mock, None);
    assert_eq!(found.passes[0].level, Level::Coarse);
    assert!(found.passes[0].frames == 768 && found.passes[0].tokens <= mock.room);
    assert!(found.passes[1..].iter().all(|p| p.level == Level::Fine && p.fps > 1.9), "{:?}", found.passes);
    assert_eq!(found.events.len(), 3, "{:?}", found.events);
    for (event, (start, end)) in found.events.iter().zip(happens) {
        let near = (event.start - start).abs() <= 0.5 && (event.end - end).abs() <= 0.5;
        assert!(near && event.level == Level::Fine, "{event:?} is not {start} to {end}");
    }
    // Only around what answered.
    let close: f64 = found.passes[1..].iter().map(|p| p.end - p.start).sum();
    assert!(close < 1100.0, "{close} seconds were looked at closely");
    assert!(found.skipped.is_empty() && mock.kept == mock.asked.len());
}

#[test]
fn the_budget_bounds_all_looks_and_what_it_does_not_reach_is_told() {
    let happens: Vec<(f64, f64)> = (1..20).map(|i| (f64::from(i) * 180.0, f64::from(i) * 180.0 + 5.0)).collect();
    for budget in [2000, 8000, 20_000, 100_000] {
        let mut mock = Mock::new(3600.0, &happens);
        let found = run(&mut mock, Some(budget));
        assert!(found.tokens <= budget, "{} of {budget}", found.tokens);
        assert_eq!(found.tokens, found.passes.iter().map(|p| p.tokens).sum::<usize>());
        let fine = found.passes.iter().filter(|p| p.level == Level::Fine).count();
        let merged = found.events.iter().filter(|e| e.level == Level::Fine).count();
        assert!(fine > 0 || budget < 8000, "nothing was looked at closely with {budget}");
        assert!(!found.skipped.is_empty() || budget == 100_000, "{budget}");
        assert!(merged >= fine, "each close look finds its event");
    }
}

#[test]
fn what_a_close_look_denies_stays_as_the_coarse_look_told_it() {
    let mut mock = Mock { blind: true, ..Mock::new(3600.0, &[(500.0, 520.0)]) };
    let found = run(&mut mock, None);
    assert_eq!((found.passes.len(), found.events.len()), (2, 1));
    assert_eq!(found.events[0].level, Level::Coarse);
}

#[test]
fn nothing_found_needs_no_second_look() {
    let found = run(&mut Mock::new(3600.0, &[]), None);
    assert_eq!((found.passes.len(), found.events.len(), found.unclear), (1, 0, 0));
}

#[test]
fn an_interrupted_search_goes_on_where_it_was() {
    let happens = [(500.0, 505.0), (1500.0, 1505.0), (2500.0, 2505.0)];
    let whole = run(&mut Mock::new(3600.0, &happens), None);
    let mut journal = journal();
    for fail_at in 0..whole.passes.len() {
        let mut mock = Mock { fail_at: 1, ..Mock::new(3600.0, &happens) };
        if fail_at + 1 < whole.passes.len() {
            search(&mut mock, &request(None), &mut journal).expect_err("interrupted");
            assert_eq!(journal.passes.len(), fail_at + 1, "one pass was made");
        }
    }
    let mut mock = Mock::new(3600.0, &happens);
    let found = search(&mut mock, &request(None), &mut journal).expect("goes on");
    assert_eq!(mock.asked.len(), 1, "only what was missing");
    assert_eq!(found.events, whole.events);
    assert_eq!(found.tokens, whole.tokens);
    assert_eq!(found.passes.iter().filter(|p| p.resumed).count(), whole.passes.len() - 1);
}

#[test]
fn a_part_is_searched_alone() {
    let mut mock = Mock::new(3600.0, &[(10.0, 12.0), (105.0, 110.0)]);
    let part = Part { start: 100.0, end: Some(130.0) };
    let found = search(&mut mock, &Request { part: Some(part), ..request(None) }, &mut journal()).expect("inside");
    assert_eq!(found.passes.len(), 1);
    assert_eq!((found.events[0].start, found.events[0].end), (105.0, 110.0));
}

#[test]
fn windows_cover_a_range_without_gaps() {
    for (start, end, longest) in [(0.0, 10.0, 10.0), (3.0, 103.0, 33.0), (5.0, 5.0, 10.0)] {
        let (windows, borders) = cut(Window { start, end }, longest);
        assert_eq!((windows[0].start, windows[windows.len() - 1].end), (start, end));
        assert!(windows.iter().all(|w| w.seconds() <= longest));
        assert!(windows.windows(2).zip(&borders).all(|(pair, b)| pair[0].end == *b && pair[1].start == *b));
    }
    let (windows, _) = cut(Window { start: 0.0, end: 1e12 }, 10.0);
    assert_eq!((windows.len(), windows[windows.len() - 1].end), (MAX_WINDOWS as usize, 1e12));
}
