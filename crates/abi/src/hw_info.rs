//! What an IOMMU tells about itself.

use bitflags::bitflags;

use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// `IOMMU_GET_HW_INFO`: asks about the IOMMU of a device, with [`IommuHwInfo`].
pub const IOMMU_GET_HW_INFO: u32 = request(0x8a);

bitflags! {
    /// `enum iommufd_hw_info_flags`: what the caller fills in.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommufdHwInfoFlags: u32 {
        /// The data type is asked for.
        const INPUT_TYPE = 1 << 0;
    }
}

open_enum! {
    /// `enum iommu_hw_info_type`: what `data_uptr` of [`IommuHwInfo`] receives.
    pub struct IommuHwInfoType(u32) {
        /// Out: nothing.
        NONE = 0,
        /// In: whatever the IOMMU has.
        DEFAULT = 0,
        /// [`IommuHwInfoVtd`].
        INTEL_VTD = 1,
        /// [`IommuHwInfoArmSmmuv3`].
        ARM_SMMUV3 = 2,
        /// [`IommuHwInfoTegra241Cmdqv`].
        TEGRA241_CMDQV = 3,
        /// [`IommuHwInfoAmd`].
        AMD = 4,
    }
}

bitflags! {
    /// `enum iommufd_hw_capabilities`: what holds for any IOMMU.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommufdHwCapabilities: u64 {
        /// Dirty pages can be tracked.
        const DIRTY_TRACKING = 1 << 0;
        /// The PCI device's PASIDs can ask to execute.
        const PCI_PASID_EXEC = 1 << 1;
        /// The PCI device's PASIDs have a privileged mode.
        const PCI_PASID_PRIV = 1 << 2;
        /// The device cannot use ATS.
        const PCI_ATS_NOT_SUPPORTED = 1 << 3;
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_GET_HW_INFO`].
    pub struct IommuHwInfo = "iommu_hw_info" {
        /// Bytes of this struct.
        pub size: u32,
        /// [`IommufdHwInfoFlags`].
        pub flags: u32,
        /// The device.
        pub dev_id: u32,
        /// In: bytes at `data_uptr`. Out: bytes that the IOMMU has to tell.
        pub data_len: u32,
        /// Pointer to a buffer for the data of the type.
        pub data_uptr: u64,
        /// [`IommuHwInfoType`]. In, where the header calls it `in_data_type`: the type asked for, with `INPUT_TYPE`. Out: the type given.
        pub out_data_type: u32,
        /// Out: bits of a PASID; 0 without PASIDs.
        pub out_max_pasid_log2: u8,
        /// 0.
        pub __reserved: [u8; 3],
        /// Out: [`IommufdHwCapabilities`].
        pub out_capabilities: u64,
    }
}

bitflags! {
    /// `enum iommu_hw_info_vtd_flags`: what a driver must know of an Intel unit beyond its registers.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommuHwInfoVtdFlags: u32 {
        /// A nesting parent must not have read-only mappings.
        const ERRATA_772415_SPR17 = 1 << 0;
    }
}

uapi_struct! {
    /// An Intel VT-d unit.
    pub struct IommuHwInfoVtd = "iommu_hw_info_vtd" {
        /// [`IommuHwInfoVtdFlags`].
        pub flags: u32,
        /// 0.
        pub __reserved: u32,
        /// The Capability Register.
        pub cap_reg: u64,
        /// The Extended Capability Register.
        pub ecap_reg: u64,
    }
}

bitflags! {
    /// `enum iommu_hw_info_arm_smmuv3_flags`: what a driver must know of an SMMUv3 beyond its registers.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommuHwInfoArmSmmuv3Flags: u32 {
        /// TLBI and CFGI commands must be issued twice.
        const ERRATA_REPEAT_TLBI_CFGI = 1 << 0;
    }
}

uapi_struct! {
    /// An Arm SMMUv3.
    pub struct IommuHwInfoArmSmmuv3 = "iommu_hw_info_arm_smmuv3" {
        /// [`IommuHwInfoArmSmmuv3Flags`].
        pub flags: u32,
        /// 0.
        pub __reserved: u32,
        /// The registers `SMMU_IDR0` to `SMMU_IDR5`.
        pub idr: [u32; 6],
        /// The register `SMMU_IIDR`.
        pub iidr: u32,
        /// The register `SMMU_AIDR`.
        pub aidr: u32,
    }
}

uapi_struct! {
    /// The command queue virtualisation of an NVIDIA Tegra241.
    pub struct IommuHwInfoTegra241Cmdqv = "iommu_hw_info_tegra241_cmdqv" {
        /// 0.
        pub flags: u32,
        /// The version, from bits 3:0 of its register PARAM.
        pub version: u8,
        /// log2 of the virtual command queues of one interface.
        pub log2vcmdqs: u8,
        /// log2 of the stream IDs that one interface can replace.
        pub log2vsids: u8,
        /// 0.
        pub __reserved: u8,
    }
}

uapi_struct! {
    /// An AMD IOMMU.
    pub struct IommuHwInfoAmd = "iommu_hw_info_amd" {
        /// The Extended Feature Register.
        pub efr: u64,
        /// The Extended Feature 2 Register.
        pub efr2: u64,
    }
}
