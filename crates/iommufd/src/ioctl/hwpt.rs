//! The ioctls about hardware: `HWPT_ALLOC` and `GET_HW_INFO` (§2.11, §2.12).

use swiommu_abi::hw_info::{IommuHwInfo, IommufdHwCapabilities, IommufdHwInfoFlags};
use swiommu_abi::hwpt::IommuHwptAlloc;
use swiommu_addr::{Address, Hva};
use swiommu_iommu::EndpointFeatures;

use super::data::CallerData;
use super::{Call, Outcome, reserved_is_zero};
use crate::Error;
use crate::device::Device;
use crate::hwpt::{self, HwptFlags, HwptRequest};
use crate::object::ObjectId;

pub(super) fn alloc(call: Call<'_>, cmd: &mut IommuHwptAlloc) -> Result<Outcome, Error> {
    reserved_is_zero("__reserved", cmd.__reserved)?;
    if (cmd.data_type == 0) != (cmd.data_len == 0) {
        return Err(Error::DataTypeWithoutData);
    }
    let at = Hva::new(cmd.data_uptr);
    let data = CallerData::new(call.caller, cmd.data_type, at, cmd.data_len);
    let request = HwptRequest {
        device: ObjectId(cmd.dev_id),
        on: ObjectId(cmd.pt_id),
        flags: HwptFlags::from_bits_retain(cmd.flags),
        fault: ObjectId(cmd.fault_id),
        data: (cmd.data_len != 0).then_some(&data),
    };
    let draft = hwpt::alloc(call.state(), &request)?;
    cmd.out_hwpt_id = draft.id().0;
    Ok(Outcome::publish(draft))
}

pub(super) fn hw_info(call: Call<'_>, cmd: &mut IommuHwInfo) -> Result<Outcome, Error> {
    let flags = IommufdHwInfoFlags::from_bits(cmd.flags).ok_or(Error::UnknownFlags {
        field: "flags",
        value: cmd.flags.into(),
    })?;
    for byte in cmd.__reserved {
        reserved_is_zero("__reserved", byte)?;
    }
    // One field serves both ways: the header calls it `in_data_type` when it goes in.
    let input_type = if flags.contains(IommufdHwInfoFlags::INPUT_TYPE) {
        cmd.out_data_type
    } else {
        0
    };
    let device = call.state().objects.get::<Device>(ObjectId(cmd.dev_id))?;
    let endpoint = &*device.endpoint;
    let info = endpoint.unit().hw_info(endpoint, input_type)?;
    let (data_type, data) = info.map_or((0, Vec::new()), |info| (info.data_type, info.data));

    let room = usize::try_from(cmd.data_len).unwrap_or(usize::MAX);
    let at = Hva::new(cmd.data_uptr);
    let known = &data[..data.len().min(room)];
    if !known.is_empty() {
        call.write(at, known)?;
    }
    clear(
        call,
        at.wrapping_add(known.len() as u64),
        room - known.len(),
    )?;

    cmd.data_len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    cmd.out_data_type = data_type;
    cmd.out_capabilities = capabilities(endpoint.features()).bits();
    cmd.out_max_pasid_log2 =
        u8::try_from(endpoint.max_pasids().checked_ilog2().unwrap_or(0)).unwrap_or(0);
    Ok(Outcome::DONE)
}

/// Writes zeros in bounded pieces: the client says how many, and it may say 4 GiB.
fn clear(call: Call<'_>, mut at: Hva, mut len: usize) -> Result<(), Error> {
    const ZEROS: [u8; 4096] = [0; 4096];
    while len > 0 {
        let piece = &ZEROS[..len.min(ZEROS.len())];
        call.write(at, piece)?;
        at = at.wrapping_add(piece.len() as u64);
        len -= piece.len();
    }
    Ok(())
}

fn capabilities(features: EndpointFeatures) -> IommufdHwCapabilities {
    let mut capabilities = IommufdHwCapabilities::empty();
    for (capability, there) in [
        (
            IommufdHwCapabilities::DIRTY_TRACKING,
            features.contains(EndpointFeatures::DIRTY_TRACKING),
        ),
        (
            IommufdHwCapabilities::PCI_PASID_EXEC,
            features.contains(EndpointFeatures::PASID_EXEC),
        ),
        (
            IommufdHwCapabilities::PCI_PASID_PRIV,
            features.contains(EndpointFeatures::PASID_PRIV),
        ),
        (
            IommufdHwCapabilities::PCI_ATS_NOT_SUPPORTED,
            !features.contains(EndpointFeatures::ATS),
        ),
    ] {
        capabilities.set(capability, there);
    }
    capabilities
}
