//! What was found, printed, drawn and cut out.

use std::path::Path;

use super::super::exit::CliError;
use super::super::interrupt::{writable, write_whole};
use super::super::many::{self, Opened, Outcome, Target, Unit, ending, out_file, plain, write_picture};
use super::super::screen::{Manner, one_line};
use super::super::task_args::LocateArgs;
use super::Located;
use crate::session::{Engine, StopReason};
use crate::tasks::annotate::{Mark, annotate};
use crate::tasks::locate::{Found, Labelled, Place, coco, yolo};

/// Where results go.
pub struct Output<'a> {
    args: &'a LocateArgs,
    manner: &'a Manner,
    /// What was asked for, in order: classes, and colours.
    things: Vec<String>,
    n_files: usize,
    /// Where all goes that isn't printed as it comes; with `--yolo` a folder.
    out: Option<&'a Path>,
    annotate: Option<Target>,
    crops: Option<Target>,
    yolo: Option<Target>,
    /// What is written when all is done.
    kept: Vec<Outcome<Located>>,
    text: String,
}

impl<'a> Output<'a> {
    /// Checks where things are to go before anything is done.
    ///
    /// # Errors
    /// One file is named for what comes of several, or one that can't be written, or a folder can't be made.
    pub fn new(
        args: &'a LocateArgs,
        things: &[String],
        n_files: usize,
        manner: &'a Manner,
    ) -> Result<Output<'a>, CliError> {
        let things = if args.prompt.is_some() { vec![args.what.trim().to_owned()] } else { things.to_vec() };
        let (out, mut yolo) = (out_file(args.out.as_deref()), None);
        match (out, args.format.yolo) {
            (Some(path), true) => yolo = Some(Target::folder(path)?),
            (None, true) if n_files > 1 => return Err(CliError::YoloFolder { files: n_files }),
            (Some(path), false) => writable(path)?,
            (None, _) => {}
        }
        if let Some(path) = &args.annotate {
            ending("--annotate", path, &["png"])?;
        }
        Ok(Output {
            annotate: args.annotate.as_deref().map(|path| Target::new("--annotate", path, n_files)).transpose()?,
            crops: args.crops.as_deref().map(Target::folder).transpose()?,
            out,
            yolo,
            args,
            manner,
            things,
            n_files,
            kept: Vec::new(),
            text: String::new(),
        })
    }

    /// Shows what came of one picture, or keeps it until the end.
    ///
    /// # Errors
    /// Something can't be written, or the picture not be read again.
    pub fn show(&mut self, opened: Option<&Opened>, outcome: Outcome<Located>) -> Result<(), CliError> {
        if let (Ok(located), Some(opened)) = (&outcome.result, opened) {
            self.notes(&outcome, located);
            self.pictures(opened, &outcome, located)?;
        }
        let format = &self.args.format;
        if format.jsonl {
            return many::print(&outcome.json());
        }
        if format.json || format.coco {
            self.kept.push(outcome);
        } else if let Ok(located) = &outcome.result {
            let text = if format.yolo { self.yolo_of(&outcome, located)? } else { self.plain(&outcome, located) };
            match self.out {
                Some(_) => self.text.push_str(&text),
                None => many::print(&text)?,
            }
        }
        Ok(())
    }

    /// What should be known of how it came about.
    fn notes(&self, outcome: &Outcome<Located>, located: &Located) {
        let name = named(outcome);
        let cut = |stop| matches!(stop, StopReason::MaxTokens | StopReason::ContextFull);
        if located.answers.iter().any(|answer| cut(answer.stop)) {
            self.manner.note(&format!("({name}: the answer was cut off, so places may be missing: see --max-tokens)"));
        }
        for what in &located.unclear {
            self.manner.note(&format!("({name}: the answer about {what} holds no places; see --json)"));
        }
        if located.left_out > 0 {
            let n = located.left_out;
            self.manner.note(&format!("({name}: {n} places outside of the picture are left out)"));
        } else if located.found.is_empty() && located.unclear.is_empty() {
            self.manner.note(&format!("({name}: nothing was found)"));
        }
    }

    /// A line for each place, in whole pixels.
    fn plain(&self, outcome: &Outcome<Located>, located: &Located) -> String {
        let name = if self.n_files > 1 || outcome.of > 1 { format!("{}: ", named(outcome)) } else { String::new() };
        let line = |found: &Found| {
            let numbers: Vec<String> = match found.place {
                Place::Box(rect) => rect.corners().iter().map(|x| format!("{x:.0}")).collect(),
                Place::Point(point) => [point.x, point.y].iter().map(|x| format!("{x:.0}")).collect(),
            };
            format!("{}{}\t{}\n", one_line(&name), numbers.join(" "), one_line(&found.label))
        };
        located.found.iter().map(line).collect()
    }

    fn yolo_of(&mut self, outcome: &Outcome<Located>, located: &Located) -> Result<String, CliError> {
        let lines = yolo(&labelled(outcome, located), &self.things);
        match &mut self.yolo {
            Some(target) => {
                let path = target.file(outcome, "", "txt");
                write(&path, lines.as_bytes())?;
                Ok(String::new())
            }
            None => Ok(lines),
        }
    }

    /// Draws and cuts.
    fn pictures(&mut self, opened: &Opened, outcome: &Outcome<Located>, located: &Located) -> Result<(), CliError> {
        if self.annotate.is_none() && self.crops.is_none() {
            return Ok(());
        }
        let picture = opened.picture(outcome.unit, 0.0)?;
        if let Some(target) = &mut self.annotate {
            let group = |what: &str| self.things.iter().position(|thing| thing == what).unwrap_or(0);
            let mark =
                |found: &Found| Mark { place: found.place, label: found.label.clone(), group: group(&found.what) };
            let marks: Vec<Mark> = located.found.iter().map(mark).collect();
            write_picture(&target.file(outcome, "", "png"), &annotate(&picture.image, &marks))?;
        }
        if let Some(target) = &mut self.crops {
            for (i, found) in located.found.iter().enumerate() {
                let Place::Box(rect) = found.place else { continue };
                let crop = picture.image.cut(rect.pixels([located.width, located.height]));
                let path = target.file(outcome, &format!("-{:02}-{}", i + 1, plain(&found.label)), "png");
                write_picture(&path, &crop)?;
            }
        }
        Ok(())
    }

    /// Writes what was kept until the end.
    ///
    /// # Errors
    /// It can't be written.
    pub fn end(self, engine: &Engine, load_s: f64) -> Result<(), CliError> {
        let format = &self.args.format;
        let text = if format.json {
            many::document(Some(&self.things), &self.kept, engine, load_s)
        } else if format.coco {
            let pictures: Vec<Labelled<'_>> =
                self.kept.iter().filter_map(|outcome| Some(labelled(outcome, outcome.result.as_ref().ok()?))).collect();
            many::json_line(&coco(&pictures, &self.things))
        } else {
            self.text
        };
        match self.out {
            Some(folder) if format.yolo => {
                let classes: String = self.things.iter().map(|thing| format!("{}\n", one_line(thing))).collect();
                write(&folder.join("classes.txt"), classes.as_bytes())
            }
            Some(path) => write(path, text.as_bytes()),
            None => many::print(&text),
        }
    }
}

/// The file, and which part of it.
fn named(outcome: &Outcome<Located>) -> String {
    match outcome.unit {
        Unit::Whole => outcome.file.clone(),
        unit => format!("{}#{}", outcome.file, short(unit)),
    }
}

fn short(unit: Unit) -> String {
    match unit {
        Unit::Time(seconds) => format!("t={seconds}"),
        unit => unit.to_string(),
    }
}

fn labelled<'a>(outcome: &Outcome<Located>, located: &'a Located) -> Labelled<'a> {
    Labelled { file: named(outcome), size: [located.width, located.height], found: &located.found }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    write_whole(path, bytes).map_err(|source| CliError::Write { path: path.to_owned(), source })
}
