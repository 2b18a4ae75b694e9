//! Lets the tasks of a parallel job write to disjoint parts of one slice.

use std::marker::PhantomData;
use std::ops::Range;

/// A mutable slice that tasks may take disjoint parts of.
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: the parts are `&mut [T]` to disjoint ranges (the contract of `Parts::part`), which may go to other threads
// where `T` may.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Parts<'a, T> {
        Parts { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// Where element `i` is, or would be: for hints only.
    pub fn address(&self, i: usize) -> *const T {
        self.start.wrapping_add(i)
    }

    /// The elements in `range`.
    ///
    /// # Safety
    /// No two parts that are alive at the same time overlap.
    ///
    /// # Panics
    /// The range is outside the slice.
    #[allow(clippy::mut_from_ref)] // The contract above is what makes it sound.
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: within the slice that `new` borrowed mutably; disjoint from all other live parts by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
