//! What a client can hold open: the served file, and the registry of paths under which files are found.
//!
//! The supervisor knows processes and descriptors; everything behind a descriptor is a [`File`]: an IOMMUFD context, an
//! event queue, a software access, a VFIO device, a virtual text file. A file sees the client that calls it as a
//! [`Caller`]: memory to copy from and to, capabilities, descriptors. A file is released when its last `Arc` is dropped,
//! which the supervisor does when the last descriptor and the last mapping of it, in all processes, are gone. `Drop`
//! therefore *is* the release, and it is complete before the client's next call is served.
//!
//! In-process tests and fuzzers are callers too: [`Local`] is one.

#![forbid(unsafe_code)]

mod caller;
mod dma_buf;
mod file;
mod local;
mod mmap;
mod paths;
mod readiness;
mod refusal;
mod stat;

pub use caller::{Arg, Caller, Capability, Descriptor, FdNumber, InstallFlags, Task};
pub use dma_buf::{DmaBuf, DmaBufImporter};
pub use file::File;
pub use local::Local;
pub use mmap::{MmapFlags, MmapRequest};
pub use paths::{Node, OpenFlags, Opened, Paths};
pub use readiness::{Readiness, WaitQueue, Watcher};
pub use refusal::Refusal;
pub use stat::{DeviceNumber, Stat};
