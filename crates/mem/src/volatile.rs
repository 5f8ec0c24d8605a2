//! Memory that others write while we look at it.

#![expect(
    unsafe_code,
    reason = "copies between our memory and memory that other processes write"
)]

use std::fmt;
use std::marker::PhantomData;

use crate::AtomicInteger;
use crate::copy::{copy_in, copy_out};

/// A piece of mapped memory that another process may write at any time: it can be copied from and to, never referenced.
///
/// Power-of-two sizes up to 8 bytes at their natural alignment are read and written at once.
#[derive(Clone, Copy)]
pub struct VolatileSlice<'a> {
    start: *mut u8,
    len: usize,
    memory: PhantomData<&'a [u8]>,
}

// SAFETY: the slice is an address; every access through it is volatile or by the processor's string instructions, whoever else
// accesses the memory, so it does not matter which thread holds it.
unsafe impl Send for VolatileSlice<'_> {}
// SAFETY: as for `Send`: the methods take the slice by value and share no state of Rust's.
unsafe impl Sync for VolatileSlice<'_> {}

impl VolatileSlice<'_> {
    /// # Safety
    /// The `len` bytes from `start` stay mapped, readable and writable for `'a`, and Rust holds no reference to them.
    #[inline]
    pub(crate) unsafe fn new(start: *mut u8, len: usize) -> Self {
        Self {
            start,
            len,
            memory: PhantomData,
        }
    }

    /// The length in bytes.
    #[inline]
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Where it starts in our own address space, for those who can prove what they do with it.
    pub fn as_ptr(self) -> *mut u8 {
        self.start
    }

    /// The part from `offset` on, at most `len` bytes of it.
    #[inline]
    #[must_use]
    pub fn part(self, offset: usize, len: usize) -> Self {
        let offset = offset.min(self.len);
        Self {
            // SAFETY: `offset` is at most the slice's length, so the result is in the same mapping or one past its end.
            start: unsafe { self.start.add(offset) },
            len: len.min(self.len - offset),
            memory: PhantomData,
        }
    }

    /// Copies out as much as both have from `offset` on; returns how much.
    #[inline]
    pub fn read(self, offset: usize, into: &mut [u8]) -> usize {
        let part = self.part(offset, into.len());
        // SAFETY: the part is mapped and readable (`new`), and `into` is at least as long.
        unsafe { copy_out(part.start, &mut into[..part.len]) };
        part.len
    }

    /// The slice's value, read in one step. `None` for a slice that is not as long as the value, or not aligned to it.
    #[inline]
    pub fn load<T: AtomicInteger>(self) -> Option<T> {
        let fits = self.len == size_of::<T>() && self.start.addr().is_multiple_of(size_of::<T>());
        // SAFETY: the memory is mapped and readable (`new`), as long as the value, and aligned to its size.
        fits.then(|| unsafe { T::load(self.start) })
    }

    /// Replaces the slice's value by `new` if it is `old`, in one step; returns what was there. `None` for a slice that is not as long
    /// as the value, or not aligned to it.
    pub fn compare_exchange<T: AtomicInteger>(self, old: T, new: T) -> Option<T> {
        let fits = self.len == size_of::<T>() && self.start.addr().is_multiple_of(size_of::<T>());
        // SAFETY: the memory is mapped, readable and writable (`new`), as long as the value, and aligned to its size.
        fits.then(|| unsafe { T::compare_exchange(self.start, old, new) })
    }

    /// Copies in as much as both have from `offset` on; returns how much.
    #[inline]
    pub fn write(self, offset: usize, from: &[u8]) -> usize {
        let part = self.part(offset, from.len());
        // SAFETY: the part is mapped and writable (`new`), and `from` is at least as long.
        unsafe { copy_in(part.start, &from[..part.len]) };
        part.len
    }
}

impl fmt::Debug for VolatileSlice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VolatileSlice({:p}, {:#x} bytes)", self.start, self.len)
    }
}

/// A number of bytes, or an address, as the host counts: hosts have 64 bits.
#[inline]
pub(crate) fn host_len(bytes: u64) -> usize {
    const { assert!(usize::BITS == 64) };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_never_reaches_beyond_its_end() {
        let mut memory = [7_u8; 16];
        // SAFETY: the array outlives the slice and is not otherwise used meanwhile.
        let slice = unsafe { VolatileSlice::new(memory.as_mut_ptr(), 12) };
        let mut into = [0; 8];
        assert_eq!(slice.read(8, &mut into), 4);
        assert_eq!(into, [7, 7, 7, 7, 0, 0, 0, 0]);
        assert_eq!(slice.write(10, &[1, 2, 3, 4]), 2);
        assert_eq!(slice.read(13, &mut into), 0);
        assert!(slice.part(12, 5).is_empty());
        assert_eq!(memory[10..], [1, 2, 7, 7, 7, 7]);
    }
}
