//! The search for the lowest gap that a request fits into.
//!
//! # Rows
//!
//! A request of alignment A and page offset `off` starts, in a gap, at `h | off`, where h is the gap's start rounded up to A
//! (see [`Fit`]). Call `last - h` the *room* of the gap for A. The bytes between h and `h | off` are `off & !h` in number;
//! so a request that needs n bytes after its first fits exactly if the room is at least n + (off & !h).
//!
//! An inner node keeps a *row* per child and alignment with the greatest room of the gaps between the child's entries. If
//! `off` is 0, as it is for whole pages and for all alignments from the page size P on, the row says exactly whether the request
//! fits into a gap of the child. If not, it says "no" below n and "yes" from n + off on, and between the two it depends.
//! `off` being a multiple of A and less than P, `off & !h` depends only on h mod P, which is one of w = P/A multiples of A.
//! So from a certain height on, the row also has the greatest room of each of these w kinds of gap, and that settles it.
//!
//! # Bounds
//!
//! Let n be the number of entries, F = [`FANOUT`], and H ≤ 1 + log(n)/log(F/4) the height of the tree.
//!
//! *Search.* The search follows the path to the place where it begins, and looks at the rows of at most F children in each node of
//! it. It goes down from there into one child, and from that into one child each, since exact rows do not mislead. If `off` is
//! 0, these are O(F·H) steps. If not, looking at a row takes up to w of them; and rows are only exact in nodes with room for
//! w entries below each child, so where the exact ones end there are at most F·w gaps, of which each may have to be tried:
//! O(F·w·H) steps. Either way this is O(log n) for a given alignment, whatever the gaps are like.
//!
//! *Upkeep.* A change of the tree marks the rows on its path as stale, for all alignments at once: a bit for each in a word.
//! The rows of children that are moved by a split or join are marked as well; but a node is split or joined only after at
//! least F/4 changes in it, so that is O(H) marks for a change, amortised. A search first removes the marks of its alignment. One
//! takes O(F) steps, or O(F·w). As each mark was made by a change of the tree, and is removed once for each alignment in
//! use, k changes and searches take O(k·H) times that together. One search after many changes may take long.

use alloc::boxed::Box;
use alloc::vec;

use swiommu_addr::PageSize;

use super::inner::Inner;
use super::leaf::Leaf;
use super::node::{Shared, Unique};
use super::{FANOUT, Tree};
use crate::PAGE;
use crate::placement::Fit;
use crate::steps;

/// The rows of an inner node's children for one alignment.
pub(super) struct Rows {
    pub(super) alignment: PageSize,
    /// The greatest room, per child; 0 also where there is no gap.
    pub(super) greatest: [u64; FANOUT],
    /// The greatest room of each kind of gap, by the number of its multiple, child after child. Empty if not kept.
    pub(super) kinds: Box<[u64]>,
}

impl Rows {
    fn new(alignment: PageSize, height: u32) -> Self {
        let width = width(alignment);
        let kept = width > 1 && FANOUT.saturating_pow(height) >= width;
        let kinds = if kept { FANOUT * width } else { 0 };
        Self {
            alignment,
            greatest: [0; FANOUT],
            kinds: vec![0; kinds].into_boxed_slice(),
        }
    }

    fn kinds(&self, slot: usize) -> &[u64] {
        let width = self.kinds.len() / FANOUT;
        &self.kinds[slot * width..][..width]
    }

    fn row_mut(&mut self, slot: usize) -> Row<'_> {
        let width = self.kinds.len() / FANOUT;
        Row {
            alignment: self.alignment,
            greatest: &mut self.greatest[slot],
            kinds: &mut self.kinds[slot * width..][..width],
        }
    }
}

/// How many kinds of gap there are.
fn width(alignment: PageSize) -> usize {
    1 << PAGE.log2().saturating_sub(alignment.log2())
}

/// One row, to be made.
struct Row<'a> {
    alignment: PageSize,
    greatest: &'a mut u64,
    kinds: &'a mut [u64],
}

impl Row<'_> {
    fn clear(&mut self) {
        *self.greatest = 0;
        self.kinds.fill(0);
    }

    /// Enters the gap `start..=last`.
    fn enter(&mut self, start: u64, last: u64) {
        steps::add(1);
        let mask = self.alignment.mask();
        let Some(rounded) = start.checked_add(mask).map(|sum| sum & !mask) else {
            return;
        };
        let Some(room) = last.checked_sub(rounded) else {
            return;
        };
        *self.greatest = room.max(*self.greatest);
        let kinds = self.kinds.iter_mut();
        let mut numbered = (0..PAGE.bytes()).step_by(1 << self.alignment.log2().min(63)).zip(kinds);
        if let Some((_, kind)) = numbered.find(|(number, _)| *number == rounded & PAGE.mask()) {
            *kind = room.max(*kind);
        }
    }
}
