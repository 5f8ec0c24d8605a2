//! Invalidation of what an IOMMU caches of a guest's tables.

use bitflags::bitflags;

use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// `IOMMU_HWPT_INVALIDATE`: invalidates for a nested page table or a vIOMMU, with [`IommuHwptInvalidate`].
pub const IOMMU_HWPT_INVALIDATE: u32 = request(0x8d);

open_enum! {
    /// `enum iommu_hwpt_invalidate_data_type`: what the array of [`IommuHwptInvalidate`] holds. The target tells the types for a
    /// nested page table (`IOMMU_HWPT_INVALIDATE_DATA_…`) from those for a vIOMMU (`IOMMU_VIOMMU_INVALIDATE_DATA_…`).
    pub struct IommuHwptInvalidateDataType(u32) {
        /// [`IommuHwptVtdS1Invalidate`], on a nested page table.
        VTD_S1 = 0,
        /// [`IommuViommuArmSmmuv3Invalidate`], on a vIOMMU.
        ARM_SMMUV3 = 1,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_HWPT_INVALIDATE`].
    pub struct IommuHwptInvalidate = "iommu_hwpt_invalidate" {
        /// Bytes of this struct.
        pub size: u32,
        /// The nested page table or vIOMMU.
        pub hwpt_id: u32,
        /// Pointer to the array of requests.
        pub data_uptr: u64,
        /// [`IommuHwptInvalidateDataType`].
        pub data_type: u32,
        /// Bytes of one request.
        pub entry_len: u32,
        /// In: how many requests; 0 asks only whether the type is known. Out: how many were carried out, also after an error.
        pub entry_num: u32,
        /// 0.
        pub __reserved: u32,
    }
}

bitflags! {
    /// `enum iommu_hwpt_vtd_s1_invalidate_flags`: what of the caches.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommuHwptVtdS1InvalidateFlags: u32 {
        /// Only leaves, not the paging-structure caches.
        const LEAF = 1 << 0;
    }
}

uapi_struct! {
    /// A request for Intel VT-d stage 1.
    pub struct IommuHwptVtdS1Invalidate = "iommu_hwpt_vtd_s1_invalidate" {
        /// The first address, a multiple of 4 KiB.
        pub addr: u64,
        /// How many 4 KiB pages; 2^64-1 at address 0 means everything.
        pub npages: u64,
        /// [`IommuHwptVtdS1InvalidateFlags`].
        pub flags: u32,
        /// 0.
        pub __reserved: u32,
    }
}

uapi_struct! {
    /// A request for an SMMUv3: a command of its command queue, with virtual stream IDs.
    pub struct IommuViommuArmSmmuv3Invalidate = "iommu_viommu_arm_smmuv3_invalidate" {
        /// The words of the command, little-endian.
        pub cmd: [u64; 2],
    }
}
