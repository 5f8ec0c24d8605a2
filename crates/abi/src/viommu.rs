//! Virtual IOMMUs: a guest's slice of a physical one, and the devices behind it.

use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// `IOMMU_VIOMMU_ALLOC`: makes a vIOMMU, with [`IommuViommuAlloc`].
pub const IOMMU_VIOMMU_ALLOC: u32 = request(0x90);
/// `IOMMU_VDEVICE_ALLOC`: makes a vDEVICE, with [`IommuVdeviceAlloc`].
pub const IOMMU_VDEVICE_ALLOC: u32 = request(0x91);

open_enum! {
    /// `enum iommu_viommu_type`: which IOMMU the guest sees.
    pub struct IommuViommuType(u32) {
        /// Not a type.
        DEFAULT = 0,
        /// An Arm SMMUv3.
        ARM_SMMUV3 = 1,
        /// An Arm SMMUv3 with the command queues of NVIDIA's Tegra241.
        TEGRA241_CMDQV = 2,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_VIOMMU_ALLOC`].
    pub struct IommuViommuAlloc = "iommu_viommu_alloc" {
        /// Bytes of this struct.
        pub size: u32,
        /// 0.
        pub flags: u32,
        /// [`IommuViommuType`].
        pub r#type: u32,
        /// A device behind the physical IOMMU.
        pub dev_id: u32,
        /// The nesting parent.
        pub hwpt_id: u32,
        /// Out: the new vIOMMU.
        pub out_viommu_id: u32,
        /// Bytes at `data_uptr`.
        pub data_len: u32,
        /// Ignored.
        pub __reserved: u32,
        /// Pointer to the data of the type, in and out.
        pub data_uptr: u64,
    }
}

uapi_struct! {
    /// Data of [`IommuViommuType::TEGRA241_CMDQV`].
    pub struct IommuViommuTegra241Cmdqv = "iommu_viommu_tegra241_cmdqv" {
        /// Out: where to mmap page 0 of the virtual interface.
        pub out_vintf_mmap_offset: u64,
        /// Out: bytes to mmap.
        pub out_vintf_mmap_length: u64,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_VDEVICE_ALLOC`].
    pub struct IommuVdeviceAlloc = "iommu_vdevice_alloc" {
        /// Bytes of this struct.
        pub size: u32,
        /// The vIOMMU.
        pub viommu_id: u32,
        /// The device.
        pub dev_id: u32,
        /// Out: the new vDEVICE.
        pub out_vdevice_id: u32,
        /// What the guest calls the device: a stream, device or requester ID.
        pub virt_id: u64,
    }
}
