//! `getxattr(2)`, `listxattr(2)` and their kin by path: served files have no extended attributes.

use swiommu_abi::Errno;
use swiommu_addr::Hva;

use super::Service;
use super::path::{PathArgument, WORKING_DIRECTORY};
use crate::listener::{Notification, Reply};
use crate::paths::{Follow, Target};

impl Service {
    pub(super) fn xattr(&self, notification: &Notification) -> Reply {
        let number = notification.number;
        let follow = match number {
            libc::SYS_lgetxattr | libc::SYS_llistxattr => Follow::No,
            _ => Follow::Yes,
        };
        let argument = PathArgument {
            at: WORKING_DIRECTORY,
            path: Hva::new(notification.args[0]),
            follow,
        };
        let ours =
            self.look_up(notification, argument)
                .is_some_and(|subject| match subject.target {
                    Target::Node(..) | Target::Directory(_) => true,
                    Target::Proc(path) => {
                        follow == Follow::Yes && self.linked(&subject.thread, path).is_some()
                    }
                });
        match number {
            _ if !ours => Reply::Continue,
            libc::SYS_getxattr | libc::SYS_lgetxattr => Reply::Fail(Errno::ENODATA),
            _ => Reply::Return(0),
        }
    }
}
