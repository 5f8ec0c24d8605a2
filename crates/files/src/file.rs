//! The served file.

use std::any::Any;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_addr::HvaRange;

use crate::{Arg, Caller, DmaBuf, MmapRequest, Refusal, Stat, WaitQueue};

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

    /// `pread(2)` at this position of the file.
    fn read_at(
        &self,
        caller: &dyn Caller,
        position: u64,
        into: Option<HvaRange>,
    ) -> Result<usize, Refusal> {
        let _ = (caller, position, into);
        Err(no_positions(self.name()))
    }

    /// `pwrite(2)` at this position of the file.
    fn write_at(
        &self,
        caller: &dyn Caller,
        position: u64,
        from: Option<HvaRange>,
    ) -> Result<usize, Refusal> {
        let _ = (caller, position, from);
        Err(no_positions(self.name()))
    }

    /// What `poll(2)` reports and waits for; `None` for a file without readiness, which is always ready.
    fn wait_queue(&self) -> Option<&WaitQueue> {
        None
    }

    /// The dma-buf that the file is, if it is one.
    fn dma_buf(&self) -> Option<Arc<dyn DmaBuf>> {
        None
    }

    /// The file that this one only watches, if it does: whoever asks which file a descriptor is means that one.
    fn watched(&self) -> Option<&Arc<dyn File>> {
        None
    }

    /// Decides on a `mmap(2)`. On success the client maps the file's memory at that offset natively.
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
}

fn no_positions(name: &str) -> Refusal {
    Refusal::new(Errno::ESPIPE, format!("{name} has no positions"))
}
