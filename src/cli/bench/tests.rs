//! What the report says of what was measured.

use super::report::Measurement;
use crate::cli::args::Phase;

#[test]
fn the_median_is_the_middle_of_the_runs() {
    let of = |runs: &[f64]| Measurement::new(Phase::Prefill, 8, 8, runs.to_vec());
    let odd = of(&[3.0, 1.0, 2.0]);
    assert_eq!((odd.median_s, odd.min_s, odd.max_s, odd.tokens_per_s), (2.0, 1.0, 3.0, Some(4.0)));
    assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median_s, 2.5);
    assert_eq!(of(&[]).tokens_per_s, None);
}
