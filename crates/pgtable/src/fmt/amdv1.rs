//! The AMD I/O page table, version 1 (host tables; AMD I/O Virtualization Technology specification, "I/O Page Tables").
//!
//! | bits | name | meaning |
//! |---|---|---|
//! | 0 | PR | present |
//! | 4:1, 8:7, 63 | – | ignored |
//! | 5 | A | accessed, where DTE.HAD says so |
//! | 6 | D | dirty (leaf), likewise |
//! | 11:9 | Next Level | 0: leaf of the level's default size; 7: leaf, size in the address; 1…6: table of that level |
//! | 51:12 | address | next table or output address |
//! | 58:52 | – | reserved |
//! | 59 | U | untranslated addresses only (leaf); reserved in a table entry |
//! | 60 | FC | force coherent (leaf); reserved in a table entry |
//! | 61 | IR | read permitted |
//! | 62 | IW | write permitted |
//!
//! The manual counts levels from 1; level n of the manual is level n-1 here, so that the Next Level field of a table entry
//! is the number that this crate gives to the level of the entry.
//!
//! A leaf with Next Level 7 can be any power of two between the default sizes of two levels. Its size is in the low bits of
//! the address: as many ones, then a zero, as there are doublings beyond twice the granule. All entries that it takes are
//! the same. The default size of the fourth level, 512 GiB, is not offered, as Linux does not use it; it is understood.

use core::ops::RangeInclusive;

use swiommu_addr::{Pa, PageSize, PageSizes};

use crate::{
    Access, Entry, Format, HardwareUpdate, HardwareWalk, Leaf, Malformed, MemoryType, Prot,
};

const PRESENT: u64 = 1;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const FORCE_COHERENT: u64 = 1 << FORCE_COHERENT_SHIFT;
const FORCE_COHERENT_SHIFT: u8 = 60;
const READ: u64 = 1 << 61;
const WRITE: u64 = 1 << 62;
/// IR and IW are next to each other in the order of [`Prot::READ`] and [`Prot::WRITE`].
const PERMISSION_SHIFT: u8 = 61;
const PERMIT_ALL: u64 = 3 << PERMISSION_SHIFT;

/// 58:52, and in table entries 60:52.
const RESERVED_IN_LEAF: u64 = 0x7f << 52;
const RESERVED_IN_TABLE: u64 = 0x1ff << 52;

const NEXT_LEVEL_SHIFT: u8 = 9;
const NEXT_LEVEL_MASK: u64 = 7;
const NEXT_LEVEL_SIZED_LEAF: u64 = 7;

/// The address field, 51:12.
const ADDRESS: u64 = ((1 << 52) - 1) & !ADDRESS_BELOW;
const ADDRESS_BELOW: u64 = (1 << ADDRESS_SHIFT) - 1;
const ADDRESS_SHIFT: u8 = 12;

/// The top level of a table of six levels holds no leaves.
const HIGHEST_LEAF_LEVEL: u8 = 4;

/// The layout of an AMD v1 entry over a granule of 2^`GRANULE_LOG2` bytes.
///
/// The hardware's granule is 4 KiB: [`Amdv1`]. With a smaller one, the address field holds the address shifted left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Amd<const GRANULE_LOG2: u8> {
    pub(super) initial_levels: u8,
    pub(super) most_levels: u8,
    pub(super) sizes: PageSizes,
    /// What every leaf has set besides its permissions.
    pub(super) leaf_bits: u64,
    pub(super) update: HardwareUpdate,
}

/// The AMD I/O page table, version 1.
pub type Amdv1 = Amd<12>;

impl Amdv1 {
    /// A table that begins with three levels (39-bit IOVAs) and grows up to six (64 bits).
    pub const fn new() -> Self {
        let sizes = PageSizes::between(PageSize::SIZE_4K, PageSize::from_log2(51)).bitmap();
        Self {
            initial_levels: 3,
            most_levels: 6,
            sizes: PageSizes::from_bitmap(sizes & !PageSize::from_log2(39).bytes()),
            leaf_bits: 0,
            update: HardwareUpdate::None,
        }
    }

    /// Lets a new table begin with fewer than three levels, 1 or 2; a table that somebody else made can have so few.
    ///
    /// # Panics
    /// When `levels` is not 1 to 3: a constant of the program, not input.
    #[must_use]
    pub const fn with_fewest_levels(mut self, levels: u8) -> Self {
        assert!(
            levels >= 1 && levels <= 3,
            "a root begins with 1 to 3 levels"
        );
        self.initial_levels = levels;
        self
    }

    /// Lets the root grow to at most this many levels: what the unit's HATS field permits, 4, 5 or 6.
    ///
    /// # Panics
    /// When `levels` is not 3 to 6: a constant of the program, not input.
    #[must_use]
    pub const fn with_most_levels(mut self, levels: u8) -> Self {
        assert!(
            levels >= 3 && levels <= 6,
            "an AMD v1 table has 3 to 6 levels"
        );
        self.most_levels = levels;
        self
    }

    /// Sets FC in every leaf, so that all accesses snoop.
    #[must_use]
    pub const fn with_force_coherence(mut self) -> Self {
        self.leaf_bits |= FORCE_COHERENT;
        self
    }
}

impl Default for Amdv1 {
    fn default() -> Self {
        Self::new()
    }
}

impl<const GRANULE_LOG2: u8> Amd<GRANULE_LOG2> {
    /// What the hardware keeps in the entries: DTE.HAD. It is nothing otherwise.
    #[must_use]
    pub const fn with_hardware_update(mut self, update: HardwareUpdate) -> Self {
        self.update = update;
        self
    }

    /// How far left of the address the address field holds it.
    const SHIFT: u8 = ADDRESS_SHIFT - GRANULE_LOG2;

    #[inline]
    fn pa(entry: u64) -> Pa {
        Pa::new((entry & ADDRESS) >> Self::SHIFT)
    }

    #[inline]
    fn leaf_of(entry: u64, size: PageSize) -> Leaf {
        Leaf {
            pa: Pa::new(Self::pa(entry).get() & !size.mask()),
            size,
            prot: Self::prot(entry),
            dirty: entry & DIRTY != 0,
        }
    }

    /// A leaf with Next Level 7: its low address bits have n trailing ones for a field of 2^(13+n) bytes. It must be larger
    /// than the default size of its level and smaller than that of the next.
    fn sized_leaf(entry: u64, level: u8) -> Entry {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a count of at most 40 bits"
        )]
        let ones = ((entry & ADDRESS) >> ADDRESS_SHIFT).trailing_ones() as u8;
        let size_log2 = ADDRESS_SHIFT + 1 + ones - Self::SHIFT;
        let default = Self::item_size(level).log2();
        if size_log2 <= default || size_log2 >= default + Self::INDEX_BITS {
            return Entry::Malformed(Malformed::LeafSize(size_log2));
        }
        if entry & RESERVED_IN_LEAF != 0 {
            return Entry::Malformed(Malformed::ReservedBits(entry & RESERVED_IN_LEAF));
        }
        Entry::Leaf(Self::leaf_of(entry, PageSize::from_log2(size_log2)))
    }

    /// What is present and no leaf of the default size.
    fn decode_rest(entry: u64, level: u8) -> Entry {
        match entry >> NEXT_LEVEL_SHIFT & NEXT_LEVEL_MASK {
            0 if level <= HIGHEST_LEAF_LEVEL => {
                Entry::Malformed(Malformed::ReservedBits(entry & RESERVED_IN_LEAF))
            }
            0 => Entry::Malformed(Malformed::LeafSize(Self::item_size(level).log2())),
            NEXT_LEVEL_SIZED_LEAF => Self::sized_leaf(entry, level),
            next => {
                #[expect(clippy::cast_possible_truncation, reason = "a field of three bits")]
                let below = next as u8 - 1;
                if below >= level {
                    return Entry::Malformed(Malformed::TableLevel(below));
                }
                if entry & RESERVED_IN_TABLE != 0 {
                    return Entry::Malformed(Malformed::ReservedBits(entry & RESERVED_IN_TABLE));
                }
                Entry::Table {
                    table: Self::pa(entry),
                    level: below,
                }
            }
        }
    }

    #[inline]
    fn prot(entry: u64) -> Prot {
        let bits = (entry >> PERMISSION_SHIFT) as u32;
        Prot::from_bits_retain(bits) & Prot::RW
    }
}

impl<const GRANULE_LOG2: u8> Format for Amd<GRANULE_LOG2> {
    const GRANULE: PageSize = PageSize::from_log2(GRANULE_LOG2);
    const INDEX_BITS: u8 = 9;

    fn levels(&self) -> RangeInclusive<u8> {
        self.initial_levels..=self.most_levels
    }

    fn output_bits(&self) -> u8 {
        52 - Self::SHIFT
    }

    fn leaf_sizes(&self) -> PageSizes {
        self.sizes
    }

    /// A leaf that permits nothing exists in the format (PR without IR and IW), but is no mapping: Linux refuses it too.
    #[inline]
    fn attributes(&self, prot: Prot) -> Option<u64> {
        let permitted = prot & Prot::RW;
        let bits = u64::from(permitted.bits()) << PERMISSION_SHIFT;
        (!permitted.is_empty()).then_some(bits | self.leaf_bits)
    }

    fn attribute_bits(&self) -> u64 {
        PERMIT_ALL | FORCE_COHERENT
    }

    #[inline]
    fn leaf(&self, size: PageSize, level: u8, attributes: u64) -> u64 {
        if size == Self::item_size(level) {
            return PRESENT | attributes;
        }
        let ones_and_zero = (size.bytes() << Self::SHIFT) >> 1;
        let size_code = (ones_and_zero - 1) & ADDRESS;
        PRESENT | NEXT_LEVEL_SIZED_LEAF << NEXT_LEVEL_SHIFT | size_code | attributes
    }

    /// Permissions are those of the leaf alone: table entries allow everything, as Linux has it.
    #[inline]
    fn table(&self, level: u8) -> u64 {
        PRESENT | u64::from(level) << NEXT_LEVEL_SHIFT | PERMIT_ALL
    }

    #[inline]
    fn address(&self, pa: Pa) -> u64 {
        pa.get() << Self::SHIFT
    }

    #[inline]
    fn is_absent(&self, entry: u64) -> bool {
        entry & PRESENT == 0
    }

    #[inline]
    fn decode(&self, entry: u64, level: u8) -> Entry {
        if entry & PRESENT == 0 {
            return Entry::Absent;
        }
        let default_leaf = entry & (NEXT_LEVEL_MASK << NEXT_LEVEL_SHIFT | RESERVED_IN_LEAF) == 0;
        if default_leaf && level <= HIGHEST_LEAF_LEVEL {
            return Entry::Leaf(Self::leaf_of(entry, Self::item_size(level)));
        }
        Self::decode_rest(entry, level)
    }

    #[inline]
    fn next_table(&self, entry: u64, level: u8) -> Option<Pa> {
        let kind = PRESENT | NEXT_LEVEL_MASK << NEXT_LEVEL_SHIFT | RESERVED_IN_TABLE;
        let table = PRESENT | u64::from(level) << NEXT_LEVEL_SHIFT;
        (entry & kind == table && level > 0).then_some(Self::pa(entry))
    }

    #[inline]
    fn page(&self, entry: u64) -> Option<Leaf> {
        let kind = PRESENT | NEXT_LEVEL_MASK << NEXT_LEVEL_SHIFT | RESERVED_IN_LEAF;
        (entry & kind == PRESENT).then(|| Self::leaf_of(entry, Self::GRANULE))
    }

    #[inline]
    fn open_table(&self, entry: u64, level: u8) -> Option<Pa> {
        let kind = PRESENT | NEXT_LEVEL_MASK << NEXT_LEVEL_SHIFT | PERMIT_ALL | RESERVED_IN_TABLE;
        (entry & kind == self.table(level) && level > 0).then_some(Self::pa(entry))
    }

    #[inline]
    fn limit(&self, entry: u64) -> Prot {
        Self::prot(entry)
    }

    #[inline]
    fn is_dirty(&self, entry: u64) -> bool {
        entry & (PRESENT | DIRTY) == PRESENT | DIRTY
    }

    #[inline]
    fn dirty_bits(&self, entry: u64) -> u64 {
        entry & DIRTY
    }

    #[inline]
    fn dirtied(&self, entry: u64) -> u64 {
        entry | DIRTY
    }

    #[inline]
    fn cleaned(&self, entry: u64) -> u64 {
        entry & !DIRTY
    }
}

impl<const GRANULE_LOG2: u8> HardwareWalk for Amd<GRANULE_LOG2> {
    #[inline]
    fn table_access(&self, entry: u64) -> Access {
        self.leaf_access(entry)
    }

    /// Users and privileged requesters are not told apart, and fetches are reads.
    #[inline]
    fn leaf_access(&self, entry: u64) -> Access {
        Access::all()
            .without_unless(Access::READ.union(Access::EXECUTE), entry & READ)
            .without_unless(Access::WRITE, entry & WRITE)
    }

    #[inline]
    fn walked_table(&self, entry: u64) -> u64 {
        entry | self.update.marks(Access::empty(), ACCESSED, DIRTY)
    }

    #[inline]
    fn walked_leaf(&self, entry: u64, wanted: Access) -> Option<u64> {
        Some(entry | self.update.marks(wanted, ACCESSED, DIRTY))
    }

    #[inline]
    fn memory_type(&self, entry: u64, _level: u8) -> MemoryType {
        MemoryType((entry >> FORCE_COHERENT_SHIFT & 1) as u8)
    }
}
