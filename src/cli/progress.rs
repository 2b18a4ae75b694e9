//! The line at the terminal's foot while something takes longer than a second.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::screen::{Manner, one_line};
use crate::session::Event;

/// What takes less than this shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

const SPINNER: &str = "{spinner} {msg} {elapsed}";
const BAR: &str = "{spinner} {msg} {bar:24} {percent}% {elapsed}";
const CLIP_BAR: &str = "{spinner} {msg} {bar:16} {percent}% {elapsed}, {eta} left";

/// Shows what goes on, from a second after its start until [`Progress::stop`]. Where progress isn't wanted (no terminal,
/// `--quiet`) it does nothing.
#[derive(Debug)]
pub struct Progress(Option<Shown>);

#[derive(Debug)]
struct Shown {
    bar: ProgressBar,
    /// Stands before whatever is said.
    place: String,
    // Dropped: the waiting thread ends without showing anything.
    _patience: Sender<()>,
}

impl Progress {
    /// Starts with `what` is being done.
    pub fn start(manner: &Manner, what: &str) -> Progress {
        if !manner.progress {
            return Progress(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(style(SPINNER));
        bar.set_message(one_line(what).into_owned());
        let (patience, impatience) = mpsc::channel();
        let waiting = bar.clone();
        std::thread::spawn(move || {
            if impatience.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) && !waiting.is_finished() {
                waiting.set_draw_target(ProgressDrawTarget::stderr());
                waiting.enable_steady_tick(Duration::from_millis(100));
            }
        });
        Progress(Some(Shown { bar, place: String::new(), _patience: patience }))
    }

    /// From now on this stands before whatever is said: which of many things it is about.
    pub fn place(&mut self, place: &str) {
        if let Some(shown) = &mut self.0 {
            shown.place = one_line(place).into_owned();
        }
    }

    /// Does something that prints, without the line in between.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(Shown { bar, .. }) => bar.suspend(print),
            None => print(),
        }
    }

    /// Follows what the session does; ends at the first words of the answer.
    pub fn event(&mut self, event: &Event<'_>) {
        let Some(Shown { bar, place, .. }) = &self.0 else { return };
        match *event {
            Event::Encoding { index, total, done, steps, frames } => {
                let which = if total > 1 { format!(" at {} of {total}", index + 1) } else { String::new() };
                match frames {
                    None => show(bar, BAR, format!("{place}looking{which}"), (done, steps)),
                    Some(f) => {
                        let frames = format!("{} of {} frames read, {} seen", f.decoded, f.total, f.encoded);
                        show(bar, CLIP_BAR, format!("{place}looking{which}: {frames}"), (done, steps));
                    }
                }
            }
            Event::Prefill { done, total } => show(bar, BAR, format!("{place}reading the question"), (done, total)),
            Event::Text(_) => self.stop(),
            Event::Tick => {}
        }
    }

    /// Follows what the session does where the words of the answer aren't shown as they come.
    pub fn unseen(&mut self, event: &Event<'_>) {
        match event {
            Event::Text(_) => self.say("answering"),
            event => self.event(event),
        }
    }

    /// Says what is being done now, and how much of it is done.
    pub fn count(&mut self, what: &str, done: usize, total: usize) {
        if let Some(Shown { bar, place, .. }) = &self.0 {
            show(bar, BAR, format!("{place}{what}"), (done, total));
        }
    }

    /// Says what is being done now, where there is nothing to count.
    pub fn say(&mut self, what: &str) {
        if let Some(Shown { bar, place, .. }) = &self.0 {
            if bar.length().is_some() {
                bar.set_style(style(SPINNER));
                bar.unset_length();
            }
            bar.set_message(format!("{place}{}", one_line(what)));
        }
    }

    /// Removes the line.
    pub fn stop(&mut self) {
        if let Some(Shown { bar, .. }) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}

fn show(bar: &ProgressBar, template: &str, what: String, (done, total): (usize, usize)) {
    if bar.length() != Some(total as u64) {
        bar.set_style(style(template));
        // The time left is measured from here.
        bar.reset_eta();
        bar.set_length(total as u64);
    }
    bar.set_message(what);
    bar.set_position(done as u64);
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
