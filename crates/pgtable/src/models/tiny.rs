//! A format with two entries in a table.

use core::ops::RangeInclusive;

use swiommu_addr::{Pa, PageSize, PageSizes};

use crate::{Entry, Format, Leaf, Malformed, Prot};

/// Zero is absent; a table or a leaf says which it is, and anything else is malformed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiny {
    least_levels: u8,
    most_levels: u8,
}

const LEAF: u64 = 1 << 63;
const TABLE: u64 = 1 << 62;
const DIRTY: u64 = 1 << 61;
const READ_ONLY: u64 = 1 << 60;
const ADDRESS: u64 = (1 << 48) - 1;

/// A leaf that leads to where no page of a model is.
pub(super) const FOREIGN: u64 = LEAF | 0xbad << 12;

impl Tiny {
    pub(super) const fn of_levels(levels: u8) -> Self {
        Self {
            least_levels: levels,
            most_levels: levels,
        }
    }

    pub(super) const fn growing(levels: RangeInclusive<u8>) -> Self {
        Self {
            least_levels: *levels.start(),
            most_levels: *levels.end(),
        }
    }
}

impl Format for Tiny {
    const GRANULE: PageSize = PageSize::SIZE_4K;
    const INDEX_BITS: u8 = 1;

    fn levels(&self) -> RangeInclusive<u8> {
        self.least_levels..=self.most_levels
    }

    fn output_bits(&self) -> u8 {
        48
    }

    fn leaf_sizes(&self) -> PageSizes {
        PageSizes::between(Self::GRANULE, Self::item_size(self.most_levels - 1))
    }

    fn attributes(&self, prot: Prot) -> Option<u64> {
        let read_only = !prot.contains(Prot::WRITE);
        Some(if read_only { READ_ONLY } else { 0 })
    }

    fn attribute_bits(&self) -> u64 {
        READ_ONLY
    }

    fn leaf(&self, _: PageSize, _: u8, attributes: u64) -> u64 {
        LEAF | attributes
    }

    fn table(&self, _: u8) -> u64 {
        TABLE
    }

    fn address(&self, pa: Pa) -> u64 {
        pa.get()
    }

    fn is_absent(&self, entry: u64) -> bool {
        entry == 0
    }

    fn decode(&self, entry: u64, level: u8) -> Entry {
        let pa = Pa::new(entry & ADDRESS);
        match entry & !(ADDRESS | DIRTY | READ_ONLY) {
            0 if entry == 0 => Entry::Absent,
            LEAF => Entry::Leaf(Leaf {
                pa,
                size: Self::item_size(level),
                prot: if entry & READ_ONLY == 0 {
                    Prot::RW
                } else {
                    Prot::READ
                },
                dirty: self.is_dirty(entry),
            }),
            TABLE if level > 0 => Entry::Table {
                table: pa,
                level: level - 1,
            },
            _ => Entry::Malformed(Malformed::ReservedBits(entry)),
        }
    }

    fn is_dirty(&self, entry: u64) -> bool {
        entry & (LEAF | DIRTY) == LEAF | DIRTY
    }

    fn dirtied(&self, entry: u64) -> u64 {
        entry | DIRTY
    }

    fn cleaned(&self, entry: u64) -> u64 {
        entry & !DIRTY
    }
}
