//! Why a walk ended without a translation.

use swiommu_addr::{Address, Iova};

use crate::{Access, Malformed};

/// Where and why a walk ended without a translation. `A` is what the tables hold as addresses, `E` what the memory that holds
/// them says when it cannot be accessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WalkFault<A: Address, E> {
    /// The address has bits above the input width that are not as they should be: not canonical, or too wide. No entry was
    /// read.
    #[error("{iova} is not an input address of the table")]
    Input {
        /// The address.
        iova: Iova,
    },
    /// An entry could not be accessed.
    #[error("{iova}: cannot {action} the entry at {at}, level {level}: {fault}")]
    Entry {
        /// The address whose walk it was.
        iova: Iova,
        /// Where the entry is.
        at: A,
        /// The level of the table that holds it.
        level: u8,
        /// What was done to it.
        action: EntryAction,
        /// Why that was not possible.
        fault: E,
    },
    /// An entry does not lead on.
    #[error("{iova}: entry {entry:#018x} at {at}, level {level}: {reason}")]
    Refused {
        /// The address whose walk met the entry.
        iova: Iova,
        /// Where the entry is.
        at: A,
        /// The level of the table that holds it.
        level: u8,
        /// The entry.
        entry: u64,
        /// What is wrong with it.
        reason: Refusal,
    },
}

/// What a walk does to an entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EntryAction {
    /// It reads it.
    Read,
    /// It marks it as accessed or dirty.
    Update,
}

impl core::fmt::Display for EntryAction {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Update => "update",
        })
    }
}

/// What is wrong with an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not present.
    #[error("it is not present")]
    NotPresent,
    /// It breaks a rule of the format.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The leaf would have to be marked as accessed, or as dirty, and the hardware may not do it.
    #[error("it is not marked for the access")]
    AccessFlag,
    /// It permits less than is wanted. The entry is the first of the path that does; the path led to a leaf.
    #[error("it permits {permitted}, not {wanted}")]
    Permission {
        /// What is wanted.
        wanted: Access,
        /// What the path permits up to this entry.
        permitted: Access,
    },
    /// It was changed by others each time that it was to be marked.
    #[error("it changes all the time")]
    Contended,
}
