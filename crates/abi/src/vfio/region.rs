//! Regions of a device: BARs, config space and what a driver adds.

use bitflags::bitflags;

use super::VfioInfoCapHeader;
use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// Describes a region, with [`VfioRegionInfo`].
pub const VFIO_DEVICE_GET_REGION_INFO: u32 = request(108);
/// Makes an eventfd write to a region, with [`VfioDeviceIoeventfd`].
pub const VFIO_DEVICE_IOEVENTFD: u32 = request(116);

/// `VFIO_PCI_NUM_REGIONS`: how many regions every PCI device has; those of a driver come after.
pub const VFIO_PCI_NUM_REGIONS: u32 = 9;

open_enum! {
    /// `VFIO_PCI_…_REGION_INDEX`: the regions of a PCI device.
    pub struct VfioPciRegionIndex(u32) {
        /// BAR 0.
        BAR0 = 0,
        /// BAR 1.
        BAR1 = 1,
        /// BAR 2.
        BAR2 = 2,
        /// BAR 3.
        BAR3 = 3,
        /// BAR 4.
        BAR4 = 4,
        /// BAR 5.
        BAR5 = 5,
        /// The expansion ROM.
        ROM = 6,
        /// Config space.
        CONFIG = 7,
        /// The legacy ranges of VGA.
        VGA = 8,
    }
}

bitflags! {
    /// `VFIO_REGION_INFO_FLAG_…`: what a region can do.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioRegionInfoFlags: u32 {
        /// Be read.
        const READ = 1 << 0;
        /// Be written.
        const WRITE = 1 << 1;
        /// Be mapped.
        const MMAP = 1 << 2;
        /// Have capabilities follow.
        const CAPS = 1 << 3;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_DEVICE_GET_REGION_INFO`]; capabilities follow.
    pub struct VfioRegionInfo = "vfio_region_info" {
        /// In: bytes that fit. Out: bytes needed for everything.
        pub argsz: u32,
        /// Out: [`VfioRegionInfoFlags`].
        pub flags: u32,
        /// Which region: for PCI [`VfioPciRegionIndex`].
        pub index: u32,
        /// Out: the offset of the first capability; 0 when they did not fit.
        pub cap_offset: u32,
        /// Out: bytes of the region; 0 when it is absent.
        pub size: u64,
        /// Out: where the region lies in the device's file.
        pub offset: u64,
    }
}

open_enum! {
    /// `VFIO_REGION_INFO_CAP_…`: capabilities of [`VfioRegionInfo`].
    pub struct VfioRegionInfoCap(u16) {
        /// [`VfioRegionInfoCapSparseMmap`].
        SPARSE_MMAP = 1,
        /// [`VfioRegionInfoCapType`].
        TYPE = 2,
        /// A header alone: the page with the MSI-X table may be mapped too.
        MSIX_MAPPABLE = 3,
    }
}

uapi_struct! {
    /// The parts of a region that can be mapped; an array of [`VfioRegionSparseMmapArea`] follows.
    pub struct VfioRegionInfoCapSparseMmap = "vfio_region_info_cap_sparse_mmap" {
        /// [`VfioRegionInfoCap::SPARSE_MMAP`], version 1.
        pub header: VfioInfoCapHeader,
        /// Entries of the array.
        pub nr_areas: u32,
        /// 0.
        pub reserved: u32,
    }
}

uapi_struct! {
    /// A part of a region.
    pub struct VfioRegionSparseMmapArea = "vfio_region_sparse_mmap_area" {
        /// Bytes from the start of the region.
        pub offset: u64,
        /// Bytes of the part.
        pub size: u64,
    }
}

uapi_struct! {
    /// What a region of the driver is.
    pub struct VfioRegionInfoCapType = "vfio_region_info_cap_type" {
        /// [`VfioRegionInfoCap::TYPE`], version 1.
        pub header: VfioInfoCapHeader,
        /// The family; with [`VFIO_REGION_TYPE_PCI_VENDOR_TYPE`] the PCI vendor.
        pub r#type: u32,
        /// Which of the family.
        pub subtype: u32,
    }
}

/// `VFIO_REGION_TYPE_PCI_VENDOR_TYPE`: the bit of a region's type that says that the rest is a PCI vendor.
pub const VFIO_REGION_TYPE_PCI_VENDOR_TYPE: u32 = 1 << 31;
/// `VFIO_REGION_TYPE_PCI_VENDOR_MASK`: the bits of a region's type that hold the vendor.
pub const VFIO_REGION_TYPE_PCI_VENDOR_MASK: u32 = 0xffff;

bitflags! {
    /// `VFIO_DEVICE_IOEVENTFD_…`: how wide the write is.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioDeviceIoeventfdFlags: u32 {
        /// 1 byte.
        const WIDTH_8 = 1 << 0;
        /// 2 bytes.
        const WIDTH_16 = 1 << 1;
        /// 4 bytes.
        const WIDTH_32 = 1 << 2;
        /// 8 bytes.
        const WIDTH_64 = 1 << 3;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_DEVICE_IOEVENTFD`].
    pub struct VfioDeviceIoeventfd = "vfio_device_ioeventfd" {
        /// Bytes of this struct.
        pub argsz: u32,
        /// [`VfioDeviceIoeventfdFlags`].
        pub flags: u32,
        /// Where to write, in the device's file.
        pub offset: u64,
        /// What to write.
        pub data: u64,
        /// The caller's eventfd; -1 ends it.
        pub fd: i32,
        /// 0.
        pub reserved: u32,
    }
}
