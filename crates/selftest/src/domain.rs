//! The mock's page tables.

use std::sync::atomic::{AtomicBool, Ordering};

use swiommu_addr::{Iova, IovaRange, Pa, PageSizes};
use swiommu_iommu::{
    DirtyRead, DirtyTracking, DomainFeatures, DriverError, Mapping, PagingDomain, TableDomain,
};
use swiommu_pgtable::fmt::MockAmdv1;

/// A page table of the mock IOMMU: a real one, in the machine's memory.
#[derive(Debug)]
pub struct MockDomain {
    table: TableDomain<MockAmdv1>,
    tracks_dirty: AtomicBool,
}

impl MockDomain {
    pub(crate) fn new(table: TableDomain<MockAmdv1>) -> Self {
        Self {
            table,
            tracks_dirty: AtomicBool::new(false),
        }
    }

    /// Whether writes are recorded now.
    pub fn dirty_tracking(&self) -> DirtyTracking {
        if self.tracks_dirty.load(Ordering::Acquire) {
            DirtyTracking::On
        } else {
            DirtyTracking::Off
        }
    }

    /// Records a write through `iova` as the hardware would; where nothing is mapped, there is nothing to record.
    pub(crate) fn dirty(&self, iova: Iova) {
        let _ = self.table.set_dirty(iova);
    }
}

impl PagingDomain for MockDomain {
    fn driver(&self) -> &'static str {
        self.table.driver()
    }

    fn page_sizes(&self) -> PageSizes {
        self.table.page_sizes()
    }

    fn aperture(&self) -> IovaRange {
        self.table.aperture()
    }

    fn features(&self) -> DomainFeatures {
        self.table.features()
    }

    fn map(&self, mapping: &Mapping<'_>) -> Result<(), DriverError> {
        self.table.map(mapping)
    }

    fn unmap(&self, range: IovaRange) {
        self.table.unmap(range);
    }

    fn iova_to_phys(&self, iova: Iova) -> Option<Pa> {
        self.table.iova_to_phys(iova)
    }

    fn set_dirty_tracking(&self, tracking: DirtyTracking) -> Result<(), DriverError> {
        self.table.check_dirty_tracking()?;
        self.tracks_dirty
            .store(tracking == DirtyTracking::On, Ordering::Release);
        Ok(())
    }

    fn read_dirty(
        &self,
        range: IovaRange,
        mode: DirtyRead,
        report: &mut dyn FnMut(IovaRange),
    ) -> Result<(), DriverError> {
        self.table.read_dirty(range, mode, report)
    }
}
