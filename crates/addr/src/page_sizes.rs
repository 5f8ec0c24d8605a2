//! The set of leaf sizes that a page table offers.

use core::fmt;

use crate::PageSize;

/// A set of page sizes, one bit per exponent: the kernel's `pgsize_bitmap`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PageSizes(u64);

impl PageSizes {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// Every power of two.
    pub const ALL: Self = Self(u64::MAX);

    /// The set with this bitmap: bit n stands for 2^n bytes.
    pub const fn from_bitmap(bitmap: u64) -> Self {
        Self(bitmap)
    }

    /// The bitmap: bit n stands for 2^n bytes.
    pub const fn bitmap(self) -> u64 {
        self.0
    }

    /// Every power of two from `smallest` to `largest`, both included.
    pub const fn between(smallest: PageSize, largest: PageSize) -> Self {
        Self((largest.bytes() | largest.mask()) & !smallest.mask())
    }

    /// This set and `size`.
    #[must_use]
    pub const fn with(self, size: PageSize) -> Self {
        Self(self.0 | size.bytes())
    }

    /// The sizes in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `size` is in the set.
    pub const fn contains(self, size: PageSize) -> bool {
        self.0 & size.bytes() != 0
    }

    /// The smallest size, or `None` of the empty set.
    pub const fn smallest(self) -> Option<PageSize> {
        PageSize::from_bytes(self.0 & self.0.wrapping_neg())
    }

    /// The largest size that is not larger than `limit` and divides each of `bits` (addresses and lengths, OR-ed together).
    #[expect(
        clippy::cast_possible_truncation,
        reason = "ilog2 of a u64 is at most 63"
    )]
    #[inline]
    pub const fn largest_dividing(self, bits: u64, limit: u64) -> Option<PageSize> {
        if limit == 0 {
            return None;
        }
        let up_to_limit = u64::MAX >> limit.leading_zeros();
        let aligned = if bits == 0 {
            u64::MAX
        } else {
            bits ^ (bits - 1)
        };
        let fit = self.0 & up_to_limit & aligned;
        if fit == 0 {
            None
        } else {
            Some(PageSize::from_log2(fit.ilog2() as u8))
        }
    }

    /// The sizes, smallest first.
    pub fn iter(self) -> impl Iterator<Item = PageSize> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let size = Self(rest).smallest()?;
            rest &= !size.bytes();
            Some(size)
        })
    }
}

impl fmt::Debug for PageSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
