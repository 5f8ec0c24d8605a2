//! The physical address space.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use swiommu_addr::{HvaRange, Pa, PaRange, PageSize};

use crate::{Accounts, DetachCause, FileId, MemlockPolicy, SpaceId, VolatileSlice};

/// How a machine's memory behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// What happens when a charge passes `RLIMIT_MEMLOCK`.
    pub memlock: MemlockPolicy,
}

/// Why physical memory could not be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// Nothing is at this address.
    #[error("no memory at physical address {0}")]
    NoMemory(Pa),
    /// Its owner has exited or unmapped it, and nobody else has it.
    #[error("the memory at physical address {0} is gone")]
    Gone(Pa),
    /// A page table of ours: read-only.
    #[error("physical address {0} belongs to a page table")]
    Table(Pa),
}

/// No memory for a page table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("out of memory for page tables")]
pub struct OutOfMemory;

/// Something that the client did to memory that is mapped for DMA.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Finding {
    /// A process gave memory back while it was pinned. DMA goes on to the old content.
    Detached {
        /// Whose memory.
        space: SpaceId,
        /// Where it was mapped.
        hva: HvaRange,
        /// Its physical addresses.
        memory: PaRange,
        /// By which call.
        cause: DetachCause,
    },
    /// A file was truncated while its pages were pinned and accessed.
    Truncated {
        /// The physical page that lost its file page.
        memory: PaRange,
    },
}

/// How many pages objects pin a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PinCount {
    /// The range.
    pub memory: PaRange,
    /// The pages objects that pin each page of it.
    pub objects: u32,
}

/// The physical address space of one machine.
#[derive(Debug)]
pub struct PhysicalMemory {}

impl PhysicalMemory {
    /// Reserves the address space.
    ///
    /// # Errors
    /// When the host does not give 64 GiB of address space.
    pub fn new(config: Config) -> io::Result<Arc<Self>> {
        unimplemented!("{config:?}")
    }

    /// Copies memory out. 8 aligned bytes are read at once.
    pub fn read(&self, from: Pa, into: &mut [u8]) -> Result<(), AccessError> {
        unimplemented!("{from} {into:?}")
    }

    /// Copies memory in. 8 aligned bytes are written at once.
    pub fn write(&self, to: Pa, from: &[u8]) -> Result<(), AccessError> {
        unimplemented!("{to} {from:?}")
    }

    /// The memory itself, when it is mapped here in one piece and not a page table.
    pub fn slice(&self, memory: PaRange) -> Option<VolatileSlice<'_>> {
        unimplemented!("{memory}")
    }

    /// A zeroed page table of `size` bytes (64 bytes to 2 MiB), aligned to its size.
    pub fn alloc_table(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
        unimplemented!("{size}")
    }

    /// Takes a table back. Its memory stays readable: a reader without locks may still be in it.
    pub fn free_table(&self, table: Pa, size: PageSize) {
        unimplemented!("{table} {size}")
    }

    /// The words of a table, or `None` when the range is not aligned to 8 bytes or not in table memory.
    pub fn words(&self, table: Pa, size: PageSize) -> Option<&[AtomicU64]> {
        unimplemented!("{table} {size}")
    }

    /// The pin counts of a range in address order, including its unpinned parts (count 0).
    pub fn pin_counts(&self, memory: PaRange) -> Vec<PinCount> {
        unimplemented!("{memory}")
    }

    /// Pages pinned in total, each counted once per pages object.
    pub fn pinned_pages(&self) -> u64 {
        unimplemented!()
    }

    /// Who pays.
    pub fn accounts(&self) -> &Accounts {
        unimplemented!()
    }

    /// What was found since the last call.
    pub fn take_findings(&self) -> Vec<Finding> {
        unimplemented!()
    }

    /// Never opens or maps this file in order to reach its memory: a file whose close is being watched for.
    pub fn leave_closed(&self, file: FileId) {
        unimplemented!("{file:?}")
    }
}

/// Survive the truncation of a file that is mapped here: installs a handler of `SIGBUS` for the whole process.
///
/// # Errors
/// The error of `sigaction(2)`.
pub fn install_sigbus_handler() -> io::Result<()> {
    unimplemented!()
}
