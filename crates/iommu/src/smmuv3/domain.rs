//! The unit's own page tables.

use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use swiommu_abi::Errno;
use swiommu_addr::{Gpa, Iova, IovaRange, Pa};
use swiommu_pgtable::fmt::{ArmS1, ArmS2};
use swiommu_pgtable::{Access, Destination, Format};
use swiommu_sabotage::Fault as Sabotage;

use super::caches::{NO_VMID, Tag, of_stage1};
use super::spec::{AddressSize, Cd, Stage1, Stage2, Stage2Flags};
use super::unit::Shared;
use crate::table_domain::as_its_table;
use crate::{
    DeviceTlb, DirtyRead, DirtyTracking, DomainFeatures, DriverError, Mapping, PagingDomain,
    TableDomain,
};

/// Bits of the addresses that first stages of our own translate: the lower half.
pub(super) const STAGE1_BITS: u8 = 48;

/// The ASID of a first stage, or the VMID of a second. It is free again when this goes, and nothing is cached under it then.
pub(super) struct Number {
    shared: Weak<Shared>,
    kind: Kind,
    value: u16,
}

/// Which numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Asid,
    Vmid,
}

impl Number {
    pub(super) fn take(shared: &Arc<Shared>, kind: Kind) -> Result<Self, DriverError> {
        let none = || DriverError::new(Errno::ENOSPC, format!("no free {kind:?}"));
        Ok(Self {
            shared: Arc::downgrade(shared),
            kind,
            value: shared.numbers(kind).take().ok_or_else(none)?,
        })
    }

    pub(super) fn get(&self) -> u16 {
        self.value
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let number = self.value;
        match self.kind {
            Kind::Asid => shared.caches.invalidate(&stage1_tag(number).all()),
            Kind::Vmid => {
                shared
                    .caches
                    .invalidate(&Tag::Stage2 { vmid: number }.all());
                shared.caches.invalidate(&of_stage1(number));
            }
        }
        shared.numbers(self.kind).release(number);
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.value)
    }
}

/// What is cached of a first stage of our own.
pub(super) fn stage1_tag(asid: u16) -> Tag {
    Tag::Asid {
        vmid: NO_VMID,
        asid,
    }
}

/// A table, its number, and the caches that it must be kept in step with.
#[derive(Debug)]
pub(super) struct Table<F: Format> {
    pub(super) domain: TableDomain<F>,
    pub(super) number: Number,
    pub(super) shared: Arc<Shared>,
}

impl<F: Format> Table<F> {
    /// Whose what is cached of it alone is.
    pub(super) fn tag(&self) -> Tag {
        let number = self.number.value;
        match self.number.kind {
            Kind::Asid => stage1_tag(number),
            Kind::Vmid => Tag::Stage2 { vmid: number },
        }
    }

    /// Maps, and drops what is cached of tables that give way to larger leaves.
    fn map(&self, mapping: &Mapping<'_>) -> Result<(), DriverError> {
        self.domain
            .map_flushing(mapping, |range| self.forget(range))
    }

    /// Drops what is cached of a range of it alone.
    fn forget(&self, range: IovaRange) {
        let scope = self.tag().all().within(range);
        self.shared.caches.invalidate(&scope);
    }
}

/// A stage-1 page table of ours: what a device gets that needs no nesting.
#[derive(Debug)]
pub struct SmmuStage1 {
    pub(super) table: Table<ArmS1<12>>,
}

impl SmmuStage1 {
    /// The context descriptor that leads to it.
    pub(super) fn descriptor(&self, stalls: bool) -> Cd {
        let table = self.table.domain.table();
        Cd::stage1(&Stage1 {
            asid: self.table.number.get(),
            input_bits: STAGE1_BITS,
            output: self.table.shared.settings.output,
            root: table.root().table,
            updates: if self.tracks_dirty() {
                self.table.shared.settings.updates
            } else {
                swiommu_pgtable::HardwareUpdate::None
            },
            stalls,
        })
    }

    /// Whether walks mark what is dirty.
    pub(super) fn tracks_dirty(&self) -> bool {
        self.features().contains(DomainFeatures::DIRTY_TRACKING)
    }

    pub(super) fn tag(&self) -> Tag {
        self.table.tag()
    }
}

impl PagingDomain for SmmuStage1 {
    as_its_table!();

    fn unmap(&self, range: IovaRange) {
        self.table
            .domain
            .unmap_flushing(range, || self.table.forget(range));
    }

    /// It always tracks: writable leaves are dirty from the beginning, until they are read and cleaned.
    fn set_dirty_tracking(&self, _tracking: DirtyTracking) -> Result<(), DriverError> {
        self.table.domain.check_dirty_tracking()
    }

    fn read_dirty(
        &self,
        range: IovaRange,
        mode: DirtyRead,
        report: &mut dyn FnMut(IovaRange),
    ) -> Result<(), DriverError> {
        let forget = || self.table.shared.caches.invalidate(&self.tag().all());
        let domain = &self.table.domain;
        domain.read_dirty_flushing(range, mode, report, forget)
    }
}

/// A stage-2 page table: the parent of guests' first stages, or what a device gets from a unit without stage 1.
#[derive(Debug)]
pub struct SmmuStage2 {
    pub(super) table: Table<ArmS2<12>>,
    format: ArmS2<12>,
    /// The caches of the devices that go through it.
    atcs: Mutex<Vec<Weak<DeviceTlb>>>,
}

impl SmmuStage2 {
    pub(super) fn new(table: Table<ArmS2<12>>) -> Self {
        Self {
            format: table.domain.table().format(),
            table,
            atcs: Mutex::default(),
        }
    }

    /// The part of a stream table entry that leads to it.
    pub(super) fn entry(&self, flags: Stage2Flags) -> Stage2 {
        let table = self.table.domain.table();
        let settings = &self.table.shared.settings;
        let forced = self.features().contains(DomainFeatures::NEST_PARENT)
            && settings.has(super::SmmuFeatures::FORCED_WRITE_BACK);
        let mut flags = flags;
        flags.set(Stage2Flags::FORCED_WRITE_BACK, forced);
        Stage2 {
            vmid: self.vmid(),
            input_bits: input_bits(settings.output),
            output: settings.output,
            sl0: table.format().sl0().unwrap_or(0),
            root: table.root().table,
            flags,
        }
    }

    pub(super) fn vmid(&self) -> u16 {
        self.table.number.get()
    }

    pub(super) fn tag(&self) -> Tag {
        self.table.tag()
    }

    /// Where an address leads, if it takes no more than a look at its leaf.
    #[inline]
    pub(super) fn leaf(&self, at: Gpa, wanted: Access) -> Option<Destination<Pa>> {
        let structures = self.table.shared.caches.structures();
        let request = (Iova::new(at.get()), wanted);
        let domain = &self.table.domain;
        domain.leaf(structures, self.tag().into(), &self.format, request)
    }

    /// From now on, a device's own cache is kept in step with the table.
    pub(super) fn add_atc(&self, atc: &Arc<DeviceTlb>) {
        let mut all = self.atcs.lock();
        all.retain(|other| {
            other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), &raw const **atc)
        });
        all.push(Arc::downgrade(atc));
    }

    /// Drops what is cached of a range, and all of stage 1: it tells nothing of which addresses of stage 2 it came through.
    fn forget(&self, range: IovaRange) {
        self.table.forget(range);
        if !Sabotage::KeepNested.is_on() {
            self.table.shared.caches.invalidate(&of_stage1(self.vmid()));
        }
        for atc in self.atcs.lock().iter().filter_map(Weak::upgrade) {
            atc.clear();
        }
    }
}

/// A second stage translates as many bits as physical addresses have.
pub(super) fn input_bits(output: AddressSize) -> u8 {
    output.bits()
}

impl PagingDomain for SmmuStage2 {
    as_its_table!();

    fn unmap(&self, range: IovaRange) {
        self.table
            .domain
            .unmap_flushing(range, || self.forget(range));
    }

    fn read_dirty(
        &self,
        range: IovaRange,
        mode: DirtyRead,
        report: &mut dyn FnMut(IovaRange),
    ) -> Result<(), DriverError> {
        self.table.domain.read_dirty(range, mode, report)
    }
}
