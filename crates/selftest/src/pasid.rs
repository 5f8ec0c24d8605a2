//! Mock devices and PASIDs: `PASID_ATTACH`, `PASID_REPLACE`, `PASID_DETACH` and `PASID_CHECK_HWPT`.

use swiommu_abi::test_cmd::{IommuTestCmd, PasidAttach, PasidCheck, PasidDetach, PasidReplace};
use swiommu_iommu::Pasid;
use swiommu_iommufd::{Call, Context, Error as Core, HeldDriverObject, ObjectId, Outcome};

use crate::Error;
use crate::device::{MockDevice, find};

/// An attachment that the client has not been told of: dropping it detaches.
struct Attached {
    device: HeldDriverObject<MockDevice>,
    pasid: Pasid,
    kept: bool,
}

impl Attached {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if !self.kept {
            self.device.0.detach(self.pasid);
        }
    }
}

pub(crate) fn attach(call: &Call<'_>, cmd: &mut IommuTestCmd) -> Result<Outcome, Error> {
    let device = find(call, cmd)?;
    let mut body: PasidAttach = cmd.body.get();
    let pasid = Pasid(body.pasid);
    body.pt_id = device.0.attach(pasid, ObjectId(body.pt_id))?.0;
    cmd.body.set(body);
    let attached = Attached {
        device,
        pasid,
        kept: false,
    };
    Ok(Outcome::then(move || attached.keep()))
}

pub(crate) fn replace(call: &Call<'_>, cmd: &mut IommuTestCmd) -> Result<Outcome, Error> {
    let device = find(call, cmd)?;
    let mut body: PasidReplace = cmd.body.get();
    let hwpt = device.0.replace(Pasid(body.pasid), ObjectId(body.pt_id))?;
    body.pt_id = hwpt.0;
    cmd.body.set(body);
    Ok(Outcome::DONE)
}

pub(crate) fn detach(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let device = find(call, cmd)?;
    let PasidDetach { pasid } = cmd.body.get();
    device.0.detach(Pasid(pasid));
    Ok(Outcome::DONE)
}

/// Compares what a PASID is attached to with a page table, or with nothing.
pub(crate) fn check_hwpt(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let device = find(call, cmd)?;
    let PasidCheck { pasid, hwpt_id } = cmd.body.get();
    let expected = (hwpt_id != 0).then_some(ObjectId(hwpt_id));
    if let Some(hwpt) = expected {
        check_is_hwpt(call.context(), hwpt)?;
    }
    let found = device.0.attached(Pasid(pasid));
    if found != expected {
        return Err(Error::OtherAttachment { expected, found });
    }
    Ok(Outcome::DONE)
}

/// `ENOENT` for a number without an object, `EINVAL` for an object that is no page table.
fn check_is_hwpt(context: &Context, id: ObjectId) -> Result<(), Error> {
    let paging = context.paging_domain(id).map(drop);
    match paging.or_else(|_| context.nested_domain(id).map(drop)) {
        Err(Core::WrongType { .. }) => Err(Error::NotHwpt(id)),
        other => Ok(other?),
    }
}
