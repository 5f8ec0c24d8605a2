//! An address space inside our own process: for the library's users, tests, fuzzers and benches.

use std::sync::Arc;

use swiommu_addr::{Hva, HvaRange, PageSize};

use crate::{Access, AddressSpace, Fault, Locked, PhysicalMemory, Run, SpaceId, Uid};

/// What a mapping allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protection {
    /// Nothing (`PROT_NONE`).
    None,
    /// `PROT_READ`.
    Read,
    /// `PROT_READ | PROT_WRITE`.
    ReadWrite,
}

/// An address space whose memory we allocate: it resolves, reads and writes without a system call.
#[derive(Debug)]
pub struct LocalSpace {
    id: SpaceId,
}

impl LocalSpace {
    /// An empty address space of user 0 without a memory limit.
    ///
    /// # Errors
    /// When no memory file can be made.
    pub fn new(memory: &Arc<PhysicalMemory>) -> std::io::Result<Arc<Self>> {
        unimplemented!("{memory:?}")
    }

    /// Maps `len` bytes of new zeroed memory, rounded up to whole pages of 4 KiB, readable and writable.
    ///
    /// # Errors
    /// When the host has no memory, or `len` is 0.
    pub fn allocate(&self, len: u64) -> std::io::Result<HvaRange> {
        self.allocate_pages(len, PageSize::SIZE_4K)
    }

    /// The same in pages of `page`, which the resolved runs then report: what hugetlb memory looks like.
    ///
    /// # Errors
    /// As [`Self::allocate`].
    pub fn allocate_pages(&self, len: u64, page: PageSize) -> std::io::Result<HvaRange> {
        unimplemented!("{len} {page}")
    }

    /// Maps at `at` the memory that `other` has mapped at `source`: the same physical pages. What was there is unmapped.
    ///
    /// # Errors
    /// [`Fault::Unmapped`] when `source` is not wholly mapped, or the addresses are not page aligned.
    pub fn map_shared(&self, at: Hva, other: &Self, source: HvaRange) -> Result<(), Fault> {
        unimplemented!("{at} {other:?} {source}")
    }

    /// Unmaps the whole pages of a range. Pinned memory stays where it is for those who pinned it.
    pub fn unmap(&self, pages: HvaRange) {
        unimplemented!("{pages}")
    }

    /// Changes what the mapped pages of a range allow.
    pub fn protect(&self, pages: HvaRange, protection: Protection) {
        unimplemented!("{pages} {protection:?}")
    }

    /// Sets the real user that new mappings are charged to.
    pub fn set_user(&self, user: Uid) {
        unimplemented!("{user:?}")
    }

    /// Sets `RLIMIT_MEMLOCK` in bytes; `None` for unlimited.
    pub fn set_memlock_limit(&self, limit: Option<u64>) {
        unimplemented!("{limit:?}")
    }

    /// The process exits: its mappings are gone, its pins stay.
    pub fn exit(&self) {
        unimplemented!()
    }
}

impl AddressSpace for LocalSpace {
    fn id(&self) -> SpaceId {
        self.id
    }

    fn user(&self) -> Uid {
        unimplemented!()
    }

    fn read(&self, from: Hva, into: &mut [u8]) -> Result<(), Fault> {
        unimplemented!("{from} {into:?}")
    }

    fn write(&self, to: Hva, from: &[u8]) -> Result<(), Fault> {
        unimplemented!("{to} {from:?}")
    }

    fn resolve(&self, pages: HvaRange, access: Access) -> Result<Vec<Run>, Fault> {
        unimplemented!("{pages} {access:?}")
    }

    fn is_alive(&self) -> bool {
        unimplemented!()
    }

    fn memlock_limit(&self) -> Option<u64> {
        unimplemented!()
    }

    fn locked(&self) -> &Locked {
        unimplemented!()
    }
}
