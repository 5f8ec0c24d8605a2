//! What a page-table format must say about itself. Everything else in this crate is written once, against this file.

use core::fmt::Debug;
use core::ops::RangeInclusive;

use swiommu_addr::{Pa, PageSize, PageSizes};

use crate::Prot;

/// A page-table format: its geometry, and the meaning of its 64-bit entries.
///
/// A value describes one configuration (levels, optional features); it is small and copied freely. All functions are pure.
/// An entry is composed as `leaf(…) | address(pa)` or `table(…) | address(pa)`, so that what is the same for a whole run
/// is computed once; the two parts have no bit in common.
pub trait Format: Copy + Debug + Send + Sync + 'static {
    /// The smallest leaf: what one entry of a level-0 table covers.
    const GRANULE: PageSize;

    /// Address bits that a table below the root resolves; it has 2^n entries.
    const INDEX_BITS: u8;

    /// What the slots of a leaf that takes several entries hold.
    const SLOTS: LeafSlots = LeafSlots::Identical;

    /// What one entry of a table of this level covers: the default size of its leaves.
    fn item_size(level: u8) -> PageSize {
        PageSize::from_log2(Self::GRANULE.log2() + Self::INDEX_BITS * level)
    }

    /// How many levels a new table has, and to how many its root may grow. The two are the same in most formats; where they
    /// are not, every root has as much memory as other tables.
    fn levels(&self) -> RangeInclusive<u8>;

    /// The width in bits of the addresses that a table of this many levels resolves. The root's share is what the levels
    /// below leave over, so it may have fewer entries than other tables, or more (concatenated and extended roots).
    fn input_bits(&self, levels: u8) -> u8 {
        (Self::GRANULE.log2() + Self::INDEX_BITS * levels).min(64)
    }

    /// What the bits of an IOVA above the input width must be.
    fn upper_bits(&self) -> UpperBits {
        UpperBits::Zero
    }

    /// The width in bits of physical addresses that a leaf can hold.
    fn output_bits(&self) -> u8;

    /// The leaf sizes that the format has in this configuration. Each is at least as large as the default leaf of the level
    /// that holds it and smaller than that of the next; what exceeds the default takes several entries.
    fn leaf_sizes(&self) -> PageSizes;

    /// The bits of a leaf that express `prot`, or `None` where the format has none for it or must not have.
    fn attributes(&self, prot: Prot) -> Option<u64>;

    /// The bits of a leaf that express permissions and memory type: all among which [`attributes`](Self::attributes) makes a
    /// choice, and not what the hardware marks.
    fn attribute_bits(&self) -> u64;

    /// The leaf with other attributes. Its address, its size and its marks stay, and above all what is dirty stays dirty.
    fn with_attributes(&self, leaf: u64, attributes: u64) -> u64 {
        leaf & !self.attribute_bits() | attributes
    }

    /// All bits of a leaf except its address. `level` is the level of the table that will hold it.
    fn leaf(&self, size: PageSize, level: u8, attributes: u64) -> u64;

    /// All bits of an entry at `level` (1 or more) that points to a table one level below, except the address.
    fn table(&self, level: u8) -> u64;

    /// A physical address as entries hold it: in one piece, shifted or not, or in two, of which each keeps its order.
    fn address(&self, pa: Pa) -> u64;

    /// Whether the entry translates nothing and may be overwritten. Zero must be such an entry.
    fn is_absent(&self, entry: u64) -> bool;

    /// The meaning of an entry found in a table of this level.
    fn decode(&self, entry: u64, level: u8) -> Entry;

    /// The table that the entry points to, if it is an ordinary table entry for `level`: one that says so in the way that
    /// [`table`](Self::table) does. `None` says nothing; this is the short cut of a walk past [`decode`](Self::decode).
    fn next_table(&self, entry: u64, level: u8) -> Option<Pa> {
        match self.decode(entry, level) {
            Entry::Table {
                table,
                level: below,
            } if below + 1 == level => Some(table),
            _ => None,
        }
    }

    /// The table that the entry points to, if it is an ordinary table entry for `level` and limits nothing, as all are that
    /// this crate makes. `None` says nothing.
    fn open_table(&self, entry: u64, level: u8) -> Option<Pa> {
        self.next_table(entry, level)
            .filter(|_| self.limit(entry) == Prot::RW)
    }

    /// The leaf of the lowest level that the entry is, if it is an ordinary one of the granule's size. `None` says nothing;
    /// this is the other short cut past [`decode`](Self::decode).
    fn page(&self, entry: u64) -> Option<Leaf> {
        match self.decode(entry, 0) {
            Entry::Leaf(leaf) if leaf.size == Self::GRANULE => Some(leaf),
            _ => None,
        }
    }

    /// What a table entry allows at most to everything below it.
    fn limit(&self, entry: u64) -> Prot {
        let _ = entry;
        Prot::RW
    }

    /// Whether the entry is a leaf that was written through.
    fn is_dirty(&self, entry: u64) -> bool {
        let _ = entry;
        false
    }

    /// Zero for what is not dirty; other values say nothing. This is the short cut past [`is_dirty`](Self::is_dirty) of many
    /// entries, whose values are put together by OR.
    fn dirty_bits(&self, entry: u64) -> u64 {
        u64::from(self.is_dirty(entry))
    }

    /// The leaf as the hardware leaves it after a write.
    fn dirtied(&self, entry: u64) -> u64 {
        entry
    }

    /// The leaf as it was before it was written through.
    fn cleaned(&self, entry: u64) -> u64 {
        entry
    }
}

/// What the bits of an IOVA above the input width must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpperBits {
    /// Zero.
    Zero,
    /// Copies of the highest bit of the input: the IOVAs are in two halves with a hole between.
    SignExtended,
}

/// What the slots of a leaf that takes several entries hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeafSlots {
    /// All the same, with the address of the leaf.
    Identical,
    /// Each the address of its own part of the leaf.
    OwnAddress,
}

/// The meaning of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// It translates nothing.
    Absent,
    /// It points to a table.
    Table {
        /// Where the table is.
        table: Pa,
        /// The level of that table: one less than that of the entry, or lower where a format lets tables skip levels.
        level: u8,
    },
    /// It is a leaf, or one slot of it.
    Leaf(Leaf),
    /// It is present, and breaks a rule of the format.
    Malformed(Malformed),
}

/// What a leaf says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// The physical address of its first byte, whichever slot was decoded.
    pub pa: Pa,
    /// How much it maps.
    pub size: PageSize,
    /// What it permits.
    pub prot: Prot,
    /// Whether this slot was written through.
    pub dirty: bool,
}

/// The rule that an entry breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// It points to a table of this level, which is not below its own.
    #[error("it points to a table of level {0}")]
    TableLevel(u8),
    /// It is a leaf of a size that its level cannot hold.
    #[error("it is a leaf of 2^{0} bytes")]
    LeafSize(u8),
    /// It skips levels whose address bits are not zero.
    #[error("it skips address bits that are not zero")]
    SkippedBits,
    /// Bits are set that must be zero: these.
    #[error("reserved bits {0:#x} are set")]
    ReservedBits(u64),
    /// Its permissions are a combination that is reserved.
    #[error("its permissions are a reserved combination")]
    Permissions,
    /// Its address has bits above the output width.
    #[error("its address is wider than the format allows")]
    AddressSize,
    /// It points to where no table can be.
    #[error("it points to where no table memory is")]
    NoTableMemory,
}
