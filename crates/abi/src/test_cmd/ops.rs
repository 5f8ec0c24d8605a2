//! The members of the union.

use bitflags::bitflags;

use crate::layout::uapi_struct;

uapi_struct! {
    /// Of `ADD_RESERVED`; `id` is the IOAS.
    pub struct AddReserved = "iommu_test_cmd.add_reserved" {
        /// The first IOVA.
        pub start: u64,
        /// Bytes of the range.
        pub length: u64,
    }
}

uapi_struct! {
    /// Of `MOCK_DOMAIN`; `id` is what to attach to.
    pub struct MockDomain = "iommu_test_cmd.mock_domain" {
        /// Out: the object that stands for the mock device.
        pub out_stdev_id: u32,
        /// Out: the page table it is attached to.
        pub out_hwpt_id: u32,
        /// Out: the device object.
        pub out_idev_id: u32,
    }
}

bitflags! {
    /// `MOCK_FLAGS_DEVICE_…`: what a mock device can do.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct MockFlagsDevice: u32 {
        /// No dirty tracking.
        const NO_DIRTY = 1 << 0;
        /// PASIDs.
        const PASID = 1 << 2;
    }
}

uapi_struct! {
    /// Of `MOCK_DOMAIN_FLAGS`; `id` is what to attach to.
    pub struct MockDomainFlags = "iommu_test_cmd.mock_domain_flags" {
        /// Out: the object that stands for the mock device.
        pub out_stdev_id: u32,
        /// Out: the page table it is attached to.
        pub out_hwpt_id: u32,
        /// Out: the device object.
        pub out_idev_id: u32,
        /// [`MockFlagsDevice`].
        pub dev_flags: u32,
    }
}

uapi_struct! {
    /// Of `MOCK_DOMAIN_REPLACE`; `id` is the mock device.
    pub struct MockDomainReplace = "iommu_test_cmd.mock_domain_replace" {
        /// In: what to attach to. Out: the page table.
        pub pt_id: u32,
    }
}

uapi_struct! {
    /// Of `MD_CHECK_MAP`; `id` is the page table.
    pub struct CheckMap = "iommu_test_cmd.check_map" {
        /// The first IOVA.
        pub iova: u64,
        /// Bytes of the range.
        pub length: u64,
        /// The memory that must be mapped there.
        pub uptr: u64,
    }
}

uapi_struct! {
    /// Of `MD_CHECK_REFS`.
    pub struct CheckRefs = "iommu_test_cmd.check_refs" {
        /// Bytes of the range.
        pub length: u64,
        /// Its first byte.
        pub uptr: u64,
        /// How often each page must be pinned.
        pub refs: u32,
        /// Inserted by the C compiler.
        pub _padding: u32,
    }
}

bitflags! {
    /// `MOCK_FLAGS_ACCESS_CREATE_…`: what an access can do.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct MockFlagsAccessCreate: u32 {
        /// Pin.
        const NEEDS_PIN_PAGES = 1 << 0;
    }
}

uapi_struct! {
    /// Of `CREATE_ACCESS`; `id` is the IOAS.
    pub struct CreateAccess = "iommu_test_cmd.create_access" {
        /// Out: the descriptor of the access.
        pub out_access_fd: u32,
        /// [`MockFlagsAccessCreate`].
        pub flags: u32,
    }
}

uapi_struct! {
    /// Of `DESTROY_ACCESS_PAGES`; `id` is the access.
    pub struct DestroyAccessPages = "iommu_test_cmd.destroy_access_pages" {
        /// What `ACCESS_PAGES` gave.
        pub access_pages_id: u32,
    }
}

bitflags! {
    /// `MOCK_FLAGS_ACCESS_…`: how pages are pinned.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct MockFlagsAccess: u32 {
        /// To be written.
        const WRITE = 1 << 0;
        /// The IOVA is a number of an area and an offset in it.
        const SYZ = 1 << 16;
    }
}

uapi_struct! {
    /// Of `ACCESS_PAGES`; `id` is the access.
    pub struct AccessPages = "iommu_test_cmd.access_pages" {
        /// [`MockFlagsAccess`].
        pub flags: u32,
        /// Out: the number of this pin.
        pub out_access_pages_id: u32,
        /// The first IOVA.
        pub iova: u64,
        /// Bytes of the range.
        pub length: u64,
        /// The memory that must be behind it, or 0.
        pub uptr: u64,
    }
}

bitflags! {
    /// `MOCK_ACCESS_RW_…`: how memory is read or written.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct MockAccessRw: u32 {
        /// Write.
        const WRITE = 1 << 0;
        /// As if by another process.
        const SLOW_PATH = 1 << 2;
        /// The IOVA is a number of an area and an offset in it (`MOCK_FLAGS_ACCESS_SYZ`).
        const SYZ = 1 << 16;
    }
}

uapi_struct! {
    /// Of `ACCESS_RW`; `id` is the access.
    pub struct AccessRw = "iommu_test_cmd.access_rw" {
        /// The first IOVA.
        pub iova: u64,
        /// Bytes of the range.
        pub length: u64,
        /// The caller's buffer.
        pub uptr: u64,
        /// [`MockAccessRw`].
        pub flags: u32,
        /// Inserted by the C compiler.
        pub _padding: u32,
    }
}

uapi_struct! {
    /// Of `SET_TEMP_MEMORY_LIMIT`.
    pub struct MemoryLimit = "iommu_test_cmd.memory_limit" {
        /// Bytes.
        pub limit: u32,
    }
}

uapi_struct! {
    /// Of `ACCESS_REPLACE_IOAS`; `id` is the access.
    pub struct AccessReplaceIoas = "iommu_test_cmd.access_replace_ioas" {
        /// The IOAS.
        pub ioas_id: u32,
    }
}

uapi_struct! {
    /// Of `DIRTY`; `id` is the page table.
    pub struct Dirty = "iommu_test_cmd.dirty" {
        /// Ignored.
        pub flags: u32,
        /// Inserted by the C compiler.
        pub _padding: u32,
        /// The IOVA of bit 0.
        pub iova: u64,
        /// Bytes of the range.
        pub length: u64,
        /// Bytes that one bit stands for.
        pub page_size: u64,
        /// Pointer to the bitmap of what to dirty.
        pub uptr: u64,
        /// Out: bits set in it.
        pub out_nr_dirty: u64,
    }
}

uapi_struct! {
    /// Of `MD_CHECK_IOTLB`; the command's `id` is the nested page table.
    pub struct CheckIotlb = "iommu_test_cmd.check_iotlb" {
        /// Which entry.
        pub id: u32,
        /// What it must hold.
        pub iotlb: u32,
    }
}

uapi_struct! {
    /// Of `TRIGGER_IOPF`.
    pub struct TriggerIopf = "iommu_test_cmd.trigger_iopf" {
        /// The device.
        pub dev_id: u32,
        /// The PASID, or 0 for none.
        pub pasid: u32,
        /// The number of the page request group.
        pub grpid: u32,
        /// [`IommuHwptPgfaultPerm`](crate::fault::IommuHwptPgfaultPerm).
        pub perm: u32,
        /// The address.
        pub addr: u64,
    }
}

uapi_struct! {
    /// Of `DEV_CHECK_CACHE`; the command's `id` is the device.
    pub struct CheckDevCache = "iommu_test_cmd.check_dev_cache" {
        /// Which entry.
        pub id: u32,
        /// What it must hold.
        pub cache: u32,
    }
}

uapi_struct! {
    /// Of `TRIGGER_VEVENT`.
    pub struct TriggerVevent = "iommu_test_cmd.trigger_vevent" {
        /// The device.
        pub dev_id: u32,
    }
}

uapi_struct! {
    /// Of `PASID_ATTACH`; `id` is the mock device.
    pub struct PasidAttach = "iommu_test_cmd.pasid_attach" {
        /// The PASID.
        pub pasid: u32,
        /// In: what to attach to. Out: the page table.
        pub pt_id: u32,
    }
}

uapi_struct! {
    /// Of `PASID_REPLACE`; `id` is the mock device.
    pub struct PasidReplace = "iommu_test_cmd.pasid_replace" {
        /// The PASID.
        pub pasid: u32,
        /// In: what to attach to. Out: the page table.
        pub pt_id: u32,
    }
}

uapi_struct! {
    /// Of `PASID_DETACH`; `id` is the mock device.
    pub struct PasidDetach = "iommu_test_cmd.pasid_detach" {
        /// The PASID.
        pub pasid: u32,
    }
}

uapi_struct! {
    /// Of `PASID_CHECK_HWPT`; `id` is the mock device.
    pub struct PasidCheck = "iommu_test_cmd.pasid_check" {
        /// The PASID.
        pub pasid: u32,
        /// The page table it must be attached to, or 0 for none.
        pub hwpt_id: u32,
    }
}

uapi_struct! {
    /// Of `DMABUF_GET`.
    pub struct DmabufGet = "iommu_test_cmd.dmabuf_get" {
        /// Bytes.
        pub length: u32,
        /// Flags for the new descriptor, as of `open(2)`.
        pub open_flags: u32,
    }
}

uapi_struct! {
    /// Of `DMABUF_REVOKE`.
    pub struct DmabufRevoke = "iommu_test_cmd.dmabuf_revoke" {
        /// The descriptor of the dma-buf.
        pub dmabuf_fd: i32,
        /// Whether it is revoked.
        pub revoked: u32,
    }
}
