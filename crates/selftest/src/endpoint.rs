//! The mock's devices as their IOMMU sees them (§9.2, §9.6, §9.7).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use swiommu_abi::Errno;
use swiommu_abi::mock::{
    IOMMU_TEST_DEV_CACHE_DEFAULT, IOMMU_TEST_PASID_RESERVED, MOCK_DEV_CACHE_NUM, MOCK_PASID_WIDTH,
};
use swiommu_abi::test_cmd::MockFlagsDevice;
use swiommu_iommu::{
    Domain, DomainFeatures, DriverError, Endpoint, EndpointFeatures, GroupId, Pasid,
    ReservedRegion, Unit,
};

use crate::MockUnit;

/// A device behind the mock IOMMU. It does no DMA; it has a cache of four entries that a client can compare.
#[derive(Debug)]
pub struct MockEndpoint {
    unit: Arc<dyn Unit>,
    group: GroupId,
    flags: MockFlagsDevice,
    cache: [u32; MOCK_DEV_CACHE_NUM as usize],
    /// Set by an attachment to the PASID of which every second one fails.
    next_reserved_pasid_fails: AtomicBool,
}

impl MockEndpoint {
    /// A device alone in its group.
    pub fn new(unit: &Arc<MockUnit>, group: GroupId, flags: MockFlagsDevice) -> Arc<Self> {
        Arc::new(Self {
            unit: unit.clone(),
            group,
            flags,
            cache: [IOMMU_TEST_DEV_CACHE_DEFAULT; MOCK_DEV_CACHE_NUM as usize],
            next_reserved_pasid_fails: AtomicBool::new(false),
        })
    }

    /// What an entry of the cache holds, if there is one of this number.
    pub fn cache(&self, entry: u32) -> Option<u32> {
        self.cache.get(usize::try_from(entry).ok()?).copied()
    }

    fn check_dirty(&self, domain: &Domain) -> Result<(), DriverError> {
        let tracks = |domain: &Domain| match domain {
            Domain::Paging(domain) => domain.features().contains(DomainFeatures::DIRTY_TRACKING),
            Domain::Nested(_) => false,
        };
        if self.flags.contains(MockFlagsDevice::NO_DIRTY) && tracks(domain) {
            return Err(DriverError::invalid(
                "the page table is for dirty tracking, which the mock device was made without",
            ));
        }
        Ok(())
    }
}

const RESERVED_PASID: Pasid = Pasid(IOMMU_TEST_PASID_RESERVED);

impl Endpoint for MockEndpoint {
    fn unit(&self) -> &Arc<dyn Unit> {
        &self.unit
    }

    fn group(&self) -> GroupId {
        self.group
    }

    fn features(&self) -> EndpointFeatures {
        let mut features = EndpointFeatures::CACHE_COHERENCY
            | EndpointFeatures::PASID_ATTACH
            | EndpointFeatures::ISOLATED_MSI;
        features.set(
            EndpointFeatures::DIRTY_TRACKING,
            !self.flags.contains(MockFlagsDevice::NO_DIRTY),
        );
        features
    }

    fn max_pasids(&self) -> u32 {
        if self.flags.contains(MockFlagsDevice::PASID) {
            1 << MOCK_PASID_WIDTH
        } else {
            1
        }
    }

    fn reserved_regions(&self) -> Vec<ReservedRegion> {
        Vec::new()
    }

    fn attach(&self, pasid: Pasid, domain: &Domain) -> Result<(), DriverError> {
        if pasid.is_none() {
            return self.check_dirty(domain);
        }
        let fails = pasid == RESERVED_PASID
            && self
                .next_reserved_pasid_fails
                .fetch_xor(true, Ordering::Relaxed);
        if fails {
            return Err(DriverError::new(
                Errno::ENOMEM,
                format!("every second attachment to {pasid} fails, to test the way back"),
            ));
        }
        Ok(())
    }

    fn detach(&self, pasid: Pasid) {
        if pasid == RESERVED_PASID {
            self.next_reserved_pasid_fails
                .store(false, Ordering::Relaxed);
        }
    }
}
