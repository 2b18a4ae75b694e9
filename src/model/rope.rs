//! Rotary position tables, computed in the precision of the original (float32 angles).

use super::positions::Position;

/// YaRN (Peng et al. 2023, arXiv:2309.00071): rotary frequencies for contexts longer than the model was trained on. Those
/// that turn often within the trained context stay, those that hardly turn are slowed by `factor`, and a ramp lies
/// between; attention becomes a little sharper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// How many times longer the context becomes; above 1.
    pub factor: f32,
    /// Positions that the model was trained on.
    pub original: usize,
}

impl Default for Yarn {
    /// As the model card says: four times 32,768.
    fn default() -> Yarn {
        Yarn { factor: 4.0, original: 32768 }
    }
}

impl Yarn {
    /// Frequencies that turn at least this often within the trained context stay as they are.
    const BETA_FAST: f64 = 32.0;
    /// Frequencies that turn at most this often are slowed by the whole factor.
    const BETA_SLOW: f64 = 1.0;

    /// What cosines and sines are multiplied by.
    pub fn attention_factor(&self) -> f32 {
        if self.factor <= 1.0 { 1.0 } else { (0.1 * f64::from(self.factor).ln() + 1.0) as f32 }
    }

    /// The frequencies in place of `theta^(-2i/dim)`, `[dim / 2]`; in float32 step by step, as the original.
    pub fn frequencies(&self, theta: f32, dim: usize) -> Vec<f32> {
        let turning = |times: f64| {
            let trained = self.original as f64 / (times * 2.0 * std::f64::consts::PI);
            dim as f64 * trained.ln() / (2.0 * f64::from(theta).ln())
        };
        let low = turning(Self::BETA_FAST).floor().max(0.0);
        let high = turning(Self::BETA_SLOW).ceil().min(dim as f64 - 1.0);
        let width = if high == low { 0.001 } else { high - low };
        let blend = |(j, free): (usize, f32)| {
            let kept = 1.0 - ((j as f32 - low as f32) / width as f32).clamp(0.0, 1.0);
            let slowed = 1.0 / (self.factor * theta.powf((2 * j) as f32 / dim as f32));
            slowed * (1.0 - kept) + free * kept
        };
        inverse_frequencies(theta, dim).into_iter().enumerate().map(blend).collect()
    }
}

/// Inverse frequencies `theta^(-2i/dim)` for `i` in `0..dim/2`.
pub fn inverse_frequencies(theta: f32, dim: usize) -> Vec<f32> {
    (0..dim / 2).map(|i| 1.0 / theta.powf((2 * i) as f32 / dim as f32)).collect()
}

/// Cosines and sines `[tokens, inv_freq.len()]` for M-RoPE: frequency `j` turns by the t, h or w position, according to
/// the section that it lies in.
pub fn mrope_tables(positions: &[Position], inv_freq: &[f32], sections: [usize; 3]) -> (Vec<f32>, Vec<f32>) {
    let row_of = |j: usize| {
        if j < sections[0] {
            0
        } else if j < sections[0] + sections[1] {
            1
        } else {
            2
        }
    };
    tables(positions.len(), inv_freq.len(), |token, j| positions[token][row_of(j)] as f32 * inv_freq[j])
}

/// Cosines and sines `[patches, 2 * inv_freq.len()]` for the vision tower: the first half of the frequencies turns by
/// the patch's row, the second by its column.
pub fn vision_tables(rows_cols: &[[usize; 2]], inv_freq: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let n = inv_freq.len();
    tables(rows_cols.len(), 2 * n, |patch, j| rows_cols[patch][j / n] as f32 * inv_freq[j % n])
}

/// Angles are float32 as in the original; their cosines are taken in float64 and rounded once.
fn tables(n: usize, width: usize, angle: impl Fn(usize, usize) -> f32) -> (Vec<f32>, Vec<f32>) {
    let angles = (0..n).flat_map(|i| (0..width).map(move |j| (i, j))).map(|(i, j)| f64::from(angle(i, j)));
    angles.map(|a| (a.cos() as f32, a.sin() as f32)).unzip()
}
