//! Why an operation failed: one variant per rule, each with the errno that the kernel's selftest gives for it.

use swiommu_abi::Errno;
use swiommu_abi::test_cmd::IommuTestOp;
use swiommu_addr::{Hva, Iova, Pa, PageSize};
use swiommu_files::{FdNumber, Refusal};
use swiommu_iommufd::ObjectId;
use swiommu_mem::Fault;

/// A broken rule. [`errno`](Error::errno) is what the client sees; the text is for the person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The core refused.
    #[error(transparent)]
    Iommufd(#[from] swiommu_iommufd::Error),
    /// `EFAULT`: the caller's memory cannot be reached (`ENOMEM` when we have no address for it).
    #[error(transparent)]
    Memory(#[from] Fault),
    /// `EINVAL`: a dma-buf of no pages, or of too many.
    #[error("a dma-buf cannot have {0:#x} bytes")]
    DmaBufLength(u32),
    /// `EINVAL`: a descriptor of something else.
    #[error("descriptor {0:?} is not of a dma-buf")]
    NotDmaBuf(FdNumber),
    /// `EOPNOTSUPP`: a dma-buf of another exporter.
    #[error("descriptor {0:?} is of somebody else's dma-buf")]
    ForeignDmaBuf(FdNumber),
    /// A descriptor that cannot be used.
    #[error("descriptor {fd:?}: {errno}")]
    Descriptor {
        /// Which.
        fd: FdNumber,
        /// Why.
        errno: Errno,
    },
    /// `ENOMEM`: the host has no memory for it.
    #[error("no memory for a dma-buf")]
    NoMemory,
    /// The driver refused.
    #[error(transparent)]
    Driver(swiommu_iommu::DriverError),
    /// `ENOENT`: a device that no guest knows.
    #[error("device {0} is not attached through a vIOMMU")]
    NoGuest(ObjectId),
    /// `EOPNOTSUPP`: an operation that there is not, or that is not served.
    #[error("the operation {0:?} is not served")]
    Op(IommuTestOp),
    /// `EOPNOTSUPP`: a flag without a meaning.
    #[error("flags {0:#x} have a bit that has no meaning")]
    UnknownFlags(u32),
    /// `EINVAL`: a mock device with a flag without a meaning.
    #[error("dev_flags {0:#x} have a bit that has no meaning")]
    DeviceFlags(u32),
    /// `EINVAL`: a length of 0.
    #[error("a length of 0")]
    ZeroLength,
    /// `EOVERFLOW`: a range that passes the end.
    #[error("the range from {start:#x} of {len:#x} bytes passes 2^64-1")]
    Overflow {
        /// Where it starts.
        start: u64,
        /// Its bytes.
        len: u64,
    },
    /// `EINVAL`: memory to compare that is not aligned, or passes the end.
    #[error("the {len:#x} bytes at {start} cannot be compared in units of {unit}")]
    Misaligned {
        /// Where they start.
        start: Hva,
        /// How many.
        len: u64,
        /// What each comparison needs.
        unit: PageSize,
    },
    /// `ENOMEM`: more than an access takes at once.
    #[error("{0:#x} bytes are more than an access takes at once")]
    TooLong(u64),
    /// `EINVAL`: a page table of another driver.
    #[error("page table {0} is not the mock's")]
    NotMockDomain(ObjectId),
    /// `EINVAL`: a device of another driver.
    #[error("device {0} is not the mock's")]
    NotMockDevice(ObjectId),
    /// `EINVAL`: what the page table has is not what the client expects.
    #[error("{iova} leads to {found:?}, not to {expected}")]
    OtherMapping {
        /// Where.
        iova: Iova,
        /// Where it should lead.
        expected: Pa,
        /// Where it leads.
        found: Option<Pa>,
    },
    /// `EIO`: the page is not pinned as often as the client expects.
    #[error("the page at physical address {page} is pinned {found} times, not {expected}")]
    OtherPinCount {
        /// The page.
        page: Pa,
        /// How often it should be pinned.
        expected: u32,
        /// How often it is.
        found: u32,
    },
    /// `EBADE`: other pages were pinned than the client expects.
    #[error("the page at physical address {expected} was not pinned in this place")]
    OtherPage {
        /// The page that should have been.
        expected: Pa,
    },
    /// `EINVAL`: an entry of a cache that there is not, or that holds something else.
    #[error("entry {entry} holds {found:x?}, not {expected:#x}")]
    OtherEntry {
        /// Which entry.
        entry: u32,
        /// What it should hold.
        expected: u32,
        /// What it holds, if there is such an entry.
        found: Option<u32>,
    },
    /// `EINVAL`: a PASID is attached elsewhere.
    #[error("attached to {found:?}, not to {expected:?}")]
    OtherAttachment {
        /// What it should be attached to.
        expected: Option<ObjectId>,
        /// What it is attached to.
        found: Option<ObjectId>,
    },
    /// `EINVAL`: an object that is no page table.
    #[error("object {0} is not a page table")]
    NotHwpt(ObjectId),
    /// `EBADFD`: a descriptor that is not of an access.
    #[error("descriptor {0:?} is not of an access")]
    NotAccess(FdNumber),
    /// `EOPNOTSUPP`: pinning with an access that was made without.
    #[error("the access was made without NEEDS_PIN_PAGES")]
    CannotPin,
    /// `ENOENT`: a pin that there is not, or no more.
    #[error("the access has no pin {0}")]
    NoPin(u32),
    /// `EINVAL`: batch memory that would not hold one element.
    #[error("{0} bytes do not hold one element of a batch")]
    BatchLimit(u32),
    /// `EINVAL`: a request to dirty pages that makes no sense.
    #[error("there is nothing to dirty, or not in whole pages")]
    DirtyRange,
    /// `EOVERFLOW`: more pages to dirty than a call takes.
    #[error("{0:#x} pages are more than can be dirtied at once")]
    TooManyDirty(u64),
    /// `EINVAL`: dirtying while nothing is recorded.
    #[error("the page table does not track what is dirty")]
    NotTracking,
}

impl Error {
    /// What the kernel's selftest returns for this.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Iommufd(error) => error.errno(),
            Self::Driver(error) => error.errno,
            Self::Descriptor { errno, .. } => *errno,
            Self::NoPin(_) | Self::NoGuest(_) => Errno::ENOENT,
            Self::OtherPinCount { .. } => Errno::EIO,
            Self::NoMemory | Self::TooLong(_) | Self::Memory(Fault::Exhausted) => Errno::ENOMEM,
            Self::Memory(_) => Errno::EFAULT,
            Self::DeviceFlags(_)
            | Self::ZeroLength
            | Self::Misaligned { .. }
            | Self::NotMockDomain(_)
            | Self::NotMockDevice(_)
            | Self::OtherMapping { .. }
            | Self::OtherEntry { .. }
            | Self::OtherAttachment { .. }
            | Self::NotHwpt(_)
            | Self::BatchLimit(_)
            | Self::DmaBufLength(_)
            | Self::NotDmaBuf(_)
            | Self::DirtyRange
            | Self::NotTracking => Errno::EINVAL,
            Self::OtherPage { .. } => Errno::EBADE,
            Self::Overflow { .. } | Self::TooManyDirty(_) => Errno::EOVERFLOW,
            Self::NotAccess(_) => Errno::EBADFD,
            Self::ForeignDmaBuf(_) | Self::Op(_) | Self::UnknownFlags(_) | Self::CannotPin => {
                Errno::EOPNOTSUPP
            }
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(error.errno(), error)
    }
}
