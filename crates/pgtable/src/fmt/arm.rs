//! What the two stages of Arm VMSAv8-64 have in common: geometry, addresses and descriptor types (Arm Architecture Reference
//! Manual, "VMSAv8-64 translation table format descriptors"; Arm SMMU Architecture Specification IHI 0070, "Translation table
//! descriptors").
//!
//! | bits | name | meaning |
//! |---|---|---|
//! | 0 | valid | |
//! | 1 | type | 1: table, or page in the lowest level; 0: block |
//! | 47:n | address | next table or output, over a granule of 2^n bytes |
//! | 10 | AF | accessed (leaf) |
//! | 51 | DBM | the hardware may make the leaf writable (leaf) |
//! | 52 | Contiguous | leaf of a run whose entries each hold their own address |
//! | 55 | – | free for software; set here in leaves that were written and no longer can be, where what is dirty is kept |
//!
//! The manual counts levels from the root, and 3 is the lowest; level n of the manual is level 3-n here.
//!
//! Addresses of 52 bits: with granules of 64 KiB, bits 15:12 hold 51:48 (LPA). With granules of 4 and 16 KiB, the address is
//! bits 49:n, and bits 9:8, which hold SH otherwise, hold 51:50 (LPA2; TCR.DS). Other bits that no field claims are ignored:
//! the architecture has no faults for them.

use swiommu_addr::{Pa, PageSize, PageSizes};

use crate::{Access, Entry, HardwareUpdate, Leaf, Malformed, Prot};

pub(super) const VALID: u64 = 1;
/// A table, or a page in the lowest level; a block otherwise.
pub(super) const TABLE_OR_PAGE: u64 = 1 << 1;
const SHAREABILITY_SHIFT: u8 = 8;
const OUTER_SHAREABLE: u64 = 2 << SHAREABILITY_SHIFT;
const INNER_SHAREABLE: u64 = 3 << SHAREABILITY_SHIFT;
const SHAREABILITY: u64 = 3 << SHAREABILITY_SHIFT;
pub(super) const ACCESS_FLAG: u64 = 1 << 10;
pub(super) const DIRTY_MODIFIER: u64 = 1 << 51;
pub(super) const CONTIGUOUS: u64 = 1 << 52;
/// Free for software: the leaf was dirty when it lost the permission to be written. Linux has a bit for it in the same place.
pub(super) const WRITTEN: u64 = 1 << 55;

/// Granules of 4 KiB, 16 KiB and 64 KiB.
const GRANULE_4K: u8 = 12;
const GRANULE_16K: u8 = 14;
const GRANULE_64K: u8 = 16;

/// The least input width (T0SZ 39).
const FEWEST_INPUT_BITS: u8 = 25;
/// A root of the second stage can be 2^4 tables one after the other.
const CONCATENATED_BITS: u8 = 4;

/// How descriptors hold addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AddressForm {
    /// Up to 48 bits.
    Bits48,
    /// Up to 52 bits: LPA with granules of 64 KiB, LPA2 (`DS`) with smaller ones.
    Bits52,
}

/// Whether the Contiguous bit says something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hint {
    /// It is a hint, and not taken.
    Ignored,
    /// Runs are leaves.
    Taken,
}

/// Widths, levels and leaf sizes over a granule of 2^`GRANULE_LOG2` bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Geometry<const GRANULE_LOG2: u8> {
    pub(super) levels: u8,
    pub(super) input_bits: u8,
    pub(super) output_bits: u8,
    form: AddressForm,
    hint: Hint,
    /// Pages and blocks.
    sizes: PageSizes,
    /// The bits of a descriptor that hold address bits above the output width.
    too_wide: u64,
    /// SH, where descriptors have room for it.
    pub(super) shareability: u64,
    /// These, and all that hold address bits from 48 on: without them, descriptors of both forms hold addresses alike.
    pub(super) high: u64,
}

impl<const GRANULE_LOG2: u8> Geometry<GRANULE_LOG2> {
    pub(super) const INDEX_BITS: u8 = GRANULE_LOG2 - 3;

    /// As many levels as the input takes; `None` where the architecture does not have it.
    pub(super) const fn new(form: AddressForm, input_bits: u8, output_bits: u8) -> Option<Self> {
        let most_input = match (form, GRANULE_LOG2) {
            (AddressForm::Bits48, GRANULE_4K | GRANULE_16K) => 48,
            (_, GRANULE_4K | GRANULE_16K | GRANULE_64K) => 52,
            _ => return None,
        };
        let output_exists = match output_bits {
            32 | 36 | 40 | 42 | 44 | 48 => true,
            52 => matches!(form, AddressForm::Bits52),
            _ => false,
        };
        if input_bits < FEWEST_INPUT_BITS || input_bits > most_input || !output_exists {
            return None;
        }
        let levels = (input_bits - GRANULE_LOG2).div_ceil(Self::INDEX_BITS);
        let held = match form {
            AddressForm::Bits48 => (1 << 48) - 1,
            AddressForm::Bits52 => (1 << 52) - 1,
        };
        let mut geometry = Self {
            levels,
            input_bits,
            output_bits,
            form,
            hint: Hint::Ignored,
            sizes: PageSizes::NONE,
            too_wide: 0,
            shareability: if Self::has_shareability(form) {
                SHAREABILITY
            } else {
                0
            },
            high: 0,
        };
        geometry.too_wide = geometry.address(Pa::new(held & !((1 << output_bits) - 1)));
        geometry.high = geometry.too_wide | geometry.address(Pa::new(held & !((1 << 48) - 1)));
        geometry.sizes = geometry.pages_and_blocks();
        Some(geometry)
    }

    const fn has_shareability(form: AddressForm) -> bool {
        matches!(form, AddressForm::Bits48) || GRANULE_LOG2 == GRANULE_64K
    }

    /// The same with another number of levels, as long as the root is at most 16 tables.
    pub(super) const fn with_levels(mut self, levels: u8) -> Option<Self> {
        if levels == 0 || levels > self.levels {
            return None;
        }
        let below = GRANULE_LOG2 + Self::INDEX_BITS * (levels - 1);
        if self.input_bits - below > Self::INDEX_BITS + CONCATENATED_BITS {
            return None;
        }
        self.levels = levels;
        self.sizes = self.pages_and_blocks();
        Some(self)
    }

    pub(super) const fn with_contiguous(mut self) -> Self {
        self.hint = Hint::Taken;
        self
    }

    /// Where Arm counts the root: 3 is the lowest level.
    pub(super) const fn start_level(self) -> i8 {
        4 - self.levels.cast_signed()
    }

    /// SH of a leaf, where descriptors have room for it.
    #[inline]
    pub(super) fn shareability(self, prot: Prot) -> u64 {
        let shareability = if prot.contains(Prot::CACHE) {
            INNER_SHAREABLE
        } else {
            OUTER_SHAREABLE
        };
        shareability & self.shareability
    }

    const fn item_log2(level: u8) -> u8 {
        GRANULE_LOG2 + Self::INDEX_BITS * level
    }

    /// The highest level that has blocks.
    const fn highest_blocks(self) -> u8 {
        let with_48_bits = if GRANULE_LOG2 == GRANULE_4K { 2 } else { 1 };
        match self.form {
            AddressForm::Bits48 => with_48_bits,
            AddressForm::Bits52 => with_48_bits + 1,
        }
    }

    const fn pages_and_blocks(self) -> PageSizes {
        let mut sizes = PageSizes::NONE;
        let mut level = 0;
        while level < self.levels && level <= self.highest_blocks() {
            sizes = sizes.with(PageSize::from_log2(Self::item_log2(level)));
            level += 1;
        }
        sizes
    }

    /// How many entries a contiguous run has, as a power of two; 0 where there is none.
    const fn run_log2(level: u8) -> u8 {
        match (GRANULE_LOG2, level) {
            (GRANULE_4K, 0..=2) => 4,
            (GRANULE_16K, 0) => 7,
            (GRANULE_16K, 1) | (GRANULE_64K, 0..=1) => 5,
            _ => 0,
        }
    }

    fn run(level: u8) -> PageSize {
        PageSize::from_log2(Self::item_log2(level) + Self::run_log2(level))
    }

    pub(super) fn leaf_sizes(self) -> PageSizes {
        match self.hint {
            Hint::Ignored => self.sizes,
            Hint::Taken => (0..self.levels)
                .filter(|&level| level <= self.highest_blocks())
                .fold(self.sizes, |sizes, level| sizes.with(Self::run(level))),
        }
    }

    /// The type of a leaf of this size, and its Contiguous bit.
    #[inline]
    pub(super) const fn leaf(size: PageSize, level: u8) -> u64 {
        let page = if level == 0 { TABLE_OR_PAGE } else { 0 };
        let contiguous = if size.log2() == Self::item_log2(level) {
            0
        } else {
            CONTIGUOUS
        };
        VALID | page | contiguous
    }

    #[inline]
    pub(super) const fn address(self, pa: Pa) -> u64 {
        match (self.form, GRANULE_LOG2) {
            (AddressForm::Bits48, _) => pa.get(),
            (AddressForm::Bits52, GRANULE_64K) => pa.get() & ((1 << 48) - 1) | pa.get() >> 48 << 12,
            (AddressForm::Bits52, _) => pa.get() & ((1 << 50) - 1) | pa.get() >> 50 << 8,
        }
    }

    #[inline]
    pub(super) const fn pa(self, descriptor: u64) -> Pa {
        let granule = (1 << GRANULE_LOG2) - 1;
        Pa::new(match (self.form, GRANULE_LOG2) {
            (AddressForm::Bits48, _) => descriptor & ((1 << 48) - 1) & !granule,
            (AddressForm::Bits52, GRANULE_64K) => {
                descriptor & ((1 << 48) - 1) & !granule | (descriptor >> 12 & 0xf) << 48
            }
            (AddressForm::Bits52, _) => {
                descriptor & ((1 << 50) - 1) & !granule | (descriptor >> 8 & 3) << 50
            }
        })
    }

    /// The address in a descriptor that has no bit of [`high`](Self::high).
    #[inline]
    pub(super) const fn low_pa(descriptor: u64) -> Pa {
        Pa::new(descriptor & ((1 << 48) - 1) & !((1 << GRANULE_LOG2) - 1))
    }

    /// Where a descriptor of the lowest level leads that is a page on its own and has a low address.
    #[inline]
    pub(super) fn page(&self, descriptor: u64) -> Option<Pa> {
        let page = VALID | TABLE_OR_PAGE;
        let plain = descriptor & (page | self.high | CONTIGUOUS) == page;
        plain.then_some(Self::low_pa(descriptor))
    }

    /// The table that a descriptor points to, unless it is something else, or its address is too wide.
    #[inline]
    pub(super) const fn next_table(self, descriptor: u64, level: u8) -> Option<Pa> {
        let table = VALID | TABLE_OR_PAGE;
        if level > 0 && descriptor & (table | self.too_wide) == table {
            Some(self.pa(descriptor))
        } else {
            None
        }
    }

    /// What a descriptor means; `leaf` completes it for a leaf.
    #[inline]
    pub(super) fn decode(
        &self,
        descriptor: u64,
        level: u8,
        leaf: impl FnOnce(Pa, PageSize) -> Leaf,
    ) -> Entry {
        if descriptor & VALID == 0 {
            return Entry::Absent;
        }
        match self.target(descriptor, level) {
            Target::Table(table) => Entry::Table {
                table,
                level: level - 1,
            },
            Target::Leaf { pa, size } => Entry::Leaf(leaf(pa, size)),
            Target::Malformed(reason) => Entry::Malformed(reason),
        }
    }

    /// What a valid descriptor is.
    #[inline]
    fn target(&self, descriptor: u64, level: u8) -> Target {
        match self.page(descriptor) {
            Some(pa) if level == 0 => Target::Leaf {
                pa,
                size: PageSize::from_log2(GRANULE_LOG2),
            },
            _ => self.target_of_rest(descriptor, level),
        }
    }

    /// What is valid and no plain page.
    fn target_of_rest(&self, descriptor: u64, level: u8) -> Target {
        let table_or_page = descriptor & TABLE_OR_PAGE != 0;
        let item = PageSize::from_log2(Self::item_log2(level));
        let leaf = table_or_page == (level == 0);
        if leaf && !self.sizes.contains(item) {
            return Target::Malformed(Malformed::LeafSize(item.log2()));
        }
        if descriptor & self.too_wide != 0 {
            // In the lowest level, what is no page is invalid, whatever its address.
            return match (level, leaf) {
                (0, false) => Target::Malformed(Malformed::LeafSize(item.log2())),
                _ => Target::Malformed(Malformed::AddressSize),
            };
        }
        if leaf {
            let taken = self.hint == Hint::Taken && descriptor & CONTIGUOUS != 0;
            let size = if taken { Self::run(level) } else { item };
            return Target::Leaf {
                pa: Pa::new(self.pa(descriptor).get() & !size.mask()),
                size,
            };
        }
        if level == 0 {
            return Target::Malformed(Malformed::LeafSize(item.log2()));
        }
        Target::Table(self.pa(descriptor))
    }
}

/// A leaf with AF as a walk leaves it; `None` where the walk may neither set it nor do without.
#[inline]
pub(super) fn accessed(leaf: u64, update: HardwareUpdate, is_ignored: bool) -> Option<u64> {
    let marked = leaf | update.marks(Access::empty(), ACCESS_FLAG, 0);
    (marked & ACCESS_FLAG != 0 || is_ignored).then_some(marked)
}

/// What a valid descriptor is.
enum Target {
    Table(Pa),
    Leaf { pa: Pa, size: PageSize },
    Malformed(Malformed),
}
