//! Vectors of four floats as an array. The compiler may turn it into SSE or NEON; nothing depends on that.

use std::array::from_fn;

use half::f16;

use super::Lanes;

/// Needs no proof: runs everywhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain;

type V = [f32; 4];

impl Lanes for Plain {
    type V = V;
    const N: usize = 4;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; 4]
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> V {
        // SAFETY: the caller vouches for 4 floats.
        unsafe { p.cast::<V>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: V) {
        // SAFETY: the caller vouches for 4 floats.
        unsafe { p.cast::<V>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> V {
        // SAFETY: the caller vouches for 4 numbers.
        let bits = unsafe { p.cast::<[u16; 4]>().read_unaligned() };
        bits.map(|b| f16::from_bits(b).to_f32())
    }

    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        from_fn(|i| a[i] / b[i])
    }

    #[inline(always)]
    fn mul_add(self, a: V, b: V, c: V) -> V {
        // Not `f32::mul_add`: without the instruction that is a library call of tens of cycles.
        from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn round(self, v: V) -> V {
        // Adding 1.5 * 2^23 leaves no room for a fraction; the default rounding does the rest.
        const MAGIC: f32 = 12_582_912.0;
        from_fn(|i| (v[i] + MAGIC) - MAGIC)
    }

    #[inline(always)]
    fn mul_pow2(self, v: V, n: V) -> V {
        from_fn(|i| v[i] * pow2(n[i] as i32))
    }

    #[inline(always)]
    fn select_lt(self, a: V, b: V, yes: V, no: V) -> V {
        from_fn(|i| if a[i] < b[i] { yes[i] } else { no[i] })
    }

    #[inline(always)]
    fn sum_each(self, v: &[V]) -> V {
        from_fn(|i| (v[i][0] + v[i][2]) + (v[i][1] + v[i][3]))
    }

    #[inline(always)]
    unsafe fn load_columns(self, p: *const f32, stride: usize) -> [V; 4] {
        // SAFETY: the caller vouches for 4 floats in each of 4 rows.
        let rows: [V; 4] = from_fn(|i| unsafe { self.load(p.add(i * stride)) });
        from_fn(|j| from_fn(|i| rows[i][j]))
    }

    #[inline(always)]
    unsafe fn store_columns(self, p: *mut f32, stride: usize, columns: [V; 4]) {
        let [a, b, c, d] = columns;
        for (i, row) in [0, 1, 2, 3].map(|i| [a[i], b[i], c[i], d[i]]).into_iter().enumerate() {
            // SAFETY: the caller vouches for 4 floats in each of 4 rows.
            unsafe { self.store(p.add(i * stride), row) };
        }
    }
}

/// `2^n` for `n` in -126..=127.
#[inline(always)]
fn pow2(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}
