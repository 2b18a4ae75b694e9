//! Whether a JPEG file is all there.
//!
//! The decoder fills what is missing with grey and says nothing, so a truncated download would be described as if it
//! were a picture of fog. The end-of-image marker tells: a whole file has one, and Pillow refuses files without.

/// Whether `bytes`, which begin with the start-of-image marker, reach their end-of-image marker.
///
/// Only walks over segments (which may hold thumbnails with markers of their own) and scans; a file that is damaged in
/// another way counts as whole here and is left to the decoder.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // To the next marker: a byte other than 0xff and 0 after an 0xff. In scans 0xff 0 is data.
        let Some(step) =
            bytes.get(at..).and_then(|rest| rest.windows(2).position(|w| w[0] == 0xff && !matches!(w[1], 0 | 0xff)))
        else {
            return false;
        };
        at += step + 2;
        match bytes[at - 1] {
            0xd9 => return true,
            // Restart markers, another start of image, and the "temporary" marker have no length.
            0xd0..=0xd8 | 0x01 => {}
            _ => {
                let Some(&[high, low]) = bytes.get(at..at + 2).and_then(|length| length.as_array()) else {
                    return false;
                };
                at += usize::from(u16::from_be_bytes([high, low])).max(2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_past_thumbnails() {
        let mut file = b"\xff\xd8\xff\xe1\0\x06\xff\xd9xx".to_vec(); // a segment that holds an end marker
        assert!(!is_whole(&file));
        file.extend(b"\xff\xda\0\x02scan\xff\0data\xff\xd3more\xff");
        assert!(!is_whole(&file));
        file.push(0xd9);
        assert!(is_whole(&file));
        for cut in 2..file.len() {
            assert!(!is_whole(&file[..cut]), "cut at {cut}");
        }
    }
}
