//! Draws what a terminal shows of a conversation with the program, as an SVG file: the pictures in the README are made so.
//!
//! `terminal_picture OUT.svg COLUMNS PROGRAM ARG… < LINES` starts the program in a pty of its own, types each line of standard
//! input once the prompt `> ` is there, waits for the last prompt, and draws the screen down to there. The program's folder
//! is the present one; its home is an empty folder, so that no setting or history of this computer gets into the picture.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use vt100::{Color, Parser};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROWS: u16 = 200;
/// A cell, in pixels of the drawing.
const CELL: (f64, f64) = (8.4, 18.0);
const MARGIN: f64 = 14.0;
const PATIENCE: Duration = Duration::from_secs(120);
/// The terminal's own colours: text, background, and xterm's first sixteen as most terminals have them today.
const TEXT: [u8; 3] = [0xd8, 0xdc, 0xe4];
const GROUND: [u8; 3] = [0x16, 0x1a, 0x21];
const SIXTEEN: [[u8; 3]; 16] = [
    [0x2a, 0x30, 0x3a],
    [0xe0, 0x6c, 0x75],
    [0x8c, 0xc2, 0x65],
    [0xe5, 0xc0, 0x7b],
    [0x5f, 0xaf, 0xef],
    [0xc6, 0x78, 0xdd],
    [0x56, 0xb6, 0xc2],
    [0xd8, 0xdc, 0xe4],
    [0x6b, 0x74, 0x85],
    [0xff, 0x86, 0x8e],
    [0xa5, 0xdb, 0x7c],
    [0xff, 0xd5, 0x8c],
    [0x80, 0xc6, 0xff],
    [0xdf, 0x94, 0xf5],
    [0x70, 0xd5, 0xe0],
    [0xff, 0xff, 0xff],
];

fn main() {
    if let Err(error) = run() {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: terminal_picture OUT.svg COLUMNS PROGRAM ARG… < LINES";
    let out = args.next().ok_or(usage)?;
    let columns: u16 = args.next().ok_or(usage)?.parse()?;
    let mut command = CommandBuilder::new(args.next().ok_or(usage)?);
    command.args(args);
    let home = tempfile::tempdir()?;
    command.env_clear();
    for (name, value) in
        [("TERM", "xterm-256color"), ("COLORTERM", "truecolor"), ("QLENS_CONFIG", ""), ("LANG", "C.UTF-8")]
    {
        command.env(name, value);
    }
    command.env("HOME", home.path());
    command.cwd(std::env::current_dir()?);
    let lines = std::io::read_to_string(std::io::stdin())?;

    let pair = native_pty_system().openpty(PtySize { rows: ROWS, cols: columns, pixel_width: 0, pixel_height: 0 })?;
    let mut child = pair.slave.spawn_command(command)?;
    let screen = Arc::new(Mutex::new(Parser::new(ROWS, columns, 0)));
    let (shown, mut output) = (screen.clone(), pair.master.try_clone_reader()?);
    std::thread::spawn(move || {
        let mut block = [0; 4096];
        while let Ok(n @ 1..) = output.read(&mut block) {
            if let Ok(mut screen) = shown.lock() {
                screen.process(&block[..n]);
            }
        }
    });
    let mut keys = pair.master.take_writer()?;
    let mut prompts = 0;
    for line in lines.lines() {
        prompts += 1;
        wait_for_prompt(&screen, prompts)?;
        keys.write_all(format!("{line}\r").as_bytes())?;
    }
    wait_for_prompt(&screen, prompts + 1)?;
    std::fs::write(&out, draw(&screen))?;
    child.kill()?;
    Ok(())
}

/// Waits until `n` lines of the screen begin with the prompt and the last of them is empty.
fn wait_for_prompt(screen: &Mutex<Parser>, n: usize) -> Result<()> {
    let start = Instant::now();
    loop {
        let seen = screen.lock().map_or(String::new(), |s| s.screen().contents());
        let seen = seen.trim_end_matches('\n');
        if seen.lines().filter(|l| l.starts_with('>')).count() >= n
            && seen.lines().last().map(str::trim_end) == Some(">")
        {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("no prompt in:\n{seen}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn draw(screen: &Mutex<Parser>) -> String {
    let parser = screen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let screen = parser.screen();
    let columns = screen.size().1;
    // Without the last line: an empty prompt says nothing.
    let rows = screen.contents().trim_end().trim_end_matches('>').trim_end().lines().count() as u16;
    let (width, height) = (f64::from(columns) * CELL.0 + 2.0 * MARGIN, f64::from(rows) * CELL.1 + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"ui-monospace, \
         'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\">\n<rect width=\"100%\" height=\"100%\" rx=\"8\" \
         fill=\"{}\"/>\n",
        hex(GROUND)
    );
    for row in 0..rows {
        draw_row(screen, row, columns, &mut svg);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_row(screen: &vt100::Screen, row: u16, columns: u16, svg: &mut String) {
    let top = MARGIN + f64::from(row) * CELL.1;
    // Text by style, so that a word is one element: column → (style, characters).
    let mut runs: BTreeMap<u16, (String, String)> = BTreeMap::new();
    let mut last: Option<u16> = None;
    for column in 0..columns {
        let Some(cell) = screen.cell(row, column) else { continue };
        let left = MARGIN + f64::from(column) * CELL.0;
        let (front, back) = (colour(cell.fgcolor(), TEXT), colour(cell.bgcolor(), GROUND));
        let (front, back) = if cell.inverse() { (back, front) } else { (front, back) };
        if back != GROUND {
            rect(svg, left, top, CELL.1, back);
        }
        match cell.contents() {
            "▀" => {
                rect(svg, left, top, CELL.1 / 2.0, front);
                last = None;
            }
            "" | " " => last = last.filter(|_| column > 0).inspect(|at| runs.entry(*at).or_default().1.push(' ')),
            text => {
                let weight = if cell.bold() { " font-weight=\"bold\"" } else { "" };
                let slant = if cell.italic() { " font-style=\"italic\"" } else { "" };
                let faint = if cell.dim() { " opacity=\"0.6\"" } else { "" };
                let style = format!("fill=\"{}\"{weight}{slant}{faint}", hex(front));
                let at = last.filter(|at| runs.get(at).is_some_and(|(s, _)| *s == style)).unwrap_or(column);
                let run = runs.entry(at).or_insert_with(|| (style, String::new()));
                run.1.push_str(text);
                last = Some(at);
            }
        }
    }
    for (column, (style, text)) in runs {
        let text = text.trim_end();
        let (x, y) = (MARGIN + f64::from(column) * CELL.0, top + CELL.1 * 0.74);
        let length = CELL.0 * text.chars().count() as f64;
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" xml:space=\"preserve\" {style}>{text}</text>"
        );
    }
}

fn rect(svg: &mut String, left: f64, top: f64, height: f64, fill: [u8; 3]) {
    // A hair wider than a cell: no seams between neighbours.
    let width = CELL.0 + 0.4;
    let _ = writeln!(
        svg,
        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{}\"/>",
        hex(fill)
    );
}

fn colour(colour: Color, default: [u8; 3]) -> [u8; 3] {
    match colour {
        Color::Default => default,
        Color::Rgb(r, g, b) => [r, g, b],
        Color::Idx(i @ 0..16) => SIXTEEN[usize::from(i)],
        // xterm's cube of 6×6×6, then 24 grays.
        Color::Idx(i @ 16..232) => [36, 6, 1].map(|step| match (i - 16) / step % 6 {
            0 => 0,
            level => 55 + 40 * level,
        }),
        Color::Idx(i) => [8 + 10 * (i - 232); 3],
    }
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}
