//! How a sequence of physical ranges is cut into leaves.

use core::slice;

use swiommu_addr::{PaRange, PageSize, PageSizes};

/// A position in a sequence of physical ranges that are mapped one after the other, and the rule for the leaf there.
#[derive(Clone, Debug)]
pub(crate) struct Layout<'a> {
    sizes: PageSizes,
    /// The input address of the position.
    input: u64,
    /// Where it leads.
    pa: u64,
    /// The bytes from here to the end of the current range; 0 only at the end of the last.
    rest: u64,
    later: slice::Iter<'a, PaRange>,
}

/// Consecutive leaves of one size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) size: PageSize,
    /// At least 1.
    pub(crate) count: u64,
}

impl<'a> Layout<'a> {
    /// Starts at `input`, with the first of `ranges`.
    #[inline]
    pub(crate) fn new(sizes: PageSizes, input: u64, ranges: &'a [PaRange]) -> Self {
        let mut layout = Self {
            sizes,
            input,
            pa: 0,
            rest: 0,
            later: ranges.iter(),
        };
        layout.next_range();
        layout
    }

    pub(crate) fn input(&self) -> u64 {
        self.input
    }

    pub(crate) fn pa(&self) -> u64 {
        self.pa
    }

    /// The leaf at the position, the largest that both addresses are aligned to and that the range fills; and how many of
    /// that size follow each other until a larger one becomes possible or the range ends.
    ///
    /// `None` at the end, or where no leaf fits.
    #[inline]
    pub(crate) fn piece(&self) -> Option<Piece> {
        let size = self
            .sizes
            .largest_dividing(self.input | self.pa, self.rest)?;
        let larger = PageSizes::from_bitmap(self.sizes.bitmap() & !(size.mask() << 1 | 1));
        let mut bytes = self.rest;
        if let Some(next) = larger.smallest()
            && (self.input ^ self.pa) & next.mask() == 0
        {
            let before = self.input.wrapping_neg() & next.mask();
            if before != 0 && self.rest - before.min(self.rest) >= next.bytes() {
                bytes = before;
            }
        }
        Some(Piece {
            size,
            count: bytes >> size.log2(),
        })
    }

    /// Moves on by `bytes`, which must not exceed the current range.
    #[inline]
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.input = self.input.wrapping_add(bytes);
        self.pa = self.pa.wrapping_add(bytes);
        self.rest -= bytes;
        if self.rest == 0 {
            self.next_range();
        }
    }

    #[inline]
    fn next_range(&mut self) {
        if let Some(range) = self.later.next() {
            self.pa = range.start().get();
            // A range of all 2^64 bytes exceeds every format's output addresses and is refused before.
            self.rest = range.len().unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests;
