//! Positions of text, pictures and clips in all three rows of M-RoPE (Qwen2-VL paper, section 2.1; Qwen2.5-VL report,
//! section 2.1.2, "absolute time").

/// A token's position: (t, h, w).
pub type Position = [i64; 3];

/// A run of tokens that belong together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PositionSpan {
    /// This many text tokens: they count up in all three rows.
    Text(usize),
    /// A picture or clip after merging.
    Medium {
        /// Frame groups, rows and columns of merged tokens.
        grid: [usize; 3],
        /// Clip seconds between two frame groups; 0 for a picture.
        seconds_per_group: f64,
        /// Position steps per clip second (2 in the released models).
        tokens_per_second: f64,
    },
}

/// The positions of `spans`, the first of which starts at `start`, and the position that follows the last.
///
/// A medium starts at the previous maximum + 1; its tokens take `t = start + trunc(group · seconds · tokens_per_second)`,
/// `h = start + row`, `w = start + col`; what follows starts at the maximum of all three + 1. The time product is
/// rounded to f32 after each factor, as the original's tensors do.
pub fn mrope_positions(start: i64, spans: &[PositionSpan]) -> (Vec<Position>, i64) {
    let mut positions = Vec::new();
    let mut next = start;
    for span in spans {
        match *span {
            PositionSpan::Text(n) => {
                positions.extend((0..n as i64).map(|i| [next + i; 3]));
                next += n as i64;
            }
            PositionSpan::Medium { grid: [t, h, w], seconds_per_group, tokens_per_second } => {
                let mut last = next - 1;
                for group in 0..t {
                    let time = next + (group as f32 * seconds_per_group as f32 * tokens_per_second as f32) as i64;
                    for row in 0..h as i64 {
                        positions.extend((0..w as i64).map(|col| [time, next + row, next + col]));
                    }
                    last = last.max(time);
                }
                if t > 0 {
                    last = last.max(next + h.max(w) as i64 - 1);
                }
                next = last + 1;
            }
        }
    }
    (positions, next)
}
