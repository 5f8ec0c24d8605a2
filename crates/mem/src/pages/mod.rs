//! Pages objects: the memory behind one or more areas.

use std::sync::Arc;

use smallvec::SmallVec;
use swiommu_abi::Errno;
use swiommu_addr::{AddrRange, Address, Hva, HvaRange};

use crate::{Access, Accounting, AddressSpace, Fault, FileOffset, FileRange, MemFile, PhysicalMemory, Run};

/// A position in a pages object, in bytes from its first byte (which need not be page aligned).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Offset(u64);

impl Offset {
    /// The position `bytes` after the object's first byte.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The bytes before this position.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for Offset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Address for Offset {
    fn new(raw: u64) -> Self {
        Self(raw)
    }

    fn get(self) -> u64 {
        self.0
    }
}

/// A range of bytes of a pages object.
pub type OffsetRange = AddrRange<Offset>;

/// Pieces of memory in the order of the bytes they back.
pub type Runs = SmallVec<[Run; 1]>;

/// Why pages could not be pinned or copied.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The memory cannot be reached: `EFAULT`.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The charge would pass the limit: `ENOMEM`.
    #[error("{needed} bytes would be locked, RLIMIT_MEMLOCK is {limit}")]
    OverLimit {
        /// Bytes that would be charged in total.
        needed: u64,
        /// `RLIMIT_MEMLOCK` of the mapping process.
        limit: u64,
    },
    /// The address space to charge is gone: `EINVAL`.
    #[error("the address space to charge is gone")]
    OwnerGone,
    /// The file is neither shmem nor hugetlbfs: `EINVAL`.
    #[error("the file is neither a memfd, nor on tmpfs, nor on hugetlbfs")]
    NotMemory,
    /// The last page touched does not lie wholly in the file: `EINVAL`.
    #[error("the last page ends beyond the file's {size} bytes")]
    BeyondEnd {
        /// The file's size in bytes.
        size: u64,
    },
    /// There is no physical address space left, or the host has no memory: `ENOMEM`.
    #[error("no physical address space is left")]
    Exhausted,
}

impl PinError {
    /// What the client sees.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Fault(_) => Errno::EFAULT,
            Self::OverLimit { .. } | Self::Exhausted => Errno::ENOMEM,
            Self::OwnerGone | Self::NotMemory | Self::BeyondEnd { .. } => Errno::EINVAL,
        }
    }
}

/// Where the first byte of an object comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// This address in the memory of a process.
    Memory(Hva),
    /// This offset in a file.
    File(FileOffset),
}

/// Where the pages of an object come from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PagesKind {
    /// Virtual memory of a process (`IOMMU_IOAS_MAP`).
    User,
    /// A file (`IOMMU_IOAS_MAP_FILE`).
    File,
}

/// In whose name [`Pages::read`] and [`Pages::write`] copy.
#[derive(Clone, Copy, Debug)]
pub enum CopyBy<'a> {
    /// A thread with this memory; the fast path when it is the mapping process.
    Caller(&'a dyn AddressSpace),
    /// Any other thread (`IOMMUFD_ACCESS_RW_SLOW_PATH`, a device).
    Foreign,
}

/// The memory behind one or more areas: a range of a process' virtual memory or of a file, pinned where it is needed.
#[derive(Debug)]
pub struct Pages {}

impl Pages {
    /// The bytes `range` of `space`. Nothing is looked at before it is pinned.
    pub fn from_space(
        memory: &Arc<PhysicalMemory>,
        space: &Arc<dyn AddressSpace>,
        range: HvaRange,
        access: Access,
        accounting: Accounting,
    ) -> Arc<Self> {
        unimplemented!("{memory:?} {space:?} {range} {access:?} {accounting:?}")
    }

    /// The bytes `range` of `file`, mapped by (and charged to) the process with memory `owner`.
    pub fn from_file(
        memory: &Arc<PhysicalMemory>,
        owner: &Arc<dyn AddressSpace>,
        file: MemFile,
        range: FileRange,
        access: Access,
        accounting: Accounting,
    ) -> Arc<Self> {
        unimplemented!("{memory:?} {owner:?} {file:?} {range} {access:?} {accounting:?}")
    }

    /// Adds one user to every page that `range` touches; pages that had none are resolved, pinned and charged. All or nothing.
    ///
    /// Returns the memory behind exactly the bytes of `range`.
    ///
    /// # Errors
    /// [`PinError`]; nothing has changed then.
    pub fn pin(&self, range: OffsetRange) -> Result<Runs, PinError> {
        unimplemented!("{range}")
    }

    /// Takes one user from every page that `range` touches. Pages that have none left are unpinned and uncharged.
    pub fn unpin(&self, range: OffsetRange) {
        unimplemented!("{range}")
    }

    /// The memory behind exactly the bytes of `range`, or `None` when a page of it is not pinned.
    pub fn runs(&self, range: OffsetRange) -> Option<Runs> {
        unimplemented!("{range}")
    }

    /// Copies out, §5.5 of the behaviour.
    ///
    /// # Errors
    /// [`PinError::Fault`]; some bytes may have been copied.
    pub fn read(&self, from: Offset, into: &mut [u8], by: CopyBy<'_>) -> Result<(), PinError> {
        unimplemented!("{from} {into:?} {by:?}")
    }

    /// Copies in.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn write(&self, to: Offset, from: &[u8], by: CopyBy<'_>) -> Result<(), PinError> {
        unimplemented!("{to} {from:?} {by:?}")
    }

    /// The length in bytes.
    pub fn len(&self) -> std::num::NonZeroU64 {
        unimplemented!()
    }

    /// The first byte's offset in its page: of the virtual address, or in the file.
    pub fn page_offset(&self) -> u64 {
        unimplemented!()
    }

    /// Whether pages are pinned for writing.
    pub fn is_writable(&self) -> bool {
        unimplemented!()
    }

    /// Where the first byte comes from.
    pub fn source(&self) -> Source {
        unimplemented!()
    }

    /// Where the pages come from.
    pub fn kind(&self) -> PagesKind {
        unimplemented!()
    }

    /// How the pages are charged.
    pub fn accounting(&self) -> Accounting {
        unimplemented!()
    }

    /// The process that the pages are charged to.
    pub fn owner(&self) -> Arc<dyn AddressSpace> {
        unimplemented!()
    }

    /// How many pages are pinned now.
    pub fn pinned(&self) -> u64 {
        unimplemented!()
    }
}

/// Moves charges and ownership of all `pages` to `owner` (`IOMMU_IOAS_CHANGE_PROCESS`), or changes nothing.
///
/// # Errors
/// [`PinError::OverLimit`], [`PinError::OwnerGone`].
pub fn change_owner(pages: &[Arc<Pages>], owner: &Arc<dyn AddressSpace>) -> Result<(), PinError> {
    unimplemented!("{pages:?} {owner:?}")
}
