//! A failed call: the errno for the client, the reason for the person.

use std::fmt;

use swiommu_abi::Errno;

/// Why a call failed. The client sees the errno; logs and traces show the reason too.
#[derive(Debug, thiserror::Error)]
#[error("{errno}: {reason}")]
pub struct Refusal {
    errno: Errno,
    reason: Box<dyn std::error::Error + Send + Sync>,
}

impl Refusal {
    /// A refusal with this errno, and what to tell the person: a typed error or a sentence.
    pub fn new(errno: Errno, reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            errno,
            reason: reason.into(),
        }
    }

    /// What the client sees.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// Which rule, which object, which earlier call.
    pub fn reason(&self) -> &(impl fmt::Display + ?Sized) {
        &*self.reason
    }
}
