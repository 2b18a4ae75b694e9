//! The frames of what was found: single files, and a contact sheet.

use std::path::{Path, PathBuf};

use super::super::args::FindArgs;
use super::super::exit::CliError;
use super::super::many::write_picture;
use super::super::screen::Manner;
use crate::media::Clip;
use crate::tasks::find::{Event, MAX_ROWS, Row, clock, sheet};

/// Width and height of a contact sheet's frames in pixels at most.
const THUMBNAIL: (usize, usize) = (320, 240);

/// Writes what `--frames` and `--sheet` ask for, and returns the files.
///
/// # Errors
/// A frame can't be decoded, or a file not be written.
pub fn write(args: &FindArgs, clip: &Clip, events: &[Event], manner: &Manner) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    if events.is_empty() {
        return Ok(files);
    }
    if let Some(folder) = &args.frames {
        frames(folder, clip, events, &mut files)?;
    }
    if let Some(path) = &args.sheet {
        if events.len() > MAX_ROWS {
            manner.note(&format!("(the sheet shows the first {MAX_ROWS} of {} events)", events.len()));
        }
        if let Some(sheet) = sheet(&rows(clip, &events[..events.len().min(MAX_ROWS)])?) {
            write_picture(path, &sheet)?;
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// The first and the last frame of each event, in the clip's own size.
fn frames(folder: &Path, clip: &Clip, events: &[Event], files: &mut Vec<PathBuf>) -> Result<(), CliError> {
    std::fs::create_dir_all(folder).map_err(|source| CliError::Write { path: folder.to_owned(), source })?;
    // In order of time, as they are decoded.
    let mut wanted: Vec<(f64, usize, &str)> = Vec::new();
    for (i, event) in events.iter().enumerate() {
        wanted.push((event.start, i + 1, "start"));
        if event.end > event.start {
            wanted.push((event.end, i + 1, "end"));
        }
    }
    wanted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let stills = clip.stills(&wanted.iter().map(|w| w.0).collect::<Vec<_>>(), None);
    let digits = events.len().to_string().len().max(2);
    for (frame, (time, number, which)) in clip.still_frames(&stills)?.zip(wanted) {
        // Colons are no part of file names everywhere.
        let time = clock(time).replace(':', "-");
        let path = folder.join(format!("{number:0digits$}-{which}-{time}.png"));
        write_picture(&path, &frame?)?;
        files.push(path);
    }
    Ok(())
}

/// First, middle and last frame of each event, small.
fn rows(clip: &Clip, events: &[Event]) -> Result<Vec<Row>, CliError> {
    let mut wanted: Vec<(f64, usize)> = Vec::new();
    for (row, event) in events.iter().enumerate() {
        let times = [event.start, (event.start + event.end) / 2.0, event.end];
        let distinct = if event.end > event.start { &times[..] } else { &times[..1] };
        wanted.extend(distinct.iter().map(|&time| (time, row)));
    }
    wanted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let stills = clip.stills(&wanted.iter().map(|w| w.0).collect::<Vec<_>>(), Some(THUMBNAIL));
    let mut rows = vec![Row { frames: Vec::new() }; events.len()];
    for (frame, (time, row)) in clip.still_frames(&stills)?.zip(wanted) {
        rows[row].frames.push((frame?, time));
    }
    Ok(rows)
}
