//! Memory: the address spaces of processes, the physical address space, pages objects and pins.
//!
//! | type | what it is |
//! |---|---|
//! | [`PhysicalMemory`] | the physical address space of one machine, its page-table memory, its pin table, who pays |
//! | [`AddressSpace`] | the memory of a client: [`Process`] of another process, [`LocalSpace`] of our own |
//! | [`Pages`] | the memory behind an area: where it comes from, and which of its pages are pinned |
//!
//! The same memory has the same physical address for everybody: shared memory is identified by device, inode and offset,
//! private memory by `mm` and virtual address. Where we can get hold of the file it is mapped here, else it is reached by
//! system calls; the physical addresses do not depend on it.
//!
//! ```
//! use std::sync::Arc;
//! use swiommu_mem::{
//!     Access, Accounting, AddressSpace, Config, LocalSpace, Offset, OffsetRange, Pages, PhysicalMemory,
//! };
//!
//! let memory = PhysicalMemory::new(Config::default())?;
//! let space = LocalSpace::new(&memory)?;
//! let buffer = space.allocate(0x2000)?;
//!
//! let owner: Arc<dyn AddressSpace> = space.clone();
//! let pages = Pages::from_space(&owner, buffer, Access::Write, Accounting::User);
//! let whole = OffsetRange::from_len(Offset::new(0), 0x2000).unwrap();
//! let runs = pages.pin(whole)?;
//! assert_eq!(space.locked().pinned(), 2);
//!
//! // A device writes; the process unmaps the memory, and the device's pages stay what they were.
//! memory.write(runs[0].memory.start(), b"DMA")?;
//! space.unmap(buffer);
//! let mut seen = [0; 3];
//! memory.read(runs[0].memory.start(), &mut seen)?;
//! assert_eq!(&seen, b"DMA");
//!
//! pages.unpin(whole);
//! assert_eq!(memory.pinned_pages(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accounts;
mod atomic;
mod copy;
mod extents;
mod file;
mod local;
mod locked;
mod pages;
mod physical;
mod process;
#[cfg(feature = "vm-memory")]
mod rust_vmm;
mod space;
mod sparse;
mod volatile;

pub use accounts::{Accounting, Accounts, MemlockPolicy};
pub use atomic::AtomicInteger;
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
pub use sparse::Sparse;
pub use volatile::VolatileSlice;

use swiommu_addr::PageSize;

/// The unit of pinning: the host's `PAGE_SIZE`.
pub const PAGE: PageSize = PageSize::SIZE_4K;
