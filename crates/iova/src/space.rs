//! One IOVA space: areas, reserved intervals and the allow-list together.

use alloc::vec::Vec;
use core::fmt;
use core::iter;

use swiommu_addr::{Iova, IovaRange};

use crate::allow_list::AllowList;
use crate::placement::{PlaceError, Request};
use crate::reserved::Reserved;
use crate::tree::{Area, Tree};

/// The IOVA space of one IOAS, with values `V` for its areas and owners `O` of its reserved intervals. See the
/// [crate](crate) for an example.
pub struct Space<V, O> {
    /// The areas, and the cover by all reserved intervals.
    tree: Tree<V>,
    reserved: Reserved<O>,
    allowed: AllowList,
    /// See [`AllowList::windows`].
    windows: Vec<IovaRange>,
}

/// What is in the way of an area.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InsertError {
    /// An address is reserved: the first such is given (`EINVAL`). Told even if areas are in the way as well.
    #[error("{0} is reserved")]
    Reserved(Iova),
    /// An area: the first such is given (`EEXIST`).
    #[error("the area {0} is in the way")]
    Area(IovaRange),
}

/// What is in the way of a reserved interval (`EADDRINUSE`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReserveError {
    /// An area: the first such is given.
    #[error("the area {0} is in the way")]
    Area(IovaRange),
    /// An allowed range.
    #[error("the allowed range {0} is in the way")]
    Allowed(IovaRange),
}

/// An allow-list was refused: it has an address that is reserved (`EADDRINUSE`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the allowed range {range} has the reserved address {reserved}")]
pub struct NotAllowed {
    /// The first allowed range with such an address.
    pub range: IovaRange,
    /// The first such address.
    pub reserved: Iova,
}

impl<V, O: Ord> Space<V, O> {
    /// A space with no areas and no reserved intervals, where everything is allowed.
    pub fn new() -> Self {
        let allowed = AllowList::default();
        Self {
            tree: Tree::new(),
            reserved: Reserved::new(),
            windows: allowed.windows(),
            allowed,
        }
    }

    /// The number of areas.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether there are no areas.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What would be in the way of an area.
    pub fn check(&self, range: IovaRange) -> Result<(), InsertError> {
        if let Some(reserved) = self.reserved.first_in(range) {
            return Err(InsertError::Reserved(reserved));
        }
        let area = self.overlapping(range).next();
        area.map_or(Ok(()), |(area, _)| Err(InsertError::Area(area)))
    }

    /// Inserts an area. The allow-list does not matter.
    pub fn insert(&mut self, range: IovaRange, value: V) -> Result<(), InsertError> {
        if let Some(reserved) = self.reserved.first_in(range) {
            return Err(InsertError::Reserved(reserved));
        }
        let (start, last) = (range.start().get(), range.last().get());
        self.tree.insert(start, last, value).map_err(|obstacle| {
            let area = self.get(Iova::new(obstacle));
            InsertError::Area(area.map_or(range, |(area, _)| area))
        })
    }

    /// Removes the area that starts at `start`.
    pub fn remove(&mut self, start: Iova) -> Option<(IovaRange, V)> {
        let (last, value) = self.tree.remove(start.get())?;
        Some((IovaRange::new(start, Iova::new(last))?, value))
    }

    /// Removes the areas one by one, ascending. Those not yet taken stay if the iterator is dropped.
    pub fn drain(&mut self) -> impl Iterator<Item = (IovaRange, V)> {
        iter::from_fn(|| {
            let (range, _) = self.nth(0)?;
            self.remove(range.start())
        })
    }

    /// The area that holds `iova`.
    pub fn get(&self, iova: Iova) -> Option<(IovaRange, &V)> {
        typed(self.tree.get(iova.get())?)
    }

    /// The area that holds `iova`.
    pub fn get_mut(&mut self, iova: Iova) -> Option<(IovaRange, &mut V)> {
        let (start, last, value) = self.tree.get_mut(iova.get())?;
        Some((IovaRange::new(Iova::new(start), Iova::new(last))?, value))
    }

    /// The area that has `n` others below it.
    pub fn nth(&self, n: usize) -> Option<(IovaRange, &V)> {
        typed(self.tree.nth(n)?)
    }

    /// All areas, ascending.
    pub fn areas(&self) -> impl Iterator<Item = (IovaRange, &V)> {
        self.overlapping(IovaRange::full())
    }

    /// The areas that share an address with `range`, ascending.
    pub fn overlapping(&self, range: IovaRange) -> impl Iterator<Item = (IovaRange, &V)> {
        let (start, last) = (range.start().get(), range.last().get());
        self.tree.overlapping(start, last).filter_map(typed)
    }

    /// Cuts the area that holds `at` in two, the second of which starts at `at` and gets the value that `split` takes out
    /// of the old one. `None` when no area holds `at`, or when one already starts there.
    pub fn split(&mut self, at: Iova, split: impl FnOnce(&mut V) -> V) -> Option<()> {
        self.tree.split(at.get(), split)
    }

    /// Reserves `range` until [`unreserve`](Self::unreserve) of `owner`. Other reserved intervals do not matter.
    pub fn reserve(&mut self, range: IovaRange, owner: O) -> Result<(), ReserveError> {
        if let Some((area, _)) = self.overlapping(range).next() {
            return Err(ReserveError::Area(area));
        }
        if let Some(allowed) = self.allowed.first_overlapping(range) {
            return Err(ReserveError::Allowed(allowed));
        }
        self.tree.reserve(range);
        self.reserved.insert(range, owner);
        Ok(())
    }

    /// Ends all reservations of `owner` and returns what they were.
    pub fn unreserve(&mut self, owner: &O) -> Vec<IovaRange> {
        let ranges = self.reserved.remove(owner);
        for &range in &ranges {
            self.tree.unreserve(range);
        }
        ranges
    }

    /// The reserved intervals, by owner.
    pub fn reserved(&self) -> impl Iterator<Item = (&O, IovaRange)> {
        self.reserved.iter()
    }

    /// The maximal ranges in which nothing is reserved, ascending: what `IOMMU_IOAS_IOVA_RANGES` tells. Areas and the
    /// allow-list do not matter.
    pub fn unreserved(&self) -> impl Iterator<Item = IovaRange> {
        self.reserved.gaps()
    }

    /// Replaces the allow-list. Areas outside it may stay.
    pub fn set_allowed(&mut self, list: AllowList) -> Result<(), NotAllowed> {
        for range in list.iter() {
            if let Some(reserved) = self.reserved.first_in(range) {
                return Err(NotAllowed { range, reserved });
            }
        }
        self.windows = list.windows();
        self.allowed = list;
        Ok(())
    }

    /// The allow-list.
    pub fn allowed(&self) -> &AllowList {
        &self.allowed
    }

    /// The lowest place for an area, as Linux finds it: in the allowed ranges, in neither the first nor the last page of all, and
    /// aligned as the memory is, up to the length rounded up to a power of two and to the size of a huge page. Where the
    /// memory does not start on a page boundary, the place has the bits of its page offset set.
    ///
    /// It takes O(log n) steps for each allowed range that has a gap of sufficient size at or after its start, but no room for the
    /// request; amortised over all calls that change the space. The reason is that a call catches up on summaries which
    /// changes have left out of date, but only for the alignment it needs, and no more of them than there were changes. The constant grows
    /// with the number of places in a page where a request may start: one if the alignment is a page or more.
    pub fn place(&mut self, request: &Request) -> Result<IovaRange, PlaceError> {
        let fit = request.fit()?;
        let mut next = 0;
        while let Some(window) = self.windows.get(next) {
            next += 1;
            let (start, last) = (window.start().get(), window.last().get());
            // The OR with the page offset may put the start above gaps in which the request would fit.
            let Some(from) = fit.start_in(start, last).and_then(|_| fit.start(start)) else {
                continue;
            };
            let gap = self.tree.first_fit(&fit, from);
            if let Some((start, end)) = gap
                && let Some(start) = fit.start_in(start, end.min(last))
                && let Some(range) = IovaRange::from_len(Iova::new(start), request.length)
            {
                return Ok(range);
            }
            // Without page offset, a gap that is too small stays so when another range clips it.
            if fit.offset == 0 {
                let (start, _) = gap.ok_or(PlaceError::NoSpace)?;
                next = next.max(self.windows.partition_point(|w| w.last().get() < start));
            }
        }
        Err(PlaceError::NoSpace)
    }
}

#[cfg(test)]
impl<V, O: Ord> Space<V, O> {
    /// Panics if a tree is not as it should be.
    pub(crate) fn verify(&self) {
        self.tree.verify();
        self.reserved.verify();
    }

    /// The most steps of a search or change at the present size, apart from a small factor: a node per level and all that
    /// is in it.
    pub(crate) fn bound(&self) -> usize {
        self.tree.bound()
    }
}

fn typed<V>((start, last, value): Area<'_, V>) -> Option<(IovaRange, &V)> {
    Some((IovaRange::new(Iova::new(start), Iova::new(last))?, value))
}

impl<V, O: Ord> Default for Space<V, O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: fmt::Debug, O: Ord + fmt::Debug> fmt::Debug for Space<V, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space")
            .field("areas", &self.areas().collect::<Vec<_>>())
            .field("reserved", &self.reserved.iter().collect::<Vec<_>>())
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}
