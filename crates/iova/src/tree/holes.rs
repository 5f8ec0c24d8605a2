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
    /// The greatest room of each kind of gap, child after child, if the node keeps them.
    pub(super) kinds: Option<Box<[u64]>>,
}

impl Rows {
    fn new(alignment: PageSize, height: u32) -> Self {
        let width = width(alignment);
        let kept = width > 1 && FANOUT.saturating_pow(height) >= width;
        Self {
            alignment,
            greatest: [0; FANOUT],
            kinds: kept.then(|| vec![0; FANOUT * width].into_boxed_slice()),
        }
    }

    pub(super) fn kinds(&self, slot: usize) -> Option<&[u64]> {
        let width = width(self.alignment);
        Some(&self.kinds.as_ref()?[slot * width..][..width])
    }

    fn clear(&mut self, slot: usize) -> Row<'_> {
        let width = width(self.alignment);
        let kinds = self
            .kinds
            .as_mut()
            .map(|kinds| &mut kinds[slot * width..][..width]);
        let mut row = Row {
            alignment: self.alignment,
            greatest: &mut self.greatest[slot],
            kinds,
        };
        *row.greatest = 0;
        if let Some(kinds) = &mut row.kinds {
            kinds.fill(0);
        }
        row
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
    kinds: Option<&'a mut [u64]>,
}

impl Row<'_> {
    /// Enters the gap `start..=last`.
    #[inline]
    fn enter(&mut self, start: u64, last: u64) {
        steps::add(1);
        // Most gaps are no longer than one before them; empty ones look long here.
        if self.kinds.is_none() && last.wrapping_sub(start) <= *self.greatest {
            return;
        }
        let mask = self.alignment.mask();
        let Some(rounded) = start.checked_add(mask).map(|sum| sum & !mask) else {
            return;
        };
        let Some(room) = last.checked_sub(rounded) else {
            return;
        };
        *self.greatest = room.max(*self.greatest);
        if let Some(kinds) = &mut self.kinds {
            let kind = &mut kinds[kind(self.alignment, rounded)];
            *kind = room.max(*kind);
        }
    }

    /// Enters the gaps below the child in `slot`.
    #[inline]
    fn merge(&mut self, rows: &Rows, slot: usize) {
        steps::add(1);
        *self.greatest = rows.greatest[slot].max(*self.greatest);
        if let Some(mine) = &mut self.kinds
            && let Some(kinds) = rows.kinds(slot)
        {
            steps::add(kinds.len());
            for (mine, kind) in mine.iter_mut().zip(kinds) {
                *mine = (*kind).max(*mine);
            }
        }
    }
}

/// The number of the kind of a gap whose start, rounded up, is `rounded`.
#[expect(clippy::cast_possible_truncation, reason = "it is less than a page")]
fn kind(alignment: PageSize, rounded: u64) -> usize {
    (rounded & PAGE.mask()) as usize >> alignment.log2()
}

impl Fit {
    /// Whether the request fits into a gap below the child in `slot`. "Yes" may be wrong if the node does not keep kinds.
    #[inline]
    fn some_gap(&self, rows: &Rows, slot: usize) -> bool {
        let greatest = rows.greatest[slot];
        if greatest < self.need || greatest - self.need >= self.offset {
            return greatest >= self.need;
        }
        rows.kinds(slot).is_none_or(|kinds| self.some_kind(kinds))
    }

    fn some_kind(&self, kinds: &[u64]) -> bool {
        steps::add(kinds.len());
        let starts = (0..).step_by(1 << self.alignment.log2());
        starts
            .zip(kinds)
            .any(|(start, &room): (u64, _)| room >= self.need + (self.offset & !start))
    }
}

impl<V> Tree<V> {
    /// The lowest gap that `fit` fits into, of the gaps clipped to the addresses from `from` on: its first and last
    /// address.
    pub(crate) fn first_fit(&mut self, fit: &Fit, from: u64) -> Option<(u64, u64)> {
        let mark = fit.alignment.bytes();
        if let Unique::Inner(inner) = self.root.as_mut()
            && self.stale & mark != 0
        {
            inner.refresh(fit.alignment);
        }
        self.stale &= !mark;
        self.search(fit, from)
    }

    /// The lowest addresses from `from` on that nothing covers: the first and the last. The tree has no areas.
    pub(crate) fn first_uncovered(&self, from: u64) -> Option<(u64, u64)> {
        self.search(&Fit::ANY, from)
    }

    fn search(&self, fit: &Fit, from: u64) -> Option<(u64, u64)> {
        let root = self.root.as_ref();
        if root.len() == 0 {
            return fit.found(from, u64::MAX);
        }
        if from < root.start()
            && let Some(gap) = fit.found(from, root.start() - 1)
        {
            return Some(gap);
        }
        root.search(fit, from, 0).or_else(|| {
            let start = root.last().checked_add(1)?;
            let uncovered = root.cover().total == 0;
            uncovered.then(|| fit.found(start.max(from), u64::MAX))?
        })
    }
}

impl<V> Shared<'_, V> {
    /// The lowest gap between two entries of this node that `fit` fits into, if `base` is the cover before the first
    /// entry. Nothing below `from` counts.
    fn search(&self, fit: &Fit, from: u64, base: i32) -> Option<(u64, u64)> {
        match self {
            Self::Leaf(leaf) => leaf.search(fit, from, base),
            Self::Inner(inner) => inner.search(fit, from, base),
        }
    }
}

impl<V> Unique<'_, V> {
    /// Enters the gaps between two entries of this node that have cover 0 into `row`, if `base` is the cover before the
    /// first entry. None has less.
    fn gather(self, base: i32, row: &mut Row<'_>) {
        match self {
            Self::Leaf(leaf) => leaf.gather(base, row),
            Self::Inner(inner) => inner.gather(base, row),
        }
    }
}

impl<V> Leaf<V> {
    fn search(&self, fit: &Fit, from: u64, base: i32) -> Option<(u64, u64)> {
        steps::add(1);
        self.gaps(self.rank(from).saturating_sub(1), base)
            .filter(|gap| gap.cover == 0)
            .find_map(|gap| fit.found(gap.start.max(from), gap.last))
    }

    fn gather(&self, base: i32, row: &mut Row<'_>) {
        for gap in self.gaps(0, base) {
            if gap.cover == 0 {
                row.enter(gap.start, gap.last);
            }
        }
    }
}

impl<V> Inner<V> {
    /// The place in [`rows`](Self::rows) of the rows for an alignment, which are made if there are none.
    fn rows_for(&mut self, alignment: PageSize) -> usize {
        let place = self
            .rows
            .iter()
            .position(|rows| rows.alignment == alignment);
        place.unwrap_or_else(|| {
            self.rows.push(Rows::new(alignment, self.height()));
            self.rows.len() - 1
        })
    }

    /// Brings the rows of this node and of those below it up to date.
    fn refresh(&mut self, alignment: PageSize) {
        steps::add(self.summaries.len());
        let place = self.rows_for(alignment);
        let rows = &mut self.rows[place];
        for (slot, child) in self.summaries.iter_mut().enumerate() {
            if child.stale & alignment.bytes() != 0 {
                child.stale &= !alignment.bytes();
                let mut row = rows.clear(slot);
                // The gaps of least cover are the ones to gather.
                self.children
                    .get_mut(slot)
                    .gather(-child.cover.least, &mut row);
            }
        }
    }

    fn gather(&mut self, base: i32, row: &mut Row<'_>) {
        self.refresh(row.alignment);
        let place = self.rows_for(row.alignment);
        let rows = &self.rows[place];
        let enough = row.kinds.is_none() || rows.kinds.is_some();
        let mut cover = base;
        for (slot, child) in self.summaries.iter().enumerate() {
            if child.cover.least_from(cover) == 0 {
                if enough {
                    row.merge(rows, slot);
                } else {
                    self.children.get_mut(slot).gather(cover, row);
                }
            }
            cover += child.cover.total;
        }
        let mut cover = base;
        for (child, next) in self.summaries.iter().zip(&self.starts[1..]) {
            cover += child.cover.total;
            if cover == 0 {
                row.enter(child.last.wrapping_add(1), next - 1);
            }
        }
    }

    fn search(&self, fit: &Fit, from: u64, base: i32) -> Option<(u64, u64)> {
        steps::add(self.summaries.len());
        let first = self.route(from);
        let rows = self
            .rows
            .iter()
            .find(|rows| rows.alignment == fit.alignment);
        let before = self.summaries.iter().take(first);
        let mut cover = base + before.map(|child| child.cover.total).sum::<i32>();
        let mut below: Option<u64> = None;
        for (slot, (&start, child)) in self
            .starts
            .iter()
            .zip(&self.summaries)
            .enumerate()
            .skip(first)
        {
            if cover == 0
                && let Some(last) = below
                && let Some(gap) = fit.found(last.wrapping_add(1).max(from), start - 1)
            {
                return Some(gap);
            }
            below = Some(child.last);
            // With a page offset, a request may fit into a gap clipped at `from` though not into all of it.
            let clipped = start <= from && fit.offset != 0;
            if child.cover.least_from(cover) == 0
                && (clipped || rows.is_none_or(|rows| fit.some_gap(rows, slot)))
                && let Some(gap) = self.child(slot).search(fit, from, cover)
            {
                return Some(gap);
            }
            cover += child.cover.total;
        }
        None
    }
}
