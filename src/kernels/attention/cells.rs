//! How a tile's numbers lie in memory: a float in each 32 bits, or two in bfloat16 that one instruction multiplies.
//!
//! The dot products of AVX-512 BF16 take two numbers per lane where a multiply-add takes one, at the same rate. Queries and
//! keys are rounded along the head's dimensions, weights and values along keys: 8 bits of mantissa each, sums in float32.

use crate::kernels::vector::Lanes;

/// Cells of 32 bits, each of which holds [`Cells::GROUP`] numbers.
pub(super) trait Cells<L: Lanes>: Copy {
    /// Numbers in a cell.
    const GROUP: usize;
    /// A register of cells.
    type Q: Copy;

    /// `N` cells at `p`.
    ///
    /// # Safety
    /// They must be readable.
    unsafe fn load(self, l: L, p: *const f32) -> Self::Q;

    /// The cell at `p` in every lane.
    ///
    /// # Safety
    /// It must be readable.
    unsafe fn splat(self, l: L, p: *const f32) -> Self::Q;

    /// `acc` and the products of the cells' numbers.
    fn mul_add(self, l: L, a: Self::Q, b: Self::Q, acc: L::V) -> L::V;

    /// Writes `N` cells to `p`: of each lane's numbers in the vectors of `group`, of which there are `GROUP`.
    ///
    /// # Safety
    /// They must be writable.
    unsafe fn store(self, l: L, p: *mut f32, group: &[L::V]);

    /// Writes `N` cells to `p`: of `N · GROUP` neighbours at `numbers`.
    ///
    /// # Safety
    /// They must be writable and readable.
    unsafe fn store_neighbours(self, l: L, p: *mut f32, numbers: *const f32);
}

/// A float in each cell.
#[derive(Clone, Copy)]
pub(super) struct Singles;

impl<L: Lanes> Cells<L> for Singles {
    const GROUP: usize = 1;
    type Q = L::V;

    #[inline(always)]
    unsafe fn load(self, l: L, p: *const f32) -> L::V {
        // SAFETY: passed on.
        unsafe { l.load(p) }
    }

    #[inline(always)]
    unsafe fn splat(self, l: L, p: *const f32) -> L::V {
        // SAFETY: passed on.
        l.splat(unsafe { *p })
    }

    #[inline(always)]
    fn mul_add(self, l: L, a: L::V, b: L::V, acc: L::V) -> L::V {
        l.mul_add(a, b, acc)
    }

    #[inline(always)]
    unsafe fn store(self, l: L, p: *mut f32, group: &[L::V]) {
        // SAFETY: passed on.
        unsafe { l.store(p, group[0]) }
    }

    #[inline(always)]
    unsafe fn store_neighbours(self, l: L, p: *mut f32, numbers: *const f32) {
        // SAFETY: passed on.
        unsafe { l.store(p, l.load(numbers)) }
    }
}

/// Two numbers in bfloat16 in each cell, the first in the lower half.
#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use std::arch::x86_64::*;
    use std::mem::transmute;

    use super::Cells;
    use crate::kernels::{Avx512, Avx512Bf16};

    /// A value is the proof that the processor has the instructions.
    #[derive(Clone, Copy)]
    pub struct ZmmPairs(pub Avx512Bf16);

    // SAFETY (all blocks): the proof says that the instructions are there; pointers are the caller's.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Cells<Avx512> for ZmmPairs {
        const GROUP: usize = 2;
        type Q = __m512i;

        #[inline(always)]
        unsafe fn load(self, _: Avx512, p: *const f32) -> __m512i {
            unsafe { _mm512_loadu_si512(p.cast()) }
        }

        #[inline(always)]
        unsafe fn splat(self, _: Avx512, p: *const f32) -> __m512i {
            unsafe { _mm512_set1_epi32(*p.cast()) }
        }

        #[inline(always)]
        fn mul_add(self, _: Avx512, a: __m512i, b: __m512i, acc: __m512) -> __m512 {
            unsafe { _mm512_dpbf16_ps(acc, transmute::<__m512i, __m512bh>(a), transmute::<__m512i, __m512bh>(b)) }
        }

        #[inline(always)]
        unsafe fn store(self, _: Avx512, p: *mut f32, group: &[__m512]) {
            /// Words of the first vector and of the second in turns.
            const IN_TURNS: [i16; 32] = {
                let (mut index, mut i) = ([0; 32], 0);
                while i < 32 {
                    index[i] = (i / 2 + 16 * (i % 2)) as i16;
                    i += 1;
                }
                index
            };
            unsafe {
                let words = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(group[1], group[0]));
                let index = _mm512_loadu_si512(IN_TURNS.as_ptr().cast());
                _mm512_storeu_si512(p.cast(), _mm512_permutexvar_epi16(index, words));
            }
        }

        #[inline(always)]
        unsafe fn store_neighbours(self, _: Avx512, p: *mut f32, numbers: *const f32) {
            unsafe {
                let (first, second) = (_mm512_loadu_ps(numbers), _mm512_loadu_ps(numbers.add(16)));
                let words = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first));
                _mm512_storeu_si512(p.cast(), words);
            }
        }
    }
}

/// The scalar twin of [`x86::ZmmPairs`].
#[cfg(test)]
pub(super) mod plain {
    use half::bf16;

    use super::Cells;
    use crate::kernels::vector::{Lanes, Plain};

    type V = <Plain as Lanes>::V;

    #[derive(Clone, Copy)]
    pub struct PlainPairs;

    impl Cells<Plain> for PlainPairs {
        const GROUP: usize = 2;
        type Q = [u32; 4];

        unsafe fn load(self, _: Plain, p: *const f32) -> [u32; 4] {
            // SAFETY: passed on.
            unsafe { p.cast::<[u32; 4]>().read_unaligned() }
        }

        unsafe fn splat(self, _: Plain, p: *const f32) -> [u32; 4] {
            // SAFETY: passed on.
            [unsafe { *p.cast() }; 4]
        }

        fn mul_add(self, _: Plain, a: [u32; 4], b: [u32; 4], acc: V) -> V {
            let number = |cell: u32, high: bool| f32::from_bits(if high { cell & 0xffff_0000 } else { cell << 16 });
            let product = |i: usize, high| number(a[i], high) * number(b[i], high);
            std::array::from_fn(|i| acc[i] + product(i, true) + product(i, false))
        }

        unsafe fn store(self, _: Plain, p: *mut f32, group: &[V]) {
            let bits = |x: f32| u32::from(bf16::from_f32(x).to_bits());
            let cells: [u32; 4] = std::array::from_fn(|i| bits(group[0][i]) | bits(group[1][i]) << 16);
            // SAFETY: passed on.
            unsafe { p.cast::<[u32; 4]>().write_unaligned(cells) }
        }

        unsafe fn store_neighbours(self, l: Plain, p: *mut f32, numbers: *const f32) {
            // SAFETY: passed on.
            let x = unsafe { numbers.cast::<[f32; 8]>().read_unaligned() };
            // SAFETY: passed on.
            unsafe { self.store(l, p, &[[x[0], x[2], x[4], x[6]], [x[1], x[3], x[5], x[7]]]) };
        }
    }
}
