//! Choosing the next token from the logits.

use fastrand::Rng;

/// How tokens are chosen. The filters apply in the original's order: repetition penalty, temperature, top-k, top-p,
/// min-p.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the most likely token always; else logits are divided by it.
    pub temperature: f32,
    /// Only the most likely `top_k` tokens; 0 for all.
    pub top_k: usize,
    /// Only the most likely tokens that together reach this probability; 1 for all.
    pub top_p: f32,
    /// Only tokens at least this likely compared with the most likely one; 0 for all.
    pub min_p: f32,
    /// Tokens that have occurred are made less likely by this factor (Keskar et al. 2019); 1 for none.
    pub repeat_penalty: f32,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Default for Sampling {
    /// Greedy.
    fn default() -> Self {
        Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repeat_penalty: 1.0, seed: 0 }
    }
}

/// Tokens less likely than this, relative to the most likely one, are never drawn: it keeps the list short without
/// sorting the vocabulary, and is far below what float32 probabilities of a whole vocabulary resolve.
const NEGLIGIBLE: f32 = 1e-9;

/// Draws tokens.
pub struct Sampler {
    options: Sampling,
    rng: Rng,
    /// (logit, token) that are still in play; kept to reuse its memory.
    candidates: Vec<(f32, u32)>,
    /// Logits after the repetition penalty.
    penalized: Vec<f32>,
}

impl Sampler {
    /// A sampler that starts at the options' seed.
    pub fn new(options: &Sampling) -> Sampler {
        let rng = Rng::with_seed(options.seed);
        Sampler { options: options.clone(), rng, candidates: Vec::new(), penalized: Vec::new() }
    }

    /// The next token, given the logits `[vocab]` and the tokens so far. NaN logits are never chosen.
    pub fn sample(&mut self, logits: &[f32], so_far: &[u32]) -> u32 {
        let o = &self.options;
        if o.repeat_penalty != 1.0 {
            self.penalized.clear();
            self.penalized.extend_from_slice(logits);
            penalize(&mut self.penalized, logits, so_far, o.repeat_penalty);
        } else {
            self.penalized.clear();
        }
        let logits = if self.penalized.is_empty() { logits } else { &self.penalized };
        let best = argmax(logits);
        if o.temperature <= 0.0 {
            return best;
        }
        let max = logits[best as usize];
        let floor = max + o.temperature * NEGLIGIBLE.max(o.min_p).ln();
        self.candidates.clear();
        let kept = logits.iter().enumerate().filter(|&(_, &l)| l >= floor);
        self.candidates.extend(kept.map(|(i, &l)| (l, i as u32)));
        self.draw(max).unwrap_or(best)
    }

    /// Applies top-k and top-p to the candidates and draws one; `None` where no number is finite.
    fn draw(&mut self, max: f32) -> Option<u32> {
        let o = &self.options;
        let list = &mut self.candidates;
        let more_likely = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if o.top_k > 0 && o.top_k < list.len() {
            list.select_nth_unstable_by(o.top_k - 1, more_likely);
            list.truncate(o.top_k);
        }
        list.sort_unstable_by(more_likely);
        let weight = |logit: f32| f64::from((logit - max) / o.temperature).exp();
        let total: f64 = list.iter().map(|c| weight(c.0)).sum();
        if !total.is_finite() || total <= 0.0 {
            return None;
        }
        let (mut kept, mut mass) = (0, 0.0);
        for c in list.iter() {
            mass += weight(c.0);
            kept += 1;
            if mass >= total * f64::from(o.top_p) {
                break;
            }
        }
        list.truncate(kept);
        let mut left = self.rng.f64() * mass;
        for c in list.iter() {
            left -= weight(c.0);
            if left < 0.0 {
                return Some(c.1);
            }
        }
        list.last().map(|c| c.1)
    }
}

/// The token with the largest logit, the first of several; 0 where all are NaN.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = (f32::NEG_INFINITY, 0);
    for (i, &l) in logits.iter().enumerate() {
        if l > best.0 {
            best = (l, i as u32);
        }
    }
    best.1
}

/// Divides positive logits of tokens that have occurred, and multiplies negative ones, once per token.
fn penalize(out: &mut [f32], logits: &[f32], so_far: &[u32], penalty: f32) {
    for &token in so_far {
        if let (Some(out), Some(&l)) = (out.get_mut(token as usize), logits.get(token as usize)) {
            *out = if l > 0.0 { l / penalty } else { l * penalty };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_first_of_the_largest_and_survives_nan() {
        let mut s = Sampler::new(&Sampling::default());
        assert_eq!(s.sample(&[1.0, 3.0, f32::NAN, 3.0], &[]), 1);
        assert_eq!(s.sample(&[f32::NAN; 3], &[]), 0);
    }

    #[test]
    fn filters_leave_only_what_they_say() {
        let logits: Vec<f32> = (0..100).map(|i| ((i * 37) % 100) as f32 * 0.1).collect();
        let drawn = |o: Sampling| {
            let mut s = Sampler::new(&o);
            let mut seen: Vec<u32> = (0..4000).map(|_| s.sample(&logits, &[])).collect();
            seen.sort_unstable();
            seen.dedup();
            seen
        };
        let one = |f: fn(&mut Sampling)| {
            let mut o = Sampling { temperature: 1.0, seed: 7, ..Sampling::default() };
            f(&mut o);
            drawn(o)
        };
        let mut order: Vec<u32> = (0..100).collect();
        order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
        let top = |n: usize| {
            let mut v = order[..n].to_vec();
            v.sort_unstable();
            v
        };
        assert_eq!(one(|o| o.top_k = 5), top(5));
        // Logits fall by 0.1 per rank, so a probability of 0.2 of the best is 16.09 ranks down.
        assert_eq!(one(|o| o.min_p = 0.2), top(17));
        // The first n of a geometric series with ratio e^-0.1 hold 1 - e^(-0.1 n): half is reached by the 7th.
        assert_eq!(one(|o| o.top_p = 0.5), top(7));
        assert!(one(|_| ()).len() > 40);
    }

    #[test]
    fn the_same_seed_draws_the_same_tokens() {
        let logits: Vec<f32> = (0..50).map(|i| (i as f32 * 0.7).sin()).collect();
        let run = |seed| {
            let mut s = Sampler::new(&Sampling { temperature: 0.8, seed, ..Sampling::default() });
            (0..50).map(|_| s.sample(&logits, &[])).collect::<Vec<_>>()
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }

    #[test]
    fn repetition_is_penalized_once_per_token() {
        let o = Sampling { repeat_penalty: 2.0, ..Sampling::default() };
        let mut s = Sampler::new(&o);
        assert_eq!(s.sample(&[4.0, 3.0, -1.0], &[0, 0]), 1);
        assert_eq!(s.sample(&[-1.0, -1.5, -3.0], &[0]), 1);
    }
}
