//! What a client did wrong with memory that is mapped for DMA.

use swiommu_addr::{HvaRange, PaRange};

use super::PhysicalMemory;
use crate::SpaceId;

/// The call by which a process gives memory back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DetachCause {
    /// `munmap(2)`.
    Munmap,
    /// `mremap(2)`: of the old range, and of a fixed new one.
    Mremap,
    /// `mmap(2)` with `MAP_FIXED`.
    MapFixed,
    /// `madvise(2)` with `MADV_DONTNEED` or the like, which takes private memory only.
    Madvise,
    /// `brk(2)` downwards.
    Brk,
    /// `execve(2)`.
    Exec,
    /// `exit_group(2)`.
    Exit,
}

/// What has become of the content of memory that was given back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Content {
    /// DMA goes on with the old content.
    Kept,
    /// It could not be read, or was too much: DMA goes on with zeroes.
    Lost,
}

/// Something that a client did to memory that is mapped for DMA.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Finding {
    /// A process gave memory back while it was pinned.
    Detached {
        /// Whose memory.
        space: SpaceId,
        /// Where it was mapped.
        hva: HvaRange,
        /// Its physical addresses, which stay.
        memory: PaRange,
        /// By which call.
        cause: DetachCause,
        /// What DMA finds there now.
        content: Content,
    },
    /// A file was truncated, and then a page of it that is gone was accessed by its physical address.
    Truncated {
        /// The page, which reads as zeroes now.
        memory: PaRange,
    },
}

/// Findings kept until somebody takes them. Later ones are logged only.
const MAX_FINDINGS: usize = 4096;

impl PhysicalMemory {
    /// What was found since the last call.
    pub fn take_findings(&self) -> Vec<Finding> {
        self.note_lost_pages();
        std::mem::take(&mut self.findings.lock())
    }

    pub(super) fn record(&self, finding: Finding) {
        tracing::warn!(?finding, "memory that is mapped for DMA");
        let mut findings = self.findings.lock();
        if findings.len() < MAX_FINDINGS {
            findings.push(finding);
        }
    }

    /// Takes over what the signal handler has noted.
    pub(super) fn note_lost_pages(&self) {
        for memory in self.region.watched().take_lost() {
            if let Some(size) = memory.len().and_then(swiommu_addr::PageSize::from_bytes) {
                self.windows.write().lost.insert(memory.start(), size);
            }
            self.record(Finding::Truncated { memory });
        }
    }
}
