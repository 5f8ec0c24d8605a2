//! The second stage of Intel VT-d (VT-d specification, "Second-Stage Paging Entries").
//!
//! | bits | name | meaning |
//! |---|---|---|
//! | 0 | R | read permitted |
//! | 1 | W | write permitted |
//! | 2 | X | execute permitted; not evaluated here, and never set |
//! | 5:3, 6 | EMT, IPAT | memory type (leaf) |
//! | 7 | PS | 1: leaf of 2 MiB or 1 GiB; ignored in the lowest level |
//! | 8 | A | accessed, where the PASID entry's SSADE says so |
//! | 9 | D | dirty (leaf), likewise |
//! | 10 | – | free for software; Linux marks tables that a non-coherent walker can see |
//! | 11 | SNP | snoop (leaf), where ECAP.SC says so |
//! | 51:12 | address | next table or output address |
//! | 63:52 | – | free for software; 62 is TM, a hint |
//!
//! An entry is present when it permits reading or writing. Reserved, in a present entry: address bits above the output width;
//! address bits below the size of a large leaf; SNP in table entries, and where the unit does not have it; PS above the
//! levels of leaves.

use core::ops::RangeInclusive;

use swiommu_addr::{Pa, PageSize, PageSizes};

use crate::{
    Access, Entry, Format, HardwareUpdate, HardwareWalk, Leaf, Malformed, MemoryType, Prot,
};

const READ: u64 = 1;
const WRITE: u64 = 1 << 1;
const PRESENT: u64 = READ | WRITE;
const PAGE_SIZE: u64 = 1 << 7;
const ACCESSED: u64 = 1 << 8;
const DIRTY: u64 = 1 << 9;
const SOFTWARE_FLUSHED: u64 = 1 << 10;
const SNOOP: u64 = 1 << 11;
const ADDRESS: u64 = ((1 << MOST_OUTPUT_BITS) - 1) & !0xfff;

const MEMORY_TYPE_SHIFT: u8 = 3;
const MEMORY_TYPE_MASK: u64 = 0xf;

const MOST_OUTPUT_BITS: u8 = 52;

/// A VT-d second-stage table of three, four or five levels (the PASID entry's AW 1, 2 and 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VtdSs {
    levels: u8,
    output_bits: u8,
    read_only: ReadOnly,
    update: HardwareUpdate,
    sizes: PageSizes,
    leaf_bits: u64,
    table_bits: u64,
    /// Reserved in all present entries.
    reserved: u64,
    /// Reserved in leaves besides: SNP, unless the unit has it.
    reserved_in_leaf: u64,
    /// What tells an entry that points to a table and limits nothing: of these bits, [`PRESENT`] are set and no others.
    open_mask: u64,
}

/// Whether leaves that cannot be written can be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ReadOnly {
    Possible,
    Refused,
}

impl VtdSs {
    /// Three levels, 39-bit addresses.
    pub const fn three_level() -> Self {
        Self::new(3)
    }

    /// Four levels, 48-bit addresses.
    pub const fn four_level() -> Self {
        Self::new(4)
    }

    /// Five levels, 57-bit addresses.
    pub const fn five_level() -> Self {
        Self::new(5)
    }

    const fn new(levels: u8) -> Self {
        Self {
            levels,
            output_bits: MOST_OUTPUT_BITS,
            read_only: ReadOnly::Possible,
            update: HardwareUpdate::None,
            sizes: PageSizes::NONE
                .with(PageSize::SIZE_4K)
                .with(PageSize::SIZE_2M)
                .with(PageSize::SIZE_1G),
            leaf_bits: 0,
            table_bits: PRESENT,
            reserved: 0,
            reserved_in_leaf: SNOOP,
            open_mask: PRESENT | PAGE_SIZE | SNOOP,
        }
    }

    /// The width of physical addresses (the host address width), 32 to 52 bits; it is 52 otherwise.
    ///
    /// # Panics
    /// When `bits` is not in this range: a constant of the program, not input.
    #[must_use]
    pub const fn with_output_bits(mut self, bits: u8) -> Self {
        assert!(bits >= 32 && bits <= MOST_OUTPUT_BITS);
        self.output_bits = bits;
        let too_wide = ADDRESS & !((1 << bits) - 1);
        self.reserved |= too_wide;
        self.open_mask |= too_wide;
        self
    }

    /// Only leaves of these sizes, of 4 KiB, 2 MiB and 1 GiB (CAP.SSLPS).
    #[must_use]
    pub const fn with_leaf_sizes(mut self, sizes: PageSizes) -> Self {
        self.sizes = self.sizes.intersection(sizes);
        self
    }

    /// The unit has SNP (ECAP.SC); it is reserved otherwise.
    #[must_use]
    pub const fn with_snoop_control(mut self) -> Self {
        self.reserved_in_leaf &= !SNOOP;
        self
    }

    /// Sets SNP in every leaf, so that all accesses snoop. The unit has it then.
    #[must_use]
    pub const fn with_force_coherence(mut self) -> Self {
        self.leaf_bits |= SNOOP;
        self.with_snoop_control()
    }

    /// Sets bit 10 in entries that point to tables, as Linux does for units whose walks are not coherent.
    #[must_use]
    pub const fn with_flush_marks(mut self) -> Self {
        self.table_bits |= SOFTWARE_FLUSHED;
        self
    }

    /// Refuses to map what cannot be written: an erratum (772415 of Sapphire Rapids) for which Linux does so in every nesting
    /// parent.
    #[must_use]
    pub const fn with_force_writable(mut self) -> Self {
        self.read_only = ReadOnly::Refused;
        self
    }

    /// Walks keep A and D (the PASID entry's SSADE).
    #[must_use]
    pub const fn with_accessed_dirty(mut self) -> Self {
        self.update = HardwareUpdate::AccessedAndDirty;
        self
    }

    #[inline]
    fn pa(entry: u64, size: PageSize) -> Pa {
        Pa::new(entry & ADDRESS & !size.mask())
    }

    /// R and W are in the order of [`Prot::READ`] and [`Prot::WRITE`].
    #[inline]
    fn prot(entry: u64) -> Prot {
        Prot::from_bits_retain((entry & PRESENT) as u32)
    }

    #[inline]
    fn leaf_of(entry: u64, size: PageSize) -> Leaf {
        Leaf {
            pa: Self::pa(entry, size),
            size,
            prot: Self::prot(entry),
            dirty: entry & DIRTY != 0,
        }
    }

    /// What is present and no good leaf of the lowest level.
    fn decode_rest(&self, entry: u64, level: u8) -> Entry {
        let size = Self::item_size(level);
        if level > 0 && entry & PAGE_SIZE == 0 {
            return match entry & (self.reserved | SNOOP) {
                0 => Entry::Table {
                    table: Self::pa(entry, Self::GRANULE),
                    level: level - 1,
                },
                reserved => Entry::Malformed(Malformed::ReservedBits(reserved)),
            };
        }
        if !self.sizes.contains(size) {
            return Entry::Malformed(Malformed::LeafSize(size.log2()));
        }
        let below = ADDRESS & size.mask();
        match entry & (self.reserved | self.reserved_in_leaf | below) {
            0 => Entry::Leaf(Self::leaf_of(entry, size)),
            reserved => Entry::Malformed(Malformed::ReservedBits(reserved)),
        }
    }
}

impl Format for VtdSs {
    const GRANULE: PageSize = PageSize::SIZE_4K;
    const INDEX_BITS: u8 = 9;

    fn levels(&self) -> RangeInclusive<u8> {
        self.levels..=self.levels
    }

    #[inline]
    fn output_bits(&self) -> u8 {
        self.output_bits
    }

    fn leaf_sizes(&self) -> PageSizes {
        self.sizes
    }

    #[inline]
    fn attributes(&self, prot: Prot) -> Option<u64> {
        let least = match self.read_only {
            ReadOnly::Possible => Prot::RW,
            ReadOnly::Refused => Prot::WRITE,
        };
        let permitted = prot & Prot::RW;
        prot.intersects(least)
            .then_some(u64::from(permitted.bits()) | self.leaf_bits)
    }

    fn attribute_bits(&self) -> u64 {
        PRESENT | SNOOP
    }

    #[inline]
    fn leaf(&self, _size: PageSize, level: u8, attributes: u64) -> u64 {
        let large = if level == 0 { 0 } else { PAGE_SIZE };
        large | attributes
    }

    #[inline]
    fn table(&self, _level: u8) -> u64 {
        self.table_bits
    }

    #[inline]
    fn address(&self, pa: Pa) -> u64 {
        pa.get()
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
        match self.page(entry) {
            Some(leaf) if level == 0 => Entry::Leaf(leaf),
            _ => self.decode_rest(entry, level),
        }
    }

    #[inline]
    fn next_table(&self, entry: u64, level: u8) -> Option<Pa> {
        let present = entry & PRESENT != 0;
        let table = entry & (PAGE_SIZE | SNOOP | self.reserved) == 0;
        (present && table && level > 0).then_some(Self::pa(entry, Self::GRANULE))
    }

    #[inline]
    fn page(&self, entry: u64) -> Option<Leaf> {
        let page = entry & PRESENT != 0 && entry & (self.reserved | self.reserved_in_leaf) == 0;
        page.then(|| Self::leaf_of(entry, Self::GRANULE))
    }

    #[inline]
    fn open_table(&self, entry: u64, level: u8) -> Option<Pa> {
        let open = entry & self.open_mask == PRESENT;
        (open && level > 0).then_some(Self::pa(entry, Self::GRANULE))
    }

    #[inline]
    fn limit(&self, entry: u64) -> Prot {
        Self::prot(entry)
    }

    #[inline]
    fn is_dirty(&self, entry: u64) -> bool {
        entry & DIRTY != 0 && entry & PRESENT != 0
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

impl HardwareWalk for VtdSs {
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
        MemoryType((entry >> MEMORY_TYPE_SHIFT & MEMORY_TYPE_MASK) as u8)
    }
}
