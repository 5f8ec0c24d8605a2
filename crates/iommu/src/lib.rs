//! What an IOMMU is, whichever vendor made it.
//!
//! A [`Unit`] is one IOMMU: it allocates page tables and says what it can do. An [`Endpoint`] is a device as a unit sees
//! it: a requester with its PASIDs. A [`Domain`] is a page table that endpoints can be attached to: a [`PagingDomain`]
//! translates IOVAs to physical addresses, a [`NestedDomain`] puts a guest's own table in front of one.
//!
//! The core above (`swiommu-iommufd`) knows these traits and never a model. A model implements them; most of a paging
//! domain is [`TableDomain`], which needs only a page-table format.
//!
//! [`Epochs`] keep the first promise: when an unmap returns, no DMA that used the old translation is in flight.

#![forbid(unsafe_code)]

mod device_tlb;
mod dma;
mod domain;
mod driver_error;
mod endpoint;
mod epoch;
mod field;
mod in_process;
mod invalidation;
mod no_iommu;
mod numbers;
mod page_request;
pub mod smmuv3;
mod table_domain;
mod tables;
mod tlb;
mod trace;
mod two_stage;
mod unit;
mod viommu;
pub mod vtd;

pub use device_tlb::{DeviceTlb, DeviceTlbScope};
pub use dma::{
    AskForPage, Attachments, Blocked, DmaError, DmaPort, Fault, Hit, Translate, Translated,
};
#[cfg(feature = "vm-memory")]
pub use dma::{DmaSession, NoBackend};
pub use domain::{DirtyTracking, Domain, DomainFeatures, Mapping, NestedDomain, PagingDomain};
pub use driver_error::DriverError;
pub use endpoint::{Endpoint, EndpointFeatures, GroupId, Pasid, ReservedKind, ReservedRegion};
pub use epoch::{Epochs, Guard, Reader};
pub use in_process::{NoRegions, OwnData, OwnRequests};
pub use invalidation::{Invalidated, Requests};
pub use no_iommu::{NoIommu, NoIommuEndpoint};
pub use page_request::{
    PageRequest, PageRequestHandler, PageRequestPerm, PageRequestPosition, PageResponse,
};
pub use swiommu_pgtable::{Access, DirtyRead, Prot};
pub use table_domain::TableDomain;
pub use tables::Tables;
pub use tlb::{
    Cached, Caches, ContextCache, Counters, Fetch, Locate, Marks, Retention, Scope, Structures,
    Tag, TagMatch, Tlb, UnknownRetention, Walk, Ways,
};
pub use trace::{EntryAddress, Stage, Trace, TracedEntry};
pub use unit::{HwInfo, NestedRequest, PagingFlags, PagingRequest, Unit, UserData};
pub use viommu::{
    EventHandler, HwQueueRequest, MmapRegion, MmapRegions, UserDataMut, Viommu, ViommuRequest,
    VirtId,
};
