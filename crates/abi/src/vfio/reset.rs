//! Reset of a device, or of all that share its bus.

use bitflags::bitflags;

use crate::layout::uapi_struct;
use crate::request;

/// Resets the device.
pub const VFIO_DEVICE_RESET: u32 = request(111);
/// Lists what a bus reset takes along, with [`VfioPciHotResetInfo`].
pub const VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: u32 = request(112);
/// Resets the bus, with [`VfioPciHotReset`].
pub const VFIO_DEVICE_PCI_HOT_RESET: u32 = request(113);

/// `VFIO_PCI_DEVID_OWNED`: the `devid` of a device that has none but belongs to the caller.
pub const VFIO_PCI_DEVID_OWNED: u32 = 0;
/// `VFIO_PCI_DEVID_NOT_OWNED`: the `devid` of a device that does not belong to the caller.
pub const VFIO_PCI_DEVID_NOT_OWNED: u32 = u32::MAX;

bitflags! {
    /// `VFIO_PCI_HOT_RESET_FLAG_…`: what [`VfioPciHotResetInfo`] holds.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioPciHotResetFlags: u32 {
        /// Device objects instead of groups.
        const DEV_ID = 1 << 0;
        /// All of them belong to the caller.
        const DEV_ID_OWNED = 1 << 1;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`]; an array of [`VfioPciDependentDevice`] follows.
    pub struct VfioPciHotResetInfo = "vfio_pci_hot_reset_info" {
        /// Bytes that fit.
        pub argsz: u32,
        /// Out: [`VfioPciHotResetFlags`].
        pub flags: u32,
        /// Out: how many devices.
        pub count: u32,
    }
}

uapi_struct! {
    /// A device that a bus reset takes along.
    pub struct VfioPciDependentDevice = "vfio_pci_dependent_device" {
        /// The device object with `DEV_ID`, else the group.
        pub devid: u32,
        /// The PCI segment.
        pub segment: u16,
        /// The bus.
        pub bus: u8,
        /// Device and function.
        pub devfn: u8,
    }
}

uapi_struct! {
    /// Argument of [`VFIO_DEVICE_PCI_HOT_RESET`]; an array of descriptors (`i32`) of groups follows.
    pub struct VfioPciHotReset = "vfio_pci_hot_reset" {
        /// Bytes of this struct and the array.
        pub argsz: u32,
        /// 0.
        pub flags: u32,
        /// Entries of the array; 0 for a device opened by its own path.
        pub count: u32,
    }
}
