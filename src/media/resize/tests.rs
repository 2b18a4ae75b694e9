//! Pillow's own numbers are in the reference tables (`tests/reference_tables_media.rs`); here are the laws.

use super::*;
use proptest::prelude::*;

/// The definition, tap by tap in whole numbers, for one axis of one channel.
fn naive_axis(levels: &[u8], n_out: usize) -> Vec<u8> {
    let filter = Filter::new(levels.len(), n_out);
    let weigh = |&(first, start, end): &(usize, usize, usize)| {
        let weights = filter.weights[start..end].iter().map(|&w| w as i64);
        let sum: i64 = weights.zip(&levels[first..]).map(|(w, &l)| w * i64::from(l)).sum();
        ((sum + (1 << 21)) >> 22).clamp(0, 255) as u8
    };
    filter.outputs.iter().map(weigh).collect()
}

fn naive_rows(src: &Rgb8, width: usize) -> Rgb8 {
    let channel = |y: usize, c: usize| src.row(y)[c..].iter().step_by(3).copied().collect::<Vec<_>>();
    let resized = (0..src.height).flat_map(|y| {
        let channels = [0, 1, 2].map(|c| naive_axis(&channel(y, c), width));
        (0..width).flat_map(move |x| [channels[0][x], channels[1][x], channels[2][x]])
    });
    Rgb8 { width, height: src.height, data: resized.collect() }
}

fn transposed(src: &Rgb8) -> Rgb8 {
    let pixels = (0..src.width).flat_map(|x| (0..src.height).flat_map(move |y| src.row(y)[x * 3..x * 3 + 3].to_vec()));
    Rgb8 { width: src.height, height: src.width, data: pixels.collect() }
}

fn naive(src: &Rgb8, width: usize, height: usize) -> Rgb8 {
    let columns =
        |p: &Rgb8| if p.height == height { p.clone() } else { transposed(&naive_rows(&transposed(p), height)) };
    let rows = |p: &Rgb8| if p.width == width { p.clone() } else { naive_rows(p, width) };
    let (lost_width, lost_height) = (src.width as i64 - width as i64, src.height as i64 - height as i64);
    if lost_height > 0 && lost_height > 2 * lost_width { rows(&columns(src)) } else { columns(&rows(src)) }
}

fn noise(width: usize, height: usize, mut seed: u32) -> Rgb8 {
    let next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Mostly extremes: those overshoot and have to be clamped.
        [0, 255, (seed >> 24) as u8, (seed >> 16) as u8][(seed >> 30) as usize]
    };
    Rgb8 { width, height, data: std::iter::repeat_with(next).take(width * height * 3).collect() }
}

#[test]
fn same_size_is_a_copy() {
    let src = noise(31, 17, 1);
    assert_eq!(resize_bicubic(&src, 31, 17), src);
}

#[test]
fn threads_change_nothing() {
    // Above the threshold, so that bands are used; their borders must not show.
    let src = noise(1024, 600, 2);
    let columns = Filter::new(600, 77);
    let rows = Filter::new(1024, 91);
    for threads in [2, 3, 8] {
        assert_eq!(resize_rows(&src, &rows, threads), resize_rows(&src, &rows, 1), "{threads} threads");
        assert_eq!(resize_columns(&src, &columns, threads), resize_columns(&src, &columns, 1), "{threads} threads");
    }
    // More threads than rows.
    let one = Filter::new(600, 1);
    assert_eq!(resize_columns(&src, &one, 8), resize_columns(&src, &one, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn matches_naive(w in 1usize..40, h in 1usize..40, ow in 1usize..40, oh in 1usize..40, seed: u32) {
        let src = noise(w, h, seed);
        prop_assert_eq!(resize_bicubic(&src, ow, oh), naive(&src, ow, oh));
    }

    #[test]
    fn constant_stays_constant(w in 1usize..60, h in 1usize..60, ow in 1usize..60, oh in 1usize..60, c: [u8; 3]) {
        prop_assert_eq!(resize_bicubic(&Rgb8::filled(w, h, c), ow, oh), Rgb8::filled(ow, oh, c));
    }
}
