//! The search for the lowest gap that a request fits into.
//!
//! # Rows
//!
//! Where a request of alignment A and page offset `off` starts in a gap depends on the gap: at `h | off`, where h is the gap's
//! start rounded up to A (see [`Fit`]). A is a power of two and divides `off`, and `off` is less than the page size P. So the
//! number of bytes lost between h and `h | off` is `off & !h`, which depends on h mod P only: a multiple of A below P.
//!
//! A *row* for the alignment A therefore has one number per such multiple, w = max(1, P/A) of them. Number r is the
//! greatest `last - h`, its *room*, over the gaps of a subtree with h mod P = r·A. A request that needs n bytes after its
//! first fits into one of the gaps behind number r exactly if that number is at least n + (off & !(r·A)). So a row tells
//! whether a request of its alignment fits into some gap of a subtree, for any length and any offset, with neither false
//! hope nor false despair. For A ≥ P a row is a single number.
//!
//! # Bounds
//!
//! Let n be the number of entries, H ≤ 1 + log₈ n the height of the tree and F = [`FANOUT`].
//!
//! A row is kept per child and alignment, where the child has room for at least w/F·F entries, that is from height
//! ⌈log F (w)⌉ on; for A ≥ 128 that means everywhere. A search goes down one path to the place where it begins. Beside that
//! path it looks at the rows of at most F children a level, and goes down into one of them: since rows are exact, it finds
//! its gap there. Below the lowest row there are less than F·w gaps, which are tried one by one. That makes
//! O(F·w·H) steps, whatever the gaps look like: O(log n) for a given alignment.
//!
//! Rows are computed when a search wants them. A change of the tree marks the rows of all alignments on one path as stale,
//! and of the neighbours which a split or join moved, O(F·H) if all nodes on the path are split. But a node is only split or
//! joined after at least F/4 changes to it, so that is O(H) marks per change, amortised. A mark is a bit in a word that is in
//! the cache anyway. A search removes the marks of its alignment and pays O(F·w) for each. As each mark was made by one
//! change, the cost of removing it can be charged to that change: O(F·w·H) per change and alignment in use.
//! So k changes and searches together take O(k·log n) steps, although one search after many changes may take long.

use alloc::boxed::Box;
use alloc::vec;

use swiommu_addr::PageSize;

use super::{FANOUT, Tree};
use super::inner::Inner;
use super::leaf::Leaf;
use super::node::{Shared, Unique};
use crate::PAGE;
use crate::placement::Fit;
use crate::steps;

/// The rows of an inner node's children for one alignment.
pub(super) struct Rows {
    alignment: PageSize,
    rooms: Box<[u64]>,
}

/// How many numbers a row has.
fn width(alignment: PageSize) -> usize {
    1 << PAGE.log2().saturating_sub(alignment.log2())
}

/// Enters the gap `start..=last` into a row.
fn enter(row: &mut [u64], alignment: PageSize, start: u64, last: u64) {
    steps::add(1);
    let Some(rounded) = start.checked_add(alignment.mask()) else {
        return;
    };
    let start = rounded & !alignment.mask();
    let Some(room) = last.checked_sub(start) else {
        return;
    };
    let number = (start & PAGE.mask()) >> alignment.log2();
    let number = &mut row[usize::try_from(number).unwrap_or(0)];
    *number = room.max(*number);
}

impl Fit {
    /// Whether the request fits into one of the gaps behind a row.
    fn some_gap(&self, row: &[u64]) -> bool {
        steps::add(row.len());
        (0..).zip(row).any(|(number, &room)| {
            let rounded: u64 = number << self.alignment.log2();
            room >= self.need + (self.offset & !rounded)
        })
    }
}

impl<V> Tree<V> {
    /// The lowest gap that `fit` fits into, of the gaps clipped to the addresses from `from` on: its first and last
    /// address.
    pub(crate) fn first_fit(&mut self, fit: &Fit, from: u64) -> Option<(u64, u64)> {
        if let Unique::Inner(inner) = self.root.as_mut()
            && self.stale & fit.alignment.bytes() != 0
        {
            inner.refresh(fit.alignment);
        }
        self.stale &= !fit.alignment.bytes();
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
    fn gather(self, alignment: PageSize, base: i32, row: &mut [u64]) {
        match self {
            Self::Leaf(leaf) => leaf.gather(alignment, base, row),
            Self::Inner(inner) => inner.gather(alignment, base, row),
        }
    }
}

impl<V> Leaf<V> {
    fn search(&self, fit: &Fit, from: u64, base: i32) -> Option<(u64, u64)> {
        steps::add(1);
        let first = self.rank(from).saturating_sub(1);
        self.gaps(first, base)
            .filter(|gap| gap.cover == 0)
            .find_map(|gap| fit.found(gap.start.max(from), gap.last))
    }

    fn gather(&self, alignment: PageSize, base: i32, row: &mut [u64]) {
        for gap in self.gaps(0, base) {
            if gap.cover == 0 {
                enter(row, alignment, gap.start, gap.last);
            }
        }
    }
}

impl<V> Inner<V> {
    /// Whether this node keeps rows of `width` numbers: whether at least as many entries have room below a child.
    fn keeps_rows(&self, width: usize) -> bool {
        FANOUT.saturating_pow(self.height()) >= width
    }

    /// The rows of all children, one after the other, as of the last [`refresh`](Self::refresh).
    fn rows(&self, alignment: PageSize) -> Option<&[u64]> {
        let rows = self.rows.iter().find(|rows| rows.alignment == alignment)?;
        Some(&rows.rooms)
    }

    /// Brings the rows of this node and of those below it up to date.
    fn refresh(&mut self, alignment: PageSize) {
        let width = width(alignment);
        if !self.keeps_rows(width) {
            return;
        }
        if self.rows(alignment).is_none() {
            let rooms = vec![0; FANOUT * width].into_boxed_slice();
            self.rows.push(Rows { alignment, rooms });
        }
        let rows = self.rows.iter_mut().find(|rows| rows.alignment == alignment);
        let rows = rows.into_iter().flat_map(|rows| rows.rooms.chunks_exact_mut(width));
        let children = self.summaries.iter_mut().enumerate();
        for ((slot, child), row) in children.zip(rows) {
            if child.stale & alignment.bytes() != 0 {
                child.stale &= !alignment.bytes();
                row.fill(0);
                // The gaps of least cover are the ones to gather.
                let node = self.children.get_mut(slot);
                node.gather(alignment, -child.cover.least, row);
            }
        }
    }

    fn gather(&mut self, alignment: PageSize, base: i32, row: &mut [u64]) {
        steps::add(1);
        self.refresh(alignment);
        let rows = self.rows.iter().find(|rows| rows.alignment == alignment);
        let mut rows = rows.map(|rows| rows.rooms.chunks_exact(row.len()));
        let mut cover = base;
        for slot in 0..self.starts().len() {
            let child = self.summaries[slot];
            let below = rows.as_mut().and_then(Iterator::next);
            if child.cover.least_from(cover) == 0 {
                match below {
                    Some(below) => merge(row, below),
                    None => self.children.get_mut(slot).gather(alignment, cover, row),
                }
            }
            cover += child.cover.total;
            if cover == 0
                && let Some((start, last)) = self.gap_after(slot)
            {
                enter(row, alignment, start, last);
            }
        }
    }

    /// The gap between the child in `slot` and the next.
    fn gap_after(&self, slot: usize) -> Option<(u64, u64)> {
        let next = self.starts().get(slot + 1)?;
        Some((self.summaries[slot].last.wrapping_add(1), next - 1))
    }

    fn search(&self, fit: &Fit, from: u64, base: i32) -> Option<(u64, u64)> {
        steps::add(1);
        let first = self.route(from);
        let width = width(fit.alignment);
        let rows = self.rows(fit.alignment);
        let mut cover = base + self.summaries[..first].iter().map(|c| c.cover.total).sum::<i32>();
        for (slot, child) in self.summaries.iter().enumerate().skip(first) {
            // What is above `from` in its own child is not all that the row speaks of.
            let begun = self.starts()[slot] <= from;
            let worth = || {
                rows.is_none_or(|rows| fit.some_gap(&rows[slot * width..][..width]))
                    && child.cover.least_from(cover) == 0
            };
            if (begun || worth())
                && let Some(gap) = self.child(slot).search(fit, from, cover)
            {
                return Some(gap);
            }
            cover += child.cover.total;
            if cover == 0
                && let Some((start, last)) = self.gap_after(slot)
                && let Some(gap) = fit.found(start.max(from), last)
            {
                return Some(gap);
            }
        }
        None
    }
}

/// Enters what is in the row `from` into `row`.
fn merge(row: &mut [u64], from: &[u64]) {
    steps::add(row.len());
    for (number, from) in row.iter_mut().zip(from) {
        *number = (*number).max(*from);
    }
}
