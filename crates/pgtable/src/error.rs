//! Why an operation was refused.

use swiommu_addr::{Iova, IovaRange, Pa, PaRange, PageSize};

use crate::{Malformed, OutOfMemory, Prot};

/// Why an operation on a page table was refused, and at which address.
///
/// The errno is what Linux answers for the same mistake through its IOMMU API.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There was nothing to map (`EINVAL`).
    #[error("no physical memory was given to map at {iova}")]
    Empty {
        /// Where it should have been mapped.
        iova: Iova,
    },
    /// The IOVAs are not all in the aperture and the input width of the table, or they cross the hole between the two
    /// halves of a sign-extended table (`ERANGE`).
    #[error("the table does not translate all of {range}")]
    OutOfRange {
        /// What was asked for; it ends at 2^64-1 when it would have ended above.
        range: IovaRange,
    },
    /// A physical address is too wide for the format (`ERANGE`).
    #[error("{range} does not fit the {bits}-bit output addresses of the format")]
    OutputOutOfRange {
        /// The physical range.
        range: PaRange,
        /// The width of output addresses.
        bits: u8,
    },
    /// A start or length in IOVAs is not a multiple of the smallest leaf (`ENXIO`).
    #[error("{range} is not made of whole {leaf} leaves")]
    MisalignedIova {
        /// What was asked for.
        range: IovaRange,
        /// The smallest leaf.
        leaf: PageSize,
    },
    /// A physical start or length is not a multiple of the smallest leaf (`ENXIO`).
    #[error("{range} is not made of whole {leaf} leaves")]
    MisalignedPa {
        /// The physical range.
        range: PaRange,
        /// The smallest leaf.
        leaf: PageSize,
    },
    /// No leaf size of the table is among those allowed (`ENXIO`).
    #[error("none of the allowed leaf sizes exists in the table")]
    NoLeafSize,
    /// The format has no entry for these permissions; none at all counts as such (`EINVAL`).
    #[error("the format cannot express the permissions {prot}")]
    Inexpressible {
        /// The permissions.
        prot: Prot,
    },
    /// A leaf is in the way (`EADDRINUSE`).
    #[error("{iova} is mapped already")]
    AlreadyMapped {
        /// The first such address.
        iova: Iova,
    },
    /// An end of the range is inside of a leaf (`EINVAL`).
    #[error("the range ends inside of the leaf at {leaf}")]
    LeafCut {
        /// The leaf.
        leaf: IovaRange,
    },
    /// There is no memory for another table (`ENOMEM`).
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// No leaf translates this address (`ENOENT`).
    #[error("{iova} is not mapped: the walk ended at level {level}")]
    NotMapped {
        /// The address.
        iova: Iova,
        /// The level of the absent entry.
        level: u8,
    },
    /// An entry on the path is not what the format allows (`EIO`).
    #[error("{iova}: malformed entry {entry:#018x} at {at}, level {level}: {reason}")]
    Malformed {
        /// The address whose walk met the entry.
        iova: Iova,
        /// Where the entry is.
        at: Pa,
        /// The entry.
        entry: u64,
        /// The level of the table that holds it.
        level: u8,
        /// The rule that it breaks.
        reason: Malformed,
    },
}
