//! Searching a clip: at once where it fits, else in two levels.
//!
//! ```text
//! all of it fits within the tokens at the wanted rate and size?  look at it, done
//! look at all of it coarsely (at most half of the budget)
//! each event, widened by what the coarse look can't tell, is a range; overlapping ranges become one
//! each range, in windows short enough to be looked at closely, while the budget lasts:  look at it
//! events of the close looks replace the coarse ones that they cover; what was not looked at closely stays coarse
//! ```
//!
//! Nothing here knows of models: a [`Watcher`] looks, so that the order of things can be tested without one.

use serde::Serialize;

use super::journal::{Journal, Pass};
use super::parse::parse_events;
use super::place::{Window, join, place, sort};
use super::{Event, Level};
use crate::media::Part;
use crate::session::StopReason;

/// Of the wanted frames and pixels, this share is as good as all.
const NEARLY: f64 = 0.9;
/// Seconds of a window that is looked at closely, at least.
const SHORTEST_WINDOW: f64 = 10.0;
/// Windows of a range at most: two days of shortest ones.
const MAX_WINDOWS: f64 = 17_280.0;
/// Seconds by which an event of the coarse look is widened at least.
const LEAST_MARGIN: f64 = 2.0;
/// A close look shows this many times the pixels a second of the coarse one, or it isn't worth its tokens either.
const CLOSER: f64 = 1.2;
/// A close look at less than this share of the wanted rate is not worth its tokens.
const WORTHWHILE: f64 = 0.5;

/// What is searched for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The question as it is put to the model.
    pub question: String,
    /// The part of the clip to search.
    pub part: Option<Part>,
    /// Tokens of frames that all looks together may take.
    pub budget: Option<usize>,
}

/// What a look at a window would show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// When the first frame is shown, in seconds of the clip.
    pub start: f64,
    /// Where the window ends.
    pub end: f64,
    /// Frames.
    pub frames: usize,
    /// Frames a second that this amounts to.
    pub fps: f64,
    /// Pixels of each frame.
    pub pixels: usize,
    /// Tokens that they take.
    pub tokens: usize,
}

/// What a look should show.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Frames a second.
    pub fps: f64,
    /// Frames a second that the clip has.
    pub clip_fps: f64,
    /// The least pixels of a frame with which the model sees well.
    pub pixels: usize,
    /// Pixels that become one token.
    pub token_pixels: usize,
    /// The most frames of one look.
    pub max_frames: usize,
}

/// What the model said.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its words.
    pub answer: String,
    /// Why they ended.
    pub stop: StopReason,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Who looks at a clip.
pub trait Watcher {
    /// What can go wrong.
    type Error;

    /// What a look at `part` would show, in at most `max_tokens` tokens; `None` where they are too few.
    ///
    /// # Errors
    /// The part lies outside of the clip.
    fn look(&self, part: Option<Part>, max_tokens: Option<usize>) -> Result<Option<Look>, Self::Error>;

    /// Looks, and asks.
    ///
    /// # Errors
    /// The question can't be answered.
    fn ask(&mut self, part: Option<Part>, max_tokens: usize, question: &str) -> Result<Said, Self::Error>;

    /// Tokens of frames that fit into one question.
    fn room(&self, question: &str) -> usize;

    /// What a look should show.
    fn wanted(&self) -> Wanted;

    /// Called after each new pass, before the next begins; the journal holds it already.
    ///
    /// # Errors
    /// The journal can't be kept.
    fn keep(&mut self, journal: &Journal) -> Result<(), Self::Error>;
}

/// A window that was not looked at closely.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Skipped {
    /// Where it begins, in seconds of the clip.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
    /// Tokens that were left for it.
    pub tokens_left: usize,
}

/// What a search found, and what was done for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// In order of time.
    pub events: Vec<Event>,
    /// In the order in which they were made.
    pub passes: Vec<Pass>,
    /// What the budget didn't reach.
    pub skipped: Vec<Skipped>,
    /// Events that the model placed outside of what it was shown; they are left out.
    pub outside: usize,
    /// Passes whose answers held neither times nor an empty list.
    pub unclear: usize,
    /// Tokens of frames in all passes.
    pub tokens: usize,
}

/// Searches, going on from what `journal` holds, and notes every pass in it.
///
/// # Errors
/// Whatever the watcher gives.
pub fn search<W: Watcher>(watcher: &mut W, request: &Request, journal: &mut Journal) -> Result<Found, W::Error> {
    let found =
        Found { events: Vec::new(), passes: Vec::new(), skipped: Vec::new(), outside: 0, unclear: 0, tokens: 0 };
    let mut search = Search { watcher, request, journal, found };
    let room = search.watcher.room(&request.question);
    let cap = request.budget.map_or(room, |budget| budget.min(room));
    if search.fits(cap)? {
        let (events, _) = search.pass(Level::Whole, request.part, cap)?;
        search.found.events = events;
    } else {
        let coarse_cap = request.budget.map_or(room, |budget| (budget / 2).min(room));
        search.two_levels(coarse_cap, room)?;
    }
    Ok(search.found)
}

struct Search<'a, W: Watcher> {
    watcher: &'a mut W,
    request: &'a Request,
    journal: &'a mut Journal,
    found: Found,
}

impl<W: Watcher> Search<'_, W> {
    /// Whether one look within `cap` tokens shows all that is wanted.
    fn fits(&self, cap: usize) -> Result<bool, W::Error> {
        let part = self.request.part;
        let (Some(free), Some(look)) = (self.watcher.look(part, None)?, self.watcher.look(part, Some(cap))?) else {
            // Then the error of asking says what is wrong.
            return Ok(true);
        };
        let wanted = self.watcher.wanted();
        let frames = (look.end - look.start) * wanted.fps.min(wanted.clip_fps);
        let pixels = wanted.pixels.min(free.pixels) as f64;
        // A handful of frames is shown of any clip, however short.
        let enough = look.frames as f64 >= NEARLY * frames - 2.0;
        Ok(enough && look.pixels as f64 >= NEARLY * pixels)
    }

    /// One look, or what it said in an earlier run. Returns its events and what it showed.
    fn pass(&mut self, level: Level, part: Option<Part>, cap: usize) -> Result<(Vec<Event>, Look), W::Error> {
        // Where even the least takes more, asking gives the error.
        let look = self.watcher.look(part, Some(cap))?;
        let known = look.and_then(|look| self.journal.find(level, look.start, look.end, look.tokens));
        let (pass, look) = match (known, look) {
            (Some(pass), Some(look)) => (pass, look),
            _ => {
                let said = self.watcher.ask(part, cap, &self.request.question)?;
                let none = Look { start: 0.0, end: 0.0, frames: 0, fps: 0.0, pixels: 0, tokens: 0 };
                let look = look.unwrap_or(none);
                let Look { start, end, frames, fps, tokens, .. } = look;
                let Said { answer, stop, seconds } = said;
                let pass = Pass { level, start, end, frames, fps, tokens, answer, stop, seconds, resumed: false };
                self.journal.passes.push(pass.clone());
                self.watcher.keep(self.journal)?;
                (pass, look)
            }
        };
        let window = Window { start: look.start, end: look.end };
        let reading = parse_events(&pass.answer, window.seconds());
        let (events, outside) = place(&reading.events, window, level);
        self.found.outside += outside;
        self.found.unclear += usize::from(!reading.understood);
        self.found.tokens += pass.tokens;
        self.found.passes.push(pass);
        Ok((events, look))
    }

    fn two_levels(&mut self, coarse_cap: usize, room: usize) -> Result<(), W::Error> {
        let (coarse, look) = self.pass(Level::Coarse, self.request.part, coarse_cap)?;
        let margin = LEAST_MARGIN.max(if look.fps > 0.0 { 4.0 / look.fps } else { 0.0 });
        let whole = Window { start: look.start, end: look.end };
        let per_second = self.close_tokens_a_second();
        let longest = (room as f64 / per_second).min(self.longest_by_frames()).max(SHORTEST_WINDOW);
        let ranges = ranges(&coarse, margin, whole);
        let mut seconds_left: f64 = ranges.iter().map(Window::seconds).sum();
        for range in ranges {
            let (windows, borders) = cut(range, longest);
            let mut close = Vec::new();
            for window in windows {
                let wanted = window.seconds() * per_second;
                let cap = self.close_cap(wanted, window.seconds() / seconds_left.max(1e-9)).min(room);
                seconds_left -= window.seconds();
                close.extend(self.look_closely(window, &look, cap)?);
            }
            sort(&mut close);
            let close = join(close, &borders);
            let replaced = |event: &Event| {
                let covers = |other: &Event| other.start <= event.end + margin && event.start <= other.end + margin;
                close.iter().any(covers)
            };
            let inside = |event: &&Event| event.start >= range.start && event.end <= range.end;
            let kept: Vec<Event> = coarse.iter().filter(inside).filter(|e| !replaced(e)).cloned().collect();
            self.found.events.extend(kept.into_iter().chain(close));
        }
        sort(&mut self.found.events);
        Ok(())
    }

    /// Tokens that a second takes at the wanted rate and size, with half as many again for detail.
    fn close_tokens_a_second(&self) -> f64 {
        let wanted = self.watcher.wanted();
        let groups = wanted.fps.min(wanted.clip_fps) / 2.0;
        (1.5 * groups * wanted.pixels as f64 / wanted.token_pixels.max(1) as f64).max(0.1)
    }

    fn longest_by_frames(&self) -> f64 {
        let wanted = self.watcher.wanted();
        wanted.max_frames as f64 / wanted.fps.max(0.01)
    }

    /// Tokens that the budget leaves.
    fn tokens_left(&self) -> usize {
        self.request.budget.map_or(usize::MAX, |budget| budget.saturating_sub(self.found.tokens))
    }

    /// Tokens for a window that would take `wanted` of them and is `share` of what is still to be looked at: its share of
    /// the budget, but so many that it is worth it, even where later windows then get nothing.
    fn close_cap(&self, wanted: f64, share: f64) -> usize {
        const LEAST: f64 = 1.0 / 3.0;
        let left = self.tokens_left();
        let fair = left as f64 * share.min(1.0);
        (wanted.min(fair.max(wanted * LEAST)) as usize).clamp(1, left.max(1))
    }

    /// The events in a window. Where the tokens don't reach for a look that is worth it, near enough to the wanted rate
    /// and closer than the coarse one, there are none, and the window is noted as skipped.
    fn look_closely(&mut self, window: Window, coarse: &Look, cap: usize) -> Result<Vec<Event>, W::Error> {
        let part = Some(Part { start: window.start, end: Some(window.end) });
        let tokens_left = self.tokens_left();
        let wanted = self.watcher.wanted();
        let rate = wanted.fps.min(wanted.clip_fps);
        let closeness = |look: &Look| look.fps * look.pixels as f64;
        let worth = |look: &Look| {
            look.fps >= WORTHWHILE * rate && look.tokens <= tokens_left && closeness(look) > CLOSER * closeness(coarse)
        };
        if self.watcher.look(part, Some(cap))?.as_ref().is_some_and(worth) {
            return self.pass(Level::Fine, part, cap).map(|(events, _)| events);
        }
        self.found.skipped.push(Skipped { start: window.start, end: window.end, tokens_left });
        Ok(Vec::new())
    }
}

/// Where events may be, in order, none overlapping.
fn ranges(events: &[Event], margin: f64, whole: Window) -> Vec<Window> {
    let mut ranges: Vec<Window> = Vec::new();
    for event in events {
        let start = (event.start - margin).max(whole.start);
        let end = (event.end + margin).min(whole.end);
        match ranges.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => ranges.push(Window { start, end }),
        }
    }
    ranges
}

/// A range in equal windows of at most `longest` seconds, and the borders between them. Where that would be too many, they
/// are longer: a broken file may claim that a clip lasts for thousands of years.
fn cut(range: Window, longest: f64) -> (Vec<Window>, Vec<f64>) {
    let n = (range.seconds() / longest).ceil().clamp(1.0, MAX_WINDOWS) as usize;
    let border = |i: usize| if i == n { range.end } else { range.start + range.seconds() * i as f64 / n as f64 };
    let windows = (0..n).map(|i| Window { start: border(i), end: border(i + 1) }).collect();
    (windows, (1..n).map(border).collect())
}

#[cfg(test)]
mod tests;
