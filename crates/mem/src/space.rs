//! The virtual memory of a process, as the source of mappings.

use std::fmt;
use std::sync::Arc;

use swiommu_addr::{Hva, HvaRange, PaRange, PageSize};

use crate::{Locked, PhysicalMemory, Runs};

/// The identity of an address space (the kernel's `mm`): never reused in the life of a [`PhysicalMemory`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SpaceId(pub u64);

/// The real user that pays for pinned memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Uid(pub u32);

/// What a pin or a copy wants to do with memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Only read.
    Read,
    /// Read and write.
    Write,
}

/// A piece of memory found behind virtual addresses: contiguous in both spaces, the same kind throughout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Where the memory lies in the physical address space.
    pub memory: PaRange,
    /// The page that the host backs it with: 4K, or larger for hugetlb.
    pub page: PageSize,
}

/// Why memory cannot be reached: `EFAULT` to the client, unless said otherwise.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// Nothing is mapped there.
    #[error("nothing is mapped at {0}")]
    Unmapped(Hva),
    /// The mapping does not allow the access.
    #[error("the mapping at {at} does not allow {access:?}")]
    Denied {
        /// Where.
        at: Hva,
        /// What was wanted.
        access: Access,
    },
    /// Memory that cannot be pinned: device memory, or a file system that tracks its dirty pages.
    #[error("the memory at {at} cannot be pinned: {why}")]
    Special {
        /// Where.
        at: Hva,
        /// What it is.
        why: &'static str,
    },
    /// We have no physical addresses left to give: `ENOMEM` rather than `EFAULT`.
    #[error("no physical address space is left")]
    Exhausted,
    /// The process has exited or executed another program.
    #[error("the process is gone")]
    Gone,
}

/// One process' memory: of another process, or our own.
///
/// Limits, user and liveness belong to the process that maps, so they are asked here, at the moment they matter.
pub trait AddressSpace: Send + Sync + fmt::Debug {
    /// Which address space this is.
    fn id(&self) -> SpaceId;

    /// The physical address space of the machine that it belongs to.
    fn memory(&self) -> &Arc<PhysicalMemory>;

    /// Who pays for it.
    fn user(&self) -> Uid;

    /// Copies memory out. All or an error; on an error some bytes may have been copied.
    fn read(&self, from: Hva, into: &mut [u8]) -> Result<(), Fault>;

    /// Copies memory in. All or an error; on an error some bytes may have been copied.
    fn write(&self, to: Hva, from: &[u8]) -> Result<(), Fault>;

    /// Finds the memory behind whole pages, in address order, adjacent runs merged. Pins nothing.
    ///
    /// # Errors
    /// The first page that cannot be used for `access`.
    fn resolve(&self, pages: HvaRange, access: Access) -> Result<Vec<Run>, Fault>;

    /// As [`Self::resolve`], for callers who expect a single run.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    fn resolve_runs(&self, pages: HvaRange, access: Access) -> Result<Runs, Fault> {
        Ok(self.resolve(pages, access)?.into())
    }

    /// Whether the address space still has users (§3.10: `false` after exit or exec).
    fn is_alive(&self) -> bool;

    /// `RLIMIT_MEMLOCK` of the process now, in bytes; `None` when unlimited.
    fn memlock_limit(&self) -> Option<u64>;

    /// What is pinned and locked in its name (`VmPin`, `VmLck`).
    fn locked(&self) -> &Locked;
}
