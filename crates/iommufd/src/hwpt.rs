//! Page tables as objects: `HWPT_PAGING` and `HWPT_NESTED`.

mod alloc;
mod nested;
mod page_table;

use swiommu_iommu::{Domain, Pasid};
use swiommu_sabotage::Fault as Sabotage;

pub use alloc::HwptRequest;
pub(crate) use alloc::{alloc, paging};
pub(crate) use nested::{HwptNested, NestedOn};
pub(crate) use page_table::{HwptPaging, Origin};
pub use swiommu_abi::hwpt::IommufdHwptAllocFlags as HwptFlags;

use crate::device::Device;
use crate::fault::Fault;
use crate::object::{Headed, Held, ObjectId};
use crate::state::State;

/// A page table that a device can be attached to, and a user of it.
#[derive(Clone, Debug)]
pub(crate) enum Hwpt {
    Paging(Held<HwptPaging>),
    Nested(Held<HwptNested>),
}

impl Hwpt {
    pub(crate) fn id(&self) -> ObjectId {
        match self {
            Self::Paging(hwpt) => hwpt.header().id(),
            Self::Nested(hwpt) => hwpt.header().id(),
        }
    }

    /// What an endpoint is attached to.
    pub(crate) fn domain(&self) -> Domain {
        match self {
            Self::Paging(hwpt) => Domain::Paging(hwpt.domain.clone()),
            Self::Nested(hwpt) => Domain::Nested(hwpt.domain.clone()),
        }
    }

    /// The page table of it that is linked to an IOAS: itself, or the parent of a nested one.
    pub(crate) fn paging(&self) -> &HwptPaging {
        match self {
            Self::Paging(hwpt) => hwpt,
            Self::Nested(hwpt) => hwpt.parent(),
        }
    }

    /// Whether it was allocated with `IOMMU_HWPT_ALLOC_PASID`.
    pub(crate) fn is_pasid_compatible(&self) -> bool {
        match self {
            Self::Paging(hwpt) => hwpt.flags.contains(HwptFlags::PASID),
            Self::Nested(hwpt) => hwpt.flags.contains(HwptFlags::PASID),
        }
    }

    /// The queue that page requests go to.
    pub(crate) fn fault(&self) -> Option<&Held<Fault>> {
        match self {
            Self::Paging(hwpt) => hwpt.fault.get(),
            Self::Nested(hwpt) => hwpt.fault.get(),
        }
    }

    /// Ends the page requests of an attachment that has ended.
    pub(crate) fn forget_faults(&self, device: &Device, pasid: Pasid) {
        if let Some(fault) = self.fault() {
            fault.queue.forget(device.header().id(), pasid);
        }
    }

    /// Gives the user back. An automatic page table that nobody uses any more vanishes with it (§1.5).
    pub(crate) fn retire(self, state: &State) {
        let Self::Paging(held) = self else { return };
        let hwpt = held.object().clone();
        drop(held);
        if hwpt.origin == Origin::Automatic && !Sabotage::KeepAutomatic.is_on() {
            state.destroy_if_idle(&hwpt);
        }
    }
}
