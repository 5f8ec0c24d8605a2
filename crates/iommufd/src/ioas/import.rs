//! Importing a dma-buf (§3.11).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use swiommu_addr::{Address, PaRange};
use swiommu_files::{DmaBuf, DmaBufImporter};
use swiommu_mem::{FileRange, OffsetRange, PAGE};

use super::Ioas;
use crate::Error;

/// A part of a dma-buf that was mapped by one call, and by copies of it.
#[derive(Debug)]
pub(super) struct Import {
    _buf: Arc<dyn DmaBuf>,
    range: FileRange,
    writable: bool,
    memory: Mutex<Option<PaRange>>,
    revoked: AtomicBool,
    /// The IOASes with areas of it.
    users: Mutex<Vec<Weak<Ioas>>>,
}

/// Whether areas of an import may be writable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Writable {
    Yes,
    No,
}

impl Import {
    /// Attaches to a range of a dma-buf.
    ///
    /// # Errors
    /// `EINVAL` for a range that is not in it, `ENODEV` while it is revoked.
    pub(super) fn new(
        buf: &Arc<dyn DmaBuf>,
        range: FileRange,
        writable: Writable,
    ) -> Result<Arc<Self>, Error> {
        if buf.len() <= range.last().get() {
            return Err(Error::BeyondDmaBuf {
                last: range.last().get(),
                len: buf.len(),
            });
        }
        let import = Arc::new(Self {
            _buf: buf.clone(),
            range,
            writable: writable == Writable::Yes,
            memory: Mutex::default(),
            revoked: AtomicBool::new(false),
            users: Mutex::default(),
        });
        let importer: Weak<Self> = Arc::downgrade(&import);
        let memory = buf
            .attach(importer)
            .map_err(|errno| Error::DmaBufRevoked { errno })?;
        *import.memory.lock() = Some(memory);
        Ok(import)
    }

    /// Notes an IOAS that is about to have an area of it.
    pub(super) fn used_by(&self, ioas: &Weak<Ioas>) {
        let mut users = self.users.lock();
        users.retain(|user| user.strong_count() > 0);
        if !users.iter().any(|user| user.ptr_eq(ioas)) {
            users.push(ioas.clone());
        }
    }

    /// Where bytes of it lie; nowhere, once it is revoked.
    pub(super) fn memory(&self, bytes: OffsetRange) -> Option<PaRange> {
        if self.is_revoked() {
            return None;
        }
        let whole = (*self.memory.lock())?;
        let first = self.range.start().get().checked_add(bytes.start().get())?;
        PaRange::from_len(whole.start().checked_add(first)?, bytes.len()?)
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    pub(super) fn start(&self) -> u64 {
        self.range.start().get()
    }

    pub(super) fn page_offset(&self) -> u64 {
        self.range.start().offset_in(PAGE)
    }

    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }
}

impl DmaBufImporter for Import {
    fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
        let users = self.users.lock().clone();
        for ioas in users.iter().filter_map(Weak::upgrade) {
            ioas.unmap_revoked(self);
        }
    }
}
