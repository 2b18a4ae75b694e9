//! TIFF files whose pixels are numbers of colours. The decoder refuses them; it reads them gladly as grey, though, and the
//! colours are easily looked up. So: the one tag that says "palette" is changed in a copy of the file, and the table of
//! colours is read here.
//!
//! Only classic TIFF (not BigTIFF) with 1 or 8 bits a pixel; the rest is refused as before.

const BITS_PER_SAMPLE: u16 = 258;
const PHOTOMETRIC: u16 = 262;
const COLOUR_MAP: u16 = 320;
const GREY: u16 = 1;
const PALETTE: u16 = 3;
const SHORT: u16 = 3;

/// A palette file made readable.
pub(super) struct PaletteTiff {
    /// The file, its pixels said to be grey.
    pub grey: Vec<u8>,
    colours: Vec<[u8; 3]>,
    /// One bit a pixel comes out as black and white.
    bilevel: bool,
}

impl PaletteTiff {
    /// Takes a file apart if it is of this kind.
    pub(super) fn of(bytes: &[u8]) -> Option<PaletteTiff> {
        let file = Tiff::new(bytes)?;
        let directory = file.u32(4)? as usize;
        let n = usize::from(file.u16(directory)?);
        let entries = (0..n).map(|i| directory.checked_add(2)?.checked_add(i.checked_mul(12)?));
        let entry = |tag: u16| entries.clone().flatten().find(|&at| file.u16(at) == Some(tag));
        // A single number of type SHORT stands in the entry itself.
        let number = |tag: u16| file.u16(entry(tag)?.checked_add(8)?);
        if number(PHOTOMETRIC)? != PALETTE {
            return None;
        }
        let bits = number(BITS_PER_SAMPLE).unwrap_or(1);
        if bits != 1 && bits != 8 {
            return None;
        }
        let n_colours = 1usize << bits;
        let map = entry(COLOUR_MAP)?;
        let count = file.u32(map.checked_add(4)?)? as usize;
        if file.u16(map.checked_add(2)?)? != SHORT || count < 3 * n_colours {
            return None;
        }
        let at = file.u32(map.checked_add(8)?)? as usize;
        let level = |i: usize| file.u16(at.checked_add(2 * i)?);
        let levels: Vec<u16> = (0..3 * n_colours).map(level).collect::<Option<_>>()?;
        // Levels have 16 bits; some programs have written 8.
        let shift = if levels.iter().all(|&level| level < 256) { 0 } else { 8 };
        let colours = (0..n_colours).map(|i| [0, 1, 2].map(|c| (levels[c * n_colours + i] >> shift) as u8)).collect();
        let mut grey = bytes.to_vec();
        let value = entry(PHOTOMETRIC)?.checked_add(8)?;
        let said = if file.big_endian { GREY.to_be_bytes() } else { GREY.to_le_bytes() };
        grey.get_mut(value..value.checked_add(2)?)?.copy_from_slice(&said);
        Some(PaletteTiff { grey, colours, bilevel: bits == 1 })
    }

    /// The colours of grey levels, as RGB.
    pub(super) fn colours_of(&self, levels: &[u8]) -> Vec<u8> {
        let colour = |level: u8| {
            let number = if self.bilevel { usize::from(level > 127) } else { usize::from(level) };
            self.colours.get(number).copied().unwrap_or_default()
        };
        levels.iter().flat_map(|&level| colour(level)).collect()
    }
}

/// Numbers in a TIFF file.
struct Tiff<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Tiff<'_> {
    fn new(bytes: &[u8]) -> Option<Tiff<'_>> {
        let big_endian = match bytes.get(..4)? {
            b"II*\0" => false,
            b"MM\0*" => true,
            _ => return None,
        };
        Some(Tiff { bytes, big_endian })
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes: [u8; 2] = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes: [u8; 4] = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use crate::media::{Limits, MediaErrorKind, Source, load_picture};

    /// 2x2 pixels of 8 bits, uncompressed, with `photometric` and the colours red, green, blue, white, then black.
    fn file(big_endian: bool, photometric: u16, bits: u16) -> Vec<u8> {
        let short = |x: u16| if big_endian { x.to_be_bytes() } else { x.to_le_bytes() };
        let long = |x: u32| if big_endian { x.to_be_bytes() } else { x.to_le_bytes() };
        let n_colours = 1usize << bits;
        let pixels: &[u8] = if bits == 8 { &[0, 1, 2, 3] } else { &[0b0100_0000, 0b1000_0000] };
        let directory = 8 + pixels.len() as u32;
        let map = directory + 2 + 9 * 12 + 4;
        let in_short = |x: u16| [short(x), [0, 0]].concat();
        let entries: [(u16, u16, u32, Vec<u8>); 9] = [
            (256, 3, 1, in_short(2)),
            (257, 3, 1, in_short(2)),
            (258, 3, 1, in_short(bits)),
            (259, 3, 1, in_short(1)),
            (262, 3, 1, in_short(photometric)),
            (273, 4, 1, long(8).to_vec()),
            (278, 3, 1, in_short(2)),
            (279, 4, 1, long(pixels.len() as u32).to_vec()),
            (320, 3, 3 * n_colours as u32, long(map).to_vec()),
        ];
        let mut bytes = [if big_endian { *b"MM\0*" } else { *b"II*\0" }, long(directory)].concat();
        bytes.extend_from_slice(pixels);
        bytes.extend(short(9));
        for (tag, kind, count, value) in entries {
            bytes.extend([&short(tag)[..], &short(kind), &long(count), &value].concat());
        }
        bytes.extend(long(0));
        let colours = [[0xff80, 0, 0], [0, 0xffff, 0x0100], [0, 0, 0xabcd], [0xffff; 3]];
        for c in 0..3 {
            bytes.extend((0..n_colours).flat_map(|i| short(colours.get(i).map_or(0, |colour| colour[c]))));
        }
        bytes
    }

    fn load(bytes: Vec<u8>) -> Result<Vec<u8>, MediaErrorKind> {
        let source = Source::Bytes { name: "x.tif".into(), bytes: bytes.into() };
        load_picture(&source, &Limits::default()).map(|p| p.image.data).map_err(|e| e.kind())
    }

    #[test]
    fn colours_are_looked_up_in_either_byte_order() {
        for big_endian in [false, true] {
            let eight = load(file(big_endian, 3, 8)).expect("a picture");
            assert_eq!(eight, [255, 0, 0, 0, 255, 1, 0, 0, 171, 255, 255, 255]);
            let one = load(file(big_endian, 3, 1)).expect("a picture");
            assert_eq!(one, [255, 0, 0, 0, 255, 1, 0, 255, 1, 255, 0, 0]);
        }
        assert_eq!(load(file(false, 1, 8)).expect("grey"), [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
    }

    #[test]
    fn damage_is_an_error_or_a_picture() {
        let whole = file(true, 3, 8);
        for cut in 0..whole.len() {
            assert!(load(whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        for at in 0..130 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let _ = load(damaged);
            }
        }
    }
}
