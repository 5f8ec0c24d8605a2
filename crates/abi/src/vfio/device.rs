//! The device: what it is, and how it meets IOMMUFD.

use bitflags::bitflags;

use super::VfioInfoCapHeader;
use super::command::{Argument, VfioCommand};
use super::feature::{VFIO_DEVICE_FEATURE, VfioDeviceFeature};
use super::irq::{VFIO_DEVICE_GET_IRQ_INFO, VFIO_DEVICE_SET_IRQS, VfioIrqInfo, VfioIrqSet};
use super::region::{
    VFIO_DEVICE_GET_REGION_INFO, VFIO_DEVICE_IOEVENTFD, VfioDeviceIoeventfd, VfioRegionInfo,
};
use super::reset::{
    VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, VFIO_DEVICE_PCI_HOT_RESET, VFIO_DEVICE_RESET,
    VfioPciHotReset, VfioPciHotResetInfo,
};
use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// Describes the device, with [`VfioDeviceInfo`].
pub const VFIO_DEVICE_GET_INFO: u32 = request(107);
/// Binds a device opened by its own path to a context of IOMMUFD, with [`VfioDeviceBindIommufd`].
pub const VFIO_DEVICE_BIND_IOMMUFD: u32 = request(118);
/// Attaches the device or a PASID of it, with [`VfioDeviceAttachIommufdPt`].
pub const VFIO_DEVICE_ATTACH_IOMMUFD_PT: u32 = request(119);
/// Detaches the device or a PASID of it, with [`VfioDeviceDetachIommufdPt`].
pub const VFIO_DEVICE_DETACH_IOMMUFD_PT: u32 = request(120);

/// The commands of a device.
pub const COMMANDS: &[VfioCommand] = &[
    VfioCommand::with::<VfioDeviceInfo>(VFIO_DEVICE_GET_INFO, "VFIO_DEVICE_GET_INFO", "num_irqs"),
    VfioCommand::with::<VfioRegionInfo>(
        VFIO_DEVICE_GET_REGION_INFO,
        "VFIO_DEVICE_GET_REGION_INFO",
        "offset",
    ),
    VfioCommand::with::<VfioIrqInfo>(
        VFIO_DEVICE_GET_IRQ_INFO,
        "VFIO_DEVICE_GET_IRQ_INFO",
        "count",
    ),
    VfioCommand::with::<VfioIrqSet>(VFIO_DEVICE_SET_IRQS, "VFIO_DEVICE_SET_IRQS", "count"),
    VfioCommand::plain(VFIO_DEVICE_RESET, "VFIO_DEVICE_RESET", Argument::None),
    VfioCommand::with::<VfioPciHotResetInfo>(
        VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
        "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO",
        "count",
    ),
    VfioCommand::with::<VfioPciHotReset>(
        VFIO_DEVICE_PCI_HOT_RESET,
        "VFIO_DEVICE_PCI_HOT_RESET",
        "count",
    ),
    VfioCommand::with::<VfioDeviceIoeventfd>(VFIO_DEVICE_IOEVENTFD, "VFIO_DEVICE_IOEVENTFD", "fd"),
    VfioCommand::with::<VfioDeviceFeature>(VFIO_DEVICE_FEATURE, "VFIO_DEVICE_FEATURE", "flags"),
    VfioCommand::with::<VfioDeviceBindIommufd>(
        VFIO_DEVICE_BIND_IOMMUFD,
        "VFIO_DEVICE_BIND_IOMMUFD",
        "out_devid",
    ),
    VfioCommand::with::<VfioDeviceAttachIommufdPt>(
        VFIO_DEVICE_ATTACH_IOMMUFD_PT,
        "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
        "pt_id",
    ),
    VfioCommand::with::<VfioDeviceDetachIommufdPt>(
        VFIO_DEVICE_DETACH_IOMMUFD_PT,
        "VFIO_DEVICE_DETACH_IOMMUFD_PT",
        "flags",
    ),
];

bitflags! {
    /// `VFIO_DEVICE_FLAGS_…`: what a device is.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioDeviceFlags: u32 {
        /// It can be reset.
        const RESET = 1 << 0;
        /// Of vfio-pci.
        const PCI = 1 << 1;
        /// Of vfio-platform.
        const PLATFORM = 1 << 2;
        /// Of vfio-amba.
        const AMBA = 1 << 3;
        /// Of vfio-ccw.
        const CCW = 1 << 4;
        /// Of vfio-ap.
        const AP = 1 << 5;
        /// Of vfio-fsl-mc.
        const FSL_MC = 1 << 6;
        /// Capabilities can follow.
        const CAPS = 1 << 7;
        /// Of vfio-cdx.
        const CDX = 1 << 8;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_DEVICE_GET_INFO`]; capabilities follow.
    pub struct VfioDeviceInfo = "vfio_device_info" {
        /// In: bytes that fit. Out: bytes needed for everything.
        pub argsz: u32,
        /// Out: [`VfioDeviceFlags`].
        pub flags: u32,
        /// Out: the number of regions, absent ones included.
        pub num_regions: u32,
        /// Out: the number of interrupt indexes, absent ones included.
        pub num_irqs: u32,
        /// Out: the offset of the first capability; 0 when they did not fit.
        pub cap_offset: u32,
        /// 0.
        pub pad: u32,
    }
}

open_enum! {
    /// `VFIO_DEVICE_INFO_CAP_…`: capabilities of [`VfioDeviceInfo`].
    pub struct VfioDeviceInfoCap(u16) {
        /// Of s390.
        ZPCI_BASE = 1,
        /// Of s390.
        ZPCI_GROUP = 2,
        /// Of s390.
        ZPCI_UTIL = 3,
        /// Of s390.
        ZPCI_PFIP = 4,
        /// [`VfioDeviceInfoCapPciAtomicComp`].
        PCI_ATOMIC_COMP = 5,
    }
}

bitflags! {
    /// `VFIO_PCI_ATOMIC_COMP…`: widths of `AtomicOp` that the root completes.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioPciAtomicComp: u32 {
        /// 32 bits.
        const COMP32 = 1 << 0;
        /// 64 bits.
        const COMP64 = 1 << 1;
        /// 128 bits.
        const COMP128 = 1 << 2;
    }
}

uapi_struct! {
    /// The atomic operations that work from the device to memory.
    pub struct VfioDeviceInfoCapPciAtomicComp = "vfio_device_info_cap_pci_atomic_comp" {
        /// [`VfioDeviceInfoCap::PCI_ATOMIC_COMP`], version 1.
        pub header: VfioInfoCapHeader,
        /// [`VfioPciAtomicComp`].
        pub flags: u32,
        /// 0.
        pub reserved: u32,
    }
}

bitflags! {
    /// `VFIO_DEVICE_BIND_FLAG_…`: what comes with a bind.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioDeviceBindFlags: u32 {
        /// The token of a virtual function.
        const TOKEN = 1 << 0;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_DEVICE_BIND_IOMMUFD`].
    pub struct VfioDeviceBindIommufd = "vfio_device_bind_iommufd" {
        /// Bytes of this struct.
        pub argsz: u32,
        /// [`VfioDeviceBindFlags`].
        pub flags: u32,
        /// The caller's descriptor of the context.
        pub iommufd: i32,
        /// Out: the device object in the context.
        pub out_devid: u32,
        /// Pointer to the token, a UUID of 16 bytes.
        pub token_uuid_ptr: u64,
    }
}

bitflags! {
    /// `VFIO_DEVICE_ATTACH_…`: what is attached.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioDeviceAttachFlags: u32 {
        /// A PASID.
        const PASID = 1 << 0;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_DEVICE_ATTACH_IOMMUFD_PT`].
    pub struct VfioDeviceAttachIommufdPt = "vfio_device_attach_iommufd_pt" {
        /// Bytes of this struct.
        pub argsz: u32,
        /// [`VfioDeviceAttachFlags`].
        pub flags: u32,
        /// In: what to attach to, an IOAS or a page table. Out: the page table.
        pub pt_id: u32,
        /// The PASID, with `PASID`.
        pub pasid: u32,
    }
}

bitflags! {
    /// `VFIO_DEVICE_DETACH_…`: what is detached.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioDeviceDetachFlags: u32 {
        /// A PASID.
        const PASID = 1 << 0;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_DEVICE_DETACH_IOMMUFD_PT`].
    pub struct VfioDeviceDetachIommufdPt = "vfio_device_detach_iommufd_pt" {
        /// Bytes of this struct.
        pub argsz: u32,
        /// [`VfioDeviceDetachFlags`].
        pub flags: u32,
        /// The PASID, with `PASID`.
        pub pasid: u32,
    }
}
