//! The trapped system calls, one family a module.

mod access;
mod ioctl;
mod memory;
mod mmap;
mod open;
mod path;
mod readlink;
mod stat;
mod status;
mod transfer;
mod xattr;

pub(crate) use stat::HostFiles;

use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_files::{FdNumber, Paths, Refusal};
use swiommu_sabotage::Fault;

use crate::client::Client;
use crate::config::{Capabilities, FaultInjection, MemoryWatch};
use crate::listener::{Listener, Notification, Reply};
use crate::long_calls::LongCalls;
use crate::paths::{Names, Shadow};
use crate::table::{Served, Table};
use crate::threads::{Thread, Threads};

/// Serves trapped calls.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) listener: Listener,
    pub(crate) table: Table,
    pub(crate) long_calls: LongCalls,
    pub(crate) threads: Threads,
    pub(crate) paths: Arc<Paths>,
    pub(crate) names: Names,
    pub(crate) shadow: Shadow,
    pub(crate) host: HostFiles,
    pub(crate) capabilities: Capabilities,
    pub(crate) memory_watch: MemoryWatch,
    pub(crate) fault_injection: FaultInjection,
}

impl Service {
    /// How the trapped call ends. Everything that it held is released by then.
    pub(crate) fn serve(&self, notification: &Notification) -> Reply {
        match self.fault_injection.countdown(notification.tid) {
            Some(countdown) => countdown.during(|| self.dispatch(notification)),
            None => self.dispatch(notification),
        }
    }

    fn dispatch(&self, notification: &Notification) -> Reply {
        match notification.number {
            libc::SYS_ioctl => self.ioctl(notification),
            libc::SYS_open | libc::SYS_openat | libc::SYS_openat2 | libc::SYS_creat => {
                self.open(notification)
            }
            libc::SYS_stat
            | libc::SYS_lstat
            | libc::SYS_fstat
            | libc::SYS_newfstatat
            | libc::SYS_statx => self.stat(notification),
            libc::SYS_access | libc::SYS_faccessat | libc::SYS_faccessat2 => {
                self.access(notification)
            }
            libc::SYS_readlink | libc::SYS_readlinkat => self.readlink(notification),
            libc::SYS_getxattr
            | libc::SYS_lgetxattr
            | libc::SYS_listxattr
            | libc::SYS_llistxattr => self.xattr(notification),
            libc::SYS_mmap => {
                let reply = self.mmap(notification);
                if reply == Reply::Continue && self.memory_watch == MemoryWatch::On {
                    self.gives_back(notification)
                } else {
                    reply
                }
            }
            libc::SYS_munmap
            | libc::SYS_mremap
            | libc::SYS_madvise
            | libc::SYS_brk
            | libc::SYS_shmdt => self.gives_back(notification),
            libc::SYS_execve | libc::SYS_execveat => {
                if let Ok(thread) = self.threads.of(&self.listener, notification) {
                    self.threads.executing(&thread);
                }
                Reply::Continue
            }
            libc::SYS_exit_group => {
                if let Ok(thread) = self.threads.of(&self.listener, notification) {
                    self.threads.exiting(&thread);
                }
                Reply::Continue
            }
            _ => self.transfer(notification),
        }
    }

    /// The served file that a call is about, ready for use: all releases that come before the call are complete. `None` when the
    /// descriptor is not ours.
    fn served(&self, notification: &Notification, fd: FdNumber) -> Option<(Arc<Thread>, Served)> {
        let (thread, identity) = self
            .threads
            .identify(&self.listener, notification, fd)
            .ok()?;
        let served = self.table.get(identity)?;
        self.settle(notification);
        Some((thread, served))
    }

    /// Completes what comes before a call: the calls of clients that have died, and the releases.
    fn settle(&self, notification: &Notification) {
        if Fault::LateRelease.is_on() {
            return;
        }
        self.long_calls
            .wait_for_the_dead(&self.listener, notification);
        self.table.complete_releases();
    }
}

/// What the client sees of a refusal; the reason goes to the log.
fn refuse(client: &Client<'_>, what: &str, refusal: &Refusal) -> Errno {
    use swiommu_files::Caller;
    tracing::debug!(tid = client.task().tid, "{what}: {refusal}");
    refusal.errno()
}
