//! Where the memory of local address spaces comes from: a memfd with a window of its own.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use swiommu_addr::PageSize;

use crate::physical::Wanted;
use crate::{FileId, FileOffset, FileRange, PAGE, PhysicalMemory, Runs};

/// The arena's size in bytes, where there are addresses. Nothing of it is memory before it is written.
const SIZE: u64 = 64 << 30;

/// A memfd of which pieces are given out, none twice.
#[derive(Debug)]
pub(super) struct Arena {
    memory: Arc<PhysicalMemory>,
    file: FileId,
    size: u64,
    next: Mutex<u64>,
}

impl Arena {
    pub(super) fn new(memory: &Arc<PhysicalMemory>) -> io::Result<Self> {
        let size = SIZE.min((memory.file_addresses() / 8) & !PageSize::SIZE_1G.mask());
        let file = memfd_create("swiommu-local", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, size)?;
        let id = FileId::from(&fstat(&file)?);
        let wanted = Wanted {
            id,
            page: PAGE,
            range: FileRange::from_len(FileOffset::new(0), size)
                .ok_or(io::ErrorKind::InvalidInput)?,
            expected_size: size,
        };
        memory.hold_file(id);
        let arena = Self {
            memory: memory.clone(),
            file: id,
            size,
            next: Mutex::new(0),
        };
        let runs = memory.resolve_file(&wanted, None, || Some(file));
        let mapped =
            runs.is_ok_and(|runs| runs.iter().all(|run| memory.slice(run.memory).is_some()));
        if mapped {
            Ok(arena)
        } else {
            Err(io::ErrorKind::OutOfMemory.into())
        }
    }

    /// New memory of whole pages, with its place in the arena. Large pieces are aligned for large leaves.
    pub(super) fn allocate(&self, len: u64, page: PageSize) -> Option<(u64, Runs)> {
        let large = [PageSize::SIZE_1G, PageSize::SIZE_2M].into_iter();
        let align = large
            .filter(|size| len >= size.bytes())
            .chain([page])
            .max()?;
        let len = len.checked_next_multiple_of(page.bytes())?;
        let mut next = self.next.lock();
        let start = next.checked_next_multiple_of(align.bytes())?;
        let range = FileRange::from_len(FileOffset::new(start), len)?;
        if range.last().get() >= self.size {
            return None;
        }
        let wanted = Wanted {
            id: self.file,
            page,
            range,
            expected_size: self.size,
        };
        let runs = self.memory.resolve_file(&wanted, None, || None).ok()?;
        *next = start + len;
        Some((start, runs))
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.memory.release_file(self.file);
    }
}
