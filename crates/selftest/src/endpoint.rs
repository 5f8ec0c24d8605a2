//! The mock's devices as their IOMMU sees them (§9.2, §9.6, §9.7).

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;
use swiommu_abi::Errno;
use swiommu_abi::mock::{
    IOMMU_TEST_DEV_CACHE_DEFAULT, IOMMU_TEST_PASID_RESERVED, MOCK_DEV_CACHE_NUM, MOCK_PASID_WIDTH,
};
use swiommu_abi::test_cmd::MockFlagsDevice;
use swiommu_iommu::{
    Domain, DomainFeatures, DriverError, Endpoint, EndpointFeatures, GroupId, PageRequest,
    PageRequestHandler, Pasid, ReservedRegion, Unit, VirtId,
};

use crate::{MockNestedDomain, MockUnit, MockViommu};

/// A device behind the mock IOMMU. It does no DMA; it has a cache of four entries that a client can compare.
#[derive(Debug)]
pub struct MockEndpoint {
    unit: Arc<dyn Unit>,
    group: GroupId,
    flags: MockFlagsDevice,
    cache: [AtomicU32; MOCK_DEV_CACHE_NUM as usize],
    /// What it is to a guest, while it is attached as that.
    guest: Mutex<Option<(Arc<MockViommu>, VirtId)>>,
    page_requests: Mutex<Option<Arc<dyn PageRequestHandler>>>,
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
            cache: std::array::from_fn(|_| AtomicU32::new(IOMMU_TEST_DEV_CACHE_DEFAULT)),
            guest: Mutex::default(),
            page_requests: Mutex::default(),
            next_reserved_pasid_fails: AtomicBool::new(false),
        })
    }

    /// What an entry of the cache holds, if there is one of this number.
    pub fn cache(&self, entry: u32) -> Option<u32> {
        let entry = self.cache.get(usize::try_from(entry).ok()?)?;
        Some(entry.load(Ordering::Relaxed))
    }

    /// Clears one entry of the cache, or all.
    pub(crate) fn invalidate_cache(&self, entry: Option<u32>) {
        for (n, cached) in (0..).zip(&self.cache) {
            if entry.is_none_or(|entry| entry == n) {
                cached.store(0, Ordering::Relaxed);
            }
        }
    }

    /// The virtual IOMMU that it is attached through, and what the guest calls it.
    pub(crate) fn guest(&self) -> Option<(Arc<MockViommu>, VirtId)> {
        self.guest.lock().clone()
    }

    /// Asks for a page.
    pub fn request_page(&self, request: PageRequest) {
        let handler = self.page_requests.lock().clone();
        if let Some(handler) = handler {
            handler.handle(request);
        }
    }

    /// A nested domain of a virtual IOMMU takes only devices that the guest has a number for.
    fn guest_of(&self, domain: &Domain) -> Result<Option<(Arc<MockViommu>, VirtId)>, DriverError> {
        let Domain::Nested(domain) = domain else {
            return Ok(None);
        };
        let mock = (&**domain as &dyn Any).downcast_ref::<MockNestedDomain>();
        let Some(viommu) = mock.and_then(MockNestedDomain::viommu) else {
            return Ok(None);
        };
        let no_vdevice =
            || DriverError::new(Errno::ENOENT, "the device has no vDEVICE on this vIOMMU");
        let id = viommu.virt_id(self).ok_or_else(no_vdevice)?;
        Ok(Some((viommu.clone(), id)))
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
            | EndpointFeatures::USER_PASID_TABLE
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
            self.check_dirty(domain)?;
            *self.guest.lock() = self.guest_of(domain)?;
            return Ok(());
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

    fn set_page_request_handler(&self, handler: Option<Arc<dyn PageRequestHandler>>) {
        *self.page_requests.lock() = handler;
    }

    fn detach(&self, pasid: Pasid) {
        if pasid.is_none() {
            *self.guest.lock() = None;
        }
        if pasid == RESERVED_PASID {
            self.next_reserved_pasid_fails
                .store(false, Ordering::Relaxed);
        }
    }
}
