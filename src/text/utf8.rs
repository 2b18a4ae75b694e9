//! Bytes that arrive piece by piece → whole characters.

/// Puts characters together from the bytes of tokens: a token may end inside of a character.
///
/// What comes out, all pieces and [`finish`](Utf8Stream::finish) together, is what [`String::from_utf8_lossy`] makes of
/// all bytes at once.
#[derive(Clone, Debug, Default)]
pub struct Utf8Stream {
    /// The beginning of a character that isn't complete yet: 0 to 3 bytes, then those of the last push.
    pending: Vec<u8>,
    out: String,
}

impl Utf8Stream {
    /// An empty stream.
    pub fn new() -> Utf8Stream {
        Utf8Stream::default()
    }

    /// Takes bytes, and returns the characters that they complete. Bytes that can't be part of a character become U+FFFD;
    /// the beginning of a character is kept for the next call.
    pub fn push(&mut self, bytes: &[u8]) -> &str {
        self.out.clear();
        self.pending.extend_from_slice(bytes);
        let mut used = 0;
        while let Err(e) = std::str::from_utf8(&self.pending[used..]) {
            let (good, rest) = self.pending[used..].split_at(e.valid_up_to());
            // `good` is valid by definition: nothing is lost here.
            self.out.push_str(&String::from_utf8_lossy(good));
            used += good.len();
            let Some(bad) = e.error_len() else {
                debug_assert!(rest.len() < 4);
                self.pending.drain(..used);
                return &self.out;
            };
            self.out.push(char::REPLACEMENT_CHARACTER);
            used += bad;
        }
        self.out.push_str(&String::from_utf8_lossy(&self.pending[used..]));
        self.pending.clear();
        &self.out
    }

    /// Ends the stream: a character that never became complete is returned as U+FFFD. The stream is empty afterwards.
    pub fn finish(&mut self) -> &str {
        self.out.clear();
        if !self.pending.is_empty() {
            self.out.push(char::REPLACEMENT_CHARACTER);
            self.pending.clear();
        }
        &self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(pieces: &[&[u8]]) -> String {
        let mut stream = Utf8Stream::new();
        let mut text: String = pieces.iter().map(|p| stream.push(p).to_owned()).collect();
        text += stream.finish();
        text
    }

    #[test]
    fn a_character_comes_when_it_is_complete() {
        let mut s = Utf8Stream::new();
        assert_eq!(s.push(b"a\xF0\x9F"), "a");
        assert_eq!(s.push(b"\x98"), "");
        assert_eq!(s.push(b"\x80b"), "😀b");
        assert_eq!(s.push(b"\xE2\x82"), "");
        assert_eq!(s.push(b"x"), "\u{FFFD}x");
        assert_eq!(s.push(b"\xE2\x82"), "");
        assert_eq!(s.finish(), "\u{FFFD}");
        assert_eq!(s.finish(), "");
    }

    proptest! {
        #[test]
        fn equals_lossy_decoding_of_all(text in ".{0,12}", noise in prop::collection::vec(any::<u8>(), 0..12), cuts in prop::collection::vec(0usize..60, 0..8)) {
            let mut bytes = text.into_bytes();
            let at = bytes.len() / 2;
            bytes.splice(at..at, noise);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(all(&pieces), String::from_utf8_lossy(&bytes));
        }
    }
}
