//! What the path of a call leads to.

use std::sync::Arc;

use swiommu_addr::Hva;
use swiommu_files::FdNumber;

use super::Service;
use crate::listener::Notification;
use crate::paths::{Follow, ProcPath, Resolver, Target};
use crate::remote::RemotePath;
use crate::table::Served;
use crate::threads::Thread;

/// `AT_FDCWD`: paths start in the working directory.
pub(super) const WORKING_DIRECTORY: FdNumber = FdNumber(libc::AT_FDCWD);

/// What a call is about, when that is ours.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) thread: Arc<Thread>,
    pub(super) target: Target,
    /// The path ends in a slash, so it must name a directory.
    pub(super) wants_directory: bool,
}

/// The path of a call, and how it is looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathArgument {
    pub(super) at: FdNumber,
    pub(super) path: Hva,
    pub(super) follow: Follow,
}

impl Service {
    /// What the path leads to; `None` when that is not ours, or the kernel would refuse the path anyway.
    pub(super) fn look_up(
        &self,
        notification: &Notification,
        argument: PathArgument,
    ) -> Option<Subject> {
        let path = RemotePath::read(notification.tid, argument.path).ok()?;
        let path = path.as_bytes();
        if !self.names.may_match(path) {
            return None;
        }
        let thread = self.threads.of(&self.listener, notification).ok()?;
        let resolver = Resolver {
            paths: &self.paths,
            names: &self.names,
            shadow: &self.shadow,
            thread: &thread,
        };
        let target = resolver.resolve(argument.at, path, argument.follow)?;
        let wants_directory = path.ends_with(b"/");
        Some(Subject {
            thread,
            target,
            wants_directory,
        })
    }

    /// The file of ours behind a link of `/proc/PID/fd`.
    pub(super) fn linked(&self, thread: &Arc<Thread>, path: ProcPath) -> Option<Served> {
        let ProcPath::Descriptor(owner, fd) = path else {
            return None;
        };
        let identity = thread.owner(owner)?.identify(fd).ok()?;
        self.table.get(identity)
    }
}
