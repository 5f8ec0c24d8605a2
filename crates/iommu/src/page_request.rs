//! Page requests: a device asks for pages that are not there (PRI, stalls).

mod outstanding;

use std::fmt;

use bitflags::bitflags;
use swiommu_addr::Iova;

use crate::Pasid;

pub(crate) use outstanding::Outstanding;

bitflags! {
    /// What the device wanted to do (`enum iommu_hwpt_pgfault_perm`).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct PageRequestPerm: u32 {
        /// Read.
        const READ = 1;
        /// Write.
        const WRITE = 2;
        /// Execute.
        const EXEC = 4;
        /// Do so in privileged mode.
        const PRIV = 8;
        const _ = !0;
    }
}

/// Whether more requests of the same group follow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PageRequestPosition {
    /// More follow: the group is not complete.
    More,
    /// The last of its group, which is answered as a whole.
    Last,
}

/// One page that a device asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageRequest {
    /// For which PASID, if any.
    pub pasid: Pasid,
    /// The device's number of the group that it belongs to.
    pub group: u32,
    /// What the device wanted to do.
    pub perm: PageRequestPerm,
    /// The address.
    pub address: Iova,
    /// Whether the group ends with it.
    pub position: PageRequestPosition,
}

/// The answer to a group of page requests (`enum iommufd_page_response_code`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PageResponse {
    /// The pages are there: try again.
    Success,
    /// They will not be: give up.
    Invalid,
}

/// Who takes the page requests of an endpoint.
pub trait PageRequestHandler: Send + Sync + fmt::Debug {
    /// Takes a request. Its group is answered later by [`Endpoint::respond`](crate::Endpoint::respond), or at once when nobody
    /// wants it.
    fn handle(&self, request: PageRequest);
}
