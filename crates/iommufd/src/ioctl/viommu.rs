//! The ioctls of virtual IOMMUs (§2.15 to §2.18, §2.20, §2.21).

use swiommu_abi::fault::IommuFaultAlloc;
use swiommu_abi::hw_queue::IommuHwQueueAlloc;
use swiommu_abi::invalidate::IommuHwptInvalidate;
use swiommu_abi::veventq::IommuVeventqAlloc;
use swiommu_abi::viommu::{IommuVdeviceAlloc, IommuViommuAlloc};
use swiommu_addr::{Gpa, Hva};
use swiommu_iommu::{DriverError, Invalidated, Requests, UserDataMut, VirtId};

use super::data::CallerData;
use super::{Call, Outcome, reserved_is_zero};
use crate::hwpt::HwptNested;
use crate::object::{Held, Object, ObjectId};
use crate::viommu::{Viommu, alloc as viommu_alloc, hw_queue, vdevice, veventq};
use crate::{Error, fault};

/// The most requests of one invalidation.
const MAX_REQUESTS: u32 = 1 << 19;

pub(super) fn fault_queue(call: Call<'_>, cmd: &mut IommuFaultAlloc) -> Result<Outcome, Error> {
    reserved_is_zero("flags", cmd.flags)?;
    let (draft, fd) = fault::alloc(&call)?;
    cmd.out_fault_id = draft.id().0;
    cmd.out_fault_fd = fd.0.cast_unsigned();
    Ok(Outcome::publish(draft).installed())
}

pub(super) fn viommu(call: Call<'_>, cmd: &mut IommuViommuAlloc) -> Result<Outcome, Error> {
    reserved_is_zero("flags", cmd.flags)?;
    if cmd.r#type == 0 {
        return Err(Error::UnknownChoice {
            field: "type",
            value: 0,
        });
    }
    let data = CallerData::new(
        call.caller,
        cmd.r#type,
        Hva::new(cmd.data_uptr),
        cmd.data_len,
    );
    let data: Option<&dyn UserDataMut> = if cmd.data_len == 0 { None } else { Some(&data) };
    let of = (ObjectId(cmd.dev_id), ObjectId(cmd.hwpt_id));
    let draft = viommu_alloc(call.state(), of, cmd.r#type, data)?;
    cmd.out_viommu_id = draft.id().0;
    Ok(Outcome::publish(draft))
}

pub(super) fn vdevice_alloc(call: Call<'_>, cmd: &mut IommuVdeviceAlloc) -> Result<Outcome, Error> {
    let (viommu, device) = (ObjectId(cmd.viommu_id), ObjectId(cmd.dev_id));
    let draft = vdevice::alloc(call.state(), viommu, device, VirtId(cmd.virt_id))?;
    cmd.out_vdevice_id = draft.id().0;
    Ok(Outcome::publish(draft))
}

pub(super) fn veventq_alloc(call: Call<'_>, cmd: &mut IommuVeventqAlloc) -> Result<Outcome, Error> {
    reserved_is_zero("flags", cmd.flags)?;
    reserved_is_zero("__reserved", cmd.__reserved)?;
    if cmd.r#type == 0 {
        return Err(Error::UnknownChoice {
            field: "type",
            value: 0,
        });
    }
    let viommu = ObjectId(cmd.viommu_id);
    let (draft, fd) = veventq::alloc(&call, viommu, cmd.r#type, cmd.veventq_depth)?;
    cmd.out_veventq_id = draft.id().0;
    cmd.out_veventq_fd = fd.0.cast_unsigned();
    Ok(Outcome::publish(draft).installed())
}

pub(super) fn hw_queue_alloc(
    call: Call<'_>,
    cmd: &mut IommuHwQueueAlloc,
) -> Result<Outcome, Error> {
    reserved_is_zero("flags", cmd.flags)?;
    if cmd.r#type == 0 {
        return Err(Error::UnknownChoice {
            field: "type",
            value: 0,
        });
    }
    let wanted = hw_queue::Wanted {
        viommu: ObjectId(cmd.viommu_id),
        queue_type: cmd.r#type,
        index: cmd.index,
        base: Gpa::new(cmd.nesting_parent_iova),
        len: cmd.length,
    };
    let draft = hw_queue::alloc(call.state(), wanted)?;
    cmd.out_hw_queue_id = draft.id().0;
    Ok(Outcome::publish(draft))
}

/// The array of requests in the caller's memory.
#[derive(Debug)]
struct CallerRequests<'a> {
    data: CallerData<'a>,
    entry_len: usize,
    count: u32,
}

impl Requests for CallerRequests<'_> {
    fn data_type(&self) -> u32 {
        self.data.data_type
    }

    fn entry_len(&self) -> usize {
        self.entry_len
    }

    fn count(&self) -> u32 {
        self.count
    }

    fn read(&self, index: u32, offset: usize, into: &mut [u8]) -> Result<(), DriverError> {
        let entry = usize::try_from(index)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.entry_len);
        self.data.read_at(entry.saturating_add(offset), into)
    }
}

pub(super) fn invalidate(call: Call<'_>, cmd: &mut IommuHwptInvalidate) -> Result<Outcome, Error> {
    let count = std::mem::take(&mut cmd.entry_num);
    reserved_is_zero("__reserved", cmd.__reserved)?;
    let entry_len = usize::try_from(cmd.entry_len).unwrap_or(usize::MAX);
    let page = usize::try_from(swiommu_mem::PAGE.bytes()).unwrap_or(usize::MAX);
    if count != 0 {
        if cmd.data_uptr == 0 {
            return Err(Error::BadValue {
                field: "data_uptr",
                value: 0,
            });
        }
        if entry_len == 0 || entry_len > page {
            return Err(Error::BadValue {
                field: "entry_len",
                value: cmd.entry_len.into(),
            });
        }
        if count > MAX_REQUESTS {
            return Err(Error::BadValue {
                field: "entry_num",
                value: count.into(),
            });
        }
    }
    let at = Hva::new(cmd.data_uptr);
    let data = CallerData::new(call.caller, cmd.data_type, at, u32::MAX);
    let requests = CallerRequests {
        data,
        entry_len,
        count,
    };
    let Invalidated { done, result } = match find(call, ObjectId(cmd.hwpt_id))? {
        Target::Nested(hwpt) => hwpt.domain.invalidate(&requests),
        Target::Viommu(viommu) => viommu.driver.invalidate(&requests),
    };
    cmd.entry_num = done;
    result?;
    Ok(Outcome::DONE)
}

enum Target {
    Nested(Held<HwptNested>),
    Viommu(Held<Viommu>),
}

fn find(call: Call<'_>, id: ObjectId) -> Result<Target, Error> {
    let found = call.state().objects.get_any(id, |object| match object {
        Object::Nested(hwpt) => Some(Target::Nested(Held::new(hwpt.clone()))),
        Object::Viommu(viommu) => Some(Target::Viommu(Held::new(viommu.clone()))),
        _ => None,
    })?;
    found.ok_or(Error::CannotInvalidate(id))
}
