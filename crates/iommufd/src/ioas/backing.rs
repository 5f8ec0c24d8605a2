//! What an area's memory is: pages that are pinned, or a dma-buf.

use std::sync::Arc;

use smallvec::SmallVec;
use swiommu_addr::{Address, PaRange};
use swiommu_iommu::Prot;
use swiommu_iova::Origin;
use swiommu_mem::{Offset, OffsetRange, Pages, PinError, Runs, Source};

use super::import::Import;
use crate::Error;

/// The physical pieces of an area, as page tables want them. None where a dma-buf was revoked.
pub(super) type Memory = SmallVec<[PaRange; 4]>;

/// What an area's memory is.
#[derive(Clone, Debug)]
pub(super) enum Backing {
    /// Pages of a process or a file.
    Pages(Arc<Pages>),
    /// A dma-buf, which is not pinned by the page.
    DmaBuf(Arc<Import>),
}

fn memory_of(runs: &Runs) -> Memory {
    runs.iter().map(|run| run.memory).collect()
}

impl Backing {
    /// Makes sure of the memory, and finds it.
    pub(super) fn pin(&self, bytes: OffsetRange) -> Result<Memory, PinError> {
        match self {
            Self::Pages(pages) => Ok(memory_of(&pages.pin(bytes)?)),
            Self::DmaBuf(import) => Ok(import.memory(bytes).into_iter().collect()),
        }
    }

    /// Gives up what [`pin`](Self::pin) made sure of.
    pub(super) fn unpin(&self, bytes: OffsetRange) {
        if let Self::Pages(pages) = self {
            pages.unpin(bytes);
        }
    }

    /// The memory of bytes that are made sure of already; `None` when they are not.
    pub(super) fn memory(&self, bytes: OffsetRange) -> Option<Memory> {
        match self {
            Self::Pages(pages) => Some(memory_of(&pages.runs(bytes)?)),
            Self::DmaBuf(import) => Some(import.memory(bytes).into_iter().collect()),
        }
    }

    /// The offset in a page of the first byte.
    pub(super) fn page_offset(&self) -> u64 {
        match self {
            Self::Pages(pages) => pages.page_offset(),
            Self::DmaBuf(import) => import.page_offset(),
        }
    }

    /// Where the byte at an offset comes from, as automatic placement imitates it.
    pub(super) fn origin(&self, at: Offset) -> Origin {
        match self {
            Self::Pages(pages) => match pages.source() {
                Source::Memory(first) => Origin::address(first.wrapping_add(at.get())),
                Source::File(first) => Origin::offset(first.get().wrapping_add(at.get())),
            },
            Self::DmaBuf(import) => Origin::offset(import.start().wrapping_add(at.get())),
        }
    }

    /// Whether areas may be writable.
    pub(super) fn is_writable(&self) -> bool {
        match self {
            Self::Pages(pages) => pages.is_writable(),
            Self::DmaBuf(import) => import.is_writable(),
        }
    }

    /// The kind of memory, for the page table: that of a device is not cached.
    pub(super) fn memory_type(&self) -> Prot {
        match self {
            Self::Pages(_) => Prot::CACHE,
            Self::DmaBuf(_) => Prot::MMIO,
        }
    }

    /// The pages, for what a dma-buf cannot do.
    pub(super) fn pages(&self) -> Result<&Arc<Pages>, Error> {
        match self {
            Self::Pages(pages) => Ok(pages),
            Self::DmaBuf(_) => Err(Error::DmaBufAccess),
        }
    }
}
