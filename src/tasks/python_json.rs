//! JSON with the spaces that Python writes, which are those that the models were trained on.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::Formatter;

struct Spaces;

impl Formatter for Spaces {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// `value` on one line.
pub(super) fn python_json(value: &impl Serialize) -> String {
    let mut out = Vec::new();
    // Writing to memory doesn't fail, and what is written is text.
    let _ = value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaces));
    String::from_utf8(out).unwrap_or_default()
}
