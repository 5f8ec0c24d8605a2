//! `readlink(2)` and `readlinkat(2)`.

use swiommu_abi::Errno;
use swiommu_addr::Hva;
use swiommu_files::FdNumber;

use super::Service;
use super::path::{PathArgument, WORKING_DIRECTORY};
use crate::listener::{Notification, Reply};
use crate::paths::{Follow, Target};
use crate::remote;

impl Service {
    pub(super) fn readlink(&self, notification: &Notification) -> Reply {
        let (at, path) = match notification.number {
            libc::SYS_readlink => (WORKING_DIRECTORY, 0),
            _ => (FdNumber(notification.int(0)), 1),
        };
        let Ok(size @ 1..) = usize::try_from(notification.int(path + 2)) else {
            return Reply::Continue;
        };
        let argument = PathArgument {
            at,
            path: Hva::new(notification.args[path]),
            follow: Follow::No,
        };
        let Some(subject) = self.look_up(notification, argument) else {
            return Reply::Continue;
        };
        let link = match subject.target {
            Target::Node(..) if subject.wants_directory => return Reply::Fail(Errno::ENOTDIR),
            Target::Node(..) | Target::Directory(_) => return Reply::Fail(Errno::EINVAL),
            Target::Proc(link) => link,
        };
        let Some(served) = self.linked(&subject.thread, link) else {
            return Reply::Continue;
        };
        let name = served.file.name().as_bytes();
        let name = &name[..name.len().min(size)];
        let to = Hva::new(notification.args[path + 1]);
        remote::write(notification.tid, to, name)
            .map(|()| i64::try_from(name.len()).unwrap_or(i64::MAX))
            .into()
    }
}
