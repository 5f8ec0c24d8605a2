//! x86-64 page tables as IOMMUs walk them: the first stage of Intel VT-d (VT-d specification, "First-Stage Paging Entries")
//! and the guest tables, version 2, of AMD (AMD I/O Virtualization Technology specification, "Guest Translation").
//!
//! | bits | name | meaning |
//! |---|---|---|
//! | 0 | P | present |
//! | 1 | R/W | write permitted |
//! | 2 | U/S | permitted to users |
//! | 3, 4 | PWT, PCD | memory type (leaf) |
//! | 5 | A | accessed |
//! | 6 | D | dirty (leaf) |
//! | 7 | PS | 1: leaf of 2 MiB or 1 GiB; in the lowest level PAT, memory type |
//! | 8 | G | global (leaf) |
//! | 9 | – | free for software; Linux marks tables that a non-coherent walker can see |
//! | 10 | EA | accessed by a device, where the unit keeps the mark |
//! | 12 | PAT | memory type (leaf of 2 MiB or 1 GiB) |
//! | 51:12 | address | next table or output address |
//! | 62:52 | – | ignored |
//! | 63 | XD | execute disable, where enabled |
//!
//! Reserved, in a present entry: address bits above the output width; address bits below the size of a large leaf; XD where it
//! is not enabled; PS above the levels of leaves.
//!
//! New leaves are as Linux writes them: for users, accessed, and dirty where they are writable, so that the hardware has
//! nothing to update. What can be written can be read; so a request for writing alone gives both. NOEXEC, CACHE, MMIO and
//! PRIV have no effect.

use core::ops::RangeInclusive;

use bitflags::bitflags;
use swiommu_addr::{Pa, PageSize, PageSizes};

use crate::{Access, Entry, Format, HardwareWalk, Leaf, Malformed, MemoryType, Prot, UpperBits};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const PAGE_SIZE: u64 = 1 << 7;
const SOFTWARE_FLUSHED: u64 = 1 << 9;
const EXTENDED_ACCESSED: u64 = 1 << 10;
const ADDRESS: u64 = ((1 << MOST_OUTPUT_BITS) - 1) & !0xfff;
const EXECUTE_DISABLE: u64 = 1 << 63;

const OPEN: u64 = PRESENT | WRITABLE | USER;

/// PWT and PCD are the low bits of an index into the PAT, and this is the third: in a 4 KiB leaf, and in a larger one.
const PAT: u64 = 1 << 7;
const LARGE_PAT: u64 = 1 << 12;
const PAT_INDEX_SHIFT: u8 = 3;
const PAT_INDEX_LOW: u64 = 3;
const PAT_INDEX_HIGH: u8 = 1 << 2;

const MOST_OUTPUT_BITS: u8 = 52;

bitflags! {
    /// What the unit's context says about walks.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Context: u8 {
        /// PASID entry WPE (CR0.WP): privileged writes need R/W.
        const WRITE_PROTECT = 1;
        /// PASID entry SMEP: no privileged fetches from user pages.
        const SMEP = 2;
        /// PASID entry EAFE: EA is kept.
        const EXTENDED_ACCESSED_FLAG = 4;
    }
}

/// An x86-64 page table of four or five levels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct X86_64 {
    levels: u8,
    input_bits: u8,
    output_bits: u8,
    upper_bits: UpperBits,
    context: Context,
    sizes: PageSizes,
    /// Reserved in all present entries.
    reserved: u64,
    /// What tells an entry that points to a table and limits nothing: of these bits, [`OPEN`] are set and no others.
    open_mask: u64,
    /// What entries that point to tables have set.
    table_bits: u64,
}

impl X86_64 {
    /// Four levels, sign-extended 48-bit IOVAs.
    pub const fn four_level() -> Self {
        Self::new(4)
    }

    /// Five levels, sign-extended 57-bit IOVAs.
    pub const fn five_level() -> Self {
        Self::new(5)
    }

    const fn new(levels: u8) -> Self {
        Self {
            levels,
            input_bits: 12 + 9 * levels,
            output_bits: MOST_OUTPUT_BITS,
            upper_bits: UpperBits::SignExtended,
            context: Context::empty(),
            sizes: PageSizes::NONE
                .with(PageSize::SIZE_4K)
                .with(PageSize::SIZE_2M)
                .with(PageSize::SIZE_1G),
            reserved: EXECUTE_DISABLE,
            open_mask: OPEN | PAGE_SIZE | EXECUTE_DISABLE,
            table_bits: PRESENT | WRITABLE | USER | ACCESSED,
        }
    }

    /// Only the lower half of the IOVAs, zero-extended: what Linux makes for AMD requests without PASID, whose addresses the
    /// unit does not check for being canonical.
    #[must_use]
    pub const fn with_lower_half(mut self) -> Self {
        self.input_bits = 12 + 9 * self.levels - 1;
        self.upper_bits = UpperBits::Zero;
        self
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

    /// No leaves of 1 GiB (VT-d: CAP.FS1GP is 0).
    #[must_use]
    pub const fn without_1g_leaves(mut self) -> Self {
        self.sizes = PageSizes::NONE
            .with(PageSize::SIZE_4K)
            .with(PageSize::SIZE_2M);
        self
    }

    /// Sets bit 9 in entries that point to tables, as Linux does for units whose walks are not coherent.
    #[must_use]
    pub const fn with_flush_marks(mut self) -> Self {
        self.table_bits |= SOFTWARE_FLUSHED;
        self
    }

    /// XD exists (VT-d: PASID entry NXE; AMD: NX); it is reserved otherwise.
    #[must_use]
    pub const fn with_execute_disable(mut self) -> Self {
        self.reserved &= !EXECUTE_DISABLE;
        self
    }

    /// Privileged writes need R/W too (VT-d: PASID entry WPE).
    #[must_use]
    pub const fn with_write_protect(mut self) -> Self {
        self.context = self.context.union(Context::WRITE_PROTECT);
        self
    }

    /// No privileged fetches from what users may access (VT-d: PASID entry SMEP).
    #[must_use]
    pub const fn with_smep(mut self) -> Self {
        self.context = self.context.union(Context::SMEP);
        self
    }

    /// Walks set EA too (VT-d: PASID entry EAFE).
    #[must_use]
    pub const fn with_extended_accessed_flag(mut self) -> Self {
        self.context = self.context.union(Context::EXTENDED_ACCESSED_FLAG);
        self
    }

    #[inline]
    fn pa(entry: u64, size: PageSize) -> Pa {
        Pa::new(entry & ADDRESS & !size.mask())
    }

    #[inline]
    fn prot(entry: u64) -> Prot {
        let mut prot = Prot::READ;
        prot.set(Prot::WRITE, entry & WRITABLE != 0);
        prot.set(Prot::NOEXEC, entry & EXECUTE_DISABLE != 0);
        prot.set(Prot::PRIV, entry & USER == 0);
        prot
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
            return match entry & self.reserved {
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
        let below = ADDRESS & size.mask() & !LARGE_PAT;
        match entry & (self.reserved | below) {
            0 => Entry::Leaf(Self::leaf_of(entry, size)),
            reserved => Entry::Malformed(Malformed::ReservedBits(reserved)),
        }
    }

    /// What a walk sets in every entry that it uses.
    #[inline]
    fn used(self) -> u64 {
        if self.context.contains(Context::EXTENDED_ACCESSED_FLAG) {
            ACCESSED | EXTENDED_ACCESSED
        } else {
            ACCESSED
        }
    }
}

impl Format for X86_64 {
    const GRANULE: PageSize = PageSize::SIZE_4K;
    const INDEX_BITS: u8 = 9;

    fn levels(&self) -> RangeInclusive<u8> {
        self.levels..=self.levels
    }

    #[inline]
    fn input_bits(&self, _levels: u8) -> u8 {
        self.input_bits
    }

    #[inline]
    fn upper_bits(&self) -> UpperBits {
        self.upper_bits
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
        let write = if prot.contains(Prot::WRITE) {
            WRITABLE | DIRTY
        } else {
            0
        };
        prot.intersects(Prot::RW).then_some(USER | ACCESSED | write)
    }

    fn attribute_bits(&self) -> u64 {
        WRITABLE | USER
    }

    #[inline]
    fn leaf(&self, _size: PageSize, level: u8, attributes: u64) -> u64 {
        let large = if level == 0 { 0 } else { PAGE_SIZE };
        PRESENT | large | attributes
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
        let table = entry & (PRESENT | PAGE_SIZE | self.reserved) == PRESENT;
        (table && level > 0).then_some(Self::pa(entry, Self::GRANULE))
    }

    #[inline]
    fn page(&self, entry: u64) -> Option<Leaf> {
        let page = entry & (PRESENT | self.reserved) == PRESENT;
        page.then(|| Self::leaf_of(entry, Self::GRANULE))
    }

    #[inline]
    fn open_table(&self, entry: u64, level: u8) -> Option<Pa> {
        let open = entry & self.open_mask == OPEN;
        (open && level > 0).then_some(Self::pa(entry, Self::GRANULE))
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

impl HardwareWalk for X86_64 {
    #[inline]
    fn table_access(&self, entry: u64) -> Access {
        self.leaf_access(entry)
    }

    #[inline]
    fn leaf_access(&self, entry: u64) -> Access {
        let protected = if self.context.contains(Context::WRITE_PROTECT) {
            Access::WRITE
        } else {
            Access::USER_WRITE
        };
        Access::all()
            .without_unless(protected, entry & WRITABLE)
            .without_unless(Access::USER, entry & USER)
            .without_unless(Access::EXECUTE, !entry & EXECUTE_DISABLE)
    }

    #[inline]
    fn path_access(&self, all: Access) -> Access {
        let user_page = all.contains(Access::USER_READ);
        if user_page && self.context.contains(Context::SMEP) {
            all.difference(Access::PRIVILEGED_EXECUTE)
        } else {
            all
        }
    }

    /// A is kept in all entries of the path.
    #[inline]
    fn walked_table(&self, entry: u64) -> u64 {
        entry | self.used()
    }

    #[inline]
    fn walked_leaf(&self, entry: u64, wanted: Access) -> Option<u64> {
        let dirty = if wanted.writes() { DIRTY } else { 0 };
        Some(entry | self.used() | dirty)
    }

    /// One comparison for what Linux writes: for users, accessed, and dirty if it is to be written.
    #[inline]
    fn plain_leaf(&self, entry: u64, path: Access, wanted: Access) -> Option<(Pa, Access)> {
        let written = if wanted.writes() { WRITABLE | DIRTY } else { 0 };
        let plain = PRESENT | USER | ACCESSED | written;
        let unusual = self.reserved | EXECUTE_DISABLE;
        if entry & (plain | unusual) != plain || !self.context.is_empty() {
            return None;
        }
        let access = path & Access::all().without_unless(Access::USER_WRITE, entry & WRITABLE);
        Some((Self::pa(entry, Self::GRANULE), access))
    }

    #[inline]
    fn memory_type(&self, entry: u64, level: u8) -> MemoryType {
        let pat = if level == 0 { PAT } else { LARGE_PAT };
        let high = if entry & pat == 0 { 0 } else { PAT_INDEX_HIGH };
        let low = (entry >> PAT_INDEX_SHIFT & PAT_INDEX_LOW) as u8;
        MemoryType(high | low)
    }
}
