//! The mock's virtual IOMMUs (§9.8).

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use swiommu_abi::Errno;
use swiommu_abi::mock::{
    IOMMU_HW_QUEUE_TYPE_SELFTEST, IOMMU_TEST_HW_QUEUE_MAX, IOMMU_VEVENTQ_TYPE_SELFTEST,
    IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST, IommuTestInvalidateFlags, IommuViommuEventSelftest,
    IommuViommuInvalidateSelftest, IommuViommuSelftest,
};
use swiommu_addr::{Gpa, Iova};
use swiommu_iommu::{
    DriverError, Endpoint, EventHandler, HwQueueRequest, Invalidated, MmapRegion, NestedDomain,
    NestedRequest, PagingDomain, Requests, UserDataMut, Viommu, ViommuRequest, VirtId,
};
use swiommu_mem::PAGE;
use zerocopy::IntoBytes;

use crate::unit::nested_config;
use crate::{MockEndpoint, MockNestedDomain};

/// A guest's slice of the mock IOMMU.
#[derive(Debug)]
pub struct MockViommu {
    own: Weak<Self>,
    parent: Arc<dyn PagingDomain>,
    _region: Option<Arc<dyn MmapRegion>>,
    events: OnceLock<Arc<dyn EventHandler>>,
    devices: Mutex<BTreeMap<VirtId, Weak<MockEndpoint>>>,
    queues: Mutex<BTreeSet<u32>>,
}

impl MockViommu {
    /// Two pages that start with the number that the client gave, if it gave one.
    pub(crate) fn new(
        parent: &Arc<dyn PagingDomain>,
        request: &ViommuRequest<'_>,
    ) -> Result<Arc<Self>, DriverError> {
        let region = request
            .data
            .map(|data| loop_back(data, request))
            .transpose()?;
        Ok(Arc::new_cyclic(|own| Self {
            own: own.clone(),
            parent: parent.clone(),
            _region: region,
            events: OnceLock::new(),
            devices: Mutex::default(),
            queues: Mutex::default(),
        }))
    }

    /// What the guest calls a device.
    pub(crate) fn virt_id(&self, endpoint: &MockEndpoint) -> Option<VirtId> {
        let devices = self.devices.lock();
        let mut found = devices
            .iter()
            .filter(|(_, device)| std::ptr::eq(device.as_ptr(), endpoint));
        found.next().map(|(id, _)| *id)
    }

    /// Reports an event about a device to the guest.
    pub(crate) fn report(&self, about: VirtId) -> Result<(), DriverError> {
        let [b0, b1, b2, b3, ..] = about.0.to_le_bytes();
        let event = IommuViommuEventSelftest {
            virt_id: u32::from_le_bytes([b0, b1, b2, b3]),
        };
        let nobody = || DriverError::unsupported("nobody takes the events of this vIOMMU");
        let handler = self.events.get().ok_or_else(nobody)?;
        handler.report(IOMMU_VEVENTQ_TYPE_SELFTEST.0, event.as_bytes())
    }

    fn invalidate_device(
        &self,
        request: &IommuViommuInvalidateSelftest,
    ) -> Result<(), DriverError> {
        let all = invalidates_all(request.flags)?;
        let known = |device: &Arc<MockEndpoint>| device.cache(request.cache_id).is_some();
        let devices = self.devices.lock();
        let device = devices
            .get(&VirtId(request.vdev_id.into()))
            .and_then(Weak::upgrade);
        let device = device.filter(known).ok_or_else(|| {
            let IommuViommuInvalidateSelftest {
                vdev_id, cache_id, ..
            } = request;
            DriverError::invalid(format!(
                "there is no cache {cache_id} of device {vdev_id:#x}"
            ))
        })?;
        device.invalidate_cache(if all { None } else { Some(request.cache_id) });
        Ok(())
    }
}

/// Whether the flags of an invalidation ask for everything.
pub(crate) fn invalidates_all(flags: u32) -> Result<bool, DriverError> {
    let known = IommuTestInvalidateFlags::from_bits(flags);
    let flags =
        known.ok_or_else(|| DriverError::unsupported(format!("unknown flags {flags:#x}")))?;
    Ok(flags.contains(IommuTestInvalidateFlags::ALL))
}

/// Makes the region, and tells the client where it is, as far as its struct reaches.
fn loop_back(
    data: &dyn UserDataMut,
    request: &ViommuRequest<'_>,
) -> Result<Arc<dyn MmapRegion>, DriverError> {
    let mut config = IommuViommuSelftest::default();
    let (min, full) = (8, size_of_val(&config));
    let len = data.len();
    if !(min..=full).contains(&len) {
        return Err(DriverError::invalid(format!(
            "{len} bytes of data, where the mock takes {min} to {full}"
        )));
    }
    data.read(0, &mut config.as_mut_bytes()[..len])?;
    let region = request.regions.allocate(2 * PAGE.bytes())?;
    region.write(0, config.in_data.as_bytes());
    config.out_data = config.in_data;
    config.out_mmap_offset = region.offset();
    config.out_mmap_length = region.len();
    data.write(0, &config.as_bytes()[..len])?;
    Ok(region)
}

impl Viommu for MockViommu {
    fn set_event_handler(&self, handler: Arc<dyn EventHandler>) {
        // It is called once.
        let _ = self.events.set(handler);
    }

    fn alloc_nested(
        &self,
        _endpoint: &dyn Endpoint,
        parent: &Arc<dyn PagingDomain>,
        request: &NestedRequest<'_>,
    ) -> Result<Arc<dyn NestedDomain>, DriverError> {
        let config = nested_config(request)?;
        Ok(Arc::new(MockNestedDomain::new(
            parent,
            self.own.upgrade(),
            config.iotlb,
        )))
    }

    fn add_device(&self, endpoint: &Arc<dyn Endpoint>, id: VirtId) -> Result<(), DriverError> {
        let endpoint: Arc<dyn Any + Send + Sync> = endpoint.clone();
        let mock = endpoint.downcast::<MockEndpoint>();
        let mock = mock.map_err(|_| DriverError::invalid("the device is not the mock's"))?;
        self.devices.lock().insert(id, Arc::downgrade(&mock));
        Ok(())
    }

    fn remove_device(&self, id: VirtId) {
        self.devices.lock().remove(&id);
    }

    fn invalidate(&self, requests: &dyn Requests) -> Invalidated {
        if requests.data_type() != IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST.0 {
            let data_type = requests.data_type();
            return Invalidated::refused(DriverError::invalid(format!(
                "the mock has no invalidations of type {data_type:#x}"
            )));
        }
        // The whole array is copied before anything is done.
        let mut entries = Vec::new();
        for index in 0..requests.count() {
            let mut entry = IommuViommuInvalidateSelftest::default();
            if let Err(error) = requests.read_entry(index, entry.as_mut_bytes()) {
                return Invalidated::refused(error);
            }
            entries.push(entry);
        }
        let mut next = entries.iter();
        Invalidated::each(requests.count(), |_| {
            next.next()
                .map_or(Ok(()), |entry| self.invalidate_device(entry))
        })
    }

    fn check_queue_type(&self, queue_type: u32) -> Result<(), DriverError> {
        if queue_type == IOMMU_HW_QUEUE_TYPE_SELFTEST.0 {
            return Ok(());
        }
        Err(DriverError::unsupported(format!(
            "the mock has no queues of type {queue_type:#x}"
        )))
    }

    fn add_queue(&self, request: &HwQueueRequest) -> Result<(), DriverError> {
        let HwQueueRequest {
            index,
            base,
            memory,
            ..
        } = *request;
        let refused =
            |errno, why: &str| Err(DriverError::new(errno, format!("queue {index} {why}")));
        if index >= IOMMU_TEST_HW_QUEUE_MAX {
            return refused(Errno::EINVAL, "is more than the mock has");
        }
        let mut queues = self.queues.lock();
        if queues.contains(&index) {
            return refused(Errno::EEXIST, "is in use");
        }
        if index
            .checked_sub(1)
            .is_some_and(|lower| !queues.contains(&lower))
        {
            return refused(Errno::EIO, "comes before the one below it");
        }
        if self.parent.iova_to_phys(iova(base)) != Some(memory) {
            return refused(Errno::EFAULT, "is not where the nesting parent says");
        }
        queues.insert(index);
        Ok(())
    }

    fn remove_queue(&self, index: u32) {
        self.queues.lock().remove(&index);
    }
}

/// A guest physical address is what the nesting parent translates.
fn iova(address: Gpa) -> Iova {
    Iova::new(address.get())
}
