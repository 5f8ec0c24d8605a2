//! Arm VMSAv8-64 stage 1 (Arm Architecture Reference Manual, "Stage 1 VMSAv8-64 Block and Page descriptors", "… Table
//! descriptors").
//!
//! Beside what both stages have in common:
//!
//! | bits | name | meaning |
//! |---|---|---|
//! | 4:2 | `AttrIndx` | memory type: index into MAIR |
//! | 6 | AP\[1\] | permitted to users |
//! | 7 | AP\[2\] | read-only |
//! | 9:8 | SH | shareability, unless addresses take the place |
//! | 11 | nG | not global |
//! | 53 | PXN | never executed by privileged requesters |
//! | 54 | UXN | never executed by users |
//! | 59 | `PXNTable` | the same for everything below a table |
//! | 60 | `UXNTable` | likewise |
//! | 62:61 | `APTable` | below a table: 61: not for users; 62: read-only |
//!
//! A leaf with DBM and AP\[2\] is writable and clean where the hardware keeps what is dirty: a write clears AP\[2\]. What users may
//! write, privileged requesters never execute.
//!
//! New leaves are as Linux writes them: accessed, not global, and dirty where they are writable. What can be written can be
//! read; so a request for writing alone gives both.

use core::ops::RangeInclusive;

use bitflags::bitflags;
use swiommu_addr::{Pa, PageSize, PageSizes};

use super::AddressForm;
use super::arm::{ACCESS_FLAG, DIRTY_MODIFIER, Geometry, TABLE_OR_PAGE, VALID, WRITTEN, accessed};
use crate::{
    Access, Entry, Format, HardwareUpdate, HardwareWalk, Leaf, LeafSlots, MemoryType, Prot,
};

const ATTRIBUTE_INDEX_SHIFT: u8 = 2;
const ATTRIBUTE_INDEX_MASK: u64 = 7;
/// The entries of MAIR that Linux uses: 0 is Normal Non-cacheable, 1 Normal Write-Back, 2 Device-nGnRE.
const INDEX_NON_CACHEABLE: u64 = 0;
const INDEX_CACHEABLE: u64 = 1;
const INDEX_DEVICE: u64 = 2;

const USER: u64 = 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const NOT_GLOBAL: u64 = 1 << 11;
const PRIVILEGED_EXECUTE_NEVER: u64 = 1 << 53;
const USER_EXECUTE_NEVER: u64 = 1 << 54;
const EXECUTE_NEVER: u64 = PRIVILEGED_EXECUTE_NEVER | USER_EXECUTE_NEVER;

const TABLE_PRIVILEGED_EXECUTE_NEVER: u64 = 1 << 59;
const TABLE_USER_EXECUTE_NEVER: u64 = 1 << 60;
const TABLE_EXECUTE_NEVER: u64 = TABLE_PRIVILEGED_EXECUTE_NEVER | TABLE_USER_EXECUTE_NEVER;
const TABLE_NOT_USER: u64 = 1 << 61;
const TABLE_READ_ONLY: u64 = 1 << 62;
const TABLE_LIMITS: u64 = TABLE_READ_ONLY | TABLE_NOT_USER | TABLE_EXECUTE_NEVER;

const TABLE: u64 = VALID | TABLE_OR_PAGE;

bitflags! {
    /// What the context descriptor says about walks.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Context: u8 {
        /// New writable leaves have DBM.
        const DIRTY_MODIFIER = 1;
        /// AFFD: AF is taken as set.
        const ACCESS_FLAG_IGNORED = 2;
        /// HAD: table descriptors forbid nothing.
        const HIERARCHY_IGNORED = 4;
        /// WXN: what can be written is never executed.
        const WRITE_EXECUTE_NEVER = 8;
        /// PAN: what users may access, privileged requesters do not read or write.
        const PRIVILEGED_ACCESS_NEVER = 16;
    }
}

/// An Arm stage-1 table over a granule of 2^`GRANULE_LOG2` bytes: 12, 14 or 16.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArmS1<const GRANULE_LOG2: u8> {
    geometry: Geometry<GRANULE_LOG2>,
    update: HardwareUpdate,
    context: Context,
    /// [`WRITTEN`], where it has this meaning: in tables whose dirty state is kept.
    written: u64,
    /// What tells a table descriptor that limits nothing and has a low address: of these bits, [`TABLE`] are set and no others.
    open_mask: u64,
}

impl<const GRANULE_LOG2: u8> ArmS1<GRANULE_LOG2> {
    /// Addresses of these widths in bits, 64 - T0SZ and the width of IPS; `None` where the architecture has no such table: 25
    /// to 48 input bits (to 52 with granules of 64 KiB or with [`AddressForm::Bits52`]); 32, 36, 40, 42, 44 or 48 output bits,
    /// or 52 with [`AddressForm::Bits52`].
    pub const fn new(form: AddressForm, input_bits: u8, output_bits: u8) -> Option<Self> {
        match Geometry::new(form, input_bits, output_bits) {
            Some(geometry) => Some(Self {
                geometry,
                update: HardwareUpdate::None,
                context: Context::empty(),
                written: 0,
                open_mask: TABLE | geometry.high | TABLE_LIMITS,
            }),
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

    /// What walks keep in the leaves (CD.HA, CD.HD). It is nothing otherwise: a clear AF is a fault, and DBM says nothing.
    #[must_use]
    pub const fn with_hardware_update(mut self, update: HardwareUpdate) -> Self {
        self.update = update;
        self
    }

    /// A clear AF is no fault (CD.AFFD).
    #[must_use]
    pub const fn with_access_flag_ignored(self) -> Self {
        self.with(Context::ACCESS_FLAG_IGNORED)
    }

    /// Table descriptors forbid nothing (CD.HAD).
    #[must_use]
    pub const fn with_hierarchy_ignored(mut self) -> Self {
        self.open_mask &= !TABLE_LIMITS;
        self.with(Context::HIERARCHY_IGNORED)
    }

    /// What can be written is never executed (CD.WXN).
    #[must_use]
    pub const fn with_write_execute_never(self) -> Self {
        self.with(Context::WRITE_EXECUTE_NEVER)
    }

    /// What users may access, privileged requesters do not read or write (CD.PAN).
    #[must_use]
    pub const fn with_privileged_access_never(self) -> Self {
        self.with(Context::PRIVILEGED_ACCESS_NEVER)
    }

    /// Where Arm counts the root of the walk: 3 is the lowest level.
    pub const fn start_level(&self) -> i8 {
        self.geometry.start_level()
    }

    /// Whether a leaf is writable, if only after the hardware has made it so.
    #[inline]
    fn is_writable(&self, entry: u64) -> bool {
        let tracked = self.update == HardwareUpdate::AccessedAndDirty;
        entry & READ_ONLY == 0 || tracked && entry & DIRTY_MODIFIER != 0
    }

    #[inline]
    fn prot(&self, entry: u64) -> Prot {
        let index = entry >> ATTRIBUTE_INDEX_SHIFT & ATTRIBUTE_INDEX_MASK;
        let mut prot = Prot::READ;
        prot.set(Prot::WRITE, self.is_writable(entry));
        prot.set(Prot::CACHE, index == INDEX_CACHEABLE);
        prot.set(Prot::NOEXEC, entry & EXECUTE_NEVER == EXECUTE_NEVER);
        prot.set(Prot::MMIO, index == INDEX_DEVICE);
        prot.set(Prot::PRIV, entry & USER == 0);
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

impl<const GRANULE_LOG2: u8> Format for ArmS1<GRANULE_LOG2> {
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
        let index = if prot.contains(Prot::MMIO) {
            INDEX_DEVICE
        } else if prot.contains(Prot::CACHE) {
            INDEX_CACHEABLE
        } else {
            INDEX_NON_CACHEABLE
        };
        let mut bits = ACCESS_FLAG | NOT_GLOBAL | index << ATTRIBUTE_INDEX_SHIFT;
        bits |= self.geometry.shareability(prot);
        if !prot.contains(Prot::PRIV) {
            bits |= USER;
        }
        if !prot.contains(Prot::WRITE) {
            bits |= READ_ONLY;
        } else if self.context.contains(Context::DIRTY_MODIFIER) {
            bits |= DIRTY_MODIFIER;
        }
        if prot.contains(Prot::NOEXEC) {
            bits |= EXECUTE_NEVER;
        }
        prot.intersects(Prot::RW).then_some(bits)
    }

    fn attribute_bits(&self) -> u64 {
        ATTRIBUTE_INDEX_MASK << ATTRIBUTE_INDEX_SHIFT
            | self.geometry.shareability
            | USER
            | READ_ONLY
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
        TABLE
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
        let open = entry & self.open_mask == TABLE;
        (open && level > 0).then_some(Geometry::<GRANULE_LOG2>::low_pa(entry))
    }

    #[inline]
    fn limit(&self, entry: u64) -> Prot {
        if entry & TABLE_LIMITS == 0 || self.context.contains(Context::HIERARCHY_IGNORED) {
            return Prot::RW;
        }
        let mut limit = Prot::READ;
        limit.set(Prot::WRITE, entry & TABLE_READ_ONLY == 0);
        limit.set(Prot::PRIV, entry & TABLE_NOT_USER != 0);
        let never = entry & TABLE_EXECUTE_NEVER == TABLE_EXECUTE_NEVER;
        limit.set(Prot::NOEXEC, never);
        limit
    }

    #[inline]
    fn is_dirty(&self, entry: u64) -> bool {
        self.dirty_bits(entry) != 0
            && entry & VALID != 0
            && (entry & (DIRTY_MODIFIER | READ_ONLY) == DIRTY_MODIFIER || entry & self.written != 0)
    }

    #[inline]
    fn dirty_bits(&self, entry: u64) -> u64 {
        (entry ^ READ_ONLY) & (READ_ONLY | self.written)
    }

    #[inline]
    fn dirtied(&self, entry: u64) -> u64 {
        if entry & DIRTY_MODIFIER == 0 {
            entry
        } else {
            entry & !READ_ONLY
        }
    }

    #[inline]
    fn cleaned(&self, entry: u64) -> u64 {
        if entry & DIRTY_MODIFIER == 0 {
            entry & !WRITTEN
        } else {
            entry & !WRITTEN | READ_ONLY
        }
    }
}

impl<const GRANULE_LOG2: u8> HardwareWalk for ArmS1<GRANULE_LOG2> {
    #[inline]
    fn table_access(&self, entry: u64) -> Access {
        if self.context.contains(Context::HIERARCHY_IGNORED) {
            return Access::all();
        }
        let user_data = Access::USER_READ.union(Access::USER_WRITE);
        Access::all()
            .without_unless(
                Access::PRIVILEGED_EXECUTE,
                !entry & TABLE_PRIVILEGED_EXECUTE_NEVER,
            )
            .without_unless(Access::USER_EXECUTE, !entry & TABLE_USER_EXECUTE_NEVER)
            .without_unless(user_data, !entry & TABLE_NOT_USER)
            .without_unless(Access::WRITE, !entry & TABLE_READ_ONLY)
    }

    #[inline]
    fn leaf_access(&self, entry: u64) -> Access {
        let user_data = Access::USER_READ.union(Access::USER_WRITE);
        Access::all()
            .without_unless(
                Access::PRIVILEGED_EXECUTE,
                !entry & PRIVILEGED_EXECUTE_NEVER,
            )
            .without_unless(Access::USER_EXECUTE, !entry & USER_EXECUTE_NEVER)
            .without_unless(user_data, entry & USER)
            .without_unless(Access::WRITE, u64::from(self.is_writable(entry)))
    }

    #[inline]
    fn path_access(&self, mut all: Access) -> Access {
        if self.context.contains(Context::WRITE_EXECUTE_NEVER) {
            if all.contains(Access::PRIVILEGED_WRITE) {
                all.remove(Access::PRIVILEGED_EXECUTE);
            }
            if all.contains(Access::USER_WRITE) {
                all.remove(Access::USER_EXECUTE);
            }
        }
        if all.contains(Access::USER_WRITE) {
            all.remove(Access::PRIVILEGED_EXECUTE);
        }
        let never = self.context.contains(Context::PRIVILEGED_ACCESS_NEVER);
        if never && all.contains(Access::USER_READ) {
            all.remove(Access::PRIVILEGED_READ | Access::PRIVILEGED_WRITE);
        }
        all
    }

    #[inline]
    fn walked_leaf(&self, entry: u64, wanted: Access) -> Option<u64> {
        let is_ignored = self.context.contains(Context::ACCESS_FLAG_IGNORED);
        let entry = accessed(entry, self.update, is_ignored)?;
        let dirties = wanted.writes() && self.update == HardwareUpdate::AccessedAndDirty;
        Some(if dirties { self.dirtied(entry) } else { entry })
    }

    #[inline]
    fn memory_type(&self, entry: u64, _level: u8) -> MemoryType {
        MemoryType((entry >> ATTRIBUTE_INDEX_SHIFT & ATTRIBUTE_INDEX_MASK) as u8)
    }
}
