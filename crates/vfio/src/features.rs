//! `VFIO_DEVICE_FEATURE`: a device that has none.

use swiommu_abi::vfio::feature::{VfioDeviceFeature, VfioDeviceFeatureFlags};
use swiommu_addr::Hva;
use swiommu_files::Caller;

use crate::{Error, copy};

/// Finds that the device does not have the feature.
///
/// # Errors
/// `EFAULT` and `EINVAL` for the argument, else `ENOTTY`.
pub(crate) fn feature(caller: &dyn Caller, at: Hva) -> Result<(), Error> {
    let cmd: VfioDeviceFeature = copy::read_min(caller, at, size_of::<VfioDeviceFeature>())?;
    let unknown = Error::Flags(cmd.flags);
    let flags = VfioDeviceFeatureFlags::from_bits(cmd.flags).ok_or(unknown)?;
    let both = VfioDeviceFeatureFlags::GET | VfioDeviceFeatureFlags::SET;
    if flags.contains(both) && !flags.contains(VfioDeviceFeatureFlags::PROBE) {
        return Err(Error::Flags(cmd.flags));
    }
    let number = flags & VfioDeviceFeatureFlags::MASK;
    let number = u16::try_from(number.bits()).unwrap_or(u16::MAX);
    Err(Error::NoSuchFeature(number))
}
