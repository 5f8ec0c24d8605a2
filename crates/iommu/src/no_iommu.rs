//! Devices without an IOMMU: what they are given is physical addresses (VFIO's no-IOMMU mode).

use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_mem::PhysicalMemory;
use swiommu_pgtable::PageTable;
use swiommu_pgtable::fmt::Amdv1;

use crate::{
    Domain, DomainFeatures, DriverError, Endpoint, EndpointFeatures, Epochs, GroupId, HwInfo,
    PagingDomain, PagingRequest, Pasid, ReservedRegion, TableDomain, Tables, Unit,
};

const DRIVER: &str = "noiommu";

/// In the place of an IOMMU, for devices that have none. Its page tables translate nothing: they keep which physical pages lie
/// behind the IOVAs, so that they are pinned and `IOMMU_IOAS_NOIOMMU_GET_PA` can tell.
#[derive(Debug)]
pub struct NoIommu {
    memory: Arc<PhysicalMemory>,
    epochs: Arc<Epochs>,
}

impl NoIommu {
    /// One whose page tables are in this memory.
    pub fn new(memory: &Arc<PhysicalMemory>, epochs: &Arc<Epochs>) -> Arc<Self> {
        Arc::new(Self {
            memory: memory.clone(),
            epochs: epochs.clone(),
        })
    }
}

impl Unit for NoIommu {
    fn driver(&self) -> &'static str {
        DRIVER
    }

    fn hw_info(
        &self,
        _endpoint: &dyn Endpoint,
        _input_type: u32,
    ) -> Result<Option<HwInfo>, DriverError> {
        Err(DriverError::unsupported("the device has no IOMMU"))
    }

    fn allocates_with_flags(&self) -> bool {
        false
    }

    fn alloc_paging(
        &self,
        _endpoint: &dyn Endpoint,
        _request: &PagingRequest<'_>,
    ) -> Result<Arc<dyn PagingDomain>, DriverError> {
        let table = PageTable::new(Amdv1::new(), Tables::new(&self.memory))
            .map_err(|error| DriverError::new(Errno::ENOMEM, error.to_string()))?;
        let features = DomainFeatures::NO_IOMMU;
        Ok(Arc::new(TableDomain::new(
            DRIVER,
            features,
            table,
            &self.epochs,
        )))
    }
}

/// A device without an IOMMU, alone in its group.
#[derive(Debug)]
pub struct NoIommuEndpoint {
    unit: Arc<dyn Unit>,
    group: GroupId,
}

impl NoIommuEndpoint {
    /// A device in this group.
    pub fn new(unit: &Arc<NoIommu>, group: GroupId) -> Arc<Self> {
        Arc::new(Self {
            unit: unit.clone(),
            group,
        })
    }
}

impl Endpoint for NoIommuEndpoint {
    fn unit(&self) -> &Arc<dyn Unit> {
        &self.unit
    }

    fn group(&self) -> GroupId {
        self.group
    }

    fn features(&self) -> EndpointFeatures {
        EndpointFeatures::CACHE_COHERENCY | EndpointFeatures::ISOLATED_MSI
    }

    fn max_pasids(&self) -> u32 {
        1
    }

    fn reserved_regions(&self) -> Vec<ReservedRegion> {
        Vec::new()
    }

    fn attach(&self, _pasid: Pasid, _domain: &Domain) -> Result<(), DriverError> {
        Ok(())
    }

    fn detach(&self, _pasid: Pasid) {}
}
