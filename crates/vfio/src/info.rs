//! What a device without regions and interrupts answers about them.

use std::mem::offset_of;

use swiommu_abi::vfio::device::{VFIO_DEVICE_GET_INFO, VfioDeviceInfo};
use swiommu_abi::vfio::irq::{
    VFIO_DEVICE_GET_IRQ_INFO, VFIO_DEVICE_SET_IRQS, VfioIrqInfo, VfioIrqSet,
};
use swiommu_abi::vfio::region::{VFIO_DEVICE_GET_REGION_INFO, VfioRegionInfo};
use swiommu_abi::vfio::reset::VFIO_DEVICE_RESET;
use swiommu_addr::Hva;
use swiommu_files::Caller;
use zerocopy::IntoBytes;

use crate::{Error, copy};

/// Runs an ioctl that is not about IOMMUFD.
pub(crate) fn info(caller: &dyn Caller, request: u32, at: Hva) -> Result<(), Error> {
    match request {
        VFIO_DEVICE_GET_INFO => device(caller, at),
        VFIO_DEVICE_GET_REGION_INFO => {
            let cmd: VfioRegionInfo = copy::read_min(caller, at, size_of::<VfioRegionInfo>())?;
            Err(absent("region", cmd.index))
        }
        VFIO_DEVICE_GET_IRQ_INFO => {
            let cmd: VfioIrqInfo = copy::read_min(caller, at, size_of::<VfioIrqInfo>())?;
            Err(absent("interrupt", cmd.index))
        }
        VFIO_DEVICE_SET_IRQS => {
            let cmd: VfioIrqSet = copy::read_min(caller, at, size_of::<VfioIrqSet>())?;
            Err(absent("interrupt", cmd.index))
        }
        VFIO_DEVICE_RESET => Err(Error::NoReset),
        _ => Err(Error::NoSuchIoctl(request)),
    }
}

fn absent(what: &'static str, index: u32) -> Error {
    Error::NoSuchIndex { what, index }
}

/// As much of the struct as the client has room for is written; it needs no more than the struct.
fn device(caller: &dyn Caller, at: Hva) -> Result<(), Error> {
    let min = offset_of!(VfioDeviceInfo, cap_offset);
    let cmd: VfioDeviceInfo = copy::read_min(caller, at, min)?;
    let info = VfioDeviceInfo {
        argsz: cmd.argsz,
        ..VfioDeviceInfo::default()
    };
    let room = usize::try_from(cmd.argsz).unwrap_or(usize::MAX);
    let bytes = info.as_bytes();
    copy::write(caller, at, 0, &bytes[..room.min(bytes.len())])
}
