//! RISC-V Sv39/48/57 and the guest-stage x4 variants, as much as it takes: addresses shifted right, NAPOT leaves, sign
//! extension, a root with two more index bits, and no write-only leaves.

use std::ops::RangeInclusive;

use swiommu_addr::{Pa, PageSize, PageSizes};
use swiommu_pgtable::{Entry, Format, Leaf, Malformed, Prot, UpperBits};

const VALID: u64 = 1;
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 2;
const EXECUTE: u64 = 1 << 3;
const USER_AND_ACCESSED: u64 = 1 << 4 | 1 << 6;
const DIRTY: u64 = 1 << 7;
const NAPOT: u64 = 1 << 63;
/// 64 KiB: page number bits 3:0 are 0b1000.
const NAPOT_LOG2: u8 = 16;
const NAPOT_CODE: u64 = 8 << 10;
const PAGE_NUMBER: u64 = ((1 << 44) - 1) << 10;

/// `X4` is the guest stage: zero-extended, with two more bits in the root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sv<const X4: bool> {
    levels: u8,
}

impl<const X4: bool> Sv<X4> {
    pub(crate) fn new(levels: u8) -> Self {
        Self { levels }
    }

    fn pa(entry: u64) -> Pa {
        Pa::new((entry & PAGE_NUMBER) << 2)
    }
}

impl<const X4: bool> Format for Sv<X4> {
    const GRANULE: PageSize = PageSize::SIZE_4K;
    const INDEX_BITS: u8 = 9;
    const UPPER_BITS: UpperBits = if X4 {
        UpperBits::Zero
    } else {
        UpperBits::SignExtended
    };

    fn levels(&self) -> RangeInclusive<u8> {
        self.levels..=self.levels
    }

    fn input_bits(&self, levels: u8) -> u8 {
        12 + 9 * levels + if X4 { 2 } else { 0 }
    }

    fn output_bits(&self) -> u8 {
        56
    }

    fn leaf_sizes(&self) -> PageSizes {
        (0..self.levels).fold(
            PageSizes::NONE.with(PageSize::from_log2(NAPOT_LOG2)),
            |sizes, level| sizes.with(Self::item_size(level)),
        )
    }

    fn attributes(&self, prot: Prot) -> Option<u64> {
        if !prot.contains(Prot::READ) {
            return None;
        }
        let write = if prot.contains(Prot::WRITE) { WRITE } else { 0 };
        let execute = if prot.contains(Prot::NOEXEC) {
            0
        } else {
            EXECUTE
        };
        Some(READ | write | execute | USER_AND_ACCESSED)
    }

    fn leaf(&self, size: PageSize, _level: u8, attributes: u64) -> u64 {
        let napot = if size.log2() == NAPOT_LOG2 {
            NAPOT | NAPOT_CODE
        } else {
            0
        };
        VALID | napot | attributes
    }

    fn table(&self, _level: u8) -> u64 {
        VALID
    }

    fn address(&self, pa: Pa) -> u64 {
        pa.get() >> 2
    }

    fn is_absent(&self, entry: u64) -> bool {
        entry & VALID == 0
    }

    fn decode(&self, entry: u64, level: u8) -> Entry {
        if entry & VALID == 0 {
            return Entry::Absent;
        }
        if entry & (READ | WRITE | EXECUTE) == 0 {
            return match level.checked_sub(1) {
                Some(level) => Entry::Table {
                    table: Self::pa(entry),
                    level,
                },
                None => Entry::Malformed(Malformed::TableLevel(0)),
            };
        }
        let size = match entry & NAPOT {
            0 => Self::item_size(level),
            _ => PageSize::from_log2(NAPOT_LOG2),
        };
        let mut prot = Prot::READ;
        prot.set(Prot::WRITE, entry & WRITE != 0);
        prot.set(Prot::NOEXEC, entry & EXECUTE == 0);
        Entry::Leaf(Leaf {
            pa: Pa::new(Self::pa(entry).get() & !size.mask()),
            size,
            prot,
            dirty: self.is_dirty(entry),
        })
    }

    fn is_dirty(&self, entry: u64) -> bool {
        entry & (VALID | DIRTY) == VALID | DIRTY
    }

    fn dirtied(&self, entry: u64) -> u64 {
        entry | DIRTY
    }

    fn cleaned(&self, entry: u64) -> u64 {
        entry & !DIRTY
    }
}
