//! Our tables.

use swiommu_addr::{Iova, IovaRange, Pa, PaRange, PageSize, PageSizes};
use swiommu_pgtable::fmt::{AddressForm, Amdv1, ArmS1, Riscv, VtdSs, X86_64};
use swiommu_pgtable::{Format, HardwareUpdate, PageTable, Prot};

use super::pool::{Pool, PoolTables};
use super::table::{PAGE, Table};

/// A format in the configuration that is measured.
pub(crate) trait Configured: Format {
    const NAME: &'static str;
    const FORMAT: Self;
    /// The same, with the dirty state kept.
    const TRACKING: Self = Self::FORMAT;
}

impl Configured for X86_64 {
    const NAME: &'static str = "x86-64";
    const FORMAT: Self = Self::four_level();
}

impl Configured for VtdSs {
    const NAME: &'static str = "VT-d second stage";
    const FORMAT: Self = Self::four_level();
    const TRACKING: Self = Self::FORMAT.with_accessed_dirty();
}

impl Configured for Amdv1 {
    const NAME: &'static str = "AMDv1, 3 levels";
    const FORMAT: Self = Self::new();
    const TRACKING: Self = Self::FORMAT.with_hardware_update(HardwareUpdate::AccessedAndDirty);
}

impl Configured for ArmS1<12> {
    const NAME: &'static str = "Arm S1 4K";
    const FORMAT: Self = match Self::new(AddressForm::Bits48, 48, 48) {
        Some(format) => format,
        None => panic!("48 bits exist"),
    };
    const TRACKING: Self = Self::FORMAT.with_dirty_tracking();
}

impl Configured for Riscv {
    const NAME: &'static str = "RISC-V Sv48";
    const FORMAT: Self = Self::sv48();
    const TRACKING: Self = Self::FORMAT.with_accessed_dirty();
}

const SIZES: PageSizes = PageSizes::NONE.with(PageSize::SIZE_4K);

pub(crate) struct Ours<F: Format>(pub(crate) PageTable<F, PoolTables>);

impl<F: Format> Ours<F> {
    pub(crate) fn with_format(format: F, pool: &'static Pool) -> Self {
        let table = PageTable::new(format, PoolTables::new(pool));
        Self(table.unwrap_or_else(|error| panic!("{error}")))
    }

    // Inlined for the length, which callers of an operation on one page know.
    #[expect(clippy::inline_always, reason = "see above")]
    #[inline(always)]
    fn map_bytes(&self, iova: u64, pa: u64, bytes: u64) {
        let Some(run) = PaRange::from_len(Pa::new(pa), bytes) else {
            panic!("{bytes:#x} bytes at {pa:#x}");
        };
        let mapped = self.0.map(Iova::new(iova), run, Prot::RW, SIZES);
        assert!(mapped.is_ok_and(|mapped| mapped.replaced().is_none()));
    }

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn unmap_bytes(&self, iova: u64, bytes: u64) {
        match self.0.unmap(range(iova, bytes)) {
            Ok(unmapped) => unmapped.flushed().free(self.0.memory()),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The range, which exists.
#[inline]
pub(crate) fn range(iova: u64, bytes: u64) -> IovaRange {
    match IovaRange::from_len(Iova::new(iova), bytes) {
        Some(range) => range,
        None => panic!("{bytes:#x} bytes at {iova:#x}"),
    }
}

impl<F: Configured> Table for Ours<F> {
    fn new(pool: &'static Pool) -> Self {
        Self::with_format(F::FORMAT, pool)
    }

    #[inline]
    fn map(&mut self, iova: u64, pa: u64, bytes: u64) {
        self.map_bytes(iova, pa, bytes);
    }

    #[inline]
    fn unmap(&mut self, iova: u64, bytes: u64) {
        self.unmap_bytes(iova, bytes);
    }

    #[inline]
    fn unmap_tables(&mut self, iova: u64, bytes: u64) {
        self.unmap(iova, bytes);
    }

    #[inline]
    fn map_page(&mut self, iova: u64, pa: u64) {
        self.map_bytes(iova, pa, PAGE);
    }

    #[inline]
    fn unmap_page(&mut self, iova: u64) {
        self.unmap_bytes(iova, PAGE);
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        let iova = Iova::new(iova);
        match self.0.translate(iova) {
            Ok(found) => found.resolve(iova).get(),
            Err(error) => panic!("{error}"),
        }
    }
}
