//! An array that takes memory only where it is used.

#![expect(unsafe_code, reason = "maps memory and refers to it as an array")]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::needs_drop;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use zerocopy::FromZeros;

use crate::PAGE;

/// Elements that are zero at first. The host gives memory for a page of them when one is first written; until then there is only
/// an address. They never move, so an array may be made as long as it can ever become.
pub struct Sparse<T> {
    start: NonNull<T>,
    len: usize,
    owned: PhantomData<T>,
}

// SAFETY: the array owns its elements, as a `Box<[T]>` does.
unsafe impl<T: Send> Send for Sparse<T> {}
// SAFETY: as for `Send`: a shared array gives shared elements, and nothing else.
unsafe impl<T: Sync> Sync for Sparse<T> {}

impl<T: FromZeros> Sparse<T> {
    /// An array of `len` elements, all zero.
    ///
    /// # Errors
    /// The host has no such range of addresses.
    pub fn new(len: usize) -> io::Result<Self> {
        const {
            assert!(
                align_of::<T>() as u64 <= PAGE.bytes(),
                "mappings are aligned to pages"
            );
            assert!(!needs_drop::<T>(), "elements are not dropped one by one");
        }
        let bytes = len.checked_mul(size_of::<T>());
        let start = match bytes.filter(|&bytes| isize::try_from(bytes).is_ok()) {
            None => return Err(io::ErrorKind::OutOfMemory.into()),
            Some(0) => NonNull::dangling(),
            Some(bytes) => {
                // SAFETY: a new mapping at an address that the kernel chooses touches nothing that exists.
                let start = unsafe {
                    mmap_anonymous(
                        ptr::null_mut(),
                        bytes,
                        ProtFlags::READ | ProtFlags::WRITE,
                        MapFlags::PRIVATE | MapFlags::NORESERVE,
                    )?
                };
                NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?
            }
        };
        Ok(Self {
            start,
            len,
            owned: PhantomData,
        })
    }
}

impl<T> Deref for Sparse<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `new` has mapped `len` elements, readable and aligned, that are valid as the zeroes that they began as; they
        // stay mapped until the drop, and nobody refers to them but through this array. Without elements, `start` is dangling
        // and aligned.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Sparse<T> {
    fn drop(&mut self) {
        let bytes = size_of_val::<[T]>(self);
        if bytes != 0 {
            // SAFETY: it is the mapping that `new` made, and nobody borrows from it any more. Its elements need no drop.
            let _ = unsafe { munmap(self.start.as_ptr().cast(), bytes) };
        }
    }
}

impl<T> fmt::Debug for Sparse<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sparse")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn more_than_there_is_memory_for_can_be_had_and_is_zero() {
        let words = Sparse::<AtomicU64>::new(1 << 36).unwrap();
        assert_eq!(words.len(), 1 << 36);
        for at in [0, 511, 512, 1 << 30, (1 << 36) - 1] {
            assert_eq!(words[at].swap(at as u64 + 1, Ordering::Relaxed), 0);
        }
        assert_eq!(words[512].load(Ordering::Relaxed), 513);
        assert_eq!(words[513].load(Ordering::Relaxed), 0);
    }

    #[test]
    fn no_elements_take_no_addresses_and_too_many_are_refused() {
        assert!(Sparse::<AtomicU64>::new(0).unwrap().is_empty());
        for len in [usize::MAX, usize::MAX / 8, 1 << 58] {
            assert!(Sparse::<AtomicU64>::new(len).is_err(), "{len:#x}");
        }
    }
}
