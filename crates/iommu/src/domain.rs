//! Page tables that endpoints can be attached to.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bitflags::bitflags;
use swiommu_addr::{Iova, IovaRange, Pa, PaRange, PageSizes};
use swiommu_pgtable::{DirtyRead, Prot};

use crate::{DriverError, Invalidated, Requests};

bitflags! {
    /// What a paging domain was made for, and what it does.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct DomainFeatures: u32 {
        /// May be the parent of nested domains.
        const NEST_PARENT = 1;
        /// Can track dirty pages.
        const DIRTY_TRACKING = 2;
        /// Makes non-snooping requests coherent.
        const ENFORCE_CACHE_COHERENCY = 4;
        /// Translates nothing: its endpoints have no IOMMU and use physical addresses.
        const NO_IOMMU = 8;
    }
}

/// Whether requests record which leaves they write through.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DirtyTracking {
    /// They do not. What was recorded stays.
    Off,
    /// They do.
    On,
}

/// One IOVA range to be mapped: physical pieces that follow each other from `iova`.
#[derive(Clone, Copy, Debug)]
pub struct Mapping<'a> {
    /// Where it starts.
    pub iova: Iova,
    /// What it maps to, in order; each piece as long as it can be.
    pub memory: &'a [PaRange],
    /// What requests may do.
    pub prot: Prot,
    /// The leaf sizes that may be used, of those that the table has.
    pub leaves: PageSizes,
}

/// A page table owned by us: IOVA to physical address.
pub trait PagingDomain: Any + Send + Sync + fmt::Debug {
    /// The driver whose endpoints it fits.
    fn driver(&self) -> &'static str;

    /// The leaf sizes it offers.
    fn page_sizes(&self) -> PageSizes;

    /// The IOVAs it can translate.
    fn aperture(&self) -> IovaRange;

    /// What it was made for, and what it does.
    fn features(&self) -> DomainFeatures;

    /// Maps a range. All of it or, on an error, nothing.
    ///
    /// # Errors
    /// The page table's or the driver's errno: `EADDRINUSE` over an existing leaf, `EINVAL` without a permission, `ENXIO`
    /// where no leaf size fits, `ERANGE` outside the address widths, `ENOMEM`.
    fn map(&self, mapping: &Mapping<'_>) -> Result<(), DriverError>;

    /// Unmaps every leaf that starts in the range. When it returns, no request that used them is in flight.
    fn unmap(&self, range: IovaRange);

    /// Where an IOVA leads, as the entries in memory say; `None` where nothing is mapped.
    fn iova_to_phys(&self, iova: Iova) -> Option<Pa>;

    /// Makes requests record which leaves they write through, or not (`set_dirty_tracking`).
    ///
    /// # Errors
    /// `EINVAL` when the domain does not have [`DomainFeatures::DIRTY_TRACKING`].
    fn set_dirty_tracking(&self, tracking: DirtyTracking) -> Result<(), DriverError> {
        let _ = tracking;
        Err(DriverError::invalid(format!(
            "{} cannot track what is dirty",
            self.driver()
        )))
    }

    /// Reports every dirty leaf that intersects the range, in order, and makes it clean or not.
    ///
    /// # Errors
    /// `EOPNOTSUPP` when the domain does not have [`DomainFeatures::DIRTY_TRACKING`].
    fn read_dirty(
        &self,
        range: IovaRange,
        mode: DirtyRead,
        report: &mut dyn FnMut(IovaRange),
    ) -> Result<(), DriverError>;
}

/// A guest's page table in front of a paging domain.
pub trait NestedDomain: Any + Send + Sync + fmt::Debug {
    /// The driver whose endpoints it fits.
    fn driver(&self) -> &'static str;

    /// The second stage.
    fn parent(&self) -> &Arc<dyn PagingDomain>;

    /// Invalidates what is cached of the guest's table.
    fn invalidate(&self, requests: &dyn Requests) -> Invalidated {
        let _ = requests;
        Invalidated::refused(DriverError::unsupported(
            "this page table is invalidated through its vIOMMU",
        ))
    }
}

/// What an endpoint's requests are translated by.
#[derive(Clone, Debug)]
pub enum Domain {
    /// One stage, ours.
    Paging(Arc<dyn PagingDomain>),
    /// Two stages: the guest's, then ours.
    Nested(Arc<dyn NestedDomain>),
}

impl Domain {
    /// The driver whose endpoints it fits.
    pub fn driver(&self) -> &'static str {
        match self {
            Self::Paging(domain) => domain.driver(),
            Self::Nested(domain) => domain.driver(),
        }
    }
}
