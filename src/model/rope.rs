//! Rotary position tables, computed in the precision of the original (float32 angles).

use super::positions::Position;

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
