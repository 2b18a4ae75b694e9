//! What documents say, written, shown beside the original, and their figures cut out.

use std::path::{Path, PathBuf};

use super::super::exit::CliError;
use super::super::interrupt::{writable, write_whole};
use super::super::many::{self, Opened, Outcome, Target, ending, out_file, write_picture};
use super::super::screen::{Manner, one_line};
use super::super::task_args::{Annotated, Form, ParseArgs};
use super::{Figure, Parsed};
use crate::media::{Rgb8, write_jpeg, write_png};
use crate::session::Engine;
use crate::tasks::annotate::{Mark, annotate};
use crate::tasks::locate::Place;
use crate::tasks::parse::{Kind, Sheet, Titled, annotated, html, markdown, qwen_html, text};

/// Where results go.
pub struct Output<'a> {
    args: &'a ParseArgs,
    manner: &'a Manner,
    n_files: usize,
    out: Option<Target>,
    annotate: Option<(Annotated, Target)>,
    figures: Option<Target>,
    /// The pages so far of the file that is at work.
    pages: Vec<(Outcome<Parsed>, Option<Shown>)>,
    /// How many of its units are done, failed ones too.
    units: usize,
    /// Whether something was printed.
    printed: bool,
    /// With `--json`, what is written when all is done.
    kept: Vec<Outcome<Parsed>>,
}

/// The picture of a page, for the page that shows it.
struct Shown {
    picture: Vec<u8>,
    mime: &'static str,
}

impl<'a> Output<'a> {
    /// Checks where things are to go before anything is done.
    ///
    /// # Errors
    /// One file is named for what comes of several, or a folder can't be made.
    pub fn new(args: &'a ParseArgs, n_files: usize, manner: &'a Manner) -> Result<Output<'a>, CliError> {
        let annotate = args.annotate.as_deref().map(|path| {
            let kind = match args.annotate_as {
                Some(kind) => kind,
                None if ending("--annotate", path, &["png", "html", "htm"])? == Some("png") => Annotated::Png,
                None => Annotated::Html,
            };
            Ok::<_, CliError>((kind, Target::new("--annotate", path, n_files)?))
        });
        let mut out = None;
        match out_file(args.out.as_deref()) {
            // All JSON is one object, in a file whatever its name is.
            Some(path) if args.json => writable(path)?,
            path => out = path.map(|path| Target::new("-o", path, n_files)).transpose()?,
        }
        Ok(Output {
            out,
            annotate: annotate.transpose()?,
            figures: args.figures.as_deref().map(Target::folder).transpose()?,
            args,
            manner,
            n_files,
            pages: Vec::new(),
            units: 0,
            printed: false,
            kept: Vec::new(),
        })
    }

    /// Takes what came of one page; a file is written when all of its pages are there.
    ///
    /// # Errors
    /// Something can't be written, or the picture not be read again.
    pub fn show(&mut self, opened: Option<&Opened>, mut outcome: Outcome<Parsed>) -> Result<(), CliError> {
        let mut shown = None;
        let title = outcome.title();
        if let (Ok(parsed), Some(opened)) = (&outcome.result, opened) {
            self.notes(&title, parsed);
            let marked = self.annotate.is_some() || self.figures.is_some();
            if marked {
                let picture = opened.picture(outcome.unit, self.args.pages.dpi.into())?;
                let figures = self.cut(&outcome, &picture.image)?;
                shown = self.marked(&outcome, &picture.image)?;
                outcome = outcome.map(|parsed| Parsed { figures, ..parsed });
            }
        }
        if self.args.jsonl {
            many::print(&outcome.json())?;
        }
        self.units += 1;
        let last = self.units >= outcome.of;
        self.pages.push((outcome, shown));
        if last {
            self.units = 0;
            let pages = std::mem::take(&mut self.pages);
            self.file(&pages)?;
            if self.args.json {
                self.kept.extend(pages.into_iter().map(|(outcome, _)| outcome));
            }
        }
        Ok(())
    }

    /// What should be known of how it came about.
    fn notes(&self, title: &str, parsed: &Parsed) {
        if !parsed.page.repairs.is_empty() {
            self.manner.note(&format!("({title}: repaired: {})", parsed.page.repairs.join("; ")));
        }
        if parsed.page.blocks.is_empty() {
            self.manner.note(&format!("({title}: nothing was read)"));
        }
    }

    /// Cuts out the figures.
    fn cut(&mut self, outcome: &Outcome<Parsed>, picture: &Rgb8) -> Result<Vec<Figure>, CliError> {
        let (Some(target), Ok(parsed)) = (&mut self.figures, &outcome.result) else { return Ok(Vec::new()) };
        let mut figures = Vec::new();
        for (i, block) in parsed.page.blocks.iter().enumerate() {
            let (Kind::Figure, Some(rect)) = (block.kind, block.bbox) else { continue };
            let path = target.file(outcome, &format!("-figure{:02}", figures.len() + 1), "png");
            write_picture(&path, &picture.cut(rect.pixels([picture.width, picture.height])))?;
            figures.push(Figure { block: i, file: path.display().to_string() });
        }
        Ok(figures)
    }

    /// Draws the marks, or keeps the picture for the page of HTML.
    fn marked(&mut self, outcome: &Outcome<Parsed>, picture: &Rgb8) -> Result<Option<Shown>, CliError> {
        let Ok(parsed) = &outcome.result else { return Ok(None) };
        match &mut self.annotate {
            None => Ok(None),
            Some((Annotated::Png, target)) => {
                let blocks = parsed.page.blocks.iter().enumerate();
                let marks: Vec<Mark> = blocks
                    .filter_map(|(i, block)| {
                        let label = format!("{} {}", i + 1, block.kind.name());
                        Some(Mark { place: Place::Box(block.bbox?), label, group: block.kind.index() })
                    })
                    .collect();
                write_picture(&target.file(outcome, "", "png"), &annotate(picture, &marks))?;
                Ok(None)
            }
            Some((Annotated::Html, _)) => {
                let mut bytes = Vec::new();
                // Writing to memory fails only for sides that JPEG can't have.
                let mime = match write_jpeg(picture, &mut bytes) {
                    Ok(()) => "image/jpeg",
                    Err(_) => {
                        bytes.clear();
                        write_png(picture, &mut bytes).map_err(|source| self.unwritten(source))?;
                        "image/png"
                    }
                };
                Ok(Some(Shown { picture: bytes, mime }))
            }
        }
    }

    fn unwritten(&self, source: std::io::Error) -> CliError {
        CliError::Write { path: self.args.annotate.clone().unwrap_or_default(), source }
    }

    /// Writes what all pages of a file say.
    fn file(&mut self, pages: &[(Outcome<Parsed>, Option<Shown>)]) -> Result<(), CliError> {
        let read: Vec<(&Outcome<Parsed>, &Parsed, &Option<Shown>)> =
            pages.iter().filter_map(|(o, shown)| Some((o, o.result.as_ref().ok()?, shown))).collect();
        let Some(&(first, ..)) = read.first() else { return Ok(()) };
        // The file as a whole: no page of it.
        let whole = Outcome { of: 1, unit: many::Unit::Whole, file: first.file.clone(), ..bare(first) };
        if let Some((Annotated::Html, target)) = &mut self.annotate {
            let sheets: Vec<Sheet<'_>> = read
                .iter()
                .filter_map(|(outcome, parsed, shown)| {
                    let Shown { picture, mime } = shown.as_ref()?;
                    let size = [parsed.width, parsed.height];
                    let name = one_line(&outcome.title()).into_owned();
                    Some(Sheet { name, size, picture: picture.clone(), mime, page: &parsed.page })
                })
                .collect();
            let path = target.file(&whole, "", "html");
            write(&path, annotated(&one_line(&first.file), &sheets).as_bytes())?;
        }
        if self.args.json || self.args.jsonl {
            return Ok(());
        }
        let path = self.out.as_mut().map(|target| target.file(&whole, "", self.args.to.ending()));
        let titled: Vec<Titled<'_>> = read
            .iter()
            .map(|(outcome, parsed, _)| Titled {
                name: one_line(&outcome.title()).into_owned(),
                page: &parsed.page,
                figures: parsed.figures.iter().map(|f| (f.block, link(&f.file, path.as_deref()))).collect(),
            })
            .collect();
        let said = match self.args.to {
            Form::Md => markdown(&titled),
            Form::Html => html(&titled),
            Form::Qwen => qwen_html(&titled),
            Form::Text => text(&titled),
        };
        match path {
            Some(path) => write(&path, said.as_bytes()),
            None => self.print(&first.file, &said),
        }
    }

    /// Of several files on one output, each stands below its name.
    fn print(&mut self, file: &str, said: &str) -> Result<(), CliError> {
        let gap = if std::mem::replace(&mut self.printed, true) { "\n" } else { "" };
        let head = match self.args.to {
            _ if self.n_files < 2 => String::new(),
            Form::Text => format!("=== {} ===\n\n", one_line(file)),
            Form::Md | Form::Html | Form::Qwen => {
                // Two hyphens in a row would end the remark.
                let name = one_line(file).replace("--", "- -").replace(['<', '>'], "_");
                format!("<!-- {name} -->\n")
            }
        };
        many::print(&format!("{gap}{head}{said}"))
    }

    /// Writes what was kept until the end.
    ///
    /// # Errors
    /// It can't be written.
    pub fn end(self, engine: &Engine, load_s: f64) -> Result<(), CliError> {
        if !self.args.json {
            return Ok(());
        }
        let json = many::document(None, &self.kept, engine, load_s);
        match out_file(self.args.out.as_deref()) {
            Some(path) => write(path, json.as_bytes()),
            None => many::print(&json),
        }
    }
}

/// An outcome without its result.
fn bare<R>(outcome: &Outcome<R>) -> Outcome<()> {
    Outcome {
        file: outcome.file.clone(),
        unit: outcome.unit,
        of: outcome.of,
        sha256: outcome.sha256.clone(),
        result: Ok(()),
        resumed: outcome.resumed,
    }
}

/// How what is written to `out` refers to a file: from its own folder on, or by the whole path.
fn link(file: &str, out: Option<&Path>) -> String {
    let Some(out) = out else { return file.to_owned() };
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let (file, folder) = (whole(Path::new(file)), out.parent().map(whole));
    let folder: PathBuf = folder.filter(|f| !f.as_os_str().is_empty()).unwrap_or_else(|| whole(Path::new(".")));
    file.strip_prefix(&folder).unwrap_or(&file).display().to_string()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    write_whole(path, bytes).map_err(|source| CliError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_from_the_file_to_the_figure() {
        assert_eq!(link("figures/a.png", None), "figures/a.png");
        assert_eq!(link("figures/a.png", Some(Path::new("doc.md"))), "figures/a.png");
        assert_eq!(link("out/figures/a.png", Some(Path::new("out/doc.md"))), "figures/a.png");
        assert_eq!(link("/f/a.png", Some(Path::new("/o/doc.md"))), "/f/a.png");
    }
}
