//! Marks on pictures: boxes and points with their labels.
//!
//! The colours are Okabe and Ito's, which differ for colour-blind people too; from the eighth group on lines are also
//! dashed. Lines have dark edges, so that they are seen on any ground, and grow with the picture, as the letters do.
//! The letters are Noto Sans Mono's, drawn beforehand (crate `noto-sans-mono-bitmap`).

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::geometry::{Point, Rect};
use super::locate::Place;
use crate::media::Rgb8;

/// Vermilion, sky blue, bluish green, yellow, reddish purple, orange, blue.
pub const COLOURS: [[u8; 3]; 7] = [
    [0xd5, 0x5e, 0x00],
    [0x56, 0xb4, 0xe9],
    [0x00, 0x9e, 0x73],
    [0xf0, 0xe4, 0x42],
    [0xcc, 0x79, 0xa7],
    [0xe6, 0x9f, 0x00],
    [0x00, 0x72, 0xb2],
];
const DARK: [u8; 3] = [0x10, 0x10, 0x10];
const LIGHT: [u8; 3] = [0xff, 0xff, 0xff];
/// Letters of a label at most; labels are there to tell marks apart.
const MAX_LETTERS: usize = 40;
/// Marks on one picture.
const MAX_MARKS: usize = 1000;

/// Something to be marked.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Where.
    pub place: Place,
    /// What is written beside it; may be empty.
    pub label: String,
    /// Marks of one group have one colour.
    pub group: usize,
}

/// Draws the marks on the picture they are of.
pub fn annotate(picture: &Rgb8, marks: &[Mark]) -> Rgb8 {
    let mut canvas = Canvas::new(picture);
    let marks: Vec<Mark> = marks.iter().take(MAX_MARKS).map(|mark| canvas.within(mark)).collect();
    for mark in &marks {
        match mark.place {
            Place::Box(rect) => canvas.frame(&rect, mark.group),
            Place::Point(point) => canvas.dot(&point, mark.group),
        }
    }
    // Labels last: no line crosses them.
    for (i, mark) in marks.iter().enumerate() {
        canvas.label(mark, &marks[..i], &marks[i + 1..]);
    }
    canvas.picture
}

/// What a line's colour is.
pub fn colour(group: usize) -> [u8; 3] {
    COLOURS[group % COLOURS.len()]
}

struct Canvas {
    picture: Rgb8,
    /// Pixels of a line's width, without its edges.
    line: i64,
    letters: Letters,
    /// Where labels are: left, top, right, bottom.
    taken: Vec<[i64; 4]>,
}

/// How letters are drawn.
#[derive(Clone, Copy)]
struct Letters {
    raster: RasterHeight,
    /// Each of the raster's pixels is so many wide and high.
    scale: usize,
}

impl Letters {
    /// A thirtieth of the picture's shorter side, but to be read in any case.
    fn of(shorter: usize) -> Letters {
        let wanted = shorter / 30;
        match wanted {
            0..28 => Letters { raster: RasterHeight::Size20, scale: 1 },
            _ => Letters { raster: RasterHeight::Size32, scale: (wanted + 16) / 32 }.at_least_one(),
        }
    }

    fn at_least_one(self) -> Letters {
        Letters { scale: self.scale.max(1), ..self }
    }

    fn width(&self) -> usize {
        get_raster_width(FontWeight::Bold, self.raster) * self.scale
    }

    fn height(&self) -> usize {
        self.raster.val() * self.scale
    }
}

impl Canvas {
    fn new(picture: &Rgb8) -> Canvas {
        let shorter = picture.width.min(picture.height);
        let line = (shorter / 300).clamp(2, 40) as i64;
        Canvas { picture: picture.clone(), line, letters: Letters::of(shorter), taken: Vec::new() }
    }

    /// The mark, cut at the picture's edges.
    fn within(&self, mark: &Mark) -> Mark {
        // NaN becomes 0.
        let inside = |x: f64, length: usize| x.max(0.0).min(length as f64);
        let (width, height) = (self.picture.width, self.picture.height);
        let place = match mark.place {
            Place::Box(r) => Place::Box(Rect {
                left: inside(r.left, width),
                top: inside(r.top, height),
                right: inside(r.right, width),
                bottom: inside(r.bottom, height),
            }),
            Place::Point(p) => Place::Point(Point { x: inside(p.x, width), y: inside(p.y, height) }),
        };
        Mark { place, ..mark.clone() }
    }

    /// Fills the pixels from (left, top) to before (right, bottom), as far as there are any.
    fn fill(&mut self, [left, top, right, bottom]: [i64; 4], colour: [u8; 3]) {
        let within = |x: i64, length: usize| x.clamp(0, length as i64) as usize;
        let (from, to) = (within(left, self.picture.width), within(right, self.picture.width));
        let (top, bottom) = (within(top, self.picture.height), within(bottom, self.picture.height));
        for y in top..bottom.max(top) {
            let row = y * self.picture.width * 3;
            for pixel in self.picture.data[row + from * 3..row + to.max(from) * 3].as_chunks_mut::<3>().0 {
                *pixel = colour;
            }
        }
    }

    /// A box's outline, inside of its edges, where neighbours and the picture's border leave it room.
    fn frame(&mut self, rect: &Rect, group: usize) {
        let [left, top, width, height] = rect.pixels([self.picture.width, self.picture.height]).map(|n| n as i64);
        let outer = [left, top, left + width, top + height];
        // A thin dark edge on both sides: a third of the line.
        let edge = (self.line / 3).max(1);
        self.outline(outer, self.line + 2 * edge, DARK, None);
        let inner = [outer[0] + edge, outer[1] + edge, outer[2] - edge, outer[3] - edge];
        let dash = (group >= COLOURS.len()).then_some(self.line * 4);
        self.outline(inner, self.line, colour(group), dash);
    }

    /// Four sides, `width` wide, inside of the given edges; with gaps as long as the dashes.
    fn outline(&mut self, [left, top, right, bottom]: [i64; 4], width: i64, colour: [u8; 3], dash: Option<i64>) {
        if right <= left || bottom <= top {
            return;
        }
        let (across, down) = (width.min(right - left), width.min(bottom - top));
        let pieces = |from: i64, to: i64| -> Vec<(i64, i64)> {
            match dash {
                None => vec![(from, to)],
                Some(dash) => (0..)
                    .map(|i| from + 2 * i * dash)
                    .take_while(|&start| start < to)
                    .map(|start| (start, (start + dash).min(to)))
                    .collect(),
            }
        };
        for (from, to) in pieces(left, right) {
            self.fill([from, top, to, top + down], colour);
            self.fill([from, bottom - down, to, bottom], colour);
        }
        for (from, to) in pieces(top, bottom) {
            self.fill([left, from, left + across, to], colour);
            self.fill([right - across, from, right, to], colour);
        }
    }

    /// A filled circle with a light and a dark ring, its middle on the point.
    fn dot(&mut self, point: &Point, group: usize) {
        let radius = self.line as f64 * 2.5 + 2.0;
        let ring = (self.line as f64 / 2.0).max(1.0);
        let reach = radius + 2.0 * ring;
        let (x0, y0) = ((point.x - reach).floor() as i64, (point.y - reach).floor() as i64);
        let (x1, y1) = ((point.x + reach).ceil() as i64, (point.y + reach).ceil() as i64);
        for y in y0..=y1 {
            for x in x0..=x1 {
                let (dx, dy) = (x as f64 + 0.5 - point.x, y as f64 + 0.5 - point.y);
                let distance = (dx * dx + dy * dy).sqrt();
                if distance <= reach {
                    let shade = match distance {
                        d if d <= radius => colour(group),
                        d if d <= radius + ring => LIGHT,
                        _ => DARK,
                    };
                    self.fill([x, y, x + 1, y + 1], shade);
                }
            }
        }
    }

    /// A plate with the label: above the mark, else where it covers least of other labels, and of other marks.
    fn label(&mut self, mark: &Mark, before: &[Mark], after: &[Mark]) {
        let text = shown(&mark.label);
        if text.is_empty() {
            return;
        }
        let pad = self.line;
        let width = (text.chars().count() * self.letters.width()) as i64 + 2 * pad;
        let height = self.letters.height() as i64 + pad;
        let [left, top, right, bottom] = match mark.place {
            Place::Box(rect) => rect.corners().map(|x| x.round() as i64),
            Place::Point(point) => {
                let reach = self.line * 4 + 2;
                let (x, y) = (point.x.round() as i64, point.y.round() as i64);
                [x - reach, y - reach, x + reach, y + reach]
            }
        };
        let places = [
            (left, top - height),
            (left, bottom),
            (left, top),
            (left, bottom - height),
            (right - width, top - height),
            (right, top),
            (left - width, top),
        ];
        let corners = |mark: &Mark| match mark.place {
            Place::Box(rect) => Some(rect.corners().map(|x| x.round() as i64)),
            Place::Point(_) => None,
        };
        let others: Vec<[i64; 4]> = before.iter().chain(after).filter_map(corners).collect();
        let size = (self.picture.width as i64, self.picture.height as i64);
        let inside = |(x, y): (i64, i64)| {
            let (x, y) = (x.min(size.0 - width).max(0), y.min(size.1 - height).max(0));
            [x, y, x + width, y + height]
        };
        // Being moved into the picture costs, too: it may come to lie over the mark.
        let cost = |(x, y): (i64, i64)| -> i64 {
            let plate = inside((x, y));
            let moved = (plate[0] - x).abs().min(width) * height / 4 + (plate[1] - y).abs().min(height) * width;
            let labels: i64 = self.taken.iter().map(|other| common(plate, *other)).sum();
            let marks: i64 = others.iter().map(|other| common(plate, *other)).sum();
            labels * 4 + marks / 2 + moved
        };
        let plate = inside(places.into_iter().min_by_key(|&place| cost(place)).unwrap_or((left, top)));
        let ground = colour(mark.group);
        let edge = (self.line / 3).max(1);
        self.fill([plate[0] - edge, plate[1] - edge, plate[2] + edge, plate[3] + edge], DARK);
        self.fill(plate, ground);
        let ink = if luminance(ground) > 0.25 { DARK } else { LIGHT };
        self.write(&text, (plate[0] + pad, plate[1] + pad / 2), ground, ink);
        self.taken.push(plate);
    }

    /// Writes with the top left corner at (left, top), ink on ground.
    fn write(&mut self, text: &str, (left, top): (i64, i64), ground: [u8; 3], ink: [u8; 3]) {
        let Letters { raster, scale } = self.letters;
        let (step, scale) = (self.letters.width() as i64, scale as i64);
        for (i, c) in text.chars().enumerate() {
            let Some(letter) = get_raster(c, FontWeight::Bold, raster) else { continue };
            for (y, row) in letter.rows().enumerate() {
                for (x, &cover) in row.iter().enumerate().filter(|(_, cover)| **cover > 0) {
                    let mix = |a: u8, b: u8| {
                        ((u32::from(a) * (255 - u32::from(cover)) + u32::from(b) * u32::from(cover)) / 255) as u8
                    };
                    let shade = [0, 1, 2].map(|c| mix(ground[c], ink[c]));
                    let (x, y) = (left + i as i64 * step + x as i64 * scale, top + y as i64 * scale);
                    self.fill([x, y, x + scale, y + scale], shade);
                }
            }
        }
    }
}

/// What is drawn of a label: on one line, not endless, and of what has no letter here a mark.
fn shown(label: &str) -> String {
    let words = label.split_whitespace().collect::<Vec<_>>().join(" ");
    let known = |c: char| get_raster(c, FontWeight::Bold, RasterHeight::Size20).is_some();
    let letters: Vec<char> = words.chars().map(|c| if known(c) { c } else { '?' }).collect();
    match letters.get(MAX_LETTERS) {
        Some(_) => letters[..MAX_LETTERS - 2].iter().chain(&['.', '.']).collect(),
        None => letters.iter().collect(),
    }
}

/// The area that two boxes share.
fn common(a: [i64; 4], b: [i64; 4]) -> i64 {
    (a[2].min(b[2]) - a[0].max(b[0])).max(0) * (a[3].min(b[3]) - a[1].max(b[1])).max(0)
}

/// How light a colour is, 0 to 1 (WCAG's relative luminance).
fn luminance(colour: [u8; 3]) -> f64 {
    let linear = |level: u8| {
        let x = f64::from(level) / 255.0;
        if x <= 0.04045 { x / 12.92 } else { ((x + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
}

#[cfg(test)]
mod tests;
