//! A contact sheet: a row of frames for each event, with their times.

use super::clock::clock;
use crate::media::Rgb8;

/// Rows of one sheet at most.
pub const MAX_ROWS: usize = 100;

/// An event's frames.
#[derive(Clone, Debug)]
pub struct Row {
    /// The frames, all rows' of one size, and when each is shown in seconds.
    pub frames: Vec<(Rgb8, f64)>,
}

/// Pixels between frames, and around them.
const GAP: usize = 8;
/// Pixels of a dot of the letters.
const DOT: usize = 2;
/// Dots of a letter across and down.
const LETTER: (usize, usize) = (5, 7);

const PAPER: [u8; 3] = [24, 24, 27];
const INK: [u8; 3] = [235, 235, 240];

/// Letters drawn for this program, row by row from the top, the leftmost dot highest.
const LETTERS: [(char, [u8; 7]); 13] = [
    ('0', [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('1', [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('2', [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111]),
    ('3', [0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110]),
    ('4', [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010]),
    ('5', [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110]),
    ('6', [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110]),
    ('7', [0b11111, 0b00001, 0b00010, 0b00100, 0b00100, 0b01000, 0b01000]),
    ('8', [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110]),
    ('9', [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100]),
    (':', [0b00000, 0b00100, 0b00100, 0b00000, 0b00100, 0b00100, 0b00000]),
    ('.', [0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100]),
    ('#', [0b01010, 0b01010, 0b11111, 0b01010, 0b11111, 0b01010, 0b01010]),
];

/// The sheet of the first [`MAX_ROWS`] rows, numbered from 1; `None` without a frame.
pub fn sheet(rows: &[Row]) -> Option<Rgb8> {
    let rows = &rows[..rows.len().min(MAX_ROWS)];
    let (frame, _) = rows.iter().flat_map(|row| &row.frames).next()?;
    // Times with hours fit under every frame.
    let cell = frame.width.max(width_of("00:00:00.00"));
    let margin = GAP + width_of(&format!("#{}", rows.len())) + GAP;
    let columns = rows.iter().map(|row| row.frames.len()).max().unwrap_or(1);
    let line = frame.height + GAP / 2 + LETTER.1 * DOT + GAP;
    let mut sheet = Rgb8::filled(margin + columns * (cell + GAP), GAP + rows.len() * line, PAPER);
    for (i, row) in rows.iter().enumerate() {
        let top = GAP + i * line;
        write(&mut sheet, &format!("#{}", i + 1), (GAP, top));
        for (j, (frame, time)) in row.frames.iter().enumerate() {
            let left = margin + j * (cell + GAP);
            paste(&mut sheet, frame, (left, top));
            write(&mut sheet, &clock(*time), (left, top + frame.height + GAP / 2));
        }
    }
    Some(sheet)
}

fn width_of(text: &str) -> usize {
    text.chars().count() * (LETTER.0 + 1) * DOT
}

/// Copies `picture` to (left, top); what lies outside is cut off.
fn paste(sheet: &mut Rgb8, picture: &Rgb8, (left, top): (usize, usize)) {
    let width = picture.width.min(sheet.width.saturating_sub(left));
    for y in 0..picture.height.min(sheet.height.saturating_sub(top)) {
        let at = ((top + y) * sheet.width + left) * 3;
        sheet.data[at..at + width * 3].copy_from_slice(&picture.row(y)[..width * 3]);
    }
}

/// Writes digits and marks with their top left corner at (left, top); other characters leave a gap.
fn write(sheet: &mut Rgb8, text: &str, (left, top): (usize, usize)) {
    for (i, c) in text.chars().enumerate() {
        let Some((_, rows)) = LETTERS.iter().find(|(letter, _)| *letter == c) else { continue };
        let left = left + i * (LETTER.0 + 1) * DOT;
        for (y, bits) in rows.iter().enumerate() {
            for x in (0..LETTER.0).filter(|x| bits >> (LETTER.0 - 1 - x) & 1 == 1) {
                paste(sheet, &Rgb8::filled(DOT, DOT, INK), (left + x * DOT, top + y * DOT));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(times: &[f64]) -> Row {
        Row { frames: times.iter().map(|&t| (Rgb8::filled(160, 40, [200, 0, 0]), t)).collect() }
    }

    fn count(sheet: &Rgb8, colour: [u8; 3]) -> usize {
        sheet.data.as_chunks::<3>().0.iter().filter(|&&pixel| pixel == colour).count()
    }

    #[test]
    fn every_frame_is_there_whole_with_its_time() {
        let whole = sheet(&[row(&[1.5, 2.0]), row(&[3.0])]).expect("frames");
        assert_eq!(count(&whole, [200, 0, 0]), 3 * 160 * 40);
        let dots = |text: &str| -> usize {
            let letter = |c| LETTERS.iter().find(|l| l.0 == c).expect("a letter").1;
            text.chars().map(|c| letter(c).iter().map(|bits| bits.count_ones() as usize).sum::<usize>()).sum()
        };
        let written = dots("#1") + dots("#2") + dots("00:01.50") + dots("00:02.00") + dots("00:03.00");
        assert_eq!(count(&whole, INK), written * DOT * DOT);
    }

    #[test]
    fn a_sheet_is_bounded_and_needs_a_frame() {
        assert!(sheet(&[]).is_none() && sheet(&[row(&[])]).is_none());
        let rows: Vec<Row> = (0..150).map(|i| row(&[f64::from(i)])).collect();
        let tall = sheet(&rows).expect("frames");
        assert_eq!(count(&tall, [200, 0, 0]), MAX_ROWS * 160 * 40);
    }

    #[test]
    fn letters_differ() {
        for (i, a) in LETTERS.iter().enumerate() {
            assert!(LETTERS[..i].iter().all(|b| a.1 != b.1 && a.0 != b.0), "{}", a.0);
        }
    }
}
