//! Reserved intervals and whose they are.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::iter;

use swiommu_addr::{Iova, IovaRange};

use crate::tree::Tree;

/// Intervals which may overlap each other and have an owner each; an owner may have any number.
pub(crate) struct Reserved<O> {
    owners: BTreeMap<O, Vec<IovaRange>>,
    cover: Tree<Infallible>,
}

impl<O: Ord> Reserved<O> {
    pub(crate) fn new() -> Self {
        Self {
            owners: BTreeMap::new(),
            cover: Tree::new(),
        }
    }

    pub(crate) fn insert(&mut self, range: IovaRange, owner: O) {
        self.cover.reserve(range);
        self.owners.entry(owner).or_default().push(range);
    }

    /// Removes and returns what `owner` has.
    pub(crate) fn remove(&mut self, owner: &O) -> Vec<IovaRange> {
        let ranges = self.owners.remove(owner).unwrap_or_default();
        for &range in &ranges {
            self.cover.unreserve(range);
        }
        ranges
    }

    /// The intervals by owner.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&O, IovaRange)> {
        let owners = self.owners.iter();
        owners.flat_map(|(owner, ranges)| ranges.iter().map(move |&range| (owner, range)))
    }

    /// The first reserved address in `range`.
    pub(crate) fn first_in(&self, range: IovaRange) -> Option<Iova> {
        if self.owners.is_empty() {
            return None;
        }
        let free = self.free_from(range.start());
        let Some(free) = free.filter(|free| free.start() == range.start()) else {
            return Some(range.start());
        };
        free.end().filter(|&reserved| reserved <= range.last())
    }

    /// The maximal ranges in which nothing is reserved, ascending.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = IovaRange> {
        iter::successors(self.free_from(Iova::new(0)), |gap| {
            self.free_from(gap.end()?)
        })
    }

    /// The lowest addresses from `from` on which are not reserved.
    fn free_from(&self, from: Iova) -> Option<IovaRange> {
        let (start, last) = self.cover.first_uncovered(from.get())?;
        IovaRange::new(Iova::new(start), Iova::new(last))
    }
}

#[cfg(test)]
impl<O> Reserved<O> {
    /// Panics if the tree is not as it should be.
    pub(crate) fn verify(&self) {
        self.cover.verify();
    }
}

impl<V> Tree<V> {
    /// Covers `range` once more.
    pub(crate) fn reserve(&mut self, range: IovaRange) {
        self.cover(range, 1);
    }

    /// Covers `range` once less.
    pub(crate) fn unreserve(&mut self, range: IovaRange) {
        self.cover(range, -1);
    }

    fn cover(&mut self, range: IovaRange, times: i32) {
        self.add_cover(range.start().get(), times);
        if let Some(end) = range.end() {
            self.add_cover(end.get(), -times);
        }
    }
}
