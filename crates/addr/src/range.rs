//! Inclusive ranges of addresses.

use core::fmt;

use crate::{Address, Gpa, Hva, Iova, Pa, PageSize};

/// The addresses `start..=last`; never empty, and it may end at 2^64-1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddrRange<A> {
    start: A,
    last: A,
}

/// A range of I/O virtual addresses.
pub type IovaRange = AddrRange<Iova>;
/// A range of guest physical addresses.
pub type GpaRange = AddrRange<Gpa>;
/// A range of physical addresses.
pub type PaRange = AddrRange<Pa>;
/// A range of virtual addresses of a process.
pub type HvaRange = AddrRange<Hva>;

impl<A: Address> AddrRange<A> {
    /// The range `start..=last`, or `None` when `last` lies below `start`.
    pub fn new(start: A, last: A) -> Option<Self> {
        (start <= last).then_some(Self { start, last })
    }

    /// The `len` bytes from `start`, or `None` when `len` is 0 or the range would pass 2^64-1.
    pub fn from_len(start: A, len: u64) -> Option<Self> {
        let last = start.checked_add(len.checked_sub(1)?)?;
        Some(Self { start, last })
    }

    /// All 2^64 addresses.
    #[must_use]
    pub fn full() -> Self {
        Self {
            start: A::new(0),
            last: A::new(u64::MAX),
        }
    }

    /// The first address.
    pub fn start(self) -> A {
        self.start
    }

    /// The last address, which belongs to the range.
    pub fn last(self) -> A {
        self.last
    }

    /// The length in bytes, or `None` for all 2^64 of them.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(self) -> Option<u64> {
        self.len_minus_one().checked_add(1)
    }

    /// The length in bytes less one, which always fits.
    pub fn len_minus_one(self) -> u64 {
        self.last.get() - self.start.get()
    }

    /// The first address after the range, or `None` when the range ends at 2^64-1.
    pub fn end(self) -> Option<A> {
        self.last.checked_add(1)
    }

    /// Whether `address` lies in the range.
    pub fn contains(self, address: A) -> bool {
        self.start <= address && address <= self.last
    }

    /// Whether all of `other` lies in the range.
    pub fn contains_range(self, other: Self) -> bool {
        self.start <= other.start && other.last <= self.last
    }

    /// Whether the two ranges share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.start <= other.last && other.start <= self.last
    }

    /// The addresses in both ranges.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.last.min(other.last))
    }

    /// Whether the start and the length are multiples of `size`.
    pub fn is_aligned(self, size: PageSize) -> bool {
        self.start.is_aligned(size) && self.last.get() & size.mask() == size.mask()
    }

    /// The smallest range of whole pages of `size` that covers this one.
    #[must_use]
    pub fn align_out(self, size: PageSize) -> Self {
        Self {
            start: self.start.align_down(size),
            last: A::new(self.last.get() | size.mask()),
        }
    }
}

impl<A: Address> fmt::Display for AddrRange<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.start, self.last)
    }
}

impl<A: Address> fmt::Debug for AddrRange<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..={}", self.start, self.last)
    }
}
