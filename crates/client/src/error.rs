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

/// A call of our own that failed.
pub(crate) fn call(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::Call { what, error }
}

/// A call through the upstream crate that failed.
pub(crate) fn upstream(what: &'static str) -> impl FnOnce(iommufd_ioctls::IommufdError) -> Error {
    move |error| Error::Upstream { what, error }
}
