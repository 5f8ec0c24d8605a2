//! Why pages could not be pinned or copied.

use swiommu_abi::Errno;
use swiommu_injection::Injected;

use crate::{AccessError, Fault};

/// Why pages could not be pinned, copied or charged.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The memory cannot be reached: `EFAULT`, or `ENOMEM` for [`Fault::Exhausted`].
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The charge would pass the limit: `ENOMEM`.
    #[error("{needed} bytes would be locked, and RLIMIT_MEMLOCK is {limit}")]
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
    /// The memory was pinned, but its owner is gone and nobody else has it: `EFAULT`.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// It was made to fail.
    #[error(transparent)]
    Injected(#[from] Injected),
    /// The range does not lie in the pages object: `EINVAL`.
    #[error("the range does not lie in the pages object")]
    OutOfRange,
}

impl PinError {
    /// What the client sees.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Fault(Fault::Exhausted) | Self::OverLimit { .. } => Errno::ENOMEM,
            Self::Injected(injected) => injected.errno(),
            Self::Fault(_) | Self::Access(_) => Errno::EFAULT,
            Self::OwnerGone | Self::NotMemory | Self::BeyondEnd { .. } | Self::OutOfRange => {
                Errno::EINVAL
            }
        }
    }
}
