//! The vector trait: as few operations as the kernels need.

/// Vectors of `N` floats. A value of the implementing type is the proof that the instructions are there, so arithmetic
/// is safe; only what goes through pointers isn't.
///
/// Every method of every implementation is `#[inline(always)]`: outside a function compiled for the instruction set it
/// would still be right, but slow.
pub(crate) trait Lanes: Copy + Send + Sync {
    /// One register.
    type V: Copy;
    /// Floats in a register: 4, 8 or 16.
    const N: usize;
    /// Whether there are 32 registers rather than 16.
    const WIDE: bool;

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::V;

    /// `N` floats at `p`.
    ///
    /// # Safety
    /// They must be readable. No alignment needed.
    unsafe fn load(self, p: *const f32) -> Self::V;

    /// Writes `N` floats at `p`.
    ///
    /// # Safety
    /// They must be writable. No alignment needed.
    unsafe fn store(self, p: *mut f32, v: Self::V);

    /// `N` half-precision numbers at `p`, widened (exact).
    ///
    /// # Safety
    /// They must be readable. No alignment needed.
    unsafe fn load_f16(self, p: *const u16) -> Self::V;

    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the processor can (the scalar twin rounds twice).
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; `b` where either isn't a number.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The nearest whole number, for `|v| < 2^22`; ties to even.
    fn round(self, v: Self::V) -> Self::V;
    /// `v * 2^n` for whole `n` in -126..=127.
    fn mul_pow2(self, v: Self::V, n: Self::V) -> Self::V;
    /// Per lane: `yes` where `a < b`, else (also where either isn't a number) `no`.
    fn select_lt(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;

    /// Lane `i` becomes the sum of the lanes of `v[i]`, of `N`; each sum in the same fixed order. (No closure yields the
    /// vectors: within one, instructions become calls.)
    fn sum_each(self, v: &[Self::V]) -> Self::V;

    /// Reads 4 floats from each of `N` rows and turns them: lane `i` of vector `j` is `p[i * stride + j]`.
    ///
    /// # Safety
    /// 4 floats at `p + i * stride` must be readable for each `i < N`.
    unsafe fn load_columns(self, p: *const f32, stride: usize) -> [Self::V; 4];

    /// The reverse of [`Lanes::load_columns`].
    ///
    /// # Safety
    /// 4 floats at `p + i * stride` must be writable for each `i < N`.
    unsafe fn store_columns(self, p: *mut f32, stride: usize, columns: [Self::V; 4]);
}
