//! Guesses at an answer's next tokens, so that several can be read at once.
//!
//! Reading a few tokens takes little longer than reading one, since either way all weights are read. Where an answer
//! repeats what was said before, the tokens that followed there are guessed here; the model reads them together with the
//! one that was just chosen, and each is kept only if it is what would have been chosen anyway (Yang et al. 2023, Saxena
//! 2023). So answers are the same, token by token and bit by bit, and only their time differs.

/// A source of guesses.
pub trait Proposer {
    /// Adds up to `most` tokens to `out` that may follow `tokens`, in order: the first wrong one ends what can be kept.
    fn propose(&mut self, tokens: &[u32], most: usize, out: &mut Vec<u32>);

    /// Says how many of the tokens that were last proposed were right.
    fn judge(&mut self, proposed: usize, right: usize) {
        let _ = (proposed, right);
    }
}

/// Tokens in a row that must have occurred before.
const SHORTEST: usize = 3;
/// From this length on, a repetition is taken for one.
const LONG: usize = 8;

/// Guesses that what followed the last tokens earlier follows them again.
pub struct Lookup<'a> {
    /// Whether a token may be guessed: markers of pictures, turns and the like can't be part of an answer.
    may_follow: &'a dyn Fn(u32) -> bool,
    /// How many tokens to guess at a time: more while guesses are right. With the token before them they are 2, 4 or 8,
    /// the numbers that the kernels are made for.
    stretch: usize,
    /// Wrong guesses in a row.
    wrong: u32,
    /// Tokens to let pass before the next guess.
    pause: u32,
}

impl<'a> Lookup<'a> {
    /// Guesses at tokens of which `may_follow` is true.
    pub fn new(may_follow: &'a dyn Fn(u32) -> bool) -> Lookup<'a> {
        Lookup { may_follow, stretch: 1, wrong: 0, pause: 0 }
    }

    /// Where the tokens that are to be guessed begin: after the longest earlier occurrence of the last tokens, the latest of
    /// several.
    fn find(tokens: &[u32], shortest: usize) -> Option<usize> {
        let (&last, before) = tokens.split_last()?;
        let (mut best, mut found) = (shortest - 1, None);
        for (i, _) in before.iter().enumerate().rev().filter(|&(_, &t)| t == last) {
            let backwards = before[..i].iter().rev().zip(before.iter().rev());
            let same = 1 + backwards.take(LONG - 1).take_while(|(a, b)| a == b).count();
            if same > best {
                (best, found) = (same, Some(i + 1));
                if best == LONG {
                    break;
                }
            }
        }
        found
    }
}

impl Proposer for Lookup<'_> {
    fn propose(&mut self, tokens: &[u32], most: usize, out: &mut Vec<u32>) {
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        // What has misled before must be surer next time.
        let shortest = SHORTEST + (self.wrong as usize).min(LONG - SHORTEST);
        let Some(start) = Self::find(tokens, shortest) else { return };
        let guesses = tokens[start..].iter().copied().take_while(|&t| (self.may_follow)(t));
        out.extend(guesses.take(self.stretch.min(most)));
    }

    fn judge(&mut self, proposed: usize, right: usize) {
        if right == proposed {
            self.stretch = (2 * self.stretch + 1).min(7);
            self.wrong = 0;
        } else if right == 0 {
            self.stretch = 1;
            self.wrong += 1;
            self.pause = (self.wrong - 1).min(8);
        } else {
            self.stretch = if right >= 3 { 3 } else { 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(tokens: &[u32], most: usize) -> Vec<u32> {
        let mut out = Vec::new();
        let mut lookup = Lookup::new(&|t| t < 1000);
        lookup.stretch = 16;
        lookup.propose(tokens, most, &mut out);
        out
    }

    #[test]
    fn what_followed_before_is_guessed() {
        assert_eq!(guess(&[1, 2, 3, 4, 5, 6, 9, 2, 3, 4], 2), [5, 6]);
        // As far as the text goes, and not beyond the marker.
        assert_eq!(guess(&[1, 2, 3, 4, 5, 1, 2, 3], 16), [4, 5, 1, 2, 3]);
        assert_eq!(guess(&[1, 2, 3, 4, 1000, 5, 1, 2, 3], 16), [4]);
        // Two tokens alone say little.
        assert!(guess(&[1, 2, 3, 7, 2, 3], 16).is_empty());
        assert!(guess(&[], 16).is_empty() && guess(&[1], 16).is_empty() && guess(&[1, 1, 1], 16).is_empty());
        // The longest context decides, not the latest.
        assert_eq!(guess(&[5, 0, 1, 2, 8, 6, 0, 1, 2, 9, 5, 0, 1, 2], 1), [8]);
        assert_eq!(guess(&[0, 1, 2, 8, 0, 1, 2, 9, 5, 0, 1, 2], 1), [9]);
        assert_eq!(guess(&[3, 3, 3, 3], 4), [3]);
    }

    #[test]
    fn wrong_guesses_become_rarer_and_right_ones_longer() {
        let text: Vec<u32> = (0..64).chain(0..3).collect();
        let mut lookup = Lookup::new(&|_| true);
        let propose = |lookup: &mut Lookup<'_>| {
            let mut out = Vec::new();
            lookup.propose(&text, 16, &mut out);
            out.len()
        };
        for (right, next) in [(1, 3), (3, 7), (7, 7), (4, 3), (2, 1)] {
            let proposed = propose(&mut lookup);
            assert!(proposed >= right);
            lookup.judge(proposed, right);
            assert_eq!(lookup.stretch, next);
        }
        lookup.judge(1, 0);
        // Three tokens in common are no longer enough.
        assert_eq!(propose(&mut lookup), 0);
    }
}
