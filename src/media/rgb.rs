//! A picture in memory.

use image::metadata::Orientation;

/// A quarter turn, a flip, or both: where the pixel that comes to stand at (x, y) is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Rows become columns: the pixel is taken from (y, x) instead.
    pub swap: bool,
    /// Then the column is counted from the right.
    pub flip_x: bool,
    /// And the row from the bottom.
    pub flip_y: bool,
}

impl Turn {
    /// Everything stays where it is.
    pub(super) const NONE: Turn = Turn { swap: false, flip_x: false, flip_y: false };

    /// What makes a picture upright whose EXIF orientation is `orientation`.
    pub(super) fn of_exif(orientation: Orientation) -> Turn {
        let (swap, flip_x, flip_y) = match orientation {
            Orientation::NoTransforms => (false, false, false),
            Orientation::FlipHorizontal => (false, true, false),
            Orientation::Rotate180 => (false, true, true),
            Orientation::FlipVertical => (false, false, true),
            Orientation::Rotate90FlipH => (true, false, false),
            Orientation::Rotate90 => (true, false, true),
            Orientation::Rotate270FlipH => (true, true, true),
            Orientation::Rotate270 => (true, true, false),
        };
        Turn { swap, flip_x, flip_y }
    }

    /// Width and height after the turn of a picture of the given width and height.
    pub(super) fn size(self, (width, height): (usize, usize)) -> (usize, usize) {
        if self.swap { (height, width) } else { (width, height) }
    }
}

/// An 8-bit RGB picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb8 {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `[height, width, 3]`, row by row from the top left, 0–255, sRGB as stored in the file.
    pub data: Vec<u8>,
}

impl Rgb8 {
    /// A picture whose every pixel is `colour`.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Rgb8 {
        Rgb8 { width, height, data: colour.repeat(width * height) }
    }

    /// Row `y` from the top: `[width, 3]`.
    ///
    /// # Panics
    /// If the picture has no such row.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width * 3..][..self.width * 3]
    }

    /// A part of the picture: `width` x `height` pixels from (`left`, `top`) on, as far as there are so many.
    pub fn cut(&self, [left, top, width, height]: [usize; 4]) -> Rgb8 {
        let (left, top) = (left.min(self.width), top.min(self.height));
        let (width, height) = (width.min(self.width - left), height.min(self.height - top));
        let rows = (top..top + height).flat_map(|y| &self.row(y)[left * 3..(left + width) * 3]);
        Rgb8 { width, height, data: rows.copied().collect() }
    }

    /// The picture after `turn`.
    pub(super) fn turned(self, turn: Turn) -> Rgb8 {
        if turn == Turn::NONE {
            return self;
        }
        let (width, height) = turn.size((self.width, self.height));
        // The pixel for (x, y) is taken from `origin + x * right + y * down`.
        let (row, column) = (self.width as isize, 1isize);
        let column_step = if turn.flip_x { -column } else { column };
        let row_step = if turn.flip_y { -row } else { row };
        let (right, down) = if turn.swap { (row_step, column_step) } else { (column_step, row_step) };
        let origin =
            if turn.flip_x { row - 1 } else { 0 } + if turn.flip_y { (self.height as isize - 1) * row } else { 0 };
        let source = self.data.as_chunks::<3>().0;
        let mut data = vec![[0; 3]; width * height];
        // In square tiles: swapping the axes of a large picture row by row would miss the cache at every pixel.
        const TILE: usize = 32;
        for (y0, x0) in (0..height).step_by(TILE).flat_map(|y| (0..width).step_by(TILE).map(move |x| (y, x))) {
            let columns = TILE.min(width - x0);
            for y in y0..height.min(y0 + TILE) {
                let mut from = origin + x0 as isize * right + y as isize * down;
                for pixel in &mut data[y * width + x0..][..columns] {
                    *pixel = source[from as usize];
                    from += right;
                }
            }
        }
        Rgb8 { width, height, data: data.into_flattened() }
    }
}

impl std::fmt::Debug for Rgb8 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rgb8({}x{})", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_cut_at_the_edges() {
        let picture = Rgb8 { width: 3, height: 2, data: (0..18).collect() };
        let part = picture.cut([1, 1, 9, 9]);
        assert_eq!((part.width, part.height, part.data), (2, 1, vec![12, 13, 14, 15, 16, 17]));
        let nothing = picture.cut([5, 0, 1, 1]);
        assert_eq!((nothing.width, nothing.height, nothing.data.len()), (0, 1, 0));
    }

    /// Against the definition: EXIF value → what stands in the corners of a 3x2 picture after turning it upright.
    #[test]
    fn orientations_match_their_definition() {
        let picture = Rgb8 { width: 3, height: 2, data: (0..6).flat_map(|i| [i, i + 10, i + 20]).collect() };
        let expected: [(u8, usize, [u8; 6]); 8] = [
            (1, 3, [0, 1, 2, 3, 4, 5]),
            (2, 3, [2, 1, 0, 5, 4, 3]),
            (3, 3, [5, 4, 3, 2, 1, 0]),
            (4, 3, [3, 4, 5, 0, 1, 2]),
            (5, 2, [0, 3, 1, 4, 2, 5]),
            (6, 2, [3, 0, 4, 1, 5, 2]),
            (7, 2, [5, 2, 4, 1, 3, 0]),
            (8, 2, [2, 5, 1, 4, 0, 3]),
        ];
        for (exif, width, pixels) in expected {
            let orientation = Orientation::from_exif(exif).expect("1 to 8 are defined");
            let turned = picture.clone().turned(Turn::of_exif(orientation));
            let reds: Vec<u8> = turned.data.chunks(3).map(|p| p[0]).collect();
            assert_eq!((turned.width, turned.height), (width, 6 / width), "orientation {exif}");
            assert_eq!(reds, pixels, "orientation {exif}");
        }
    }
}
