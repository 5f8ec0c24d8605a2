//! Virtual event queues: what a vIOMMU reports to the guest.

use bitflags::bitflags;

use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// `IOMMU_VEVENTQ_ALLOC`: makes a virtual event queue, with [`IommuVeventqAlloc`].
pub const IOMMU_VEVENTQ_ALLOC: u32 = request(0x93);

open_enum! {
    /// `enum iommu_veventq_type`: which events.
    pub struct IommuVeventqType(u32) {
        /// Not a type.
        DEFAULT = 0,
        /// [`IommuVeventArmSmmuv3`].
        ARM_SMMUV3 = 1,
        /// [`IommuVeventTegra241Cmdqv`].
        TEGRA241_CMDQV = 2,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_VEVENTQ_ALLOC`].
    pub struct IommuVeventqAlloc = "iommu_veventq_alloc" {
        /// Bytes of this struct.
        pub size: u32,
        /// 0.
        pub flags: u32,
        /// The vIOMMU.
        pub viommu_id: u32,
        /// [`IommuVeventqType`].
        pub r#type: u32,
        /// How many events the queue holds before it loses one.
        pub veventq_depth: u32,
        /// Out: the new queue.
        pub out_veventq_id: u32,
        /// Out: a descriptor from which events are read, each an [`IommufdVeventHeader`] and the data of the type.
        pub out_veventq_fd: u32,
        /// 0.
        pub __reserved: u32,
    }
}

bitflags! {
    /// `enum iommu_veventq_flag`: what an event is.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommuVeventqFlag: u32 {
        /// Not an event but the mark that the last ones were lost; no data follows.
        const LOST_EVENTS = 1 << 0;
    }
}

uapi_struct! {
    /// What precedes each event.
    pub struct IommufdVeventHeader = "iommufd_vevent_header" {
        /// [`IommuVeventqFlag`].
        pub flags: u32,
        /// The number of the event, lost ones included, from 0 to 2^31-1 and again from 0.
        pub sequence: u32,
    }
}

uapi_struct! {
    /// An event of an SMMUv3.
    pub struct IommuVeventArmSmmuv3 = "iommu_vevent_arm_smmuv3" {
        /// The event record with the virtual stream ID, little-endian.
        pub evt: [u64; 4],
    }
}

uapi_struct! {
    /// An error of the virtual command queues of a Tegra241.
    pub struct IommuVeventTegra241Cmdqv = "iommu_vevent_tegra241_cmdqv" {
        /// One bit for each queue in error, little-endian.
        pub lvcmdq_err_map: [u64; 2],
    }
}
