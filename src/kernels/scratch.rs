//! Buffers that operations keep between calls, so that no token allocates once they have grown.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use bytemuck::Pod;

use super::matmul::MatmulScratch;

/// The working memory of one thread of computation (a session): a sub-struct per family of operations.
#[derive(Default)]
pub struct Scratch {
    pub(crate) matmul: MatmulScratch,
    pub(crate) attention: AttentionScratch,
}

impl Scratch {
    /// Empty; grows with use.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Buffers of the attention kernels.
#[derive(Default)]
pub(crate) struct AttentionScratch {
    /// Per worker: packed queries, key and value tiles, a tile of scores, accumulators.
    pub(crate) workers: AlignedBuf<f32>,
    /// Unfinished results of ranges of keys, `[task, row, 2 + head_dim]`.
    pub(crate) partials: AlignedBuf<f32>,
}

/// A buffer on a 64-byte boundary (a cache line, a 512-bit register) that only grows. Its content is unspecified
/// (earlier results or zero), never uninitialised.
pub struct AlignedBuf<T: Pod> {
    start: NonNull<T>,
    len: usize,
}

/// The alignment of an [`AlignedBuf`] in bytes.
const ALIGN: usize = 64;

impl<T: Pod> AlignedBuf<T> {
    /// Empty, without memory.
    pub const fn new() -> Self {
        Self { start: NonNull::dangling(), len: 0 }
    }

    /// The first `len` elements, after growing to at least that many. Growing loses the content.
    ///
    /// # Panics
    /// If the size overflows the address space; aborts like `Vec` when memory runs out.
    pub fn get(&mut self, len: usize) -> &mut [T] {
        if len > self.len {
            self.grow(len);
        }
        // SAFETY: `start` owns `self.len >= len` elements (or `len` is 0 and it dangles), zeroed at allocation and Pod;
        // the borrow of `self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), len) }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    fn layout(len: usize) -> Layout {
        let layout = Layout::array::<T>(len).and_then(|l| l.align_to(ALIGN));
        layout.unwrap_or_else(|_| panic!("scratch of {len} x {} bytes exceeds the address space", size_of::<T>()))
    }

    fn grow(&mut self, len: usize) {
        assert!(size_of::<T>() > 0, "scratch of elements without a size");
        self.release();
        let layout = Self::layout(len);
        // SAFETY: `len > self.len >= 0` elements of a sized type: the layout isn't empty.
        let start = unsafe { alloc_zeroed(layout) };
        self.start = NonNull::new(start.cast()).unwrap_or_else(|| handle_alloc_error(layout));
        self.len = len;
    }

    fn release(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated in `grow` with this very layout, and forgotten right after.
            unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.len)) };
            (self.start, self.len) = (NonNull::dangling(), 0);
        }
    }
}

impl<T: Pod> Default for AlignedBuf<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Pod> Drop for AlignedBuf<T> {
    fn drop(&mut self) {
        self.release();
    }
}

// SAFETY: it owns its memory alone, like a `Vec<T>`.
unsafe impl<T: Pod + Send> Send for AlignedBuf<T> {}
// SAFETY: shared access yields nothing but the size.
unsafe impl<T: Pod + Sync> Sync for AlignedBuf<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_grow() {
        let mut buffer = AlignedBuf::<f32>::new();
        assert!(buffer.get(0).is_empty());
        for len in [1, 7, 100, 3, 100_000] {
            let slice = buffer.get(len);
            assert_eq!((slice.len(), slice.as_ptr() as usize % ALIGN), (len, 0));
            slice.fill(1.0);
        }
        assert_eq!(buffer.bytes(), 400_000);
    }
}
