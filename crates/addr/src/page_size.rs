//! A power of two, and the arithmetic that goes with it.

use core::fmt;

/// The size of a page, leaf or granule: a power of two from 1 byte to 2^63 bytes.
///
/// Also used for alignments, which are the same set of numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize {
    log2: u8,
}

impl PageSize {
    /// One byte: the alignment that allows everything.
    pub const BYTE: Self = Self::from_log2(0);
    /// 2 KiB, the granule of the IOMMUFD selftest's mock format.
    pub const SIZE_2K: Self = Self::from_log2(11);
    /// 4 KiB, the page of the supported hosts (`PAGE_SIZE`).
    pub const SIZE_4K: Self = Self::from_log2(12);
    /// 2 MiB, the PMD huge page of x86-64.
    pub const SIZE_2M: Self = Self::from_log2(21);
    /// 1 GiB.
    pub const SIZE_1G: Self = Self::from_log2(30);

    /// The size of 2^`log2` bytes.
    ///
    /// # Panics
    /// When `log2` is above 63: a constant of the program, not input.
    #[inline]
    pub const fn from_log2(log2: u8) -> Self {
        assert!(log2 < 64, "a page size is at most 2^63 bytes");
        Self { log2 }
    }

    /// The size of `bytes` bytes, or `None` when that is not a power of two.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "trailing_zeros of a u64 is at most 64"
    )]
    pub const fn from_bytes(bytes: u64) -> Option<Self> {
        if bytes.is_power_of_two() {
            Some(Self {
                log2: bytes.trailing_zeros() as u8,
            })
        } else {
            None
        }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.log2
    }

    /// The exponent: the size is 2^`log2` bytes.
    pub const fn log2(self) -> u8 {
        self.log2
    }

    /// The bits of an address below this size: `bytes() - 1`.
    pub const fn mask(self) -> u64 {
        self.bytes() - 1
    }

    /// Whether a length in bytes is a whole number of pages of this size.
    pub const fn divides(self, bytes: u64) -> bool {
        bytes & self.mask() == 0
    }
}

impl fmt::Display for PageSize {
    /// In the manuals' manner: `4K`, `2M`, `1G`, `2048T`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shift, unit) = match self.log2 {
            0..10 => (0, "B"),
            10..20 => (10, "K"),
            20..30 => (20, "M"),
            30..40 => (30, "G"),
            _ => (40, "T"),
        };
        write!(f, "{}{unit}", self.bytes() >> shift)
    }
}

impl fmt::Debug for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageSize({self})")
    }
}
