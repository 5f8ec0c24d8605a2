//! What an area's memory is: pages that are pinned, or a dma-buf.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use swiommu_addr::{Address, PaRange};
use swiommu_iommu::Prot;
use swiommu_iova::Origin;
use swiommu_mem::{Offset, OffsetRange, Pages, PinError, Runs, Source};

use super::import::Import;
use crate::Error;

/// The physical pieces of an area, as page tables want them. None where a dma-buf was revoked.
pub(super) type Memory = SmallVec<[PaRange; 1]>;

/// What an area's memory is. Areas that share it are copies of each other.
#[derive(Clone, Debug)]
pub(crate) struct Backing(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    /// Pages of a process or a file.
    Pages(Pages),
    /// A dma-buf, which is not pinned by the page.
    DmaBuf(Arc<Import>),
}

fn memory_of(runs: &Runs) -> Memory {
    match runs.as_slice() {
        [run] => smallvec![run.memory],
        runs => runs.iter().map(|run| run.memory).collect(),
    }
}

impl Backing {
    pub(super) fn of_pages(pages: Pages) -> Self {
        Self(Arc::new(Kind::Pages(pages)))
    }

    pub(super) fn of_dma_buf(import: Arc<Import>) -> Self {
        Self(Arc::new(Kind::DmaBuf(import)))
    }

    /// The part of a dma-buf that it is, if it is one.
    pub(super) fn import(&self) -> Option<&Arc<Import>> {
        match &*self.0 {
            Kind::Pages(_) => None,
            Kind::DmaBuf(import) => Some(import),
        }
    }

    /// Makes sure of the memory, and finds it.
    pub(super) fn pin(&self, bytes: OffsetRange) -> Result<Memory, PinError> {
        match &*self.0 {
            Kind::Pages(pages) => Ok(memory_of(&pages.pin(bytes)?)),
            Kind::DmaBuf(import) => Ok(import.memory(bytes).into_iter().collect()),
        }
    }

    /// Gives up what [`pin`](Self::pin) made sure of.
    pub(crate) fn unpin(&self, bytes: OffsetRange) {
        if let Kind::Pages(pages) = &*self.0 {
            pages.unpin(bytes);
        }
    }

    /// The memory of bytes that are made sure of already; `None` when they are not.
    pub(super) fn memory(&self, bytes: OffsetRange) -> Option<Memory> {
        match &*self.0 {
            Kind::Pages(pages) => Some(memory_of(&pages.runs(bytes)?)),
            Kind::DmaBuf(import) => Some(import.memory(bytes).into_iter().collect()),
        }
    }

    /// Whether it is a dma-buf that its exporter has taken back.
    pub(super) fn is_revoked(&self) -> bool {
        match &*self.0 {
            Kind::Pages(_) => false,
            Kind::DmaBuf(import) => import.is_revoked(),
        }
    }

    /// The offset in a page of the first byte.
    pub(super) fn page_offset(&self) -> u64 {
        match &*self.0 {
            Kind::Pages(pages) => pages.page_offset(),
            Kind::DmaBuf(import) => import.page_offset(),
        }
    }

    /// Where the byte at an offset comes from, as automatic placement imitates it.
    pub(super) fn origin(&self, at: Offset) -> Origin {
        match &*self.0 {
            Kind::Pages(pages) => match pages.source() {
                Source::Memory(first) => Origin::address(first.wrapping_add(at.get())),
                Source::File(first) => Origin::offset(first.get().wrapping_add(at.get())),
            },
            Kind::DmaBuf(import) => Origin::offset(import.start().wrapping_add(at.get())),
        }
    }

    /// Whether areas may be writable.
    pub(super) fn is_writable(&self) -> bool {
        match &*self.0 {
            Kind::Pages(pages) => pages.is_writable(),
            Kind::DmaBuf(import) => import.is_writable(),
        }
    }

    /// The kind of memory, for the page table: that of a device is not cached.
    pub(super) fn memory_type(&self) -> Prot {
        match &*self.0 {
            Kind::Pages(_) => Prot::CACHE,
            Kind::DmaBuf(_) => Prot::MMIO,
        }
    }

    /// The pages, for what a dma-buf cannot do.
    pub(super) fn pages(&self) -> Result<&Pages, Error> {
        match &*self.0 {
            Kind::Pages(pages) => Ok(pages),
            Kind::DmaBuf(_) => Err(Error::DmaBufAccess),
        }
    }
}
