//! What stands between a request and memory.

use std::fmt;
use std::sync::Arc;

use swiommu_addr::{Address, Iova, Pa, PageSize};
use swiommu_pgtable::{Access, Destination};
use swiommu_sabotage::Fault as Sabotage;

use super::Fault;
use crate::{Pasid, Trace};

/// Where a page of IOVAs leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translated {
    /// The physical address of the first byte of the page.
    pub page: Pa,
    /// How large the page is: all of it is contiguous, and is translated alike.
    pub size: PageSize,
    /// What requests may do there.
    pub access: Access,
}

impl Translated {
    /// Where an IOVA of the page leads.
    #[inline]
    pub fn resolve(&self, iova: Iova) -> Pa {
        self.page.wrapping_add(iova.offset_in(self.size))
    }

    /// Whether it suffices for an access, as a cached one may not.
    #[inline]
    pub(crate) fn permits(&self, wanted: Access) -> bool {
        self.access.contains(wanted) || Sabotage::IgnoreCachedAccess.is_on()
    }
}

impl From<Destination<Pa>> for Translated {
    #[inline]
    fn from(found: Destination<Pa>) -> Self {
        Self {
            page: found.address,
            size: found.size,
            access: found.access,
        }
    }
}

/// What the requests of an endpoint, or of one of its PASIDs, are translated by: a page table, two of them, nothing.
///
/// It is asked under a guard of the epochs that its page tables wait for.
pub trait Translate: Send + Sync + fmt::Debug {
    /// Where `iova` leads for a request that wants `wanted`, one kind of access.
    ///
    /// # Errors
    /// The request cannot be carried out as things are. Whoever has to learn of that besides the device, such as an event queue,
    /// has been told.
    fn translate(&self, iova: Iova, wanted: Access) -> Result<Translated, Fault>;

    /// The walk that a request for `iova` would take if nothing were cached. It leaves no mark.
    fn trace(&self, iova: Iova) -> Trace;

    /// What translates the requests with a PASID that nothing is attached to, if this is what the RID is attached to: a guest that
    /// manages the PASIDs itself has tables for them behind the same entry. `None` blocks them.
    fn of_pasid(self: Arc<Self>, pasid: Pasid) -> Option<Arc<dyn Translate>> {
        let _ = pasid;
        None
    }
}

/// The state of an endpoint that nothing is attached to: every request faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocked;

impl Translate for Blocked {
    fn translate(&self, _iova: Iova, _wanted: Access) -> Result<Translated, Fault> {
        Err(Fault::abort(BLOCKED))
    }

    fn trace(&self, _iova: Iova) -> Trace {
        Trace::without_walk(Err(BLOCKED.to_owned()))
    }
}

const BLOCKED: &str = "nothing is attached, so all DMA is blocked";
