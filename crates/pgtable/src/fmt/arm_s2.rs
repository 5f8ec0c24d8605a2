//! Arm VMSAv8-64 stage 2 (Arm Architecture Reference Manual, "Stage 2 VMSAv8-64 Block and Page descriptors").
//!
//! Beside what both stages have in common:
//!
//! | bits | name | meaning |
//! |---|---|---|
//! | 5:2 | `MemAttr` | memory type; with FWB, 4:2 say how it combines with that of stage 1 |
//! | 6 | S2AP\[0\] | read permitted |
//! | 7 | S2AP\[1\] | write permitted |
//! | 9:8 | SH | shareability, unless addresses take the place |
//! | 54:53 | XN | 10: never executed. With XNX also 01: not by privileged requesters, 11: not by users; without, 53 is ignored |
//!
//! Table descriptors forbid nothing. A leaf with DBM and without S2AP\[1\] is writable and clean where the hardware keeps what is
//! dirty: a write sets S2AP\[1\].
//!
//! The root can be up to 16 tables one after the other; the architecture demands it for some widths (rules `R_DXBSH`, `R_SRKBC`),
//! and [`ArmS2::new`] does it for these alone, as Linux does.

use core::ops::RangeInclusive;

use bitflags::bitflags;
use swiommu_addr::{Pa, PageSize, PageSizes};

use super::AddressForm;
use super::arm::{ACCESS_FLAG, DIRTY_MODIFIER, Geometry, TABLE_OR_PAGE, VALID, WRITTEN, accessed};
use crate::{
    Access, Entry, Format, HardwareUpdate, HardwareWalk, Leaf, LeafSlots, MemoryType, Prot,
};

const MEMORY_TYPE_SHIFT: u8 = 2;
const MEMORY_TYPE_MASK: u64 = 0xf;
const WRITE_BACK: u64 = 0xf;
const NON_CACHEABLE: u64 = 0x5;
const DEVICE: u64 = 0x1;
/// With FWB: write-back, whatever stage 1 says.
const FORCED_WRITE_BACK: u64 = 0x6;

const READ: u64 = 1 << 6;
const WRITE: u64 = 1 << 7;
const EXECUTE_NEVER_SHIFT: u8 = 53;
const EXECUTE_NEVER: u64 = 3 << EXECUTE_NEVER_SHIFT;
/// XN\[1\], all that there is without XNX.
const EXECUTE_NEVER_1: u64 = 2 << EXECUTE_NEVER_SHIFT;

bitflags! {
    /// What the stream table entry, or the unit, says about walks.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Context: u8 {
        /// New writable leaves have DBM.
        const DIRTY_MODIFIER = 1;
        /// S2AFFD: AF is taken as set.
        const ACCESS_FLAG_IGNORED = 2;
        /// S2FWB: the memory type overrides that of stage 1.
        const FORCED_WRITE_BACK = 4;
        /// XNX: XN has two bits.
        const TWO_EXECUTE_NEVER_BITS = 8;
    }
}

/// An Arm stage-2 table over a granule of 2^`GRANULE_LOG2` bytes: 12, 14 or 16.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArmS2<const GRANULE_LOG2: u8> {
    geometry: Geometry<GRANULE_LOG2>,
    update: HardwareUpdate,
    context: Context,
    /// [`WRITTEN`], where it has this meaning: in tables whose dirty state is kept.
    written: u64,
}

impl<const GRANULE_LOG2: u8> ArmS2<GRANULE_LOG2> {
    /// Addresses of these widths in bits, 64 - S2T0SZ and the width of S2PS, with the root that the architecture demands;
    /// `None` where it has no such table: the widths are those of [`ArmS1::new`](super::ArmS1::new).
    pub const fn new(form: AddressForm, input_bits: u8, output_bits: u8) -> Option<Self> {
        let Some(geometry) = Geometry::<GRANULE_LOG2>::new(form, input_bits, output_bits) else {
            return None;
        };
        let concatenated = match (GRANULE_LOG2, geometry.start_level()) {
            (12, 0) => output_bits == 40 || output_bits == 42,
            (14, 0) => output_bits == 48 || input_bits == 48,
            (14, 1) => output_bits == 40,
            _ => false,
        };
        let new = Self {
            geometry,
            update: HardwareUpdate::None,
            context: Context::empty(),
            written: 0,
        };
        if concatenated {
            new.with_levels(geometry.levels - 1)
        } else {
            Some(new)
        }
    }

    /// With fewer levels, and a root of up to 16 tables one after the other; `None` where it would take more.
    pub const fn with_levels(mut self, levels: u8) -> Option<Self> {
        match self.geometry.with_levels(levels) {
            Some(geometry) => {
                self.geometry = geometry;
                Some(self)
            }
            None => None,
        }
    }

    const fn with(mut self, context: Context) -> Self {
        self.context = self.context.union(context);
        self
    }

    /// Offers contiguous runs as leaves, and takes runs that it finds as leaves. Otherwise the hint is ignored, which the
    /// hardware may do too; Linux does not use it.
    #[must_use]
    pub const fn with_contiguous(mut self) -> Self {
        self.geometry = self.geometry.with_contiguous();
        self
    }

    /// Sets DBM in writable leaves, so that their dirty state can be read and cleared; walks keep AF and the dirty state.
    #[must_use]
    pub const fn with_dirty_tracking(mut self) -> Self {
        self.update = HardwareUpdate::AccessedAndDirty;
        self.written = WRITTEN;
        self.with(Context::DIRTY_MODIFIER)
    }

    /// What walks keep in the leaves (STE.S2HA, STE.S2HD). It is nothing otherwise: a clear AF is a fault, and DBM says nothing.
    #[must_use]
    pub const fn with_hardware_update(mut self, update: HardwareUpdate) -> Self {
        self.update = update;
        self
    }

    /// A clear AF is no fault (STE.S2AFFD).
    #[must_use]
    pub const fn with_access_flag_ignored(self) -> Self {
        self.with(Context::ACCESS_FLAG_IGNORED)
    }

    /// Memory types override those of stage 1 (STE.S2FWB).
    #[must_use]
    pub const fn with_forced_write_back(self) -> Self {
        self.with(Context::FORCED_WRITE_BACK)
    }

    /// XN has two bits (XNX).
    #[must_use]
    pub const fn with_two_execute_never_bits(self) -> Self {
        self.with(Context::TWO_EXECUTE_NEVER_BITS)
    }

    /// Where Arm counts the root of the walk: 3 is the lowest level.
    pub const fn start_level(&self) -> i8 {
        self.geometry.start_level()
    }

    /// The field SL0 (STE.S2SL0) that says the same; `None` for a root at level -1, which takes another field.
    pub const fn sl0(&self) -> Option<u8> {
        match (GRANULE_LOG2, self.start_level()) {
            (_, ..0) => None,
            (12, 3) => Some(3),
            (12, start) => Some(2 - start.cast_unsigned()),
            (_, start) => Some(3 - start.cast_unsigned()),
        }
    }

    #[inline]
    const fn has(self, context: Context) -> bool {
        self.context.contains(context)
    }

    /// Whether a leaf is writable, if only after the hardware has made it so.
    #[inline]
    fn is_writable(&self, entry: u64) -> bool {
        let tracked = self.update == HardwareUpdate::AccessedAndDirty;
        entry & WRITE != 0 || tracked && entry & DIRTY_MODIFIER != 0
    }

    #[inline]
    const fn memory_type_of(entry: u64) -> u64 {
        entry >> MEMORY_TYPE_SHIFT & MEMORY_TYPE_MASK
    }

    #[inline]
    fn prot(&self, entry: u64) -> Prot {
        let cacheable = if self.has(Context::FORCED_WRITE_BACK) {
            FORCED_WRITE_BACK
        } else {
            WRITE_BACK
        };
        let mut prot = Prot::empty();
        prot.set(Prot::READ, entry & READ != 0);
        prot.set(Prot::WRITE, self.is_writable(entry));
        prot.set(Prot::CACHE, Self::memory_type_of(entry) == cacheable);
        prot.set(Prot::NOEXEC, entry & EXECUTE_NEVER_1 != 0);
        prot.set(Prot::MMIO, Self::memory_type_of(entry) == DEVICE);
        prot
    }

    #[inline]
    fn leaf_of(&self, entry: u64, pa: Pa, size: PageSize) -> Leaf {
        Leaf {
            pa,
            size,
            prot: self.prot(entry),
            dirty: self.is_dirty(entry),
        }
    }
}

impl<const GRANULE_LOG2: u8> Format for ArmS2<GRANULE_LOG2> {
    const GRANULE: PageSize = PageSize::from_log2(GRANULE_LOG2);
    const INDEX_BITS: u8 = Geometry::<GRANULE_LOG2>::INDEX_BITS;
    const SLOTS: LeafSlots = LeafSlots::OwnAddress;

    fn levels(&self) -> RangeInclusive<u8> {
        self.geometry.levels..=self.geometry.levels
    }

    #[inline]
    fn input_bits(&self, _levels: u8) -> u8 {
        self.geometry.input_bits
    }

    #[inline]
    fn output_bits(&self) -> u8 {
        self.geometry.output_bits
    }

    fn leaf_sizes(&self) -> PageSizes {
        self.geometry.leaf_sizes()
    }

    #[inline]
    fn attributes(&self, prot: Prot) -> Option<u64> {
        let memory_type = if prot.contains(Prot::MMIO) {
            DEVICE
        } else if !prot.contains(Prot::CACHE) {
            NON_CACHEABLE
        } else if self.has(Context::FORCED_WRITE_BACK) {
            FORCED_WRITE_BACK
        } else {
            WRITE_BACK
        };
        let mut bits = ACCESS_FLAG | memory_type << MEMORY_TYPE_SHIFT;
        bits |= self.geometry.shareability(prot);
        if prot.contains(Prot::READ) {
            bits |= READ;
        }
        if prot.contains(Prot::WRITE) {
            bits |= WRITE;
            if self.has(Context::DIRTY_MODIFIER) {
                bits |= DIRTY_MODIFIER;
            }
        }
        if prot.contains(Prot::NOEXEC) {
            bits |= EXECUTE_NEVER;
        }
        prot.intersects(Prot::RW).then_some(bits)
    }

    fn attribute_bits(&self) -> u64 {
        MEMORY_TYPE_MASK << MEMORY_TYPE_SHIFT
            | self.geometry.shareability
            | READ
            | WRITE
            | EXECUTE_NEVER
            | DIRTY_MODIFIER
            | WRITTEN
    }

    fn with_attributes(&self, leaf: u64, attributes: u64) -> u64 {
        let changed = leaf & !self.attribute_bits() | attributes;
        if self.is_dirty(leaf) && !self.is_dirty(changed) {
            changed | self.written
        } else {
            changed
        }
    }

    #[inline]
    fn leaf(&self, size: PageSize, level: u8, attributes: u64) -> u64 {
        Geometry::<GRANULE_LOG2>::leaf(size, level) | attributes
    }

    #[inline]
    fn table(&self, _level: u8) -> u64 {
        VALID | TABLE_OR_PAGE
    }

    #[inline]
    fn address(&self, pa: Pa) -> u64 {
        self.geometry.address(pa)
    }

    #[inline]
    fn is_absent(&self, entry: u64) -> bool {
        entry & VALID == 0
    }

    #[inline]
    fn decode(&self, entry: u64, level: u8) -> Entry {
        let leaf = |pa, size| self.leaf_of(entry, pa, size);
        self.geometry.decode(entry, level, leaf)
    }

    #[inline]
    fn page(&self, entry: u64) -> Option<Leaf> {
        let pa = self.geometry.page(entry)?;
        Some(self.leaf_of(entry, pa, Self::GRANULE))
    }

    #[inline]
    fn next_table(&self, entry: u64, level: u8) -> Option<Pa> {
        self.geometry.next_table(entry, level)
    }

    #[inline]
    fn open_table(&self, entry: u64, level: u8) -> Option<Pa> {
        let table = VALID | TABLE_OR_PAGE;
        let open = entry & (table | self.geometry.high) == table;
        (open && level > 0).then_some(Geometry::<GRANULE_LOG2>::low_pa(entry))
    }

    #[inline]
    fn is_dirty(&self, entry: u64) -> bool {
        let dirty = DIRTY_MODIFIER | WRITE;
        self.dirty_bits(entry) != 0
            && entry & VALID != 0
            && (entry & dirty == dirty || entry & self.written != 0)
    }

    #[inline]
    fn dirty_bits(&self, entry: u64) -> u64 {
        entry & (WRITE | self.written)
    }

    #[inline]
    fn dirtied(&self, entry: u64) -> u64 {
        if entry & DIRTY_MODIFIER == 0 {
            entry
        } else {
            entry | WRITE
        }
    }

    #[inline]
    fn cleaned(&self, entry: u64) -> u64 {
        if entry & DIRTY_MODIFIER == 0 {
            entry & !WRITTEN
        } else {
            entry & !(WRITTEN | WRITE)
        }
    }
}

impl<const GRANULE_LOG2: u8> HardwareWalk for ArmS2<GRANULE_LOG2> {
    #[inline]
    fn leaf_access(&self, entry: u64) -> Access {
        let forbidden = match entry >> EXECUTE_NEVER_SHIFT & 3 {
            1 if self.has(Context::TWO_EXECUTE_NEVER_BITS) => Access::PRIVILEGED_EXECUTE,
            0 | 1 => Access::empty(),
            3 if self.has(Context::TWO_EXECUTE_NEVER_BITS) => Access::USER_EXECUTE,
            _ => Access::EXECUTE,
        };
        Access::all()
            .difference(forbidden)
            .without_unless(Access::READ, entry & READ)
            .without_unless(Access::WRITE, u64::from(self.is_writable(entry)))
    }

    #[inline]
    fn walked_leaf(&self, entry: u64, wanted: Access) -> Option<u64> {
        let is_ignored = self.has(Context::ACCESS_FLAG_IGNORED);
        let entry = accessed(entry, self.update, is_ignored)?;
        let dirties = wanted.writes() && self.update == HardwareUpdate::AccessedAndDirty;
        Some(if dirties { self.dirtied(entry) } else { entry })
    }

    #[inline]
    fn memory_type(&self, entry: u64, _level: u8) -> MemoryType {
        #[expect(clippy::cast_possible_truncation, reason = "a field of four bits")]
        let number = Self::memory_type_of(entry) as u8;
        MemoryType(number)
    }
}
