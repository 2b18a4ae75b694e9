//! Thumbnails: kitty's and iTerm2's own ways, or half blocks in two colours each.

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

    #[test]
    fn kittys_pieces_say_whether_more_come() {
        let sent = kitty(&[7; 6000], 20);
        assert_eq!((sent.matches("m=1;").count(), sent.matches("m=0;").count()), (1, 1));
        assert!(sent.starts_with("\u{1b}_Ga=T,f=100,c=20,m=1;"));
    }
}
