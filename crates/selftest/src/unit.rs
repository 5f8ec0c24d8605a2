//! The mock IOMMU (§9.1, §9.3, §9.5).

use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_abi::mock::{
    IOMMU_HW_INFO_SELFTEST_REGVAL, IOMMU_HW_INFO_TYPE_SELFTEST, IOMMU_HWPT_DATA_SELFTEST,
    IOMMU_VIOMMU_TYPE_SELFTEST, IommuHwptSelftest, IommuTestHwInfo, MOCK_APERTURE_LAST,
    MOCK_APERTURE_START, MOCK_HUGE_PAGE_SIZE, MockIommupt,
};
use swiommu_addr::{Iova, IovaRange, PageSizes};
use swiommu_iommu::{
    DomainFeatures, DriverError, Endpoint, EndpointFeatures, Epochs, HwInfo, NestedDomain,
    NestedRequest, PagingDomain, PagingFlags, PagingRequest, TableDomain, Tables, Unit, UserData,
    Viommu, ViommuRequest,
};
use swiommu_mem::{PAGE, PhysicalMemory};
use swiommu_pgtable::PageTable;
use swiommu_pgtable::fmt::MockAmdv1;
use zerocopy::IntoBytes;

use crate::{MockDomain, MockNestedDomain, MockViommu};

/// Whose domains the mock's are.
pub(crate) const DRIVER: &str = "mock";

/// The one IOMMU that all mock devices are behind.
#[derive(Debug)]
pub struct MockUnit {
    memory: Arc<PhysicalMemory>,
    epochs: Arc<Epochs>,
}

impl MockUnit {
    /// An IOMMU whose page tables are in this memory, and are walked by these readers.
    pub fn new(memory: &Arc<PhysicalMemory>, epochs: &Arc<Epochs>) -> Arc<Self> {
        Arc::new(Self {
            memory: memory.clone(),
            epochs: epochs.clone(),
        })
    }
}

impl Unit for MockUnit {
    fn driver(&self) -> &'static str {
        DRIVER
    }

    fn hw_info(
        &self,
        _endpoint: &dyn Endpoint,
        input_type: u32,
    ) -> Result<Option<HwInfo>, DriverError> {
        let info = IommuTestHwInfo {
            flags: 0,
            test_reg: IOMMU_HW_INFO_SELFTEST_REGVAL,
        };
        let data_type = IOMMU_HW_INFO_TYPE_SELFTEST.0;
        HwInfo::of("the mock", data_type, input_type, &info)
    }

    fn alloc_paging(
        &self,
        endpoint: &dyn Endpoint,
        request: &PagingRequest<'_>,
    ) -> Result<Arc<dyn PagingDomain>, DriverError> {
        only(request.flags, PagingFlags::all())?;
        let features = features(request.flags);
        if features.contains(DomainFeatures::DIRTY_TRACKING)
            && !endpoint
                .features()
                .contains(EndpointFeatures::DIRTY_TRACKING)
        {
            return Err(DriverError::unsupported(
                "the mock device was made without dirty tracking",
            ));
        }
        let config = request.data.map(config).transpose()?.unwrap_or_default();
        let table = PageTable::new(MockAmdv1::mock(), Tables::new(&self.memory))
            .map_err(|error| DriverError::new(Errno::ENOMEM, error.to_string()))?;
        let table = match MockIommupt(config.pagetable_type) {
            MockIommupt::DEFAULT => table.with_aperture(default_aperture()),
            MockIommupt::HUGE => table.with_page_sizes(HUGE_SIZES),
            other => {
                return Err(DriverError::unsupported(format!(
                    "the mock has no page table of type {}",
                    other.0
                )));
            }
        };
        let table = TableDomain::new(DRIVER, features, table, &self.epochs);
        Ok(Arc::new(MockDomain::new(table)))
    }

    fn nests_on_paging(&self) -> bool {
        true
    }

    fn alloc_nested(
        &self,
        _endpoint: &dyn Endpoint,
        parent: &Arc<dyn PagingDomain>,
        request: &NestedRequest<'_>,
    ) -> Result<Arc<dyn NestedDomain>, DriverError> {
        let config = nested_config(request)?;
        Ok(Arc::new(MockNestedDomain::new(parent, None, config.iotlb)))
    }

    fn check_viommu_type(
        &self,
        _endpoint: &dyn Endpoint,
        viommu_type: u32,
    ) -> Result<(), DriverError> {
        if viommu_type == IOMMU_VIOMMU_TYPE_SELFTEST.0 {
            return Ok(());
        }
        Err(DriverError::unsupported(format!(
            "the mock has no vIOMMUs of type {viommu_type:#x}"
        )))
    }

    fn alloc_viommu(
        &self,
        _endpoint: &dyn Endpoint,
        parent: &Arc<dyn PagingDomain>,
        request: &ViommuRequest<'_>,
    ) -> Result<Arc<dyn Viommu>, DriverError> {
        Ok(MockViommu::new(parent, request)?)
    }
}

/// The leaves of a huge page table: the one it is for, and the page without which IOMMUFD refuses it.
const HUGE_SIZES: PageSizes = PageSizes::from_bitmap(MOCK_HUGE_PAGE_SIZE).with(PAGE);

fn default_aperture() -> IovaRange {
    let (start, last) = (MOCK_APERTURE_START, MOCK_APERTURE_LAST);
    IovaRange::new(Iova::new(start), Iova::new(last)).unwrap_or(IovaRange::full())
}

fn only(flags: PagingFlags, known: PagingFlags) -> Result<(), DriverError> {
    if known.contains(flags) {
        return Ok(());
    }
    Err(DriverError::unsupported(format!(
        "flags {flags:?}, where the mock takes {known:?}"
    )))
}

fn features(flags: PagingFlags) -> DomainFeatures {
    let mut features = DomainFeatures::empty();
    features.set(
        DomainFeatures::NEST_PARENT,
        flags.contains(PagingFlags::NEST_PARENT),
    );
    features.set(
        DomainFeatures::DIRTY_TRACKING,
        flags.contains(PagingFlags::DIRTY_TRACKING),
    );
    features
}

/// What a nested domain is made from, on a nesting parent or on a virtual IOMMU.
pub(crate) fn nested_config(request: &NestedRequest<'_>) -> Result<IommuHwptSelftest, DriverError> {
    only(request.flags, PagingFlags::PASID)?;
    config(request.data)
}

/// Reads the driver's part of an allocation, of which the first field alone will do.
fn config(data: &dyn UserData) -> Result<IommuHwptSelftest, DriverError> {
    if data.data_type() != IOMMU_HWPT_DATA_SELFTEST.0 {
        let data_type = data.data_type();
        return Err(DriverError::unsupported(format!(
            "the mock takes no data of type {data_type:#x}"
        )));
    }
    let mut config = IommuHwptSelftest::default();
    let (min, full) = (size_of_val(&config.iotlb), size_of_val(&config));
    let len = data.len();
    if !(min..=full).contains(&len) {
        return Err(DriverError::invalid(format!(
            "{len} bytes of data, where the mock takes {min} to {full}"
        )));
    }
    data.read(0, &mut config.as_mut_bytes()[..len])?;
    Ok(config)
}
