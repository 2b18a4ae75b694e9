//! A short way to end an answer as its grammar allows, for when tokens run out.
//!
//! ```text
//! until the grammar is satisfied:
//!     what it forces is taken
//!     else, what closes something is taken: a quote inside of a string, a bracket outside
//!     else, of the bytes that may come, the first by rank after which the set of allowed tokens is one that was met least
//!         often: so loops are left, and what has to be long becomes long; of JSON, what opens something only where nothing
//!         else may come
//!     where that set is the same after all of them, several bytes after which something closes, if `ahead.rs` finds any
//! ```
//! It needn't be the shortest way: of schemas it is nearly that, but for alternatives that begin alike.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::{Duration, Instant};

use llguidance::Matcher;
use llguidance::toktrie::{SimpleVob, TokenId};

use super::ahead::Ahead;
use super::nesting::Nesting;
use super::vocabulary::{Env, Vocabulary};

/// Most tokens to try to end in.
const MAX_TOKENS: usize = 20_000;
/// Most time: what takes as long is given up; a machine that is busy with other things mustn't decide it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes that are tried at a step.
const MAX_TRIED: usize = 32;
/// Bytes of which runs are made: the digits and a to z.
const MAX_IN_RUNS: usize = 36;

/// What is known of an answer that has to end.
#[derive(Clone, Copy, Default)]
pub(super) struct About<'a> {
    pub is_json: bool,
    pub nesting: Nesting,
    /// What texts in it may have to hold.
    pub patterns: &'a [String],
}

/// Tokens after which the grammar is satisfied, none of them an end token; `None` where none were found in time.
pub(super) fn ending(matcher: &Matcher, vocabulary: &Vocabulary, about: &About) -> Option<Vec<TokenId>> {
    let mut way = Way {
        // What goes wrong on the way is none of the answer's concern.
        matcher: matcher.clone(),
        env: &vocabulary.env,
        ahead: Ahead::new(vocabulary, about.patterns),
        is_json: about.is_json,
        nesting: about.nesting,
        taken: Vec::new(),
        seen: HashMap::new(),
        alike: 0,
    };
    let start = Instant::now();
    while !way.arrived()? {
        if way.taken.len() > MAX_TOKENS || start.elapsed() > PATIENCE {
            return None;
        }
        way.step()?;
    }
    Some(way.in_few_tokens(matcher))
}

struct Way<'a> {
    matcher: Matcher,
    env: &'a Env,
    ahead: Ahead<'a>,
    is_json: bool,
    nesting: Nesting,
    taken: Vec<TokenId>,
    /// Sets of allowed tokens, by their hashes, and how often each was met.
    seen: HashMap<u64, u32>,
    /// Steps for which nothing needs to be tried, since it made no difference before.
    alike: u32,
}

/// A token to go on with.
struct Best {
    token: TokenId,
    /// What may come after it, as a hash; `None` where the grammar is satisfied then.
    after: Option<u64>,
    /// Whether it matters which token is taken.
    differs: bool,
}

impl Way<'_> {
    fn arrived(&mut self) -> Option<bool> {
        if self.matcher.is_stopped() {
            return (!self.matcher.is_error()).then_some(true);
        }
        self.matcher.is_accepting().ok()
    }

    fn take(&mut self, tokens: &[TokenId]) -> Option<()> {
        self.matcher.consume_tokens(tokens).ok()?;
        for &token in tokens {
            self.taken.push(token);
            if !self.env.trie.is_special_token(token) {
                self.nesting.read(self.env.trie.token(token));
            }
        }
        Some(())
    }

    fn step(&mut self) -> Option<()> {
        let forced = self.matcher.compute_ff_tokens();
        if !forced.is_empty() {
            self.alike = 0;
            return self.take(&forced);
        }
        let mask = self.matcher.compute_mask().ok()?;
        let bytes = self.bytes(&mask);
        let Some(&(first_rank, first)) = bytes.first() else {
            // Only what is no text may come.
            let ends = self.env.trie.eos_tokens();
            let other = mask.iter().find(|token| !ends.contains(token))?;
            return self.take(&[other]);
        };
        let here = hash(&mask);
        *self.seen.entry(here).or_default() += 1;
        if first_rank == 0 || bytes.len() == 1 {
            self.alike = 0;
            return self.take(&[first]);
        }
        if self.alike & 0xFFFF > 0 {
            self.alike -= 1;
            return self.take(&[first]);
        }
        let tokens: Vec<TokenId> = bytes.iter().map(|(_, token)| *token).collect();
        let Best { token, after, differs } = self.best(&tokens, here)?;
        if !differs && let Some(run) = self.run(&tokens) {
            self.alike = 0;
            return self.take(&run);
        }
        // Twice as many steps each time.
        let last = self.alike >> 16;
        self.alike = if differs { 0 } else { (last * 2 + 1).min(64) * 0x1_0001 };
        // Where a byte is forced after it, this is the only time that the set is met.
        if let Some(set) = after {
            *self.seen.entry(set).or_default() += 1;
        }
        self.take(&[token])
    }

    /// The bytes that may come, each with its rank, the best first.
    fn bytes(&self, mask: &SimpleVob) -> Vec<(u8, TokenId)> {
        let rank = |byte| rank(byte, self.nesting.in_string);
        let mut bytes: Vec<(u8, u8, TokenId)> = (0..=255u8)
            .filter_map(|byte| {
                let token = self.env.trie.token_id_at_bytes(&[byte])?;
                mask.is_allowed(token).then_some((rank(byte), byte, token))
            })
            .collect();
        bytes.sort_unstable();
        // What is opened has to be closed, and may hold more of its kind: lists whose links hold lists would never end.
        let opens = |byte: u8| self.is_json && !self.nesting.in_string && matches!(byte, b'[' | b'{');
        if bytes.iter().any(|(_, byte, _)| !opens(*byte)) {
            bytes.retain(|(_, byte, _)| !opens(*byte));
        }
        bytes.into_iter().map(|(rank, _, token)| (rank, token)).collect()
    }

    /// The first of `tokens` after which comes what was met least often. `here`: what may come now.
    fn best(&mut self, tokens: &[TokenId], here: u64) -> Option<Best> {
        let mut best: Option<(u32, TokenId, Option<u64>)> = None;
        let mut differs = false;
        for &token in tokens.iter().take(MAX_TRIED) {
            let after = self.after(token)?;
            let met = after.map_or(0, |set| self.seen.get(&set).map_or(0, |n| n + 1));
            differs |= after != Some(here);
            if best.is_none_or(|(least, ..)| met < least) {
                best = Some((met, token, after));
            }
            if after.is_none() {
                break;
            }
        }
        best.map(|(_, token, after)| Best { token, after, differs })
    }

    /// Several bytes after which something closes.
    fn run(&mut self, tokens: &[TokenId]) -> Option<Vec<TokenId>> {
        let quote = if self.nesting.in_string { self.env.trie.token_id_at_bytes(b"\"") } else { None };
        let closers: Vec<TokenId> = quote.into_iter().chain(self.env.trie.eos_tokens().iter().copied()).collect();
        let tokens = &tokens[..tokens.len().min(MAX_IN_RUNS)];
        self.ahead.find(&mut self.matcher, tokens, &closers)
    }

    /// The set of tokens that may follow this one, as a hash; inner `None` where the grammar is satisfied then.
    fn after(&mut self, token: TokenId) -> Option<Option<u64>> {
        self.matcher.consume_token(token).ok()?;
        let satisfied = self.matcher.is_stopped() || self.matcher.is_accepting().ok()?;
        let set = if satisfied { None } else { Some(hash(&self.matcher.compute_mask().ok()?)) };
        self.matcher.rollback(1).ok()?;
        Some(set)
    }

    /// Single bytes put together as the vocabulary would.
    fn in_few_tokens(&self, matcher: &Matcher) -> Vec<TokenId> {
        let mut few = Vec::new();
        let mut text = Vec::new();
        for &token in &self.taken {
            if self.env.trie.is_special_token(token) {
                few.extend(self.env.tokens(&std::mem::take(&mut text)));
                few.push(token);
            } else {
                text.extend_from_slice(self.env.trie.token(token));
            }
        }
        few.extend(self.env.tokens(&text));
        let fits = matcher.clone().validate_tokens(&few).is_ok_and(|n| n == few.len());
        if fits { few } else { self.taken.clone() }
    }
}

/// What to try first; 0 is taken untried.
fn rank(byte: u8, in_string: bool) -> u8 {
    match (in_string, byte) {
        (true, b'"') | (false, b'}' | b']') => 0,
        (_, b'0'..=b'9') => 1,
        (true, b'a'..=b'z') | (false, b'"') => 2,
        (_, 0..b' ' | 0x7F) => 10,
        (true, b'\\') => 9,
        (true, _) => 3,
        (false, b'n') => 3,
        (false, b'[') => 6,
        (false, b'{') => 7,
        (false, b',') => 8,
        (false, _) => 4,
    }
}

fn hash(mask: &SimpleVob) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(mask.as_slice())
}
