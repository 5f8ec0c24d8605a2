//! A guest's slice of a physical IOMMU.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use swiommu_addr::{Gpa, Pa};

use crate::{
    DriverError, Endpoint, Invalidated, NestedDomain, NestedRequest, PagingDomain, Requests,
};

/// What the guest calls a device: a stream, requester or device ID. Any 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VirtId(pub u64);

/// Shared memory that a guest's hypervisor maps to reach a part of the hardware directly.
pub trait MmapRegions: fmt::Debug {
    /// Makes a region of whole zeroed pages. It lives as long as the virtual IOMMU that it is made for.
    ///
    /// # Errors
    /// `ENOMEM`.
    fn allocate(&self, len: u64) -> Result<Arc<dyn MmapRegion>, DriverError>;
}

/// One such region.
pub trait MmapRegion: Send + Sync + fmt::Debug {
    /// Where the client finds it, as an offset for `mmap(2)`.
    fn offset(&self) -> u64;

    /// Its length in bytes.
    fn len(&self) -> u64;

    /// Writes into it.
    fn write(&self, offset: u64, bytes: &[u8]);

    /// Whether it has no bytes, which none has.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Driver data that goes both ways: read, and written back.
pub trait UserDataMut: crate::UserData {
    /// Writes bytes at `offset`.
    ///
    /// # Errors
    /// `EFAULT` when the client's memory cannot be written.
    fn write(&self, offset: usize, from: &[u8]) -> Result<(), DriverError>;
}

/// What a virtual IOMMU shall be.
#[derive(Clone, Copy, Debug)]
pub struct ViommuRequest<'a> {
    /// `enum iommu_viommu_type`, or a vendor's own.
    pub viommu_type: u32,
    /// The driver's part, if the client gave one.
    pub data: Option<&'a dyn UserDataMut>,
    /// Where memory for the guest's hypervisor comes from.
    pub regions: &'a dyn MmapRegions,
}

/// Who takes the events of a virtual IOMMU.
pub trait EventHandler: Send + Sync + fmt::Debug {
    /// Reports an event of a type (`enum iommu_veventq_type`).
    ///
    /// # Errors
    /// `EOPNOTSUPP` when nobody listens for the type.
    fn report(&self, event_type: u32, data: &[u8]) -> Result<(), DriverError>;
}

/// A queue in guest memory that the hardware reads by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HwQueueRequest {
    /// `enum iommu_hw_queue_type`, or a vendor's own.
    pub queue_type: u32,
    /// Which of the queues of the type.
    pub index: u32,
    /// Where the guest has it.
    pub base: Gpa,
    /// Its length in bytes.
    pub len: u64,
    /// Where that lies in physical memory, contiguously.
    pub memory: Pa,
}

/// A guest's slice of one physical IOMMU, on a nesting parent.
pub trait Viommu: Any + Send + Sync + fmt::Debug {
    /// Says who takes its events. Called once, before anything else.
    fn set_event_handler(&self, handler: Arc<dyn EventHandler>) {
        let _ = handler;
    }

    /// Allocates a guest's page table in front of the nesting parent.
    ///
    /// # Errors
    /// The driver's errno.
    fn alloc_nested(
        &self,
        endpoint: &dyn Endpoint,
        parent: &Arc<dyn PagingDomain>,
        request: &NestedRequest<'_>,
    ) -> Result<Arc<dyn NestedDomain>, DriverError>;

    /// Takes in a device that the guest knows by this number.
    ///
    /// # Errors
    /// The driver's errno.
    fn add_device(&self, endpoint: &Arc<dyn Endpoint>, id: VirtId) -> Result<(), DriverError> {
        let _ = (endpoint, id);
        Ok(())
    }

    /// Lets a device go.
    fn remove_device(&self, id: VirtId) {
        let _ = id;
    }

    /// Invalidates what the hardware caches for the guest.
    fn invalidate(&self, requests: &dyn Requests) -> Invalidated {
        let _ = requests;
        Invalidated::refused(DriverError::unsupported(
            "this vIOMMU takes no invalidations",
        ))
    }

    /// Whether there are hardware queues of this type.
    ///
    /// # Errors
    /// `EOPNOTSUPP` when there are not.
    fn check_queue_type(&self, queue_type: u32) -> Result<(), DriverError> {
        let _ = queue_type;
        Err(DriverError::unsupported(
            "this vIOMMU has no hardware queues",
        ))
    }

    /// Whether a queue can be made, before its memory is looked at: the index is free, and the one below it is taken.
    ///
    /// # Errors
    /// `EINVAL`, `EEXIST`, `EIO`.
    fn add_queue(&self, request: &HwQueueRequest) -> Result<(), DriverError> {
        let _ = request;
        Err(DriverError::unsupported(
            "this vIOMMU has no hardware queues",
        ))
    }

    /// Takes a queue back: the one with the highest index.
    fn remove_queue(&self, index: u32) {
        let _ = index;
    }
}
