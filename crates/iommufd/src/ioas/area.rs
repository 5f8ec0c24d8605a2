//! An area: memory at a range of IOVAs.

use swiommu_addr::{AddrRange, Address, IovaRange, PageSize};
use swiommu_iommu::Mapping;
use swiommu_iommu::Prot;
use swiommu_iova::Space;
use swiommu_mem::{Access, Offset, OffsetRange};

use super::Owner;
use super::backing::Backing;
use crate::access::Hold;

/// The areas, reserved ranges and allowed ranges of an IOAS.
pub(super) type Areas = Space<Area, Owner>;

/// One contiguous range of IOVAs with memory behind it and a protection of its own. Where it lies is the key under which
/// it is kept.
#[derive(Clone, Debug)]
pub(super) struct Area {
    pub(super) backing: Backing,
    /// Where in the pages object the area's first byte is.
    pub(super) start: Offset,
    pub(super) prot: Prot,
    pub(super) state: AreaState,
    /// Pins by accesses. While there are any, the area cannot go.
    pub(super) pins: u32,
    /// Pins that nobody can be asked to give back.
    pub(super) locks: u32,
}

/// What a call in progress does with an area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AreaState {
    /// It is being mapped: nobody else sees it yet, but its IOVAs are taken.
    Making,
    /// It is complete.
    Complete,
    /// It is complete, and UNMAP waits for accesses to let go: no new ones may come.
    Closing,
    /// It is being unmapped.
    Removing,
}

impl Area {
    /// An area in the making.
    pub(super) fn new(backing: Backing, start: Offset, prot: Prot) -> Self {
        Self {
            backing,
            start,
            prot,
            state: AreaState::Making,
            pins: 0,
            locks: 0,
        }
    }

    /// The count of this kind of pins.
    pub(super) fn holds(&mut self, hold: Hold) -> &mut u32 {
        match hold {
            Hold::Ask => &mut self.pins,
            Hold::Lock => &mut self.locks,
        }
    }

    /// Whether another call is making or removing it.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.state, AreaState::Making | AreaState::Removing)
    }

    /// The offset in a page of the memory of the first byte.
    pub(super) fn page_offset(&self) -> u64 {
        let first = self.backing.page_offset().wrapping_add(self.start.get());
        first & swiommu_mem::PAGE.mask()
    }

    /// Whether an area at `range` keeps to an alignment in all three: IOVA, length, and place in the page.
    pub(super) fn is_aligned(&self, range: IovaRange, alignment: PageSize) -> bool {
        range.is_aligned(alignment) && alignment.divides(self.page_offset())
    }

    /// The bytes of the pages object that an area at `range` covers.
    pub(super) fn bytes(&self, range: IovaRange) -> OffsetRange {
        self.bytes_of(range, range)
    }

    /// The bytes of the pages object behind `part` of an area at `range`. `part` lies within `range`.
    pub(super) fn bytes_of(&self, range: IovaRange, part: IovaRange) -> OffsetRange {
        let skipped = part.start().get().wrapping_sub(range.start().get());
        let first = self.start.wrapping_add(skipped);
        let last = first.wrapping_add(part.len_minus_one());
        // An area never leaves its pages object, so the end cannot wrap below the start.
        AddrRange::new(first, last).unwrap_or_else(AddrRange::full)
    }

    /// Whether the protection allows an access.
    pub(super) fn allows(&self, access: Access) -> bool {
        self.prot.contains(match access {
            Access::Read => Prot::READ,
            Access::Write => Prot::WRITE,
        })
    }

    /// What a page table gets for an area at `range` with this memory.
    pub(super) fn mapping<'a>(
        &self,
        range: IovaRange,
        memory: &'a [swiommu_addr::PaRange],
        leaves: swiommu_addr::PageSizes,
    ) -> Mapping<'a> {
        Mapping {
            iova: range.start(),
            memory,
            prot: self.prot | self.backing.memory_type(),
            leaves,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be millions, and the IOAS holds them without a gap to tell that one is there.
    #[test]
    fn an_area_is_small() {
        assert_eq!(size_of::<Area>(), 32);
        assert_eq!(size_of::<Option<Area>>(), 32);
    }
}
