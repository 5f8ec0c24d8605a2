//! An in-process client of `/dev/iommu`, for tests, benches and fuzzers.
//!
//! A [`Host`] has memory and the mock IOMMU. A [`Process`] on it has memory of its own and open files. A [`Client`] is a
//! process' descriptor of `/dev/iommu`, and calls as any program does: with structs in its memory, by ioctl numbers.
//!
//! ```
//! use swiommu_selftest::client::Host;
//!
//! let host = Host::new()?;
//! let process = host.process()?;
//! let iommu = process.open()?;
//! let ioas = iommu.ioas_alloc()?;
//! let device = iommu.mock_domain(ioas)?;
//!
//! let memory = process.buffer(0x4000)?;
//! let iova = iommu.map(ioas, memory.at(0), 0x4000)?;
//! iommu.check_map(device.hwpt, iova, 0x4000, memory.at(0))?;
//! iommu.check_refs(memory.at(0), 0x4000, 1)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod dirty;
mod dma_buf;
mod guests;
mod host;
mod hwpt;
mod ioas;
mod test_cmd;

use std::any::Any;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use swiommu_abi::{Errno, UapiStruct};
use swiommu_files::{Arg, FdNumber, File, Refusal};
use swiommu_iommufd::{Context, ContextFile};

pub use access::{Access, CopyPath};
pub use dirty::Dirtied;
pub use dma_buf::Revoked;
pub use guests::{EventQueue, Invalidation};
pub use host::{Buffer, Host, Process};
pub use hwpt::{HwInfo, HwptData};
pub use test_cmd::Device;

/// What a call yields, or why it failed.
pub type Result<T> = std::result::Result<T, Refusal>;

/// A process' descriptor of `/dev/iommu`. It is closed when this is dropped.
///
/// Calls through one `Client` come one after the other; threads that shall call at once each have one of their own, made by
/// [`Client::also_in`].
#[derive(Debug)]
pub struct Client {
    process: Arc<Process>,
    fd: FdNumber,
    /// Where the structs of calls are.
    structs: Mutex<Buffer>,
    /// Where the arrays and buffers are that they point to.
    data: Mutex<Buffer>,
}

/// Room for any struct, and for fuzzers that want one too long.
const STRUCT_ROOM: u64 = 4096;

impl Client {
    pub(crate) fn new(process: &Arc<Process>, fd: FdNumber) -> Result<Self> {
        Ok(Self {
            process: process.clone(),
            fd,
            structs: Mutex::new(process.buffer(STRUCT_ROOM)?),
            data: Mutex::new(process.buffer(STRUCT_ROOM)?),
        })
    }

    /// The same open file in a process: what `fork`, `dup` and passing a descriptor do.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn also_in(&self, process: &Arc<Process>) -> Result<Self> {
        Self::new(process, process.install(self.file()?)?)
    }

    /// The process that calls.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// The descriptor.
    pub fn fd(&self) -> FdNumber {
        self.fd
    }

    /// The context behind the descriptor, to be looked at past the ioctls.
    ///
    /// # Errors
    /// `EBADF` when the descriptor was closed.
    pub fn context(&self) -> Result<Arc<Context>> {
        let file: Arc<dyn Any + Send + Sync> = self.file()?;
        let file = file.downcast::<ContextFile>();
        let file = file.map_err(|_| Refusal::new(Errno::EBADF, "another file has its number"))?;
        Ok(file.context().clone())
    }

    /// `ioctl(2)` with a struct, which then is as the call left it in memory, also when it failed.
    ///
    /// # Errors
    /// The call's.
    pub fn ioctl<T: UapiStruct>(&self, request: u32, argument: &mut T) -> Result<i32> {
        self.ioctl_bytes(request, argument.as_mut_bytes())
    }

    /// `ioctl(2)` with a struct given as bytes, at most 4096 of them.
    ///
    /// # Errors
    /// The call's.
    pub fn ioctl_bytes(&self, request: u32, argument: &mut [u8]) -> Result<i32> {
        let structs = self.structs.lock();
        structs.write(0, argument)?;
        let result = self.ioctl_raw(request, Arg::from(structs.at(0)));
        structs.read(0, argument)?;
        result
    }

    /// `ioctl(2)` with any argument.
    ///
    /// # Errors
    /// The call's.
    pub fn ioctl_raw(&self, request: u32, argument: Arg) -> Result<i32> {
        self.file()?
            .ioctl(self.process.descriptors(), request, argument)
    }

    fn file(&self) -> Result<Arc<dyn File>> {
        let file = self.process.descriptors().served(self.fd);
        file.ok_or_else(|| Refusal::new(Errno::EBADF, "the client is closed"))
    }

    /// The caller's memory with this content, until the next call that needs any.
    fn place(&self, content: &[u8]) -> Result<MutexGuard<'_, Buffer>> {
        let mut data = self.data.lock();
        if (content.len() as u64) > data.len() {
            *data = self.process.buffer(content.len() as u64)?;
        }
        data.write(0, content)?;
        Ok(data)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It is open as long as nobody closes it behind our back, which is then already done.
        let _ = self.process.descriptors().close(self.fd);
    }
}
