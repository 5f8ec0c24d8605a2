//! The served file.

use std::any::Any;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bitflags::bitflags;
use swiommu_abi::Errno;
use swiommu_addr::HvaRange;

use crate::{Arg, Caller, DmaBuf, MmapRequest, Refusal, Region, Stat};

bitflags! {
    /// What `poll(2)` reports of a file.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Readiness: u32 {
        /// `POLLIN | POLLRDNORM`.
        const IN = 1;
        /// `POLLOUT | POLLWRNORM`.
        const OUT = 2;
    }
}

/// Something a client holds open. Dropping the last reference releases it.
///
/// The defaults are what the kernel answers for a file without that operation.
pub trait File: Any + Send + Sync + fmt::Debug {
    /// What `readlink("/proc/self/fd/N")` shows: a path, or `anon_inode:[…]`.
    fn name(&self) -> &str;

    /// What `fstat` shows.
    fn stat(&self) -> Stat;

    /// `ioctl(2)`. The request is the full 32-bit number.
    fn ioctl(&self, caller: &dyn Caller, request: u32, arg: Arg) -> Result<i32, Refusal> {
        let _ = (caller, arg);
        Err(Refusal::new(
            Errno::ENOTTY,
            format!("{} has no ioctl {request:#x}", self.name()),
        ))
    }

    /// `read(2)` at the file position 0, into the caller's memory. `None` stands for a count of 0. Never blocks.
    fn read(&self, caller: &dyn Caller, into: Option<HvaRange>) -> Result<usize, Refusal> {
        let _ = (caller, into);
        Err(Refusal::new(
            Errno::EINVAL,
            format!("{} cannot be read", self.name()),
        ))
    }

    /// `write(2)` at the file position 0, from the caller's memory. `None` stands for a count of 0. Never blocks.
    fn write(&self, caller: &dyn Caller, from: Option<HvaRange>) -> Result<usize, Refusal> {
        let _ = (caller, from);
        Err(Refusal::new(
            Errno::EINVAL,
            format!("{} cannot be written", self.name()),
        ))
    }

    /// What `poll(2)` reports now; `None` for a file without readiness, which is always ready.
    fn readiness(&self) -> Option<Readiness> {
        None
    }

    /// The dma-buf that the file is, if it is one.
    fn dma_buf(&self) -> Option<Arc<dyn DmaBuf>> {
        None
    }

    /// Decides on a shared `mmap(2)`. On success the client maps the file's memory at that offset natively.
    fn mmap(&self, caller: &dyn Caller, request: &MmapRequest) -> Result<(), Refusal> {
        let _ = (caller, request);
        Err(Refusal::new(
            Errno::ENODEV,
            format!("{} cannot be mapped", self.name()),
        ))
    }

    /// The memory file that `mmap` maps, if the file keeps one of its own: what is mapped lies in it at the same offsets. Such a file
    /// is opened by a client once: opening it again is `EBUSY`.
    fn memory(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The memory that is mapped by `mmap`, at its offsets in the file.
    fn regions(&self) -> Vec<Region> {
        Vec::new()
    }
}
