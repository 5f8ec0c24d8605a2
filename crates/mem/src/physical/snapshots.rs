//! Memory whose owner gives it back while it is pinned: its last content, at the same physical address.

use std::ops::RangeInclusive;

use smallvec::SmallVec;
use swiommu_addr::{Pa, PaRange};

use super::region::Region;
use crate::VolatileSlice;
use crate::extents::{ExtentMap, Value};

/// Whether a snapshot is what the physical address stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Validity {
    /// Only when the owner turns out to be gone: it has announced to leave.
    Pending,
    /// Now: the owner's own address means something else.
    Final,
}

impl Value for Validity {
    fn skip(self, _bytes: u64) -> Self {
        self
    }
}

/// The snapshots, by physical address. Every range in it has anonymous memory mapped in the region.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    ranges: ExtentMap<Validity>,
}

impl Snapshots {
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Puts memory of our own at a range and has `fill` fill it. Says whether the host had memory.
    pub(super) fn add(
        &mut self,
        memory: PaRange,
        validity: Validity,
        region: &Region,
        fill: impl FnOnce(VolatileSlice<'_>),
    ) -> bool {
        let bytes = memory.len_minus_one() + 1;
        if region.place_anonymous(memory.start().get(), bytes).is_err() {
            return false;
        }
        self.ranges.update(numbers(memory), |_| Some(validity));
        self.fill(memory, region, fill);
        true
    }

    #[expect(unsafe_code, reason = "looks at the memory that `add` has mapped")]
    fn fill(&self, memory: PaRange, region: &Region, fill: impl FnOnce(VolatileSlice<'_>)) {
        // SAFETY: `add` has mapped the range.
        fill(unsafe { region.slice_placed(memory) });
    }

    /// The snapshot of exactly this range, if there is one of all of it and it counts.
    #[expect(unsafe_code, reason = "looks at the memory that `add` has mapped")]
    pub(super) fn get<'a>(
        &self,
        memory: PaRange,
        owner_is_gone: bool,
        region: &'a Region,
    ) -> Option<VolatileSlice<'a>> {
        let counts = |validity| owner_is_gone || validity == Validity::Final;
        let all = |piece: Option<Validity>| piece.is_some_and(counts);
        self.ranges.cover(numbers(memory)).all(|piece| all(piece.value)).then(|| {
            // SAFETY: every range in the map has been mapped by `add`.
            unsafe { region.slice_placed(memory) }
        })
    }

    /// The parts of a range that are final snapshots, or are not.
    pub(super) fn is_retired(&self, page: PaRange) -> bool {
        let mut pieces = self.ranges.overlapping(numbers(page));
        pieces.any(|piece| piece.value == Validity::Final)
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

    /// Forgets the snapshot of a range and gives its memory back to the host.
    pub(super) fn drop_range(&mut self, memory: PaRange, region: &Region) {
        for part in self.within(memory) {
            region.discard(part.start().get(), part.len_minus_one() + 1);
        }
        self.ranges.update(numbers(memory), |_| None);
    }
}

fn numbers(memory: PaRange) -> RangeInclusive<u64> {
    memory.start().get()..=memory.last().get()
}
