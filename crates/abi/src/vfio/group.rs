//! The group (`/dev/vfio/N`): devices that cannot be isolated from each other.

use bitflags::bitflags;

use super::command::{Argument, VfioCommand};
use crate::layout::uapi_struct;
use crate::request;

/// Describes the group, with [`VfioGroupStatus`].
pub const VFIO_GROUP_GET_STATUS: u32 = request(103);
/// Puts the group into a container, or a context of IOMMUFD, given by a descriptor.
pub const VFIO_GROUP_SET_CONTAINER: u32 = request(104);
/// Takes the group out of its container.
pub const VFIO_GROUP_UNSET_CONTAINER: u32 = request(105);
/// Opens a device of the group, given by name.
pub const VFIO_GROUP_GET_DEVICE_FD: u32 = request(106);

/// The commands of a group.
pub const COMMANDS: &[VfioCommand] = &[
    VfioCommand::with::<VfioGroupStatus>(VFIO_GROUP_GET_STATUS, "VFIO_GROUP_GET_STATUS", "flags"),
    VfioCommand::plain(
        VFIO_GROUP_SET_CONTAINER,
        "VFIO_GROUP_SET_CONTAINER",
        Argument::NumberAt,
    ),
    VfioCommand::plain(
        VFIO_GROUP_UNSET_CONTAINER,
        "VFIO_GROUP_UNSET_CONTAINER",
        Argument::None,
    ),
    VfioCommand::plain(
        VFIO_GROUP_GET_DEVICE_FD,
        "VFIO_GROUP_GET_DEVICE_FD",
        Argument::Text,
    ),
];

bitflags! {
    /// `VFIO_GROUP_FLAGS_…`: the state of a group.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioGroupFlags: u32 {
        /// All devices of the group are VFIO's, or nobody's.
        const VIABLE = 1 << 0;
        /// It is in a container.
        const CONTAINER_SET = 1 << 1;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_GROUP_GET_STATUS`].
    pub struct VfioGroupStatus = "vfio_group_status" {
        /// Bytes of this struct.
        pub argsz: u32,
        /// Out: [`VfioGroupFlags`].
        pub flags: u32,
    }
}
