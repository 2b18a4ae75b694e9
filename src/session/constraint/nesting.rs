//! Where in a text of JSON one is: how deep, and whether inside of a string.

/// Follows JSON byte by byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Nesting {
    /// Arrays and objects that are open.
    pub depth: usize,
    /// Between quotes.
    pub in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Follows some more bytes.
    pub fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth += 1,
                b'}' | b']' if !self.in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Nesting;

    #[test]
    fn brackets_in_strings_do_not_count() {
        let after = |text: &str| {
            let mut nesting = Nesting::default();
            nesting.read(text.as_bytes());
            (nesting.depth, nesting.in_string)
        };
        assert_eq!(after(r#"{"a[\"{": [[1, {}"#), (3, false));
        assert_eq!(after(r#"{"a\\": "x\"#), (1, true));
        assert_eq!(after(r#"[]"#), (0, false));
    }
}
