//! The size at which the model sees a picture.

use super::error::{MediaError, MediaProblem};

/// One side may be at most this many times the other.
const MAX_RATIO: usize = 200;

/// How many pixels a picture may have after resizing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelBudget {
    /// Smaller pictures are enlarged to about this many pixels.
    pub min_pixels: usize,
    /// Larger pictures are reduced to at most this many pixels.
    pub max_pixels: usize,
}

impl PixelBudget {
    /// What the original's picture processor uses when nothing is asked for: 4 to 1280 tokens of 28x28 pixels.
    pub const DEFAULT: PixelBudget = PixelBudget { min_pixels: 56 * 56, max_pixels: 1280 * 28 * 28 };
    /// What the released utilities allow at most: 4 to 16384 tokens.
    pub const WIDEST: PixelBudget = PixelBudget { min_pixels: 56 * 56, max_pixels: 16384 * 28 * 28 };
}

/// The resized `(height, width)`: multiples of `factor` (28: two patches of 14), as close as possible to the picture's
/// own shape, with a product between `min_pixels` and `max_pixels`.
///
/// This is `smart_resize` of the original's picture processor to the bit, in 64-bit floats with halves rounded to
/// even; like it, it may miss the budget where a side would become shorter than `factor`.
///
/// # Errors
/// If a side is 0, if one side is more than 200 times the other, or if `min_pixels > max_pixels`.
///
/// # Panics
/// If `factor` is 0.
pub fn smart_resize(
    height: usize,
    width: usize,
    factor: usize,
    min_pixels: usize,
    max_pixels: usize,
) -> Result<(usize, usize), MediaError> {
    if min_pixels > max_pixels || max_pixels == 0 {
        return Err(MediaProblem::EmptyBudget { min_pixels, max_pixels }.into());
    }
    smart_resize_real(height, width, factor, min_pixels as f64, max_pixels as f64)
}

/// [`smart_resize`] for budgets that are no whole numbers, as the per-frame budgets of clips are.
pub(super) fn smart_resize_real(
    height: usize,
    width: usize,
    factor: usize,
    min_pixels: f64,
    max_pixels: f64,
) -> Result<(usize, usize), MediaError> {
    assert!(factor > 0, "sizes are multiples of the factor");
    if height == 0 || width == 0 {
        return Err(MediaProblem::NoPixels { width: width as u64, height: height as u64 }.into());
    }
    let (h, w, f) = (height as f64, width as f64, factor as f64);
    if h.max(w) / h.min(w) > MAX_RATIO as f64 {
        return Err(MediaProblem::AspectRatio { width, height, limit: MAX_RATIO }.into());
    }
    // All products below are of whole numbers and far from 2^53, so f64 computes what Python's integers do.
    let mut resized = [h, w].map(|side| (side / f).round_ties_even() * f);
    let area = resized[0] * resized[1];
    if area > max_pixels {
        let beta = (h * w / max_pixels).sqrt();
        resized = [h, w].map(|side| ((side / beta / f).floor() * f).max(f));
    } else if area < min_pixels {
        let beta = (min_pixels / (h * w)).sqrt();
        resized = [h, w].map(|side| (side * beta / f).ceil() * f);
    }
    // Only where the lower bound is none, a small picture would become nothing.
    let [height, width] = resized.map(|side| side.max(f) as usize);
    Ok((height, width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::MediaErrorKind;
    use proptest::prelude::*;

    #[test]
    fn halves_round_to_even() {
        // 42/28 = 1.5 and 70/28 = 2.5 both round to 2.
        assert_eq!(smart_resize(42, 70, 28, 1, 1 << 30).expect("fits"), (56, 56));
    }

    #[test]
    fn refuses_what_the_original_refuses() {
        assert!(smart_resize(28 * 200, 28, 28, 1, 1 << 30).is_ok());
        let error = smart_resize(3, 20000, 28, 3136, 1 << 20).expect_err("6667 to 1");
        assert_eq!(error.kind(), MediaErrorKind::BadContent);
        assert_eq!(
            error.to_string(),
            "20000x3 pixels: one side is more than 200 times the other, which the model can't take; crop it"
        );
        assert!(smart_resize(0, 5, 28, 1, 1000).is_err());
        assert_eq!(smart_resize(5, 5, 28, 0, 1000).expect("a token"), (28, 28));
        assert_eq!(smart_resize(5, 5, 28, 1001, 1000).expect_err("empty").kind(), MediaErrorKind::Usage);
    }

    proptest! {
        #[test]
        fn sizes_are_multiples_within_the_budget(h in 1usize..9000, w in 1usize..9000, min in 784usize..100_000,
                                                  extra in 0usize..2_000_000) {
            let max = min * 4 + extra;
            if let Ok((rh, rw)) = smart_resize(h, w, 28, min, max) {
                prop_assert!(rh % 28 == 0 && rw % 28 == 0 && rh > 0 && rw > 0);
                // A side that would vanish is kept at 28; only then may the budget be missed.
                if rh > 28 && rw > 28 {
                    prop_assert!(rh * rw <= max, "{rh}x{rw} over {max}");
                    prop_assert!(rh * rw >= min, "{rh}x{rw} under {min}");
                }
            } else {
                prop_assert!(h.max(w) > 200 * h.min(w));
            }
        }
    }
}
