//! The order in which patches go through the vision tower, so that each attention window is one contiguous run.

use super::VisionConfig;

/// Orders and window borders of one picture or clip.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowOrder {
    /// For each merged token in window order, its place in reading order. `[tokens]`
    pub index: Vec<usize>,
    /// Borders of the windows, in patches in window order; starts with 0. `[windows + 1]`
    pub cu_window_seqlens: Vec<usize>,
    /// Borders of the frame groups, in patches; starts with 0. `[groups + 1]`
    pub cu_seqlens: Vec<usize>,
}

impl WindowOrder {
    /// The order for a grid of `[groups, rows, columns]` patches, rows and columns being multiples of the merge size.
    ///
    /// Windows are walked in reading order within each frame group; those at the right and lower edge are smaller.
    pub fn new(grid_thw: [usize; 3], config: &VisionConfig) -> WindowOrder {
        let side = config.window_size / config.patch_size / config.merge_size;
        let [t, h, w] = [grid_thw[0], grid_thw[1] / config.merge_size, grid_thw[2] / config.merge_size];
        let unit = config.merge_unit();
        let mut index = Vec::with_capacity(t * h * w);
        let mut cu_window_seqlens = vec![0];
        let mut cu_seqlens = vec![0];
        for group in 0..t {
            for top in (0..h).step_by(side) {
                for left in (0..w).step_by(side) {
                    for row in top..(top + side).min(h) {
                        index.extend((left..(left + side).min(w)).map(|col| (group * h + row) * w + col));
                    }
                    cu_window_seqlens.push(index.len() * unit);
                }
            }
            cu_seqlens.push(index.len() * unit);
        }
        WindowOrder { index, cu_window_seqlens, cu_seqlens }
    }

    /// Row and column of each patch in window order, for the rotary positions. `[patches][row, column]`
    ///
    /// Within a merged token, patches are in reading order of its small square.
    pub fn rows_cols(&self, grid_thw: [usize; 3], merge_size: usize) -> Vec<[usize; 2]> {
        let [h, w] = [grid_thw[1] / merge_size, grid_thw[2] / merge_size];
        let mut out = Vec::with_capacity(self.index.len() * merge_size * merge_size);
        for &token in &self.index {
            let (row, col) = (token / w % h, token % w);
            for i in 0..merge_size {
                out.extend((0..merge_size).map(|j| [row * merge_size + i, col * merge_size + j]));
            }
        }
        out
    }
}
