//! Fault queues: page requests that user space answers.

use bitflags::bitflags;

use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// `IOMMU_FAULT_QUEUE_ALLOC`: makes a fault queue, with [`IommuFaultAlloc`].
pub const IOMMU_FAULT_QUEUE_ALLOC: u32 = request(0x8e);

uapi_struct! {
    /// Argument of [`IOMMU_FAULT_QUEUE_ALLOC`].
    pub struct IommuFaultAlloc = "iommu_fault_alloc" {
        /// Bytes of this struct.
        pub size: u32,
        /// 0.
        pub flags: u32,
        /// Out: the new queue.
        pub out_fault_id: u32,
        /// Out: a descriptor from which [`IommuHwptPgfault`] are read and to which [`IommuHwptPageResponse`] are written.
        pub out_fault_fd: u32,
    }
}

bitflags! {
    /// `enum iommu_hwpt_pgfault_flags`: what holds for a fault.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommuHwptPgfaultFlags: u32 {
        /// `pasid` counts.
        const PASID_VALID = 1 << 0;
        /// The last fault of its group.
        const LAST_PAGE = 1 << 1;
    }
}

bitflags! {
    /// `enum iommu_hwpt_pgfault_perm`: what the device wanted to do.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommuHwptPgfaultPerm: u32 {
        /// Read.
        const READ = 1 << 0;
        /// Write.
        const WRITE = 1 << 1;
        /// Execute.
        const EXEC = 1 << 2;
        /// Do so in privileged mode.
        const PRIV = 1 << 3;
    }
}

uapi_struct! {
    /// A page request, as read from a fault queue.
    pub struct IommuHwptPgfault = "iommu_hwpt_pgfault" {
        /// [`IommuHwptPgfaultFlags`].
        pub flags: u32,
        /// The device.
        pub dev_id: u32,
        /// The PASID, with `PASID_VALID`.
        pub pasid: u32,
        /// The device's number of the page request group.
        pub grpid: u32,
        /// [`IommuHwptPgfaultPerm`].
        pub perm: u32,
        /// 0.
        pub __reserved: u32,
        /// The address that faulted.
        pub addr: u64,
        /// Bytes the device is going to ask for; 0 when it does not say.
        pub length: u32,
        /// What the response to the group must carry.
        pub cookie: u32,
    }
}

open_enum! {
    /// `enum iommufd_page_response_code`: how the group ended.
    pub struct IommufdPageResponseCode(u32) {
        /// The pages are there: the device tries again.
        SUCCESS = 0,
        /// They will not be: the device gives up.
        INVALID = 1,
    }
}

uapi_struct! {
    /// The answer to a page request group, as written to a fault queue.
    pub struct IommuHwptPageResponse = "iommu_hwpt_page_response" {
        /// The cookie of the group's faults.
        pub cookie: u32,
        /// [`IommufdPageResponseCode`].
        pub code: u32,
    }
}
