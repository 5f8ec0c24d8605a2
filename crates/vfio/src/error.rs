//! Why a call failed: one variant per rule.

use swiommu_abi::Errno;
use swiommu_addr::Hva;
use swiommu_files::Refusal;
use swiommu_injection::Injected;

/// A broken rule. [`errno`](Error::errno) is what the client sees; the text is for the person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message of a variant says what it means")]
pub enum Error {
    #[error("the caller's memory at {0} cannot be accessed")]
    CallerMemory(Hva),
    #[error("argsz is below {min}")]
    ShortArgsz { min: usize },
    #[error("a field that this version does not know is not zero")]
    UnknownTail,
    #[error("flags = {0:#x} have a bit that has no meaning, or two that exclude each other")]
    Flags(u32),
    #[error("{0} is no descriptor")]
    NegativeDescriptor(i32),
    #[error("the device has no ioctl {0:#x}")]
    NoSuchIoctl(u32),
    #[error("the device has no {what} {index}")]
    NoSuchIndex { what: &'static str, index: u32 },
    #[error("the device cannot be reset")]
    NoReset,
    #[error("the device has no feature {0}")]
    NoSuchFeature(u16),

    #[error("the device is not bound by this file: VFIO_DEVICE_BIND_IOMMUFD comes first")]
    NotBound,
    #[error("the device is bound by this file already")]
    AlreadyBound,
    #[error("the device is bound by another open file of it")]
    BoundElsewhere,
    #[error("the device takes no token: it is no virtual function")]
    NoToken,
    #[error("a device of the same group is bound to another context")]
    GroupOwned,
    #[error("PASID {0:#x} is no number that can be kept")]
    PasidOutOfRange(u32),

    #[error(transparent)]
    Iommufd(#[from] swiommu_iommufd::Error),
    #[error(transparent)]
    Injected(#[from] Injected),
}

impl Error {
    /// What Linux 7.3 returns for this.
    pub fn errno(&self) -> Errno {
        match self {
            Self::CallerMemory(_) => Errno::EFAULT,
            Self::UnknownTail => Errno::E2BIG,
            Self::ShortArgsz { .. }
            | Self::Flags(_)
            | Self::NegativeDescriptor(_)
            | Self::NoSuchIndex { .. }
            | Self::NoReset
            | Self::NotBound
            | Self::AlreadyBound
            | Self::BoundElsewhere
            | Self::NoToken => Errno::EINVAL,
            Self::NoSuchIoctl(_) | Self::NoSuchFeature(_) => Errno::ENOTTY,
            Self::GroupOwned => Errno::EPERM,
            Self::PasidOutOfRange(_) => Errno::ENOSPC,
            Self::Iommufd(error) => error.errno(),
            Self::Injected(injected) => injected.errno(),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(error.errno(), error)
    }
}
