//! With `-v`, what the rooms below note through `tracing`, on standard error.

use std::io::{self, Write};

use tracing::Level;

use super::screen::one_line;

/// Starts showing events: none without `-v`, with one `-v` those for a curious user, with two those for a developer.
pub fn start(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => Level::INFO,
        _ => Level::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .without_time()
        .with_target(verbose > 1)
        .with_writer(|| Cleaned)
        .init();
}

/// Standard error, with control characters in what is logged made visible.
struct Cleaned;

impl Write for Cleaned {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let mut err = io::stderr().lock();
        for line in text.split_inclusive('\n') {
            let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
            write!(err, "{}{end}", one_line(line))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
