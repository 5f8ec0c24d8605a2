//! Hardware page tables: allocation, and what a nested one is made from.

use bitflags::bitflags;

use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// `IOMMU_HWPT_ALLOC`: makes a paging or nested page table, with [`IommuHwptAlloc`].
pub const IOMMU_HWPT_ALLOC: u32 = request(0x89);

bitflags! {
    /// `enum iommufd_hwpt_alloc_flags`: what the page table must be able to do.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommufdHwptAllocFlags: u32 {
        /// Be the parent of nested page tables.
        const NEST_PARENT = 1 << 0;
        /// Track dirty pages on whatever device it is attached to.
        const DIRTY_TRACKING = 1 << 1;
        /// Report page faults to the queue in `fault_id` (`IOMMU_HWPT_FAULT_ID_VALID`).
        const FAULT_ID_VALID = 1 << 2;
        /// Be attached to a PASID, or to a device that also has PASIDs attached.
        const PASID = 1 << 3;
    }
}

open_enum! {
    /// `enum iommu_hwpt_data_type`: what `data_uptr` of [`IommuHwptAlloc`] points to.
    pub struct IommuHwptDataType(u32) {
        /// Nothing.
        NONE = 0,
        /// [`IommuHwptVtdS1`].
        VTD_S1 = 1,
        /// [`IommuHwptArmSmmuv3`].
        ARM_SMMUV3 = 2,
        /// [`IommuHwptAmdGuest`].
        AMD_GUEST = 3,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_HWPT_ALLOC`].
    pub struct IommuHwptAlloc = "iommu_hwpt_alloc" {
        /// Bytes of this struct.
        pub size: u32,
        /// [`IommufdHwptAllocFlags`].
        pub flags: u32,
        /// The device it is made for.
        pub dev_id: u32,
        /// What it is made on: an IOAS, a nesting parent or a vIOMMU.
        pub pt_id: u32,
        /// Out: the new page table.
        pub out_hwpt_id: u32,
        /// 0.
        pub __reserved: u32,
        /// [`IommuHwptDataType`].
        pub data_type: u32,
        /// Bytes at `data_uptr`.
        pub data_len: u32,
        /// Pointer to the data of this type.
        pub data_uptr: u64,
        /// The fault queue, with `FAULT_ID_VALID`.
        pub fault_id: u32,
        /// Ignored.
        pub __reserved2: u32,
    }
}

bitflags! {
    /// `enum iommu_hwpt_vtd_s1_flags`: attributes of an Intel VT-d stage-1 table.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommuHwptVtdS1Flags: u64 {
        /// Supervisor requests are allowed.
        const SRE = 1 << 0;
        /// Extended accessed flags are kept.
        const EAFE = 1 << 1;
        /// Supervisor requests obey write protection.
        const WPE = 1 << 2;
    }
}

uapi_struct! {
    /// An Intel VT-d stage-1 page table.
    pub struct IommuHwptVtdS1 = "iommu_hwpt_vtd_s1" {
        /// [`IommuHwptVtdS1Flags`].
        pub flags: u64,
        /// The guest physical address of the root table.
        pub pgtbl_addr: u64,
        /// Bits of an input address: 48 or 57.
        pub addr_width: u32,
        /// 0.
        pub __reserved: u32,
    }
}

uapi_struct! {
    /// The first two double words of a guest's SMMUv3 stream table entry.
    pub struct IommuHwptArmSmmuv3 = "iommu_hwpt_arm_smmuv3" {
        /// The words, little-endian.
        pub ste: [u64; 2],
    }
}

uapi_struct! {
    /// A guest's AMD device table entry.
    pub struct IommuHwptAmdGuest = "iommu_hwpt_amd_guest" {
        /// The words of the entry.
        pub dte: [u64; 4],
    }
}
