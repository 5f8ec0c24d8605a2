//! `linux/vfio.h`: containers, groups and devices.
//!
//! Numbers repeat: what is `VFIO_IOMMU_MAP_DMA` on a container is `VFIO_DEVICE_PCI_HOT_RESET` on a device. So each kind of file has
//! its own table of commands, in [`container`], [`group`] and [`device`].

use crate::layout::uapi_struct;

pub mod command;
pub mod container;
pub mod device;
pub mod feature;
pub mod group;
pub mod irq;
pub mod migration;
pub mod region;
pub mod reset;

uapi_struct! {
    /// What precedes each capability of an information struct.
    pub struct VfioInfoCapHeader = "vfio_info_cap_header" {
        /// Which capability; each information struct has its own numbers.
        pub id: u16,
        /// The version of this capability's layout.
        pub version: u16,
        /// The offset of the next capability from the start of the information struct; 0 for none.
        pub next: u32,
    }
}
