//! `access(2)` and its kin.

use swiommu_abi::Errno;
use swiommu_addr::Hva;
use swiommu_files::FdNumber;

use super::Service;
use super::path::{PathArgument, WORKING_DIRECTORY};
use super::stat::{is_empty, permissions};
use crate::listener::{Notification, Reply};
use crate::paths::{Follow, Target};

/// `R_OK`, `W_OK` and `X_OK` lie as the owner's permission bits do.
const OWNER_SHIFT: u32 = 6;

impl Service {
    pub(super) fn access(&self, notification: &Notification) -> Reply {
        let with_flags = notification.number == libc::SYS_faccessat2;
        let flags = if with_flags { notification.int(3) } else { 0 };
        if flags & !(libc::AT_EACCESS | libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
            return Reply::Continue;
        }
        let (at, path) = match notification.number {
            libc::SYS_access => (WORKING_DIRECTORY, 0),
            _ => (FdNumber(notification.int(0)), 1),
        };
        let wanted = notification.uint(path + 1);
        if wanted > 7 {
            return Reply::Continue;
        }
        let mode = if flags & libc::AT_EMPTY_PATH != 0 && is_empty(notification, path) {
            self.served(notification, at)
                .map(|(_, served)| Ok(permissions(served.file.stat())))
        } else {
            let follow = if flags & libc::AT_SYMLINK_NOFOLLOW == 0 {
                Follow::Yes
            } else {
                Follow::No
            };
            let path = Hva::new(notification.args[path]);
            self.mode_of_path(notification, PathArgument { at, path, follow })
        };
        match mode {
            Some(Ok(mode)) if (mode >> OWNER_SHIFT) & wanted == wanted => Reply::Return(0),
            Some(Ok(_)) => Reply::Fail(Errno::EACCES),
            Some(Err(errno)) => Reply::Fail(errno),
            None => Reply::Continue,
        }
    }

    fn mode_of_path(
        &self,
        notification: &Notification,
        argument: PathArgument,
    ) -> Option<Result<u32, Errno>> {
        let subject = self.look_up(notification, argument)?;
        let mode = match subject.target {
            Target::Node(_, node) => permissions(node.stat()),
            Target::Directory(_) => return Some(Ok(0o755)),
            Target::Proc(path) if argument.follow == Follow::Yes => {
                permissions(self.linked(&subject.thread, path)?.file.stat())
            }
            Target::Proc(_) => return None,
        };
        if subject.wants_directory {
            return Some(Err(Errno::ENOTDIR));
        }
        Some(Ok(mode))
    }
}
