//! Why the tour ended early.

use std::io;

/// Why the tour ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call through the upstream crate failed.
    #[error("{what}: {error}")]
    Upstream {
        /// Which.
        what: &'static str,
        /// What upstream says.
        error: iommufd_ioctls::IommufdError,
    },
    /// A call of our own failed.
    #[error("{what}: {error}")]
    Call {
        /// Which.
        what: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// Data did not arrive as it was sent.
    #[error("{0}")]
    Data(&'static str),
}
