//! A device as an IOMMU sees it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bitflags::bitflags;
use swiommu_addr::IovaRange;

use crate::{DmaPort, Domain, DriverError, PageRequestHandler, PageResponse, Unit};

/// A process address space ID: 20 bits, and [`Pasid::NONE`] for requests without one (`IOMMU_NO_PASID`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pasid(pub u32);

impl Pasid {
    /// Requests without a PASID: the RID's own translation.
    pub const NONE: Self = Self(0);

    /// Whether this stands for requests without a PASID.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Pasid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            f.write_str("RID")
        } else {
            write!(f, "PASID {:#x}", self.0)
        }
    }
}

/// The endpoints that cannot be told apart, or can reach each other, and so share every attachment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupId(pub u64);

bitflags! {
    /// What an endpoint, together with its unit, can do.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct EndpointFeatures: u32 {
        /// DMA is coherent with the CPU's caches; IOMMUFD demands it.
        const CACHE_COHERENCY = 1;
        /// The unit can force non-snooping requests to be coherent.
        const ENFORCE_CACHE_COHERENCY = 2;
        /// Page tables for it can track dirty pages.
        const DIRTY_TRACKING = 4;
        /// ATS is available.
        const ATS = 8;
        /// The PASID capability has execute permission.
        const PASID_EXEC = 16;
        /// The PASID capability has privileged mode.
        const PASID_PRIV = 32;
        /// The driver can attach to PASIDs.
        const PASID_ATTACH = 64;
        /// The guest manages the PASID table: page requests of a PASID that nothing is attached to go to the RID's nested table.
        const USER_PASID_TABLE = 256;
        /// Interrupts are isolated, or there are none.
        const ISOLATED_MSI = 128;
    }
}

/// Why a region of an endpoint's IOVA space is not for mappings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReservedKind {
    /// Must be mapped one to one at all times (an RMRR or RMR).
    Direct,
    /// Like `Direct`, but the device's driver may give it up; not reserved in an IOAS.
    DirectRelaxable,
    /// Not usable for another reason.
    Reserved,
    /// Where the hardware takes writes for interrupts.
    Msi,
    /// Where software maps interrupt doorbells.
    SoftwareMsi,
}

/// A region of an endpoint's IOVA space that is not for mappings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReservedRegion {
    /// The addresses.
    pub range: IovaRange,
    /// The reason.
    pub kind: ReservedKind,
}

/// A requester ID or stream ID behind a unit, with its PASIDs.
pub trait Endpoint: Any + Send + Sync + fmt::Debug {
    /// The unit it is behind.
    fn unit(&self) -> &Arc<dyn Unit>;

    /// The group it belongs to.
    fn group(&self) -> GroupId;

    /// What it can do.
    fn features(&self) -> EndpointFeatures;

    /// The number of PASIDs, [`Pasid::NONE`] included: valid ones are below it.
    fn max_pasids(&self) -> u32;

    /// The regions not for mappings.
    fn reserved_regions(&self) -> Vec<ReservedRegion>;

    /// Lets requests with `pasid` be translated by `domain`, instead of what it was before.
    ///
    /// When it returns, no request that used the former translation is in flight.
    ///
    /// # Errors
    /// The driver's errno; the former attachment stays.
    fn attach(&self, pasid: Pasid, domain: &Domain) -> Result<(), DriverError>;

    /// The way of its requests with this PASID, or without one, to memory; `None` where the model has no DMA.
    fn port(&self, pasid: Pasid) -> Option<DmaPort> {
        let _ = pasid;
        None
    }

    /// Says who takes its page requests; nobody, once it is unbound.
    fn set_page_request_handler(&self, handler: Option<Arc<dyn PageRequestHandler>>) {
        let _ = handler;
    }

    /// Answers a group of its page requests.
    fn respond(&self, pasid: Pasid, group: u32, response: PageResponse) {
        let _ = (pasid, group, response);
    }

    /// Blocks all requests with `pasid`. When it returns, none that was translated before is in flight.
    fn detach(&self, pasid: Pasid);
}
