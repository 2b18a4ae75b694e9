//! A mutable slice that several tasks write at once, each its own part.

use std::marker::PhantomData;
use std::ops::Range;

/// Shares `&mut [T]` between the tasks of one parallel region. The borrow of the slice lasts as long as this value, so
/// nobody else can look at it meanwhile; that the parts don't overlap is the caller's promise.
pub(crate) struct DisjointMut<'a, T> {
    start: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a `&mut [T]` handed out in disjoint parts (see `part`); sending those needs `T: Send`.
unsafe impl<T: Send> Send for DisjointMut<'_, T> {}
// SAFETY: as above: shared use only ever yields disjoint `&mut` parts.
unsafe impl<T: Send> Sync for DisjointMut<'_, T> {}

impl<'a, T> DisjointMut<'a, T> {
    /// Takes the slice for the time of `'a`.
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), owner: PhantomData }
    }

    /// The elements of `range`, to write.
    ///
    /// # Panics
    /// If the range isn't within the slice.
    ///
    /// # Safety
    /// While the returned slice lives, no other part that overlaps `range` may be alive.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "part {range:?} of {} elements", self.len);
        // SAFETY: the range lies within the slice that `new` borrowed mutably; disjointness is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.end - range.start) }
    }
}
