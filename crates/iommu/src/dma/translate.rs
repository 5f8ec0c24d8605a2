//! What stands between a request and memory.

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;

use swiommu_addr::{Address, Iova, Pa, PageSize};
use swiommu_pgtable::{Access, Destination};

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

    /// How many bytes there are from an IOVA of the page to the page's end.
    #[inline]
    pub fn rest(&self, iova: Iova) -> u64 {
        self.size.bytes() - iova.offset_in(self.size)
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

/// A [`Translated`] that a function can return in registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    page: Pa,
    /// The permitted access, above it the exponent of the size, and a bit so that it is never 0.
    rest: NonZero<u16>,
}

impl Hit {
    const SIZE_SHIFT: u32 = 8;
    const MARK: NonZero<u16> = NonZero::new(1 << 15).unwrap();
}

impl From<Translated> for Hit {
    #[inline]
    fn from(Translated { page, size, access }: Translated) -> Self {
        let size = u16::from(size.log2()) << Self::SIZE_SHIFT;
        let rest = Self::MARK | size | u16::from(access.bits());
        Self { page, rest }
    }
}

impl From<Hit> for Translated {
    #[inline]
    fn from(Hit { page, rest }: Hit) -> Self {
        let [access, size] = rest.get().to_le_bytes();
        Self {
            page,
            size: PageSize::from_log2(size & 0x3f),
            access: Access::from_bits_truncate(access),
        }
    }
}

/// What the requests of an endpoint, or of one of its PASIDs, are translated by: a page table, two of them, nothing.
///
/// It is asked under a guard of the epochs that its page tables wait for.
pub trait Translate: Send + Sync + fmt::Debug {
    /// Where `iova` leads for a request that wants `wanted`, one kind of access, if a cache tells so at once. `None` says nothing.
    fn cached(&self, iova: Iova, wanted: Access) -> Option<Hit> {
        let _ = (iova, wanted);
        None
    }

    /// The same for a request of which [`cached`](Self::cached) tells nothing.
    ///
    /// # Errors
    /// The request cannot be carried out as things are. Whoever has to learn of that besides the device, such as an event queue,
    /// has been told.
    fn walk(&self, iova: Iova, wanted: Access) -> Result<Translated, Fault>;

    /// The walk that a request for `iova` would take if nothing were cached. It leaves no mark.
    fn trace(&self, iova: Iova) -> Trace;

    /// What translates the requests with a PASID that nothing is attached to, if this is what the RID is attached to: a guest that
    /// manages the PASIDs itself has tables for them behind the same entry. `None` blocks them.
    fn of_pasid(self: Arc<Self>, pasid: Pasid) -> Option<Arc<dyn Translate>> {
        let _ = pasid;
        None
    }
}

impl dyn Translate + '_ {
    /// Where `iova` leads for a request that wants `wanted`, one kind of access: as a cache tells, or else the tables.
    ///
    /// # Errors
    /// Those of [`walk`](Translate::walk).
    #[inline]
    pub fn translate(&self, iova: Iova, wanted: Access) -> Result<Translated, Fault> {
        match self.cached(iova, wanted) {
            Some(hit) => Ok(hit.into()),
            None => self.walk(iova, wanted),
        }
    }
}

/// The state of an endpoint that nothing is attached to: every request faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocked;

impl Translate for Blocked {
    fn walk(&self, _iova: Iova, _wanted: Access) -> Result<Translated, Fault> {
        Err(Fault::abort(BLOCKED))
    }

    fn trace(&self, _iova: Iova) -> Trace {
        Trace::without_walk(Err(BLOCKED.to_owned()))
    }
}

const BLOCKED: &str = "nothing is attached, so all DMA is blocked";
