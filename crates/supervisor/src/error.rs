//! Why a program could not be run.

use std::ffi::OsString;
use std::io;

/// Why [`run`](crate::run) could not run the program, or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such program.
    #[error("{}: not found", .program.display())]
    NotFound {
        /// As it was named.
        program: OsString,
    },
    /// The program exists but does not start.
    #[error("{}: cannot be executed: {cause}", .program.display())]
    NotExecutable {
        /// As it was named.
        program: OsString,
        /// What `execve(2)` says.
        cause: io::Error,
    },
    /// The kernel lacks notifications that only a fatal signal interrupts.
    #[error(
        "this kernel ({release}) has no seccomp user notification with SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: \
         Linux 5.19 or newer with CONFIG_SECCOMP_FILTER is needed"
    )]
    NoNotifications {
        /// `uname -r`.
        release: String,
    },
    /// A process can have one supervisor.
    #[error(
        "this process is already supervised through a seccomp notification filter (a container runtime's, or another \
         swiommu run), and Linux allows one: run swiommu outside of it"
    )]
    Nested,
    /// The program's name, an argument or a variable contains a NUL byte.
    #[error("a program name, argument or environment variable contains a NUL byte")]
    Nul,
    /// The process that guards the tree was killed.
    #[error("the guardian process was killed, so the program was killed too")]
    GuardianDied,
    /// The host refused something that supervising needs.
    #[error("{what}: {cause}")]
    Host {
        /// What was tried, and what to do about it where that is known.
        what: &'static str,
        /// What the host says.
        cause: io::Error,
    },
}

impl Error {
    /// The exit code that env(1) uses for such a failure: 127 when the program is not found, 126 when it cannot be executed,
    /// 125 for any other.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
            _ => 125,
        }
    }

    pub(crate) fn host<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::Host {
            what,
            cause: cause.into(),
        }
    }
}
