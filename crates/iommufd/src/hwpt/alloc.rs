//! `IOMMU_HWPT_ALLOC` (§2.11), and the page tables that attaching makes by itself.

use std::sync::Arc;

use swiommu_iommu::{EndpointFeatures, NestedRequest, PagingFlags, PagingRequest, UserData};

use super::{HwptFlags, HwptNested, HwptPaging, Origin};
use crate::Error;
use crate::device::Device;
use crate::ioas::Ioas;
use crate::object::{Draft, Headed, Header, Held, Object, ObjectId, Reservation};
use crate::state::State;

/// What the driver sees of the flags: all but the fault bit.
fn for_driver(flags: HwptFlags) -> PagingFlags {
    PagingFlags::from_bits_retain((flags - HwptFlags::FAULT_ID_VALID).bits())
}

/// What to allocate.
#[derive(Clone, Copy, Debug)]
pub struct HwptRequest<'a> {
    /// The device it is for.
    pub device: ObjectId,
    /// What it is made on: an IOAS for a paging one, a `HWPT_PAGING` for a nested one.
    pub on: ObjectId,
    /// What it is for.
    pub flags: HwptFlags,
    /// The fault queue, if the flags say so.
    pub fault: ObjectId,
    /// The driver's part, if any.
    pub data: Option<&'a dyn UserData>,
}

enum Target {
    Ioas(Held<Ioas>),
    Paging(Held<HwptPaging>),
}

/// Makes a page table as the client asked.
pub(crate) fn alloc(state: &Arc<State>, request: &HwptRequest<'_>) -> Result<Draft, Error> {
    let device = state.objects.get::<Device>(request.device)?;
    let target = state
        .objects
        .get_any(request.on, |object| match object {
            Object::Ioas(ioas) => Some(Target::Ioas(Held::new(ioas.clone()))),
            Object::Paging(hwpt) => Some(Target::Paging(Held::new(hwpt.clone()))),
            _ => None,
        })
        .ok()
        .flatten()
        .ok_or(Error::CannotAllocateOn(request.on))?;
    let reservation = state.objects.reserve(state)?;
    let draft = match target {
        Target::Ioas(ioas) => alloc_on_ioas(reservation, &device, &ioas, request)?,
        Target::Paging(parent) => alloc_on_paging(reservation, &device, parent, request)?,
    };
    if request.flags.contains(HwptFlags::FAULT_ID_VALID) {
        return Err(Error::NoObject(request.fault));
    }
    Ok(draft)
}

fn alloc_on_ioas(
    reservation: Reservation,
    device: &Device,
    ioas: &Held<Ioas>,
    request: &HwptRequest<'_>,
) -> Result<Draft, Error> {
    let flags = request.flags;
    let unit = device.endpoint.unit();
    if (!flags.is_empty() || request.data.is_some()) && !unit.allocates_with_flags() {
        return Err(Error::HwptFlags {
            flags,
            why: "the driver takes no flags and no data",
        });
    }
    if !HwptFlags::all().contains(flags) {
        return Err(Error::HwptFlags {
            flags,
            why: "there is an unknown flag",
        });
    }
    let features = device.endpoint.features();
    if flags.contains(HwptFlags::DIRTY_TRACKING)
        && !features.contains(EndpointFeatures::DIRTY_TRACKING)
    {
        return Err(Error::HwptFlags {
            flags,
            why: "the device cannot track dirty pages",
        });
    }
    if flags.contains(HwptFlags::FAULT_ID_VALID | HwptFlags::NEST_PARENT) {
        return Err(Error::HwptFlags {
            flags,
            why: "a nesting parent cannot report faults",
        });
    }
    let hwpt = {
        let _serial = ioas.hwpts.lock();
        let hwpt = paging(
            reservation.id(),
            device,
            ioas.clone(),
            Origin::Manual,
            request,
        )?;
        ioas.link(hwpt.header().id(), &hwpt.domain)?;
        hwpt
    };
    Ok(Draft::new(reservation, Object::Paging(hwpt)))
}

/// Allocates a page table that is not linked to its IOAS yet.
pub(crate) fn paging(
    id: ObjectId,
    device: &Device,
    ioas: Held<Ioas>,
    origin: Origin,
    request: &HwptRequest<'_>,
) -> Result<Arc<HwptPaging>, Error> {
    let endpoint = &*device.endpoint;
    let request_to_driver = PagingRequest {
        flags: for_driver(request.flags),
        data: request.data,
    };
    let domain = endpoint.unit().alloc_paging(endpoint, &request_to_driver)?;
    let header = Header::new(id);
    Ok(Arc::new(HwptPaging {
        header,
        ioas,
        domain,
        origin,
        flags: request.flags,
    }))
}

fn alloc_on_paging(
    reservation: Reservation,
    device: &Device,
    parent: Held<HwptPaging>,
    request: &HwptRequest<'_>,
) -> Result<Draft, Error> {
    let flags = request.flags;
    if !(HwptFlags::FAULT_ID_VALID | HwptFlags::PASID).contains(flags) {
        return Err(Error::HwptFlags {
            flags,
            why: "a nested page table takes only FAULT and PASID",
        });
    }
    let Some(data) = request.data else {
        return Err(Error::NestedWithoutData);
    };
    let endpoint = &*device.endpoint;
    let unit = endpoint.unit();
    if !unit.nests_on_paging() {
        return Err(Error::CannotNest {
            driver: unit.driver(),
        });
    }
    if !parent.is_nesting_parent() {
        return Err(Error::NotNestingParent(parent.header().id()));
    }
    if parent.domain.driver() != unit.driver() {
        return Err(Error::OtherDriver {
            domain: parent.domain.driver(),
            endpoint: unit.driver(),
        });
    }
    let nested = NestedRequest {
        flags: for_driver(flags),
        data,
    };
    let domain = unit.alloc_nested(endpoint, &parent.domain, &nested)?;
    let header = Header::new(reservation.id());
    let hwpt = Arc::new(HwptNested {
        header,
        parent,
        domain,
        flags,
    });
    Ok(Draft::new(reservation, Object::Nested(hwpt)))
}
