//! The client as a file sees it.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bitflags::bitflags;
use swiommu_abi::Errno;
use swiommu_addr::Hva;
use swiommu_mem::{AddressSpace, FileId, FileRange};

use crate::File;

/// The third argument of `ioctl(2)`: a pointer into the caller's memory or a plain number, as the request says.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Arg(u64);

impl Arg {
    /// The argument as the register held it.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The argument as a pointer.
    pub const fn pointer(self) -> Hva {
        Hva::new(self.0)
    }

    /// The argument as a number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl From<Hva> for Arg {
    fn from(pointer: Hva) -> Self {
        Self(pointer.get())
    }
}

impl fmt::Debug for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The number of a file descriptor in the caller's table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FdNumber(pub i32);

/// The thread that makes a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Task {
    /// The process (`tgid`).
    pub pid: i32,
    /// The thread.
    pub tid: i32,
}

/// The capabilities that IOMMUFD asks for, of the initial user namespace (`capabilities(7)`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Capability {
    /// `CAP_IPC_LOCK`: pinned pages are not charged.
    IpcLock,
    /// `CAP_SYS_RESOURCE`: may choose the accounting mode.
    SysResource,
    /// `CAP_SYS_RAWIO`: may ask for physical addresses.
    SysRawio,
}

bitflags! {
    /// How a new descriptor is installed.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct InstallFlags: u32 {
        /// `O_CLOEXEC`.
        const CLOEXEC = 1;
        /// The file's own `read` and `write` serve the descriptor, so it must get a number that is trapped.
        const EVENTS = 2;
    }
}

/// What a descriptor number of the caller stands for.
#[derive(Debug)]
pub enum Descriptor {
    /// One of our files.
    Served(Arc<dyn File>),
    /// Any other open file: a duplicate of the caller's descriptor.
    Native(OwnedFd),
}

/// One call of one client thread: its memory, its rights, its descriptors.
///
/// The supervisor, the in-process tests and the fuzzers each implement it.
pub trait Caller {
    /// Who calls.
    fn task(&self) -> Task;

    /// The descriptor that the call is made on; `None` for a call by path, and where there is no such thing.
    fn fd(&self) -> Option<FdNumber> {
        None
    }

    /// The memory of the calling process. Mappings made by this call belong to it.
    fn space(&self) -> &Arc<dyn AddressSpace>;

    /// Whether the calling thread has the capability, under the policy of this run.
    fn capable(&self, capability: Capability) -> bool;

    /// What the caller's descriptor stands for.
    ///
    /// # Errors
    /// `EBADF` when the number is not open.
    fn descriptor(&self, fd: FdNumber) -> Result<Descriptor, Errno>;

    /// Whether a process of this client maps any of these bytes of a file's memory ([`File::memory`]).
    fn maps(&self, file: FileId, bytes: FileRange) -> bool {
        let _ = (file, bytes);
        false
    }

    /// Opens `file` in the caller's descriptor table.
    ///
    /// # Errors
    /// `EMFILE` when the caller's table is full, `ENFILE` or `ENOMEM` when ours is.
    fn install(&self, file: Arc<dyn File>, flags: InstallFlags) -> Result<FdNumber, Errno>;
}
