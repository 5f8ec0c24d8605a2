//! What a client's descriptor of a served file really is.
//!
//! A memfd or, where the file can be waited for, a FIFO; opened a second time through `/proc/self/fd`: only such a file tells
//! inotify when it is closed, and it carries the client's access mode. Its inode is the file's identity, in every process and
//! under every number.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, StatxFlags, fcntl_add_seals, fstat, memfd_create, open,
};
use rustix::io::{Errno, Result};
use swiommu_files::{OpenFlags, Readiness};

use crate::fifo::Fifo;

/// What tells one open file from another, in all processes: the inode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Identity {
    inode: u64,
    device: (u32, u32),
}

impl Identity {
    /// The identity of the file at `path` below `directory`; links are followed. The file system is not asked to refresh anything,
    /// so that one served by a client cannot block us.
    pub(crate) fn at(directory: impl AsFd, path: &std::ffi::CStr) -> Result<Self> {
        use rustix::fs::{AtFlags, statx};
        let found = statx(
            directory,
            path,
            AtFlags::from_bits_retain(libc::AT_STATX_DONT_SYNC.cast_unsigned()),
            StatxFlags::INO,
        )?;
        Ok(Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
        })
    }

    /// The identity of a file of ours.
    pub(crate) fn of(file: BorrowedFd<'_>) -> Result<Self> {
        let found = fstat(file)?;
        Ok(Self {
            device: (
                rustix::fs::major(found.st_dev),
                rustix::fs::minor(found.st_dev),
            ),
            inode: found.st_ino,
        })
    }
}

/// A placeholder that no client has yet.
#[derive(Debug)]
pub(crate) struct Placeholder {
    fd: OwnedFd,
    identity: Identity,
}

impl Placeholder {
    /// A placeholder for a file of this name that is always ready and has no memory.
    pub(crate) fn new(name: &str, flags: OpenFlags) -> Result<Self> {
        let memory = memfd(name)?;
        fcntl_add_seals(
            &memory,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        )?;
        Self::of(memory.as_fd(), flags)
    }

    /// A placeholder that is a file's own memory, already sized and sealed.
    pub(crate) fn of(memory: BorrowedFd<'_>, flags: OpenFlags) -> Result<Self> {
        Self::opened(reopen(memory, flags)?)
    }

    /// A placeholder for a file that is ready for this now, and as the FIFO says from then on.
    pub(crate) fn waiting(fifo: &Fifo, now: Readiness) -> Result<Self> {
        Self::opened(fifo.open(now)?)
    }

    fn opened(fd: OwnedFd) -> Result<Self> {
        let identity = Identity::of(fd.as_fd())?;
        Ok(Self { fd, identity })
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }
}

impl AsFd for Placeholder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A regular file with this content that only its reader sees, opened for reading.
pub(crate) fn text(name: &str, content: &[u8]) -> Result<OwnedFd> {
    let memory = memfd(name)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::write(&memory, rest)?;
        rest = rest.get(written..).ok_or(Errno::IO)?;
    }
    rustix::fs::fchmod(&memory, Mode::from_raw_mode(0o444))?;
    fcntl_add_seals(
        &memory,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
    )?;
    reopen(memory.as_fd(), OpenFlags::READ)
}

fn memfd(name: &str) -> Result<OwnedFd> {
    // The longest name that memfd_create(2) takes.
    let name: Vec<u8> = name.bytes().filter(|byte| *byte != 0).take(249).collect();
    let name = CString::new(name).unwrap_or_default();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(&name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => memfd_create(&name, flags),
        other => other,
    }
}

/// Opens a file of ours again, without regard to its access mode.
pub(crate) fn reopen(file: BorrowedFd<'_>, flags: OpenFlags) -> Result<OwnedFd> {
    let mut mode = match (
        flags.contains(OpenFlags::READ),
        flags.contains(OpenFlags::WRITE),
    ) {
        (true, true) => OFlags::RDWR,
        (true, false) => OFlags::RDONLY,
        (false, true) => OFlags::WRONLY,
        // ioctls only: the fourth access mode.
        (false, false) => OFlags::RWMODE,
    };
    mode.set(OFlags::NONBLOCK, flags.contains(OpenFlags::NONBLOCK));
    open(link(file), mode | OFlags::CLOEXEC, Mode::empty())
}

/// The name by which this process can open its own file again.
pub(crate) fn link(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
