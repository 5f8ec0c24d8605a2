//! The unit's own page tables.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use swiommu_addr::{Iova, IovaRange, Pa};
use swiommu_pgtable::fmt::{VtdSs, X86_64};
use swiommu_pgtable::{Access, Destination, Format, HardwareWalk, Walker};
use swiommu_sabotage::Fault as Sabotage;

use super::VtdNested;
use super::unit::{DomainNumber, Shared};
use crate::table_domain::as_its_table;
use crate::two_stage::HostWalker;
use crate::{
    DirtyRead, DirtyTracking, DriverError, Mapping, PagingDomain, Scope, TableDomain, Tag, TagMatch,
};

/// The bits of a tag that hold the domain.
const DOMAIN: u64 = 0xffff;

/// The tag of what is cached of a domain for a PASID. Second stages are cached for all PASIDs alike.
pub(super) fn tag(domain: u16, pasid: u32) -> Tag {
    Tag::new(u64::from(domain) | u64::from(pasid) << 16)
}

/// Everything of a domain, whatever the PASID.
pub(super) fn of_domain(domain: u16) -> Scope {
    Scope::tags(TagMatch {
        value: u64::from(domain),
        mask: DOMAIN,
    })
}

/// A table, its number, and the caches that it must be kept in step with.
#[derive(Debug)]
pub(super) struct Table<F: Format> {
    pub(super) domain: TableDomain<F>,
    pub(super) number: DomainNumber,
    pub(super) shared: Arc<Shared>,
}

impl<F: HardwareWalk> Table<F> {
    /// Unmaps, and drops what is cached of it before anybody waits for the requests in flight.
    fn unmap(&self, range: IovaRange, and: impl FnOnce()) {
        self.domain.unmap_flushing(range, || {
            self.forget(range);
            and();
        });
    }

    /// Where an address leads, if it takes no more than a look at its leaf.
    #[expect(
        clippy::inline_always,
        reason = "a walk that is two such looks costs a tenth less"
    )]
    #[inline(always)]
    fn leaf(&self, tag: Tag, format: &F, iova: Iova, wanted: Access) -> Option<Destination<Pa>> {
        let structures = &self.shared.caches.structures;
        self.domain.leaf(structures, tag, format, (iova, wanted))
    }

    /// Maps, and drops what is cached of tables that give way to larger leaves.
    fn map(&self, mapping: &Mapping<'_>) -> Result<(), DriverError> {
        self.domain
            .map_flushing(mapping, |range| self.forget(range))
    }

    fn forget(&self, range: IovaRange) {
        let scope = of_domain(self.number.get()).within(range);
        self.shared.caches.invalidate(&scope);
    }
}

/// A first-stage page table of ours: what a device gets that needs neither nesting nor dirty tracking.
#[derive(Debug)]
pub struct VtdFirstStage {
    pub(super) table: Table<X86_64>,
    format: X86_64,
}

impl VtdFirstStage {
    pub(super) fn new(table: Table<X86_64>) -> Self {
        Self {
            format: table.domain.table().format(),
            table,
        }
    }

    /// Where an address leads for what is cached under `tag`, if it takes no more than a look at its leaf.
    #[inline]
    pub(super) fn leaf(&self, tag: Tag, iova: Iova, wanted: Access) -> Option<Destination<Pa>> {
        self.table.leaf(tag, &self.format, iova, wanted)
    }
}

/// A second-stage page table.
#[derive(Debug)]
pub struct VtdSecondStage {
    pub(super) table: Table<VtdSs>,
    tag: Tag,
    format: VtdSs,
    /// The same while dirty pages are tracked.
    tracking: VtdSs,
    tracks_dirty: AtomicBool,
    /// The guests' first stages in front of it, which are cached together with it.
    nested: Mutex<Vec<Weak<VtdNested>>>,
}

impl VtdSecondStage {
    pub(super) fn new(table: Table<VtdSs>) -> Self {
        Self {
            tag: tag(table.number.get(), 0),
            format: table.domain.table().format(),
            tracking: table.domain.table().format().with_accessed_dirty(),
            table,
            tracks_dirty: AtomicBool::new(false),
            nested: Mutex::default(),
        }
    }

    pub(super) fn add_nested(&self, nested: &Arc<VtdNested>) {
        let mut all = self.nested.lock();
        all.retain(|nested| nested.strong_count() > 0);
        all.push(Arc::downgrade(nested));
    }

    /// The format as it is walked now: what is used is marked while dirty pages are tracked.
    #[inline]
    pub(super) fn walked_format(&self) -> &VtdSs {
        if self.tracks_dirty() {
            &self.tracking
        } else {
            &self.format
        }
    }

    /// The walk of it as it is now.
    pub(super) fn walker(&self) -> Option<HostWalker<'_, VtdSs>> {
        let walker = self.table.domain.table().walker();
        Walker::new(*self.walked_format(), *walker.memory(), walker.root())
    }

    /// Where an address leads, if it takes no more than a look at its leaf.
    #[expect(
        clippy::inline_always,
        reason = "a walk that is two such looks costs a tenth less"
    )]
    #[inline(always)]
    pub(super) fn leaf(&self, iova: Iova, wanted: Access) -> Option<Destination<Pa>> {
        self.table
            .leaf(self.tag, self.walked_format(), iova, wanted)
    }

    /// Whose what is cached of it alone is.
    #[inline]
    pub(super) fn tag(&self) -> Tag {
        self.tag
    }

    pub(super) fn tracks_dirty(&self) -> bool {
        self.tracks_dirty.load(Ordering::Acquire)
    }

    /// Drops all that is cached of the nested tables: it tells nothing of which second-stage addresses it came through.
    fn forget_nested(&self) {
        if Sabotage::KeepNested.is_on() {
            return;
        }
        for nested in self.nested.lock().iter().filter_map(Weak::upgrade) {
            nested.forget();
        }
    }

    /// Drops all that is cached of the table.
    fn forget_all(&self) {
        let Table { number, shared, .. } = &self.table;
        shared.caches.invalidate(&of_domain(number.get()));
        self.forget_nested();
    }
}

impl PagingDomain for VtdFirstStage {
    as_its_table!();

    fn unmap(&self, range: IovaRange) {
        self.table.unmap(range, || ());
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

impl PagingDomain for VtdSecondStage {
    as_its_table!();

    fn unmap(&self, range: IovaRange) {
        self.table.unmap(range, || self.forget_nested());
    }

    fn set_dirty_tracking(&self, tracking: DirtyTracking) -> Result<(), DriverError> {
        self.table.domain.check_dirty_tracking()?;
        let on = tracking == DirtyTracking::On;
        if self.tracks_dirty.swap(on, Ordering::AcqRel) != on {
            // What was walked without marking must be walked again.
            self.forget_all();
            self.table.shared.epochs.synchronize();
        }
        Ok(())
    }

    fn read_dirty(
        &self,
        range: IovaRange,
        mode: DirtyRead,
        report: &mut dyn FnMut(IovaRange),
    ) -> Result<(), DriverError> {
        let domain = &self.table.domain;
        domain.read_dirty_flushing(range, mode, report, || self.forget_all())
    }
}
