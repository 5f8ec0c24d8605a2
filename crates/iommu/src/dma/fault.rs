//! Why an access to memory by a device failed.

use swiommu_addr::Iova;
use swiommu_mem::AccessError;
use swiommu_pgtable::Access;

/// Why a request could not be translated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", self.reason())]
pub struct Fault {
    /// In a box, so that who translates returns little more than a translation.
    details: Box<Details>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Details {
    reason: String,
    can_be_requested: bool,
}

impl Fault {
    /// A fault that ends the request. The reason says which rule of the architecture was broken, with the numbers that broke it.
    pub fn abort(reason: impl Into<String>) -> Self {
        Self::new(reason.into(), false)
    }

    /// A fault that a page request may mend.
    pub fn requestable(reason: impl Into<String>) -> Self {
        Self::new(reason.into(), true)
    }

    fn new(reason: String, can_be_requested: bool) -> Self {
        let details = Box::new(Details {
            reason,
            can_be_requested,
        });
        Self { details }
    }

    /// Which rule of the architecture, with the numbers that broke it.
    pub fn reason(&self) -> &str {
        &self.details.reason
    }

    /// Whether the device may ask for the page, and try again when it is there.
    pub fn can_be_requested(&self) -> bool {
        self.details.can_be_requested
    }
}

/// Why an access to memory by a device failed. What comes before the failing byte may have been transferred.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DmaError {
    /// It was not translated.
    #[error("{wanted} of {iova}: {fault}")]
    Fault {
        /// The first IOVA that was not.
        iova: Iova,
        /// What was wanted.
        wanted: Access,
        /// Why not.
        fault: Fault,
    },
    /// It was translated, and there is no memory.
    #[error("{iova}: {error}")]
    Memory {
        /// The first IOVA of the piece that could not be accessed.
        iova: Iova,
        /// Why not.
        error: AccessError,
    },
    /// It passes the end of the address space.
    #[error("{len} bytes from {iova} pass 2^64-1")]
    Overflow {
        /// Where it starts.
        iova: Iova,
        /// How many bytes it has.
        len: u64,
    },
    /// An atomic access is not aligned to its size.
    #[error("an atomic access of {size} bytes at {iova}")]
    Unaligned {
        /// Where.
        iova: Iova,
        /// The size in bytes.
        size: usize,
    },
}

impl DmaError {
    /// The first address that was not reached: of the failing piece, where the piece failed as a whole.
    pub const fn iova(&self) -> Iova {
        match self {
            Self::Fault { iova, .. }
            | Self::Memory { iova, .. }
            | Self::Overflow { iova, .. }
            | Self::Unaligned { iova, .. } => *iova,
        }
    }
}
