//! Memory whose owner gives it back while it is pinned: its last content, at the same physical address.

use std::ops::RangeInclusive;

use smallvec::SmallVec;
use swiommu_addr::{Pa, PaRange};

use super::finding::Content;
use super::region::{Placed, Region};
use crate::VolatileSlice;
use crate::extents::{ExtentMap, Value};

/// When a snapshot is what the physical address stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Validity {
    /// Only when the owner turns out to be gone: it has announced to leave.
    Pending,
    /// Now: the owner's own address means something else.
    Final,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Snapshot {
    validity: Validity,
    content: Content,
}

impl Value for Snapshot {
    fn skip(self, _bytes: u64) -> Self {
        self
    }
}

/// The snapshots, by physical address. Every range in it has anonymous memory placed in the region.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    ranges: ExtentMap<Snapshot>,
    /// Bytes of those that have content.
    kept: u64,
}

impl Snapshots {
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Bytes of all snapshots that have content.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// Notes a snapshot.
    pub(super) fn add(&mut self, placed: &Placed, validity: Validity, content: Content) {
        self.set(placed.memory(), Some(Snapshot { validity, content }));
    }

    /// The memory of a range, if all of it has snapshots that count.
    #[expect(unsafe_code, reason = "looks at memory that is known to be mapped")]
    pub(super) fn get<'a>(
        &self,
        memory: PaRange,
        owner_is_gone: bool,
        region: &'a Region,
    ) -> Option<VolatileSlice<'a>> {
        let counts = |found: Snapshot| owner_is_gone || found.validity == Validity::Final;
        let mut pieces = self.ranges.cover(numbers(memory));
        let all = pieces.all(|piece| piece.value.is_some_and(counts));
        all.then(|| {
            // SAFETY: `add` is the only way into the map, and takes what the region has placed; pieces that adjoin are mapped
            // without a gap.
            unsafe { region.slice_placed(memory) }
        })
    }

    /// Whether a page stands for memory that its owner has given back.
    pub(super) fn is_retired(&self, page: PaRange) -> bool {
        let mut pieces = self.ranges.overlapping(numbers(page));
        pieces.any(|piece| piece.value.validity == Validity::Final)
    }

    /// Whether any part of a range has a snapshot.
    pub(super) fn overlaps(&self, memory: PaRange) -> bool {
        self.ranges.overlapping(numbers(memory)).next().is_some()
    }

    /// The parts of a range that have snapshots.
    pub(super) fn within(&self, memory: PaRange) -> SmallVec<[PaRange; 1]> {
        let ranges = self.ranges.overlapping(numbers(memory));
        ranges
            .filter_map(|extent| PaRange::new(Pa::new(extent.first), Pa::new(extent.last)))
            .collect()
    }

    /// Forgets the snapshots of a range and gives their memory back to the host.
    pub(super) fn drop_range(&mut self, memory: PaRange, region: &Region) {
        for part in self.within(memory) {
            region.discard(part);
        }
        self.set(memory, None);
    }

    fn set(&mut self, memory: PaRange, snapshot: Option<Snapshot>) {
        let mut kept = self.kept;
        self.ranges.update(numbers(memory), |piece| {
            let bytes = piece.last - piece.first + 1;
            let has_content = |found: Snapshot| found.content == Content::Kept;
            if piece.value.is_some_and(has_content) {
                kept -= bytes;
            }
            if snapshot.is_some_and(has_content) {
                kept += bytes;
            }
            snapshot
        });
        self.kept = kept;
    }
}

fn numbers(memory: PaRange) -> RangeInclusive<u64> {
    memory.start().get()..=memory.last().get()
}
