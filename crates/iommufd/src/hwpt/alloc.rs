//! `IOMMU_HWPT_ALLOC` (§2.11), and the page tables that attaching makes by itself.

use std::sync::{Arc, OnceLock};

use swiommu_injection::{Step, step};
use swiommu_iommu::{
    EndpointFeatures, NestedDomain, NestedRequest, PagingFlags, PagingRequest, UserData,
};
use swiommu_sabotage::Fault as Sabotage;

use super::{HwptFlags, HwptNested, HwptPaging, NestedOn, Origin};
use crate::Error;
use crate::device::Device;
use crate::fault::Fault;
use crate::ioas::Ioas;
use crate::object::{Draft, Headed, Header, Held, Object, ObjectId};
use crate::state::State;
use crate::viommu::Viommu;

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
    Viommu(Held<Viommu>),
}

/// Makes a page table as the client asked.
pub(crate) fn alloc(state: &Arc<State>, request: &HwptRequest<'_>) -> Result<Draft, Error> {
    let device = state.objects.get::<Device>(request.device)?;
    let target = state
        .objects
        .get_any(request.on, |object| match object {
            Object::Ioas(ioas) => Some(Target::Ioas(Held::new(ioas.clone()))),
            Object::Paging(hwpt) => Some(Target::Paging(Held::new(hwpt.clone()))),
            Object::Viommu(viommu) => Some(Target::Viommu(Held::new(viommu.clone()))),
            _ => None,
        })
        .ok()
        .flatten()
        .ok_or(Error::CannotAllocateOn(request.on))?;
    let reservation = state.objects.reserve(state)?;
    let hwpt = match target {
        Target::Ioas(ioas) => Object::Paging(on_ioas(reservation.id(), &device, &ioas, request)?),
        Target::Paging(parent) => {
            Object::Nested(on_paging(reservation.id(), &device, parent, request)?)
        }
        Target::Viommu(viommu) => {
            Object::Nested(on_viommu(reservation.id(), &device, viommu, request)?)
        }
    };
    let draft = Draft::new(reservation, hwpt.clone());
    if request.flags.contains(HwptFlags::FAULT_ID_VALID) {
        let fault = state.objects.get::<Fault>(request.fault)?;
        let queue = match &hwpt {
            Object::Paging(hwpt) => &hwpt.fault,
            Object::Nested(hwpt) => &hwpt.fault,
            _ => return Ok(draft),
        };
        if !Sabotage::ForgetFaultQueue.is_on() {
            // It is new, so nothing is there yet.
            let _ = queue.set(fault);
        }
    }
    Ok(draft)
}

fn on_ioas(
    id: ObjectId,
    device: &Device,
    ioas: &Held<Ioas>,
    request: &HwptRequest<'_>,
) -> Result<Arc<HwptPaging>, Error> {
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
    let _serial = ioas.hwpts.lock();
    let hwpt = paging(id, device, ioas.clone(), Origin::Manual, request)?;
    ioas.link(id, &hwpt.domain)?;
    Ok(hwpt)
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
    step(Step::Driver)?;
    let domain = endpoint.unit().alloc_paging(endpoint, &request_to_driver)?;
    let header = Header::new(id);
    Ok(Arc::new(HwptPaging {
        header,
        ioas,
        domain,
        origin,
        flags: request.flags,
        fault: OnceLock::new(),
    }))
}

fn on_paging(
    id: ObjectId,
    device: &Device,
    parent: Held<HwptPaging>,
    request: &HwptRequest<'_>,
) -> Result<Arc<HwptNested>, Error> {
    let nested = nested_request(request)?;
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
    step(Step::Driver)?;
    let domain = unit.alloc_nested(endpoint, &parent.domain, &nested)?;
    Ok(new_nested(
        id,
        NestedOn::Paging(parent),
        domain,
        request.flags,
    ))
}

fn on_viommu(
    id: ObjectId,
    device: &Device,
    viommu: Held<Viommu>,
    request: &HwptRequest<'_>,
) -> Result<Arc<HwptNested>, Error> {
    let endpoint = &*device.endpoint;
    viommu.check_unit(endpoint)?;
    let nested = nested_request(request)?;
    step(Step::Driver)?;
    let domain = viommu
        .driver
        .alloc_nested(endpoint, &viommu.parent.domain, &nested)?;
    Ok(new_nested(
        id,
        NestedOn::Viommu(viommu),
        domain,
        request.flags,
    ))
}

/// What both ways to a nested page table demand.
fn nested_request<'a>(request: &HwptRequest<'a>) -> Result<NestedRequest<'a>, Error> {
    let flags = request.flags;
    if !(HwptFlags::FAULT_ID_VALID | HwptFlags::PASID).contains(flags) {
        return Err(Error::HwptFlags {
            flags,
            why: "a nested page table takes only FAULT and PASID",
        });
    }
    let data = request.data.ok_or(Error::NestedWithoutData)?;
    Ok(NestedRequest {
        flags: for_driver(flags),
        data,
    })
}

fn new_nested(
    id: ObjectId,
    on: NestedOn,
    domain: Arc<dyn NestedDomain>,
    flags: HwptFlags,
) -> Arc<HwptNested> {
    let fault = OnceLock::new();
    Arc::new(HwptNested {
        header: Header::new(id),
        on,
        domain,
        flags,
        fault,
    })
}
