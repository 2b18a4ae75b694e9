//! Asking for memory before it is needed.
//!
//! A core waits for at most some 20 lines on their way to its first-level cache: at a memory's latency that is 10 to 15
//! GB/s. Twice as many may be on their way to its second level, so what is read once and in order, such as weights, is
//! asked for there, far enough ahead, and comes from there in time.

/// How far ahead a long stream is asked for, in bytes: on a Zen 4, 8 KiB are too near at the full speed of memory.
pub(crate) const STREAM_AHEAD: usize = 16384;

/// Asks for the cache line at `p`, which may lie outside all memory, to come to the first-level cache.
#[inline(always)]
pub(crate) fn to_first_level(p: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that reads nothing; SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// Asks for all cache lines from `p` on, of which `len` bytes may be read soon, to come to the second-level cache. They may
/// lie outside all memory.
#[inline(always)]
pub(crate) fn to_second_level(p: *const u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..len.div_ceil(64) {
        // SAFETY: a hint that reads nothing; SSE is part of x86-64.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(p.wrapping_add(64 * line).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (p, len);
}
