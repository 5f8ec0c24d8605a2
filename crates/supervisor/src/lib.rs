//! Runs an unmodified program and serves its files.
//!
//! The program runs under a seccomp filter that hands the calls of interest to this process
//! (`seccomp_unotify(2)`); all others run natively, and so do those which turn out not to be about a served file.

mod calls;
mod channel;
mod client;
mod config;
mod dispatch;
mod errno;
mod error;
mod filter;
mod handle;
mod launch;
mod listener;
mod long_calls;
mod mappings;
mod outcome;
mod panics;
mod paths;
mod placeholder;
mod probe;
mod remote;
mod run;
mod signals;
mod spaces;
mod table;
mod threads;
mod waiting;

pub use config::{Capabilities, CapabilitySource, Config, MemoryWatch, NewPrivileges};
pub use error::Error;
pub use outcome::Outcome;
pub use probe::{Advice, Finding, Verdict, probe};
pub use run::run;
pub use spaces::Spaces;
