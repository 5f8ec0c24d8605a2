//! A paging domain over a page table in any format.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use swiommu_abi::Errno;
use swiommu_addr::{Address, Iova, IovaRange, Pa, PageSizes};
use swiommu_pgtable::{
    Access, Destination, DirtyRead, Error, Format, HardwareWalk, PageTable, PhysicalEntries,
    Unmapped,
};
use swiommu_sabotage::Fault as Sabotage;

use crate::{
    DomainFeatures, DriverError, Epochs, Mapping, PagingDomain, Reader, Structures, Tables, Tag,
};

const NOT_FOR_DIRTY_TRACKING: &str = "the page table was not allocated for dirty tracking";

/// A page table of one format, with what IOMMUFD asks of a domain.
pub struct TableDomain<F: Format> {
    driver: &'static str,
    features: DomainFeatures,
    table: PageTable<F, Tables>,
    epochs: Arc<Epochs>,
    /// For look-ups that are not a device's: tables must not be freed under them either.
    control: Mutex<Reader>,
}

impl<F: Format> TableDomain<F> {
    /// A domain of `driver` around a table. Unmapping waits for the readers of `epochs`.
    pub fn new(
        driver: &'static str,
        features: DomainFeatures,
        table: PageTable<F, Tables>,
        epochs: &Arc<Epochs>,
    ) -> Self {
        let control = Mutex::new(epochs.reader("page table look-up"));
        Self {
            driver,
            features,
            table,
            epochs: epochs.clone(),
            control,
        }
    }

    /// The page table.
    pub fn table(&self) -> &PageTable<F, Tables> {
        &self.table
    }

    /// Where an address leads for what is cached under `tag`, if it takes no more than a look at its leaf. `format` is the table's, as it
    /// is walked now.
    #[expect(
        clippy::inline_always,
        reason = "a walk that is two such looks costs a tenth less"
    )]
    #[inline(always)]
    pub(crate) fn leaf(
        &self,
        structures: &Structures,
        tag: Tag,
        format: &F,
        (iova, wanted): (Iova, Access),
    ) -> Option<Destination<Pa>>
    where
        F: HardwareWalk,
    {
        let memory = PhysicalEntries::new(self.table.memory());
        let found = structures.leaf(tag, format, &memory, iova, wanted)?;
        Some(found.destination)
    }

    /// Does what the hardware does on a write through `iova` while it tracks what is dirty.
    ///
    /// # Errors
    /// `ENOENT` where nothing is mapped, `ERANGE` outside the address widths.
    pub fn set_dirty(&self, iova: Iova) -> Result<(), DriverError> {
        let mut control = self.control.lock();
        let _guard = control.enter();
        Ok(self.table.set_dirty(iova)?)
    }

    /// Maps a range. `flush` drops what is cached of tables that gave way to larger leaves.
    ///
    /// # Errors
    /// As [`PagingDomain::map`].
    pub fn map_flushing(
        &self,
        mapping: &Mapping<'_>,
        flush: impl FnOnce(IovaRange),
    ) -> Result<(), DriverError> {
        let Mapping {
            iova,
            memory,
            prot,
            leaves,
        } = *mapping;
        let mapped = match *memory {
            [run] => self.table.map(iova, run, prot, leaves),
            _ => self.table.map_runs(iova, memory, prot, leaves),
        };
        if let Some(replaced) = mapped?.replaced() {
            flush(replaced.range());
            self.settle(replaced);
        }
        if Sabotage::DropLeaf.is_on()
            && let Some(len) = memory.iter().map(|run| run.len()).sum::<Option<u64>>()
            && let Some(last) = IovaRange::from_len(iova.wrapping_add(len - 1), 1)
        {
            self.unmap(last);
        }
        Ok(())
    }

    /// Unmaps every leaf that starts in the range. `flush` drops what is cached of them, before the wait for the requests in
    /// flight.
    pub fn unmap_flushing(&self, range: IovaRange, flush: impl FnOnce()) {
        if Sabotage::SkipUnmap.is_on() {
            return;
        }
        // What lies outside the table's reach was never mapped.
        if let Some(Ok(unmapped)) = range
            .intersection(self.table.aperture())
            .map(|range| self.table.unmap(range))
        {
            flush();
            self.settle(unmapped);
        }
    }

    /// Reports what is dirty, as [`PagingDomain::read_dirty`]. `flush` drops what is cached of leaves that were made clean, through which
    /// a write would not be marked again, before the wait for the requests in flight.
    ///
    /// # Errors
    /// As there.
    pub fn read_dirty_flushing(
        &self,
        range: IovaRange,
        mode: DirtyRead,
        report: &mut dyn FnMut(IovaRange),
        flush: impl FnOnce(),
    ) -> Result<(), DriverError> {
        if !self.features.contains(DomainFeatures::DIRTY_TRACKING) {
            return Err(DriverError::unsupported(NOT_FOR_DIRTY_TRACKING));
        }
        let Some(range) = range.intersection(self.table.aperture()) else {
            return Ok(());
        };
        let cleaned = {
            let mut control = self.control.lock();
            let _guard = control.enter();
            self.table.read_dirty(range, mode, report)?
        };
        if cleaned.range().is_some() {
            flush();
            self.epochs.synchronize();
        }
        Ok(())
    }

    /// Whether tracking can be switched on and off.
    ///
    /// # Errors
    /// `EINVAL` when the domain does not have [`DomainFeatures::DIRTY_TRACKING`].
    pub fn check_dirty_tracking(&self) -> Result<(), DriverError> {
        if self.features.contains(DomainFeatures::DIRTY_TRACKING) {
            return Ok(());
        }
        Err(DriverError::invalid(NOT_FOR_DIRTY_TRACKING))
    }

    /// Waits until nobody uses what was unmapped, and frees its tables.
    fn settle(&self, unmapped: Unmapped<F>) {
        let tables = unmapped.flushed();
        self.epochs.synchronize();
        tables.free(self.table.memory());
    }
}

impl<F: Format> fmt::Debug for TableDomain<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableDomain")
            .field("driver", &self.driver)
            .field("features", &self.features)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

impl<F: Format> PagingDomain for TableDomain<F> {
    fn driver(&self) -> &'static str {
        self.driver
    }

    fn page_sizes(&self) -> PageSizes {
        self.table.page_sizes()
    }

    fn aperture(&self) -> IovaRange {
        self.table.aperture()
    }

    fn features(&self) -> DomainFeatures {
        self.features
    }

    fn map(&self, mapping: &Mapping<'_>) -> Result<(), DriverError> {
        self.map_flushing(mapping, |_| ())
    }

    fn unmap(&self, range: IovaRange) {
        self.unmap_flushing(range, || ());
    }

    fn iova_to_phys(&self, iova: Iova) -> Option<Pa> {
        let mut control = self.control.lock();
        let _guard = control.enter();
        self.table
            .translate(iova)
            .ok()
            .map(|leaf| leaf.resolve(iova))
    }

    fn read_dirty(
        &self,
        range: IovaRange,
        mode: DirtyRead,
        report: &mut dyn FnMut(IovaRange),
    ) -> Result<(), DriverError> {
        self.read_dirty_flushing(range, mode, report, || ())
    }
}

/// What a model's domain does as the [`TableDomain`] in `self.table.domain` does it. Left for the model: unmapping, which has to
/// reach its caches, and what is dirty.
macro_rules! as_its_table {
    () => {
        fn driver(&self) -> &'static str {
            self.table.domain.driver()
        }

        fn page_sizes(&self) -> swiommu_addr::PageSizes {
            self.table.domain.page_sizes()
        }

        fn aperture(&self) -> swiommu_addr::IovaRange {
            self.table.domain.aperture()
        }

        fn features(&self) -> $crate::DomainFeatures {
            self.table.domain.features()
        }

        fn map(&self, mapping: &$crate::Mapping<'_>) -> Result<(), $crate::DriverError> {
            self.table.map(mapping)
        }

        fn iova_to_phys(&self, iova: swiommu_addr::Iova) -> Option<swiommu_addr::Pa> {
            self.table.domain.iova_to_phys(iova)
        }
    };
}
pub(crate) use as_its_table;

impl From<Error> for DriverError {
    fn from(error: Error) -> Self {
        let errno = match error {
            Error::OutOfRange { .. } | Error::OutputOutOfRange { .. } => Errno::ERANGE,
            Error::MisalignedIova { .. } | Error::MisalignedPa { .. } | Error::NoLeafSize => {
                Errno::ENXIO
            }
            Error::AlreadyMapped { .. } => Errno::EADDRINUSE,
            Error::OutOfMemory(_) => Errno::ENOMEM,
            Error::NotMapped { .. } => Errno::ENOENT,
            Error::Malformed { .. } => Errno::EIO,
            _ => Errno::EINVAL,
        };
        Self::new(errno, error.to_string())
    }
}
