//! Arm VMSAv8-64, as much as it takes: three granules, contiguous runs whose slots have addresses of their own, 52-bit
//! addresses in two pieces, concatenated roots, and a dirty state that is a cleared bit.

use std::ops::RangeInclusive;

use swiommu_addr::{Pa, PageSize, PageSizes};
use swiommu_pgtable::{Entry, Format, Leaf, LeafSlots, Malformed, Prot};

const VALID: u64 = 1;
/// A table, or a page at level 0; otherwise a block.
const TABLE_OR_PAGE: u64 = 2;
/// Write-back memory, unprivileged, inner shareable, accessed, not global.
const NORMAL: u64 = 1 << 2 | 1 << 6 | 3 << 8 | 1 << 10 | 1 << 11;
const READ_ONLY: u64 = 1 << 7;
const DIRTY_MODIFIER: u64 = 1 << 51;
const CONTIGUOUS: u64 = 1 << 52;
const EXECUTE_NEVER: u64 = 3 << 53;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Arm<const GRANULE_LOG2: u8> {
    levels: u8,
    input_bits: u8,
}

impl<const GRANULE_LOG2: u8> Arm<GRANULE_LOG2> {
    /// As many levels as it takes.
    pub(crate) fn stage1(input_bits: u8) -> Self {
        let levels = (input_bits - GRANULE_LOG2).div_ceil(Self::INDEX_BITS);
        Self { levels, input_bits }
    }

    /// A root of several tables, where the levels are fewer.
    pub(crate) fn with_levels(levels: u8, input_bits: u8) -> Self {
        Self { levels, input_bits }
    }

    /// How many entries a contiguous run has, as a power of two; 0 where there is none.
    fn run_log2(level: u8) -> u8 {
        match (GRANULE_LOG2, level) {
            (12, 0..=2) => 4,
            (14, 0) => 7,
            (14 | 16, 0 | 1) => 5,
            _ => 0,
        }
    }

    fn blocks_up_to(level: u8) -> bool {
        level <= if GRANULE_LOG2 == 12 { 2 } else { 1 }
    }

    fn pa(entry: u64) -> Pa {
        let low = entry & ((1 << 48) - (1 << GRANULE_LOG2));
        let high = if GRANULE_LOG2 == 16 {
            (entry >> 12 & 0xf) << 48
        } else {
            0
        };
        Pa::new(low | high)
    }
}

impl<const GRANULE_LOG2: u8> Format for Arm<GRANULE_LOG2> {
    const GRANULE: PageSize = PageSize::from_log2(GRANULE_LOG2);
    const INDEX_BITS: u8 = GRANULE_LOG2 - 3;
    const SLOTS: LeafSlots = LeafSlots::OwnAddress;

    fn levels(&self) -> RangeInclusive<u8> {
        self.levels..=self.levels
    }

    fn input_bits(&self, _levels: u8) -> u8 {
        self.input_bits
    }

    fn output_bits(&self) -> u8 {
        if GRANULE_LOG2 == 16 { 52 } else { 48 }
    }

    fn leaf_sizes(&self) -> PageSizes {
        (0..self.levels)
            .filter(|&level| Self::blocks_up_to(level))
            .fold(PageSizes::NONE, |sizes, level| {
                let item = Self::item_size(level);
                sizes
                    .with(item)
                    .with(PageSize::from_log2(item.log2() + Self::run_log2(level)))
            })
    }

    fn attributes(&self, prot: Prot) -> Option<u64> {
        if !prot.contains(Prot::READ) {
            return None;
        }
        let write = if prot.contains(Prot::WRITE) {
            DIRTY_MODIFIER
        } else {
            0
        };
        let execute = if prot.contains(Prot::NOEXEC) {
            EXECUTE_NEVER
        } else {
            0
        };
        Some(NORMAL | READ_ONLY | write | execute)
    }

    fn leaf(&self, size: PageSize, level: u8, attributes: u64) -> u64 {
        let page = if level == 0 { TABLE_OR_PAGE } else { 0 };
        let contiguous = if size == Self::item_size(level) {
            0
        } else {
            CONTIGUOUS
        };
        VALID | page | contiguous | attributes
    }

    fn table(&self, _level: u8) -> u64 {
        VALID | TABLE_OR_PAGE
    }

    fn address(&self, pa: Pa) -> u64 {
        let low = pa.get() & ((1 << 48) - 1);
        low | pa.get() >> 48 << 12
    }

    fn is_absent(&self, entry: u64) -> bool {
        entry & VALID == 0
    }

    fn decode(&self, entry: u64, level: u8) -> Entry {
        let not_page_or_table = entry & TABLE_OR_PAGE == 0;
        if entry & VALID == 0 {
            return Entry::Absent;
        }
        if level > 0 && !not_page_or_table {
            return Entry::Table {
                table: Self::pa(entry),
                level: level - 1,
            };
        }
        let item = Self::item_size(level).log2();
        if level == 0 && not_page_or_table || !Self::blocks_up_to(level) {
            return Entry::Malformed(Malformed::LeafSize(item));
        }
        let run = if entry & CONTIGUOUS != 0 {
            Self::run_log2(level)
        } else {
            0
        };
        let size = PageSize::from_log2(item + run);
        let writable = entry & DIRTY_MODIFIER != 0 || entry & READ_ONLY == 0;
        let mut prot = if writable { Prot::RW } else { Prot::READ };
        prot.set(Prot::NOEXEC, entry & EXECUTE_NEVER != 0);
        Entry::Leaf(Leaf {
            pa: Pa::new(Self::pa(entry).get() & !size.mask()),
            size,
            prot,
            dirty: self.is_dirty(entry),
        })
    }

    fn is_dirty(&self, entry: u64) -> bool {
        entry & (VALID | DIRTY_MODIFIER | READ_ONLY) == VALID | DIRTY_MODIFIER
    }

    fn dirtied(&self, entry: u64) -> u64 {
        if entry & DIRTY_MODIFIER == 0 {
            entry
        } else {
            entry & !READ_ONLY
        }
    }

    fn cleaned(&self, entry: u64) -> u64 {
        entry | READ_ONLY
    }
}
