//! One cached translation, in three words.

use swiommu_addr::{Address, Iova, IovaRange, Pa, PageSize};
use swiommu_pgtable::Access;

use super::Tag;
use crate::Translated;

/// The words of an entry keep 12 bits below the page number.
const SMALLEST: PageSize = PageSize::SIZE_4K;

/// What a model notes about an entry: six bits whose meaning is its own, such as "global".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Marks(u8);

impl Marks {
    /// No mark.
    pub const NONE: Self = Self(0);

    /// The mark with this number, 0 to 5.
    ///
    /// # Panics
    /// When there is no such mark: a constant of the program, not input.
    pub const fn number(number: u8) -> Self {
        assert!(number < 6, "an entry has six marks");
        Self(1 << number)
    }

    /// These marks and `others`.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether all of `others` are among these.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether some of `others` are among these.
    pub const fn intersects(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

/// Which IOVAs an entry is for: the first one, and below 4 KiB the exponent of the page's size in bits 1 to 6. Bit 0 is set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Page(u64);

/// Picks the pages of one size: the bits that an address has in common with the page, and below 4 KiB those that all of them have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Picker(pub(super) u64);

impl Picker {
    /// Picks what is never cached.
    pub(super) const NOTHING: Self = Self(1);

    /// Of pages of `2^log2` bytes, at least 4 KiB.
    #[inline]
    pub(super) fn of_size(log2: u32) -> Self {
        Self(u64::MAX << log2 | u64::from(log2) << 1 | 1)
    }

    /// The page that `iova` lies in.
    #[inline]
    pub(super) fn page(self, iova: Iova) -> Page {
        Page((iova.get() | SMALLEST.mask()) & self.0)
    }
}

impl Page {
    /// The page of `2^log2` bytes, at least 4 KiB, that `iova` lies in.
    #[inline]
    pub(super) fn of(iova: Iova, log2: u32) -> Self {
        Picker::of_size(log2).page(iova)
    }

    /// The page of a word, if it is one.
    pub(super) fn from_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Self(word))
    }

    #[inline]
    pub(super) fn word(self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) fn size(self) -> PageSize {
        PageSize::from_log2(bits(self.word() >> 1))
    }

    pub(super) fn range(self) -> IovaRange {
        let first = Iova::new(self.word()).align_down(SMALLEST);
        IovaRange::from_len(first, 1)
            .map_or_else(IovaRange::full, |byte| byte.align_out(self.size()))
    }
}

/// Where a page leads: the physical address, the permitted access in bits 0 to 5, the marks in bits 6 to 11.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Target(pub(super) u64);

impl Target {
    fn new(page: Pa, access: Access, marks: Marks) -> Self {
        Self(page.get() | u64::from(access.bits()) | u64::from(marks.0) << 6)
    }

    #[inline]
    pub(super) fn page(self) -> Pa {
        Pa::new(self.0 & !SMALLEST.mask())
    }

    #[inline]
    pub(super) fn access(self) -> Access {
        Access::from_bits_truncate(bits(self.0))
    }

    #[inline]
    pub(super) fn marks(self) -> Marks {
        Marks(bits(self.0 >> 6))
    }
}

/// The lowest six bits.
#[inline]
fn bits(word: u64) -> u8 {
    (word & 0x3f) as u8
}

/// One cached translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) tag: Tag,
    pub(super) page: Page,
    pub(super) target: Target,
}

impl Entry {
    /// `None` for a page that is smaller than 4 KiB or not aligned to it.
    pub(super) fn new(tag: Tag, iova: Iova, translated: &Translated, marks: Marks) -> Option<Self> {
        let Translated { page, size, access } = *translated;
        (size >= SMALLEST && page.is_aligned(SMALLEST)).then(|| Self {
            tag,
            page: Page::of(iova, size.log2().into()),
            target: Target::new(page, access, marks),
        })
    }
}
