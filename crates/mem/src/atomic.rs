//! Integers that can be changed in one step in memory that others access.

#![expect(unsafe_code, reason = "atomic operations by address")]

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// An integer of 8, 16, 32 or 64 bits.
pub trait AtomicInteger: Copy + Default + PartialEq + sealed::Sealed {
    /// The sum, modulo the width.
    #[must_use]
    fn wrapping_add(self, other: Self) -> Self;

    /// From the bytes of memory, which are little-endian as on every bus that devices are on.
    #[must_use]
    fn from_le_slice(bytes: &[u8]) -> Self;

    /// Hands its bytes to `take`, as they are in memory.
    fn with_le_slice<R>(self, take: impl FnOnce(&[u8]) -> R) -> R;

    /// The value, read in one step.
    ///
    /// # Safety
    /// `at` is aligned to the integer's size and mapped and readable, and Rust holds no reference to it.
    unsafe fn load(at: *mut u8) -> Self;

    /// Replaces the value by `new` if it is `old`; returns what was there.
    ///
    /// # Safety
    /// `at` is aligned to the integer's size and mapped, readable and writable, and Rust holds no reference to it.
    unsafe fn compare_exchange(at: *mut u8, old: Self, new: Self) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! atomic_integer {
    ($($integer:ty, $atomic:ty;)*) => {$(
        impl sealed::Sealed for $integer {}

        impl AtomicInteger for $integer {
            fn wrapping_add(self, other: Self) -> Self {
                <$integer>::wrapping_add(self, other)
            }

            fn from_le_slice(bytes: &[u8]) -> Self {
                bytes.try_into().map_or(0, <$integer>::from_le_bytes)
            }

            fn with_le_slice<R>(self, take: impl FnOnce(&[u8]) -> R) -> R {
                take(&self.to_le_bytes())
            }

            #[inline]
            unsafe fn load(at: *mut u8) -> Self {
                // SAFETY: aligned, mapped and not referenced (caller); who else writes it does so in one step or in another process.
                let atomic = unsafe { <$atomic>::from_ptr(at.cast()) };
                <$integer>::from_le(atomic.load(Ordering::Acquire))
            }

            unsafe fn compare_exchange(at: *mut u8, old: Self, new: Self) -> Self {
                // SAFETY: aligned, mapped and not referenced (caller); who else accesses it does so atomically or in another
                // process.
                let atomic = unsafe { <$atomic>::from_ptr(at.cast()) };
                let found = atomic.compare_exchange(
                    old.to_le(),
                    new.to_le(),
                    Ordering::AcqRel,
                    Ordering::Acquire,
                );
                <$integer>::from_le(found.unwrap_or_else(|found| found))
            }
        }
    )*};
}

atomic_integer! {
    u8, AtomicU8;
    u16, AtomicU16;
    u32, AtomicU32;
    u64, AtomicU64;
}
