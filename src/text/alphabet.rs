//! The byte alphabet of GPT-2: how a vocabulary file writes any byte as a visible character.
//!
//! Printable ASCII and most of Latin-1 stand for themselves; the other 68 bytes, in rising order, are written as U+0100,
//! U+0101, … So a space is `Ġ` and a line feed `Ċ`.

/// The characters of the alphabet lie below this code point.
const CHARS: usize = 256 + 68;

/// Byte → character.
pub(super) const BYTE_TO_CHAR: [char; 256] = {
    let mut table = ['\0'; 256];
    let mut next = 0x100;
    let mut b = 0;
    while b < 256 {
        let itself = matches!(b, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
        let code = if itself { b as u32 } else { next };
        if !itself {
            next += 1;
        }
        table[b] = match char::from_u32(code) {
            Some(c) => c,
            None => panic!("a code point below U+0144 is a character"),
        };
        b += 1;
    }
    table
};

/// Character → byte, or -1.
const CHAR_TO_BYTE: [i16; CHARS] = {
    let mut table = [-1; CHARS];
    let mut b = 0;
    while b < 256 {
        table[BYTE_TO_CHAR[b] as usize] = b as i16;
        b += 1;
    }
    table
};

/// The byte that `c` stands for, or `None` where `c` is outside of the alphabet.
pub(super) fn char_to_byte(c: char) -> Option<u8> {
    CHAR_TO_BYTE.get(c as usize).and_then(|&b| u8::try_from(b).ok())
}

/// Appends the bytes that `text` stands for. Where a character is outside of the alphabet, the whole text is taken as it
/// is: so converters write tokens that were added to a vocabulary later.
pub(super) fn decode_into(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    for c in text.chars() {
        match char_to_byte(c) {
            Some(b) => out.push(b),
            None => {
                out.truncate(start);
                out.extend_from_slice(text.as_bytes());
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        for b in 0..=255u8 {
            assert_eq!(char_to_byte(BYTE_TO_CHAR[usize::from(b)]), Some(b));
        }
        assert_eq!(BYTE_TO_CHAR[usize::from(b' ')], 'Ġ');
        assert_eq!(BYTE_TO_CHAR[usize::from(b'\n')], 'Ċ');
        assert_eq!(BYTE_TO_CHAR[0xAD], 'Ń');
        assert_eq!(char_to_byte(' '), None);
        assert_eq!(char_to_byte('日'), None);
    }

    #[test]
    fn text_outside_of_the_alphabet_is_kept() {
        let mut out = b"x".to_vec();
        decode_into("ĠhiĊ", &mut out);
        decode_into("Ġ日", &mut out);
        assert_eq!(out, "x hi\nĠ日".as_bytes());
    }
}
