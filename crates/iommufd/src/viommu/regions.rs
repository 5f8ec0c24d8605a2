//! Memory that the client maps through the context's file (§7.5).

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fstat, ftruncate,
    memfd_create,
};
use rustix::io::pwrite;
use swiommu_abi::Errno;
use swiommu_iommu::{DriverError, MmapRegion};
use swiommu_mem::{FileId, FileOffset, FileRange, PAGE};

/// How far offsets reach. The memory file is sparse: what no region uses costs nothing.
const REACH: u64 = 1 << 30;

/// The regions of a context, in one memory file: a region lies at its own offset there.
#[derive(Debug, Default)]
pub(crate) struct Regions {
    memory: OnceLock<OwnedFd>,
    /// Lengths by offset.
    taken: Mutex<BTreeMap<u64, u64>>,
}

/// One region of whole pages.
#[derive(Debug)]
pub(crate) struct Region {
    regions: Arc<Regions>,
    offset: u64,
    len: u64,
}

impl Regions {
    /// The memory file.
    pub(crate) fn memory(&self) -> rustix::io::Result<BorrowedFd<'_>> {
        if let Some(memory) = self.memory.get() {
            return Ok(memory.as_fd());
        }
        let memory = memfd_create("iommu", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, REACH)?;
        fcntl_add_seals(
            &memory,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        )?;
        Ok(self.memory.get_or_init(|| memory).as_fd())
    }

    /// Takes the lowest free offset, not below a page.
    pub(crate) fn allocate(this: &Arc<Self>, len: u64) -> Result<Arc<Region>, DriverError> {
        let no_memory = || {
            DriverError::new(
                Errno::ENOMEM,
                format!("no room for a region of {len:#x} bytes"),
            )
        };
        if len == 0 || !PAGE.divides(len) {
            return Err(DriverError::invalid(format!(
                "{len:#x} bytes are not whole pages"
            )));
        }
        let memory = this.memory().map_err(|_| no_memory())?;
        let mut taken = this.taken.lock();
        let mut offset = PAGE.bytes();
        for (start, used) in &*taken {
            if start - offset >= len {
                break;
            }
            offset = start + used;
        }
        if len > REACH - offset {
            return Err(no_memory());
        }
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(memory, hole, offset, len).map_err(|_| no_memory())?;
        taken.insert(offset, len);
        Ok(Arc::new(Region {
            regions: this.clone(),
            offset,
            len,
        }))
    }

    /// The length of the region that starts at an offset.
    pub(crate) fn at(&self, offset: u64) -> Option<u64> {
        self.taken.lock().get(&offset).copied()
    }
}

impl Region {
    /// Which bytes of which file it is.
    pub(crate) fn place(&self) -> Option<(FileId, FileRange)> {
        let found = fstat(self.regions.memory().ok()?).ok()?;
        let file = FileId {
            device: found.st_dev,
            inode: found.st_ino,
        };
        Some((
            file,
            FileRange::from_len(FileOffset::new(self.offset), self.len)?,
        ))
    }
}

impl MmapRegion for Region {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        // The memory is there, so this can fail only where the host has none left; the guest then reads zeros.
        if let Ok(memory) = self.regions.memory() {
            let _ = pwrite(memory, bytes, self.offset + offset);
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.regions.taken.lock().remove(&self.offset);
    }
}
