//! `/dev/iommu` as an open file.

use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_files::{
    Arg, Caller, Descriptor, DeviceNumber, FdNumber, File, MmapFlags, MmapRequest, Refusal, Stat,
};
use swiommu_mem::FileId;

use crate::{Context, Error};

/// The open file of a context. The context lives as long as the file, and longer when something else keeps it open.
#[derive(Debug)]
pub struct ContextFile {
    context: Arc<Context>,
    path: &'static str,
    stat: Stat,
}

impl ContextFile {
    /// The character device with this path, number and mode.
    pub fn new(context: Arc<Context>, path: &'static str, number: DeviceNumber, mode: u32) -> Self {
        Self {
            context,
            path,
            stat: Stat::Device { number, mode },
        }
    }

    /// The context.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }
}

impl Context {
    /// The context that a descriptor of the caller's is (`iommufd_ctx_from_fd`).
    ///
    /// # Errors
    /// `EBADF` when the number is not open, `EBADFD` when it is not a context.
    pub fn of_descriptor(caller: &dyn Caller, fd: FdNumber) -> Result<Arc<Self>, Error> {
        let failed = |errno| Error::Descriptor { fd: fd.0, errno };
        let Descriptor::Served(mut file) = caller.descriptor(fd).map_err(failed)? else {
            return Err(failed(Errno::EBADFD));
        };
        while let Some(watched) = file.watched() {
            file = watched.clone();
        }
        let file: Arc<dyn Any + Send + Sync> = file;
        let context = file.downcast::<ContextFile>();
        let context = context.map(|file| file.context.clone());
        context.map_err(|_| failed(Errno::EBADFD))
    }
}

impl File for ContextFile {
    fn name(&self) -> &str {
        self.path
    }

    fn stat(&self) -> Stat {
        self.stat
    }

    fn ioctl(&self, caller: &dyn Caller, request: u32, arg: Arg) -> Result<i32, Refusal> {
        self.context.ioctl(caller, request, arg)
    }

    /// §7.5: exactly one region, and not for execution.
    fn mmap(&self, _caller: &dyn Caller, request: &MmapRequest) -> Result<(), Refusal> {
        let MmapRequest { offset, len, flags } = *request;
        if !flags.contains(MmapFlags::SHARED) {
            return Err(Refusal::new(
                Errno::EINVAL,
                "regions can only be mapped shared",
            ));
        }
        if flags.contains(MmapFlags::EXEC) {
            return Err(Refusal::new(Errno::EPERM, "regions cannot be executed"));
        }
        match self.context.state.regions.at(offset) {
            Some(whole) if whole == len => Ok(()),
            Some(whole) => {
                let rule = format!("the region at {offset:#x} has {whole:#x} bytes, not {len:#x}");
                Err(Refusal::new(Errno::ENXIO, rule))
            }
            None => Err(Refusal::new(
                Errno::ENXIO,
                format!("no region starts at {offset:#x}"),
            )),
        }
    }

    fn memory(&self) -> Option<BorrowedFd<'_>> {
        let memory = self.context.state.regions.memory().ok()?;
        // Its last close tells that the client is done with the context, so our own view of memory must not hold it open.
        let found = rustix::fs::fstat(memory).ok()?;
        let file = FileId {
            device: found.st_dev,
            inode: found.st_ino,
        };
        self.context.memory().leave_closed(file);
        Some(memory)
    }
}
