//! The trapped system calls, one family a module.

mod ioctl;

use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_files::{FdNumber, Paths, Refusal};

use crate::client::Client;
use crate::config::Capabilities;
use crate::listener::{Listener, Notification, Reply};
use crate::table::{Served, Table};
use crate::threads::{Thread, Threads};

/// Serves trapped calls.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) listener: Listener,
    pub(crate) table: Table,
    pub(crate) threads: Threads,
    pub(crate) paths: Arc<Paths>,
    pub(crate) capabilities: Capabilities,
}

impl Service {
    /// How the trapped call ends. Everything that it held is released by then.
    pub(crate) fn serve(&self, notification: &Notification) -> Reply {
        match notification.number {
            libc::SYS_ioctl => self.ioctl(notification),
            _ => Reply::Continue,
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
        self.table.complete_releases();
        Some((thread, served))
    }
}

/// What the client sees of a refusal; the reason goes to the log.
fn refuse(client: &Client<'_>, what: &str, refusal: &Refusal) -> Errno {
    use swiommu_files::Caller;
    tracing::debug!(tid = client.task().tid, "{what}: {refusal}");
    refusal.errno()
}
