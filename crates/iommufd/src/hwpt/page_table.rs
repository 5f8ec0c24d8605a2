//! `HWPT_PAGING`: a page table of ours that carries the mappings of one IOAS.

use std::fmt;
use std::sync::{Arc, OnceLock};

use swiommu_iommu::PagingDomain;

use super::HwptFlags;
use crate::fault::Fault;
use crate::ioas::Ioas;
use crate::object::{Header, Held};

/// Who made a page table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// `IOMMU_HWPT_ALLOC`. It lives until DESTROY.
    Manual,
    /// Attaching a device to an IOAS. It lives as long as a device is attached.
    Automatic,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manual => "manual",
            Self::Automatic => "automatic",
        })
    }
}

/// A page table with the content of an IOAS.
#[derive(Debug)]
pub(crate) struct HwptPaging {
    pub(crate) header: Header,
    pub(crate) ioas: Held<Ioas>,
    pub(crate) domain: Arc<dyn PagingDomain>,
    pub(crate) origin: Origin,
    pub(crate) flags: HwptFlags,
    /// Where page requests go, once that is known.
    pub(crate) fault: OnceLock<Held<Fault>>,
}

impl HwptPaging {
    /// Whether nested page tables may be made on it (§4.7).
    pub(crate) fn is_nesting_parent(&self) -> bool {
        self.origin == Origin::Manual && self.flags.contains(HwptFlags::NEST_PARENT)
    }

    /// Takes the page table away from its IOAS, and all mappings out of it.
    pub(crate) fn teardown(&self) {
        self.ioas.unlink(self.header.id());
    }
}
