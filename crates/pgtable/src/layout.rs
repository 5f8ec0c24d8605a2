//! How a sequence of physical ranges is cut into leaves.

use core::slice;

use swiommu_addr::{PaRange, PageSize, PageSizes};

/// A position in a sequence of physical ranges that are mapped one after the other, and the rule for the leaf there.
#[derive(Clone, Debug)]
pub(crate) struct Layout<'a> {
    sizes: PageSizes,
    smallest: PageSize,
    /// The input address of the position.
    input: u64,
    /// Where it leads.
    pa: u64,
    /// The bytes from here to the end of the current range, a multiple of the smallest size; 0 only at the very end.
    rest: u64,
    later: slice::Iter<'a, PaRange>,
}

/// Consecutive leaves of one size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) size: PageSize,
    /// At least 1.
    pub(crate) count: u64,
    pub(crate) from: From,
}

/// Where the leaves of a piece come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum From {
    /// They follow each other in one range.
    OneRange,
    /// Each is a range.
    RangeEach,
}

impl Piece {
    /// How much the leaves map.
    #[inline]
    pub(crate) fn bytes(self) -> u64 {
        self.count << self.size.log2()
    }
}

impl<'a> Layout<'a> {
    /// Starts at `input`, with the first of `ranges`. All addresses are multiples of the smallest of `sizes`, and `None` is
    /// for a set without any.
    #[inline]
    pub(crate) fn new(sizes: PageSizes, input: u64, ranges: &'a [PaRange]) -> Option<Self> {
        let smallest = sizes.smallest()?;
        let later = ranges.iter();
        let mut layout = Self {
            sizes,
            smallest,
            input,
            pa: 0,
            rest: 0,
            later,
        };
        layout.next_range();
        Some(layout)
    }

    #[inline]
    pub(crate) fn input(&self) -> u64 {
        self.input
    }

    #[inline]
    pub(crate) fn pa(&self) -> u64 {
        self.pa
    }

    /// The leaf at the position: the largest that both addresses are aligned to and that the range fills.
    #[inline]
    pub(crate) fn size(&self) -> PageSize {
        if self.rest == self.smallest.bytes() {
            return self.smallest;
        }
        let fits = self.sizes.largest_dividing(self.input | self.pa, self.rest);
        fits.unwrap_or(self.smallest)
    }

    /// The leaves of `size`, that of the leaf at the position, that follow each other up to `last`, until a larger one
    /// becomes possible or the range ends.
    #[inline]
    pub(crate) fn piece(&self, size: PageSize, last: u64) -> Piece {
        let room = ((last - self.input) >> size.log2()) + 1;
        if self.rest == self.smallest.bytes() {
            let count = self.ranges_of_one_leaf(room);
            return Piece {
                size,
                count,
                from: From::RangeEach,
            };
        }
        let larger = PageSizes::from_bitmap(self.sizes.bitmap() & !(size.mask() << 1 | 1));
        let mut bytes = self.rest;
        if let Some(next) = larger.smallest()
            && (self.input ^ self.pa) & next.mask() == 0
        {
            let before = self.input.wrapping_neg() & next.mask();
            if before != 0 && before < self.rest && self.rest - before >= next.bytes() {
                bytes = before;
            }
        }
        let count = room.min(bytes >> size.log2());
        Piece {
            size,
            count,
            from: From::OneRange,
        }
    }

    /// How many ranges from the current one on are one smallest leaf each, but no more than `most`.
    #[inline]
    fn ranges_of_one_leaf(&self, most: u64) -> u64 {
        let one = self.smallest.mask();
        let mut count = 1;
        for range in self.later.as_slice() {
            if count == most || range.len_minus_one() != one {
                break;
            }
            count += 1;
        }
        count
    }

    /// Moves on by a piece.
    #[inline]
    pub(crate) fn skip(&mut self, piece: Piece) {
        match piece.from {
            From::OneRange => self.advance(piece.bytes()),
            From::RangeEach => {
                for _ in 0..piece.count {
                    self.advance(piece.size.bytes());
                }
            }
        }
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
