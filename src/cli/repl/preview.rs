//! Thumbnails: kitty's and iTerm2's own ways, sixels, or half blocks in two colours each.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::media::{Rgb8, resize_bicubic, write_png};

const COLUMNS: usize = 40;
const ROWS: usize = 12;

/// How the terminal shows pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// kitty's graphics protocol, which Ghostty and WezTerm know too.
    Kitty,
    /// iTerm2's inline images.
    ITerm,
    /// Sixels, DEC's way to send bitmaps, which foot, mlterm, Konsole, Contour and mintty know.
    Sixel,
    /// `▀` in 24-bit colours.
    TrueColour,
    /// `▀` in the 256 colours of xterm.
    Colours,
}

/// A thumbnail as control sequences, by what the environment says of the terminal; `None` where it can't show any.
pub fn draw(picture: &Rgb8) -> Option<String> {
    let protocol = protocol(&|name| std::env::var(name).unwrap_or_default())?;
    let (width, _) = terminal_size::terminal_size()?;
    draw_as(picture, protocol, COLUMNS.min(usize::from(width.0).saturating_sub(2)))
}

fn protocol(var: &dyn Fn(&str) -> String) -> Option<Protocol> {
    let (term, program) = (var("TERM"), var("TERM_PROGRAM"));
    // What runs inside of tmux or screen would have to be wrapped for the terminal outside; half blocks needn't.
    let inside = term.starts_with("screen") || term.starts_with("tmux");
    if term.is_empty() || term == "dumb" || term == "linux" {
        return None;
    }
    Some(match () {
        () if !inside && (term.contains("kitty") || term.contains("ghostty") || !var("KITTY_WINDOW_ID").is_empty()) => {
            Protocol::Kitty
        }
        () if !inside && (program == "iTerm.app" || program == "WezTerm") => Protocol::ITerm,
        () if !inside
            && (term.starts_with("foot")
                || term.starts_with("mlterm")
                || term.contains("sixel")
                || matches!(program.as_str(), "mintty" | "contour")
                // Konsole knows sixels since 22.04.
                || var("KONSOLE_VERSION").parse::<u32>().is_ok_and(|version| version >= 220_400)) =>
        {
            Protocol::Sixel
        }
        () if matches!(var("COLORTERM").as_str(), "truecolor" | "24bit") => Protocol::TrueColour,
        () => Protocol::Colours,
    })
}

fn draw_as(picture: &Rgb8, protocol: Protocol, columns: usize) -> Option<String> {
    // A cell is about twice as high as wide: two pixels of a half block are square.
    let scale = (columns as f64 / picture.width as f64).min((2 * ROWS) as f64 / picture.height as f64);
    let side = |n: usize| ((n as f64 * scale).round() as usize).max(1);
    let (width, height) = (side(picture.width), side(picture.height));
    Some(match protocol {
        Protocol::Kitty => kitty(&png(picture)?, width),
        Protocol::ITerm => {
            let data = png(picture)?;
            format!("\u{1b}]1337;File=inline=1;size={};width={width}:{}\u{7}\n", data.len(), STANDARD.encode(&data))
        }
        // Such terminals' cells are near 8 by 16 pixels: as wide as half blocks would be, or a little narrower.
        Protocol::Sixel => sixel(&resize_bicubic(picture, 8 * width, 8 * height)),
        Protocol::TrueColour | Protocol::Colours => half_blocks(&resize_bicubic(picture, width, height), protocol),
    })
}

fn png(picture: &Rgb8) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    write_png(picture, &mut bytes).ok()?;
    Some(bytes)
}

/// kitty, "Terminal graphics protocol": PNG data in pieces of at most 4096 characters.
fn kitty(png: &[u8], columns: usize) -> String {
    let data = STANDARD.encode(png);
    let mut out = String::new();
    let pieces = data.as_bytes().chunks(4096);
    let n = pieces.len();
    for (i, piece) in pieces.enumerate() {
        let head = if i == 0 { format!("a=T,f=100,c={columns},") } else { String::new() };
        let more = usize::from(i + 1 < n);
        out.push_str(&format!("\u{1b}_G{head}m={more};{}\u{1b}\\", String::from_utf8_lossy(piece)));
    }
    out.push('\n');
    out
}

/// Levels of each primary in the palette that sixels are drawn in.
const LEVELS: usize = 6;

/// VT330/VT340 Programmer Reference Manual, chapter 14: strips of six rows, in each the columns of one colour after the other, a
/// character for the six pixels below each other; `!n` repeats one, `$` goes back to the strip's start, `-` to the next.
fn sixel(picture: &Rgb8) -> String {
    let (width, height) = (picture.width, picture.height);
    let mut out = format!("\u{1b}Pq\"1;1;{width};{height}");
    for colour in 0..LEVELS.pow(3) {
        let percent = |place: u32| colour / LEVELS.pow(place) % LEVELS * 100 / (LEVELS - 1);
        out.push_str(&format!("#{colour};2;{};{};{}", percent(2), percent(1), percent(0)));
    }
    for top in (0..height).step_by(6) {
        // Which of the strip's pixels have which colour, a bit for each row.
        let mut columns = vec![vec![0u8; 0]; LEVELS.pow(3)];
        for (bit, y) in (top..height.min(top + 6)).enumerate() {
            for x in 0..width {
                let bits = &mut columns[palette_index(picture, x, y)];
                bits.resize(width, 0);
                bits[x] |= 1 << bit;
            }
        }
        for (colour, bits) in columns.iter().enumerate().filter(|(_, bits)| !bits.is_empty()) {
            out.push_str(&format!("#{colour}"));
            for run in bits.chunk_by(|a, b| a == b) {
                let letter = char::from(b'?' + run[0]);
                if run.len() > 3 {
                    out.push_str(&format!("!{}{letter}", run.len()));
                } else {
                    out.extend(std::iter::repeat_n(letter, run.len()));
                }
            }
            out.push('$');
        }
        out.push('-');
    }
    out.push_str("\u{1b}\\\n");
    out
}

/// The colour of a pixel in the palette of sixels, dithered by a 4×4 Bayer matrix: six levels alone show bands.
fn palette_index(picture: &Rgb8, x: usize, y: usize) -> usize {
    const BAYER: [[usize; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];
    let threshold = (2 * BAYER[y % 4][x % 4] + 1) * 255 / 32;
    let level = |v: u8| (usize::from(v) * (LEVELS - 1) + threshold) / 255;
    picture.row(y)[3 * x..3 * x + 3].iter().fold(0, |index, &v| index * LEVELS + level(v).min(LEVELS - 1))
}

fn half_blocks(picture: &Rgb8, protocol: Protocol) -> String {
    let pixel = |x: usize, y: usize| {
        let row = picture.row(y);
        [row[3 * x], row[3 * x + 1], row[3 * x + 2]]
    };
    let mut out = String::new();
    for y in (0..picture.height).step_by(2) {
        for x in 0..picture.width {
            out.push_str(&colour(38, pixel(x, y), protocol));
            if y + 1 < picture.height {
                out.push_str(&colour(48, pixel(x, y + 1), protocol));
            }
            out.push('▀');
        }
        out.push_str("\u{1b}[0m\n");
    }
    out
}

fn colour(layer: u8, [r, g, b]: [u8; 3], protocol: Protocol) -> String {
    if protocol == Protocol::TrueColour {
        return format!("\u{1b}[{layer};2;{r};{g};{b}m");
    }
    // xterm's cube: 0, then 95 to 255 in steps of 40.
    let level = |v: u8| {
        if v < 48 {
            0
        } else if v < 115 {
            1
        } else {
            u32::from(v - 35) / 40
        }
    };
    format!("\u{1b}[{layer};5;{}m", 16 + 36 * level(r) + 6 * level(g) + level(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_is_told_by_its_variables() {
        let by = |vars: &[(&str, &str)]| {
            protocol(&|name| vars.iter().find(|v| v.0 == name).map_or(String::new(), |v| v.1.to_owned()))
        };
        assert_eq!(by(&[("TERM", "xterm-kitty")]), Some(Protocol::Kitty));
        assert_eq!(by(&[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1")]), Some(Protocol::Colours));
        assert_eq!(by(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "iTerm.app")]), Some(Protocol::ITerm));
        assert_eq!(by(&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]), Some(Protocol::TrueColour));
        assert_eq!(by(&[("TERM", "foot"), ("COLORTERM", "truecolor")]), Some(Protocol::Sixel));
        assert_eq!(by(&[("TERM", "xterm-256color"), ("KONSOLE_VERSION", "230800")]), Some(Protocol::Sixel));
        assert_eq!(by(&[("TERM", "xterm-256color"), ("KONSOLE_VERSION", "210401")]), Some(Protocol::Colours));
        assert_eq!(by(&[("TERM", "dumb")]), None);
        assert_eq!(by(&[]), None);
    }

    #[test]
    fn half_blocks_hold_two_pixels_each() {
        let picture = Rgb8 { width: 1, height: 3, data: vec![255, 0, 0, 0, 0, 255, 0, 255, 0] };
        let e = '\u{1b}';
        let drawn = format!("{e}[38;2;255;0;0m{e}[48;2;0;0;255m▀{e}[0m\n{e}[38;2;0;255;0m▀{e}[0m\n");
        assert_eq!(half_blocks(&picture, Protocol::TrueColour), drawn);
        let drawn = format!("{e}[38;5;196m{e}[48;5;21m▀{e}[0m\n{e}[38;5;46m▀{e}[0m\n");
        assert_eq!(half_blocks(&picture, Protocol::Colours), drawn);
    }

    #[test]
    fn a_thumbnail_keeps_its_shape_and_its_bounds() {
        for (w, h) in [(1000, 10), (10, 1000), (640, 480), (28, 28)] {
            let drawn = draw_as(&Rgb8::filled(w, h, [9, 9, 9]), Protocol::Colours, 40).expect("drawn");
            let columns = drawn.lines().map(|l| l.matches('▀').count()).max().unwrap_or(0);
            assert!(drawn.lines().count() <= ROWS && (1..=40).contains(&columns), "{w}x{h}");
        }
    }

    /// Reads sixels back, as a terminal would: the palette's percentages of each pixel.
    fn read_sixels(sent: &str, width: usize, height: usize) -> Vec<[u32; 3]> {
        let body = sent.strip_prefix("\u{1b}Pq").and_then(|s| s.strip_suffix("\u{1b}\\\n")).expect("a sixel string");
        let (mut palette, mut pixels) = (std::collections::HashMap::new(), vec![[999; 3]; width * height]);
        let (mut colour, mut x, mut top, mut repeat) = (0, 0, 0, 1);
        let mut rest = body.strip_prefix(&format!("\"1;1;{width};{height}")).expect("the size");
        while let Some(c) = rest.chars().next() {
            let numbers: String = rest[1..].chars().take_while(|c| c.is_ascii_digit() || *c == ';').collect();
            match c {
                '#' => {
                    let n: Vec<u32> = numbers.split(';').map(|n| n.parse().expect("a number")).collect();
                    colour = n[0];
                    if let [_, 2, r, g, b] = n[..] {
                        palette.insert(colour, [r, g, b]);
                    }
                }
                '!' => repeat = numbers.parse().expect("a count"),
                '$' => x = 0,
                '-' => (x, top) = (0, top + 6),
                _ => {
                    for _ in 0..std::mem::replace(&mut repeat, 1) {
                        for bit in (0..6).filter(|bit| (c as u8 - b'?') >> bit & 1 == 1) {
                            pixels[(top + bit) * width + x] = palette[&colour];
                        }
                        x += 1;
                    }
                }
            }
            rest = &rest[1 + if matches!(c, '#' | '!') { numbers.len() } else { 0 }..];
        }
        pixels
    }

    #[test]
    fn sixels_read_back_are_the_picture() {
        let (width, height) = (9, 8);
        let mut picture = Rgb8::filled(width, height, [255, 0, 0]);
        picture.data[3 * (7 * width + 8)..].copy_from_slice(&[0, 255, 255]);
        let read = read_sixels(&sixel(&picture), width, height);
        assert!(read[..width * height - 1].iter().all(|&p| p == [100, 0, 0]), "{read:?}");
        assert_eq!(read[width * height - 1], [0, 100, 100]);
        // A gray between two levels is both, in the right shares.
        let read = read_sixels(&sixel(&Rgb8::filled(16, 12, [128; 3])), 16, 12);
        let mean: f64 = read.iter().map(|p| f64::from(p[1])).sum::<f64>() / read.len() as f64;
        assert!((mean - 100.0 * 128.0 / 255.0).abs() < 2.0, "{mean}");
    }

    #[test]
    fn kittys_pieces_say_whether_more_come() {
        let sent = kitty(&[7; 6000], 20);
        assert_eq!((sent.matches("m=1;").count(), sent.matches("m=0;").count()), (1, 1));
        assert!(sent.starts_with("\u{1b}_Ga=T,f=100,c=20,m=1;"));
    }
}
