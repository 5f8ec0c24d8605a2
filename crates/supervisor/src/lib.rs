//! Runs an unmodified program and serves its files.
//!
//! [`run`] starts the program under a seccomp filter that hands the calls of interest to this process
//! (`seccomp_unotify(2)`): those that take a path, `ioctl` with the numbers of VFIO and IOMMUFD, `mmap` of files that are shared or
//! written to, reads and writes of a few high descriptor numbers, and those that end a process or give its memory back. All other
//! calls run natively, and so do trapped ones that turn out not to be about a served file.
//!
//! | process | what it does |
//! |---|---|
//! | supervisor | serves trapped calls, passes signals on, returns the first process' status |
//! | guardian | parent and subreaper of the tree; kills it when the supervisor dies. If the guardian dies, the supervisor does |
//! | client | the program and whatever it starts |
//!
//! A trapped call costs what `seccomp_unotify(2)` costs and these system calls of ours: for a path that is not ours, one read of the
//! path; for an `ioctl` on a served file, one look at the identity of the open file, one look for closed files, and the
//! file's own copies.
//!
//! What a client holds open is recognised by the inode behind it and so survives `dup`, `fork`, `exec` and passing over a socket. A
//! file is released when its last descriptor and mapping are gone, in all processes, and that is complete before the next
//! call of any client is served.
//!
//! [`probe`] tells whether the host has what all this needs.

mod calls;
mod channel;
mod client;
mod config;
mod dispatch;
mod errno;
mod error;
mod fail_nth;
mod fifo;
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

pub use config::{
    Capabilities, CapabilitySource, Config, FaultInjection, MemoryWatch, NewPrivileges, OnStart,
};
pub use error::Error;
pub use fail_nth::InjectedByThread;
pub use outcome::Outcome;
pub use probe::{Advice, Finding, Verdict, probe};
pub use run::run;
pub use spaces::Spaces;
