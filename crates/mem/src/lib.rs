//! Memory: the address spaces of processes, the physical address space, pages objects and pins.

mod accounts;
mod extents;
mod file;
mod local;
mod locked;
mod pages;
mod physical;
mod process;
mod space;
mod volatile;

pub use accounts::{Accounting, Accounts, MemlockPolicy};
pub use file::{FileId, FileKind, FileOffset, FileRange, MemFile};
pub use local::{LocalSpace, Protection};
pub use locked::Locked;
pub use pages::{
    CopyBy, Offset, OffsetRange, Pages, PagesKind, PinError, Runs, Source, change_owner,
};
pub use physical::{
    AccessError, Config, Content, DetachCause, Finding, OutOfMemory, PhysicalMemory, PinCount,
    install_sigbus_handler,
};
pub use process::{Process, Processes};
pub use space::{Access, AddressSpace, Fault, Run, SpaceId, Uid};
pub use volatile::VolatileSlice;

use swiommu_addr::PageSize;

/// The unit of pinning: the host's `PAGE_SIZE`.
pub const PAGE: PageSize = PageSize::SIZE_4K;
