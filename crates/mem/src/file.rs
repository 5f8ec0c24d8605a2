//! Files as memory.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, fstatfs, open};
use swiommu_addr::{AddrRange, Address, PageSize};

use crate::PAGE;

/// The identity of a file: device and inode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// A position in a file, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct FileOffset(u64);

impl FileOffset {
    /// The position `bytes` after the file's start.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The bytes before this position.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for FileOffset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Address for FileOffset {
    fn new(raw: u64) -> Self {
        Self(raw)
    }

    fn get(self) -> u64 {
        self.0
    }
}

/// A range of bytes of a file.
pub type FileRange = AddrRange<FileOffset>;

/// What a file is, as far as pinning asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileKind {
    /// tmpfs or a memfd.
    Shmem,
    /// hugetlbfs or a memfd with `MFD_HUGETLB`, of this page size.
    Hugetlb(PageSize),
    /// Anything else: cannot be pinned by `IOMMU_IOAS_MAP_FILE`.
    Other,
}

/// An open file that may be mapped with `IOMMU_IOAS_MAP_FILE`.
///
/// It keeps the open file: the client may close its descriptor afterwards.
#[derive(Debug)]
pub struct MemFile {
    file: OwnedFd,
    id: FileId,
    kind: FileKind,
}

impl MemFile {
    /// Takes an open file. Any file will do: what it is, is judged when it is pinned.
    ///
    /// # Errors
    /// The error of `fstat(2)`.
    pub fn new(file: OwnedFd) -> io::Result<Self> {
        let status = fstat(&file)?;
        let kind = if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile {
            FileKind::of(&file)
        } else {
            FileKind::Other
        };
        Ok(Self {
            file,
            id: FileId::from(&status),
            kind,
        })
    }

    /// Which file this is.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// What it is.
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// Its size in bytes now.
    pub fn size(&self) -> io::Result<u64> {
        size(&self.file)
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<&Stat> for FileId {
    fn from(status: &Stat) -> Self {
        Self {
            device: status.st_dev,
            inode: status.st_ino,
        }
    }
}

impl FileKind {
    /// What the regular file `file` is; a file that cannot be asked is [`FileKind::Other`].
    pub(crate) fn of(file: &OwnedFd) -> Self {
        const TMPFS_MAGIC: u64 = 0x0102_1994;
        const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;
        let Ok(system) = fstatfs(file) else {
            return Self::Other;
        };
        let block = u64::try_from(system.f_bsize).ok();
        match (
            u64::try_from(system.f_type),
            block.and_then(PageSize::from_bytes),
        ) {
            (Ok(TMPFS_MAGIC), _) => Self::Shmem,
            (Ok(HUGETLBFS_MAGIC), Some(page)) => Self::Hugetlb(page),
            _ => Self::Other,
        }
    }

    /// The pages that the host backs it with.
    pub(crate) fn page(self) -> PageSize {
        match self {
            Self::Hugetlb(page) => page,
            Self::Shmem | Self::Other => PAGE,
        }
    }
}

/// The size in bytes of an open file now.
pub(crate) fn size(file: &OwnedFd) -> io::Result<u64> {
    Ok(u64::try_from(fstat(file)?.st_size).unwrap_or(0))
}

/// The same file, opened again with other flags.
pub(crate) fn reopen(file: BorrowedFd<'_>, flags: OFlags) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(open(path, flags | OFlags::CLOEXEC, Mode::empty())?)
}
