//! RISC-V Sv39, Sv48 and Sv57, and their guest-stage variants Sv39x4, Sv48x4 and Sv57x4 (RISC-V Instruction Set Manual,
//! Volume II: "Sv39", "Svnapot", "Svpbmt", "Two-Stage Address Translation").
//!
//! | bits | name | meaning |
//! |---|---|---|
//! | 0 | V | valid |
//! | 1, 2, 3 | R, W, X | permitted; all zero in an entry that points to a table |
//! | 4 | U | permitted to users; must be set in every leaf of the guest stage |
//! | 5 | G | global |
//! | 6 | A | accessed (leaf) |
//! | 7 | D | dirty (leaf) |
//! | 9:8 | RSW | free for software |
//! | 53:10 | PPN | address bits 55:12 of the next table or output |
//! | 60:54 | – | reserved |
//! | 62:61 | PBMT | memory type (leaf), with Svpbmt; reserved otherwise, and the value 3 always |
//! | 63 | N | leaf of 64 KiB in sixteen identical entries, with Svnapot; reserved otherwise |
//!
//! With N set, the low four bits of PPN are 0b1000. Reserved besides: W without R; A, D, U, PBMT and N in an entry that points
//! to a table; address bits below the size of a large leaf.
//!
//! The x4 variants resolve two more bits in the root, which is 16 KiB. Their addresses are zero-extended.
//!
//! New leaves are as Linux writes them: for users, accessed, and dirty where they are writable, so that the hardware has
//! nothing to update. What can be written can be read; so a request for writing alone gives both.

use core::ops::RangeInclusive;

use swiommu_addr::{Pa, PageSize, PageSizes};

use crate::{
    Access, Entry, Format, HardwareUpdate, HardwareWalk, Leaf, Malformed, MemoryType, Prot,
    UpperBits,
};

const VALID: u64 = 1;
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 2;
const EXECUTE: u64 = 1 << 3;
const USER: u64 = 1 << 4;
const ACCESSED: u64 = 1 << 6;
const DIRTY: u64 = 1 << 7;
const PAGE_NUMBER: u64 = ((1 << 44) - 1) << PAGE_NUMBER_SHIFT;
const PAGE_NUMBER_SHIFT: u8 = 10;
/// An address is this much further left than in an entry.
const ADDRESS_SHIFT: u8 = 12 - PAGE_NUMBER_SHIFT;
const RESERVED: u64 = 0x7f << 54;
const MEMORY_TYPE: u64 = 3 << MEMORY_TYPE_SHIFT;
const MEMORY_TYPE_SHIFT: u8 = 61;
const NON_CACHEABLE: u64 = 1 << MEMORY_TYPE_SHIFT;
const IO: u64 = 2 << MEMORY_TYPE_SHIFT;
const NAPOT: u64 = 1 << 63;

/// What an entry that points to a table must not have besides R, W and X.
const RESERVED_IN_TABLE: u64 = RESERVED | MEMORY_TYPE | NAPOT | USER | ACCESSED | DIRTY;

/// The one size that N stands for, and the page number bits that say so.
const NAPOT_SIZE: PageSize = PageSize::from_log2(16);
const NAPOT_NUMBER: u64 = 0xf << PAGE_NUMBER_SHIFT;
const NAPOT_CODE: u64 = 8 << PAGE_NUMBER_SHIFT;

/// Which stage a table is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The first, or the only one.
    First,
    /// The same, and privileged requests may read and write what users may (SUM).
    FirstWithSum,
    /// The guest stage, x4.
    Guest,
}

/// A RISC-V page table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Riscv {
    levels: u8,
    stage: Stage,
    update: HardwareUpdate,
    napot: PageSizes,
    /// Reserved in all leaves.
    reserved: u64,
}

impl Riscv {
    /// Three levels, sign-extended 39-bit addresses.
    pub const fn sv39() -> Self {
        Self::new(3, Stage::First)
    }

    /// Four levels, sign-extended 48-bit addresses.
    pub const fn sv48() -> Self {
        Self::new(4, Stage::First)
    }

    /// Five levels, sign-extended 57-bit addresses.
    pub const fn sv57() -> Self {
        Self::new(5, Stage::First)
    }

    /// Guest stage, three levels, zero-extended 41-bit addresses.
    pub const fn sv39x4() -> Self {
        Self::new(3, Stage::Guest)
    }

    /// Guest stage, four levels, zero-extended 50-bit addresses.
    pub const fn sv48x4() -> Self {
        Self::new(4, Stage::Guest)
    }

    /// Guest stage, five levels, zero-extended 59-bit addresses.
    pub const fn sv57x4() -> Self {
        Self::new(5, Stage::Guest)
    }

    const fn new(levels: u8, stage: Stage) -> Self {
        Self {
            levels,
            stage,
            update: HardwareUpdate::None,
            napot: PageSizes::NONE,
            reserved: RESERVED | MEMORY_TYPE | NAPOT,
        }
    }

    /// N exists (Svnapot): leaves of 64 KiB.
    #[must_use]
    pub const fn with_napot(mut self) -> Self {
        self.napot = PageSizes::NONE.with(NAPOT_SIZE);
        self.reserved &= !NAPOT;
        self
    }

    /// PBMT exists (Svpbmt): memory that is not to be cached, and that of devices, are marked as such.
    #[must_use]
    pub const fn with_memory_types(mut self) -> Self {
        self.reserved &= !MEMORY_TYPE;
        self
    }

    /// Walks keep A and D (tc.SADE for the first stage, tc.GADE for the guest stage). Without it, a leaf that is not marked
    /// for an access is a fault.
    #[must_use]
    pub const fn with_accessed_dirty(mut self) -> Self {
        self.update = HardwareUpdate::AccessedAndDirty;
        self
    }

    /// Privileged requests may read and write what users may (the process context's SUM). It has no meaning for the guest
    /// stage.
    #[must_use]
    pub const fn with_sum(mut self) -> Self {
        if matches!(self.stage, Stage::First) {
            self.stage = Stage::FirstWithSum;
        }
        self
    }

    #[inline]
    const fn has_memory_types(&self) -> bool {
        self.reserved & MEMORY_TYPE == 0
    }

    #[inline]
    fn pa(entry: u64) -> Pa {
        Pa::new((entry & PAGE_NUMBER) << ADDRESS_SHIFT)
    }

    fn prot(&self, entry: u64) -> Prot {
        let mut prot = Prot::empty();
        prot.set(Prot::READ, entry & READ != 0);
        prot.set(Prot::WRITE, entry & WRITE != 0);
        prot.set(Prot::NOEXEC, entry & EXECUTE == 0);
        prot.set(Prot::PRIV, entry & USER == 0);
        if self.has_memory_types() {
            prot.set(Prot::CACHE, entry & MEMORY_TYPE == 0);
            prot.set(Prot::MMIO, entry & MEMORY_TYPE == IO);
        }
        prot
    }

    /// The size of a leaf, or the bits in it that must not be as they are.
    #[inline]
    fn size(&self, entry: u64, level: u8) -> Result<PageSize, u64> {
        if entry & self.reserved != 0 {
            return Err(entry & self.reserved);
        }
        if entry & MEMORY_TYPE == MEMORY_TYPE {
            return Err(MEMORY_TYPE);
        }
        let size = Self::item_size(level);
        if entry & NAPOT == 0 {
            let below = self.address(Pa::new(size.mask())) & PAGE_NUMBER & entry;
            return if below == 0 { Ok(size) } else { Err(below) };
        }
        if level == 0 && entry & NAPOT_NUMBER == NAPOT_CODE {
            Ok(NAPOT_SIZE)
        } else {
            Err(NAPOT | entry & NAPOT_NUMBER)
        }
    }

    #[inline]
    fn leaf_of(&self, entry: u64, size: PageSize) -> Leaf {
        Leaf {
            pa: Pa::new(Self::pa(entry).get() & !size.mask()),
            size,
            prot: self.prot(entry),
            dirty: entry & DIRTY != 0,
        }
    }

    /// What is valid and no plain leaf of the lowest level.
    fn decode_rest(&self, entry: u64, level: u8) -> Entry {
        match entry & (READ | WRITE | EXECUTE) {
            0 if entry & RESERVED_IN_TABLE != 0 => {
                Entry::Malformed(Malformed::ReservedBits(entry & RESERVED_IN_TABLE))
            }
            0 if level == 0 => Entry::Malformed(Malformed::TableLevel(0)),
            0 => Entry::Table {
                table: Self::pa(entry),
                level: level - 1,
            },
            permitted if permitted & (READ | WRITE) == WRITE => {
                Entry::Malformed(Malformed::Permissions)
            }
            _ => match self.size(entry, level) {
                Ok(size) => Entry::Leaf(self.leaf_of(entry, size)),
                Err(bits) => Entry::Malformed(Malformed::ReservedBits(bits)),
            },
        }
    }
}

impl Format for Riscv {
    const GRANULE: PageSize = PageSize::SIZE_4K;
    const INDEX_BITS: u8 = 9;

    fn levels(&self) -> RangeInclusive<u8> {
        self.levels..=self.levels
    }

    #[inline]
    fn input_bits(&self, levels: u8) -> u8 {
        let sum = Self::GRANULE.log2() + Self::INDEX_BITS * levels;
        match self.stage {
            Stage::First | Stage::FirstWithSum => sum,
            Stage::Guest => sum + 2,
        }
    }

    #[inline]
    fn upper_bits(&self) -> UpperBits {
        match self.stage {
            Stage::First | Stage::FirstWithSum => UpperBits::SignExtended,
            Stage::Guest => UpperBits::Zero,
        }
    }

    #[inline]
    fn output_bits(&self) -> u8 {
        56
    }

    fn leaf_sizes(&self) -> PageSizes {
        (0..self.levels).fold(self.napot, |sizes, level| {
            sizes.with(Self::item_size(level))
        })
    }

    #[inline]
    fn attributes(&self, prot: Prot) -> Option<u64> {
        let mut bits = USER | ACCESSED | READ;
        if prot.contains(Prot::WRITE) {
            bits |= WRITE | DIRTY;
        }
        if !prot.contains(Prot::NOEXEC) {
            bits |= EXECUTE;
        }
        if self.has_memory_types() {
            if prot.contains(Prot::MMIO) {
                bits |= IO;
            } else if !prot.contains(Prot::CACHE) {
                bits |= NON_CACHEABLE;
            }
        }
        prot.intersects(Prot::RW).then_some(bits)
    }

    fn attribute_bits(&self) -> u64 {
        READ | WRITE | EXECUTE | USER | MEMORY_TYPE
    }

    #[inline]
    fn leaf(&self, size: PageSize, _level: u8, attributes: u64) -> u64 {
        let napot = if size == NAPOT_SIZE {
            NAPOT | NAPOT_CODE
        } else {
            0
        };
        VALID | napot | attributes
    }

    #[inline]
    fn table(&self, _level: u8) -> u64 {
        VALID
    }

    #[inline]
    fn address(&self, pa: Pa) -> u64 {
        pa.get() >> ADDRESS_SHIFT
    }

    #[inline]
    fn is_absent(&self, entry: u64) -> bool {
        entry & VALID == 0
    }

    #[inline]
    fn decode(&self, entry: u64, level: u8) -> Entry {
        if entry & VALID == 0 {
            return Entry::Absent;
        }
        match self.page(entry) {
            Some(leaf) if level == 0 => Entry::Leaf(leaf),
            _ => self.decode_rest(entry, level),
        }
    }

    #[inline]
    fn page(&self, entry: u64) -> Option<Leaf> {
        let page = VALID | READ;
        let unusual = self.reserved | MEMORY_TYPE | NAPOT;
        (entry & (page | unusual) == page).then(|| self.leaf_of(entry, Self::GRANULE))
    }

    #[inline]
    fn next_table(&self, entry: u64, level: u8) -> Option<Pa> {
        let table = entry & (VALID | READ | WRITE | EXECUTE | RESERVED_IN_TABLE) == VALID;
        (table && level > 0).then_some(Self::pa(entry))
    }

    #[inline]
    fn is_dirty(&self, entry: u64) -> bool {
        entry & (VALID | DIRTY) == VALID | DIRTY
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

impl HardwareWalk for Riscv {
    fn leaf_access(&self, entry: u64) -> Access {
        let permitted = Access::all()
            .without_unless(Access::READ, entry & READ)
            .without_unless(Access::WRITE, entry & WRITE)
            .without_unless(Access::EXECUTE, entry & EXECUTE);
        let to = match (entry & USER != 0, self.stage) {
            (false, Stage::Guest) => Access::empty(),
            (false, _) => Access::PRIVILEGED,
            (true, Stage::First) => Access::USER,
            (true, Stage::FirstWithSum) => Access::all().difference(Access::PRIVILEGED_EXECUTE),
            (true, Stage::Guest) => Access::all(),
        };
        permitted.intersection(to)
    }

    #[inline]
    fn walked_leaf(&self, entry: u64, wanted: Access) -> Option<u64> {
        let dirty = if wanted.writes() { DIRTY } else { 0 };
        let marked = entry | ACCESSED | dirty;
        if marked == entry || self.update == HardwareUpdate::AccessedAndDirty {
            return Some(marked);
        }
        // Permissions are asked first.
        let permitted = self.leaf_access(entry).contains(wanted);
        (!permitted).then_some(entry)
    }

    #[inline]
    fn memory_type(&self, entry: u64, _level: u8) -> MemoryType {
        MemoryType(((entry & MEMORY_TYPE) >> MEMORY_TYPE_SHIFT) as u8)
    }
}
