//! What a device is attached to: the target of attach and replace (§4.2).

use std::sync::{Arc, Weak};

use swiommu_abi::Errno;
use swiommu_iommu::Pasid;
use swiommu_sabotage::Fault;

use super::Device;
use crate::Error;
use crate::hwpt::{self, Hwpt, HwptFlags, HwptPaging, HwptRequest, Origin};
use crate::ioas::Ioas;
use crate::object::{Draft, Headed, Held, Object, ObjectId};
use crate::state::State;

enum Target {
    Hwpt(Hwpt),
    Ioas(Held<Ioas>),
    Other(&'static str),
}

fn find(state: &State, id: ObjectId) -> Result<Target, Error> {
    state.objects.get_any(id, |object| match object {
        Object::Ioas(ioas) => Target::Ioas(Held::new(ioas.clone())),
        Object::Paging(hwpt) => Target::Hwpt(Hwpt::Paging(Held::new(hwpt.clone()))),
        Object::Nested(hwpt) => Target::Hwpt(Hwpt::Nested(Held::new(hwpt.clone()))),
        other => Target::Other(other.type_name()),
    })
}

pub(super) fn attach(
    state: &Arc<State>,
    device: &Held<Device>,
    pasid: Pasid,
    target: ObjectId,
) -> Result<ObjectId, Error> {
    match find(state, target)? {
        Target::Hwpt(hwpt) => {
            device.group.attach(device, pasid, &hwpt)?;
            Ok(hwpt.id())
        }
        Target::Ioas(ioas) => attach_ioas(state, device, pasid, &ioas),
        Target::Other(found) => Err(Error::CannotAttachTo { id: target, found }),
    }
}

pub(super) fn replace(
    state: &Arc<State>,
    device: &Held<Device>,
    pasid: Pasid,
    target: ObjectId,
) -> Result<ObjectId, Error> {
    let (id, left) = match find(state, target)? {
        Target::Hwpt(hwpt) => (hwpt.id(), device.group.replace(device, pasid, &hwpt)?),
        Target::Ioas(ioas) => replace_ioas(state, device, pasid, &ioas)?,
        Target::Other(found) => return Err(Error::CannotAttachTo { id: target, found }),
    };
    if let Some(left) = left.filter(|_| !Fault::KeepReplaced.is_on()) {
        left.retire(state);
    }
    Ok(id)
}

/// Attaches to the first automatic page table of the IOAS that takes the device, or to a new one. The new one is filled
/// after attaching, so an IOAS that does not fit is found out last.
fn attach_ioas(
    state: &Arc<State>,
    device: &Held<Device>,
    pasid: Pasid,
    ioas: &Held<Ioas>,
) -> Result<ObjectId, Error> {
    let mut automatic = ioas.hwpts.lock();
    if let Some((id, ())) = reuse(&mut automatic, |hwpt| {
        device.group.attach(device, pasid, hwpt)
    })? {
        return Ok(id);
    }
    let reservation = state.objects.reserve(state)?;
    let paging = hwpt::paging(
        reservation.id(),
        device,
        ioas.clone(),
        Origin::Automatic,
        &PLAIN,
    )?;
    let hwpt = Hwpt::Paging(Held::new(paging.clone()));
    device.group.attach(device, pasid, &hwpt)?;
    if let Err(error) = ioas.link(paging.header().id(), &paging.domain) {
        device.group.detach(device, pasid);
        return Err(error);
    }
    automatic.push(Arc::downgrade(&paging));
    Ok(Draft::new(reservation, Object::Paging(paging)).publish())
}

/// As [`attach_ioas`], but the new page table is filled before the device moves to it.
fn replace_ioas(
    state: &Arc<State>,
    device: &Held<Device>,
    pasid: Pasid,
    ioas: &Held<Ioas>,
) -> Result<(ObjectId, Option<Hwpt>), Error> {
    let mut automatic = ioas.hwpts.lock();
    if let Some(found) = reuse(&mut automatic, |hwpt| {
        device.group.replace(device, pasid, hwpt)
    })? {
        return Ok(found);
    }
    let reservation = state.objects.reserve(state)?;
    let paging = hwpt::paging(
        reservation.id(),
        device,
        ioas.clone(),
        Origin::Automatic,
        &PLAIN,
    )?;
    ioas.link(paging.header().id(), &paging.domain)?;
    let draft = Draft::new(reservation, Object::Paging(paging.clone()));
    let hwpt = Hwpt::Paging(Held::new(paging.clone()));
    let left = device.group.replace(device, pasid, &hwpt)?;
    automatic.push(Arc::downgrade(&paging));
    Ok((draft.publish(), left))
}

/// A page table without anything special: what an automatic one is.
const PLAIN: HwptRequest<'static> = HwptRequest {
    device: ObjectId(0),
    on: ObjectId(0),
    flags: HwptFlags::empty(),
    fault: ObjectId(0),
    data: None,
};

/// Tries the automatic page tables in the order of their making. `EINVAL` means that one does not suit; any other error
/// ends the search.
fn reuse<R>(
    automatic: &mut Vec<Weak<HwptPaging>>,
    attempt: impl Fn(&Hwpt) -> Result<R, Error>,
) -> Result<Option<(ObjectId, R)>, Error> {
    automatic.retain(|hwpt| hwpt.strong_count() > 0);
    for hwpt in automatic.iter().filter_map(Weak::upgrade) {
        let id = hwpt.header().id();
        let Some(hwpt) = Held::of_open(hwpt).map(Hwpt::Paging) else {
            continue;
        };
        match attempt(&hwpt) {
            Ok(result) => return Ok(Some((id, result))),
            Err(error) if error.errno() == Errno::EINVAL => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
