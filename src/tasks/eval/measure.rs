//! The numbers: log-likelihoods and divergences, summed in float64.

/// Log-probabilities of one row of logits, as far as they are needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogSum {
    /// The largest logit.
    max: f64,
    /// ln of the sum of all exponentials above it. Apart from it, as it is lost beside a very large logit.
    log_sum: f64,
    /// The likeliest token; of several the first.
    pub top: usize,
}

impl LogSum {
    fn log_probability(self, logit: f32) -> f64 {
        (f64::from(logit) - self.max) - self.log_sum
    }
}

/// Sums a row up; `None` where a logit is no number.
pub(super) fn log_sum(logits: &[f32]) -> Option<LogSum> {
    let (mut top, mut max) = (0, f32::NEG_INFINITY);
    for (i, &x) in logits.iter().enumerate() {
        if !x.is_finite() {
            return None;
        }
        if x > max {
            (top, max) = (i, x);
        }
    }
    let sum: f64 = logits.iter().map(|&x| (f64::from(x) - f64::from(max)).exp()).sum();
    logits.first().map(|_| LogSum { max: f64::from(max), log_sum: sum.ln(), top })
}

/// The log-probability of a token.
pub(super) fn log_probability(logits: &[f32], sums: LogSum, token: usize) -> f64 {
    sums.log_probability(logits[token])
}

/// KL divergence of `found` from `base`, in nats: how many more it takes to tell a token that follows `base` to somebody
/// who expects `found`.
pub(super) fn divergence(base: (&[f32], LogSum), found: (&[f32], LogSum)) -> f64 {
    let term = |(&b, &f): (&f32, &f32)| {
        let log_p = base.1.log_probability(b);
        log_p.exp() * (log_p - found.1.log_probability(f))
    };
    // Never below zero but by rounding.
    base.0.iter().zip(found.0).map(term).sum::<f64>().max(0.0)
}

/// A mean that grows, with its uncertainty (Welford 1962).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Mean {
    pub(super) fn add(&mut self, x: f64) {
        self.count += 1;
        let off = x - self.mean;
        self.mean += off / self.count as f64;
        self.squares += off * (x - self.mean);
    }

    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; 0 of none.
    pub fn value(&self) -> f64 {
        self.mean
    }

    /// The mean's standard error, as if the numbers were independent; 0 of fewer than two.
    pub fn error(&self) -> f64 {
        if self.count < 2 { 0.0 } else { (self.squares / (self.count - 1) as f64 / self.count as f64).sqrt() }
    }

    /// The root of the mean square.
    pub fn rms(&self) -> f64 {
        (self.squares / self.count.max(1) as f64 + self.mean * self.mean).sqrt()
    }
}

/// Of sorted numbers, the one below which a share of them lies, between neighbours in proportion.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = share.clamp(0.0, 1.0) * last as f64;
    let (low, part) = (at.floor(), at - at.floor());
    let (a, b) = (sorted[low as usize], sorted[(low as usize + 1).min(last)]);
    a + (b - a) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(x: &[f32]) -> LogSum {
        log_sum(x).expect("numbers")
    }

    #[test]
    fn probabilities_add_up_to_one_however_large_the_logits() {
        for shift in [-1e30f32, -5000.0, 0.0, 300.0, 80000.0] {
            let x: Vec<f32> = [0.5f32, -1.0, 2.0, 2.0].iter().map(|v| v + shift).collect();
            let s = sums(&x);
            let total: f64 = (0..4).map(|i| log_probability(&x, s, i).exp()).sum();
            assert!((total - 1.0).abs() < 1e-12, "{total}");
            assert_eq!(s.top, if shift == -1e30 { 0 } else { 2 });
        }
        assert!(log_sum(&[0.0, f32::NAN]).is_none() && log_sum(&[f32::INFINITY]).is_none());
    }

    #[test]
    fn the_divergence_is_what_the_definition_says() {
        let (p, q) = ([0.5f64, 0.25, 0.25], [0.1f64, 0.6, 0.3]);
        let logits = |x: [f64; 3]| x.map(|v| (v.ln() + 7.0) as f32);
        let (a, b) = (logits(p), logits(q));
        let found = divergence((&a, sums(&a)), (&b, sums(&b)));
        let wanted: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
        assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
        assert_eq!(divergence((&a, sums(&a)), (&a, sums(&a))), 0.0);
        // What the base rules out costs nothing.
        let ruled_out = [0.0f32, -1e6];
        assert!(divergence((&ruled_out, sums(&ruled_out)), (&[0.0, 0.0], sums(&[0.0, 0.0]))) - 2f64.ln() < 1e-12);
    }

    #[test]
    fn means_know_how_sure_they_are() {
        let mut mean = Mean::default();
        [2.0, 4.0, 4.0, 6.0].iter().for_each(|&x| mean.add(x));
        assert_eq!((mean.count(), mean.value()), (4, 4.0));
        assert!((mean.error() - (8.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert!((mean.rms() - 18f64.sqrt()).abs() < 1e-12);
        assert_eq!(Mean::default().error(), 0.0);
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        let x = [1.0, 2.0, 3.0, 4.0];
        assert_eq!([0.0, 0.5, 1.0].map(|s| percentile(&x, s)), [1.0, 2.5, 4.0]);
        assert_eq!(percentile(&[], 0.5), 0.0);
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
    }
}
