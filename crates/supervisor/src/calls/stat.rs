//! `stat(2)` and its kin.

mod layout;

pub(crate) use layout::HostFiles;
pub(super) use layout::permissions;

use swiommu_abi::Errno;
use swiommu_addr::Hva;
use swiommu_files::FdNumber;

use self::layout::Attributes;
use super::Service;
use super::path::{PathArgument, WORKING_DIRECTORY};
use crate::listener::{Notification, Reply};
use crate::paths::{Follow, Target};
use crate::remote;

/// What a call of the family asks about, and where the answer goes.
enum About {
    Descriptor(FdNumber),
    Path(PathArgument),
}

/// Flags that change nothing for a served file.
const IGNORED: i32 = libc::AT_NO_AUTOMOUNT | libc::AT_STATX_FORCE_SYNC | libc::AT_STATX_DONT_SYNC;

/// `STATX__RESERVED`.
const STATX_RESERVED: u32 = 0x8000_0000;

impl Service {
    pub(super) fn stat(&self, notification: &Notification) -> Reply {
        let path = |at, index: usize, follow| {
            About::Path(PathArgument {
                at,
                path: Hva::new(notification.args[index]),
                follow,
            })
        };
        let (about, buffer) = match notification.number {
            libc::SYS_stat => (path(WORKING_DIRECTORY, 0, Follow::Yes), 1),
            libc::SYS_lstat => (path(WORKING_DIRECTORY, 0, Follow::No), 1),
            libc::SYS_fstat => (About::Descriptor(FdNumber(notification.int(0))), 1),
            number => {
                let (flags, buffer) = if number == libc::SYS_statx {
                    (2, 4)
                } else {
                    (3, 2)
                };
                let flags = notification.int(flags) & !IGNORED;
                if flags & !(libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW) != 0 {
                    return Reply::Continue;
                }
                let at = FdNumber(notification.int(0));
                if flags & libc::AT_EMPTY_PATH != 0 && is_empty(notification, 1) {
                    (About::Descriptor(at), buffer)
                } else if flags & libc::AT_SYMLINK_NOFOLLOW != 0 {
                    (path(at, 1, Follow::No), buffer)
                } else {
                    (path(at, 1, Follow::Yes), buffer)
                }
            }
        };
        let attributes = match about {
            About::Descriptor(fd) => self.attributes_of_descriptor(notification, fd),
            About::Path(argument) => self.attributes_of_path(notification, argument),
        };
        let attributes = match attributes {
            Some(Ok(attributes)) => attributes,
            Some(Err(errno)) => return Reply::Fail(errno),
            None => return Reply::Continue,
        };
        let bytes = if notification.number == libc::SYS_statx {
            if notification.uint(3) & STATX_RESERVED != 0 {
                return Reply::Continue;
            }
            attributes.statx()
        } else {
            attributes.stat()
        };
        let to = Hva::new(notification.args[buffer]);
        remote::write(notification.tid, to, &bytes)
            .map(|()| 0)
            .into()
    }

    /// `None` when the descriptor is not ours.
    fn attributes_of_descriptor(
        &self,
        notification: &Notification,
        fd: FdNumber,
    ) -> Option<Result<Attributes, Errno>> {
        let (_, served) = self.served(notification, fd)?;
        Some(Ok(self
            .host
            .attributes(served.file.name(), served.file.stat())))
    }

    /// `None` when the path does not lead to something of ours.
    fn attributes_of_path(
        &self,
        notification: &Notification,
        argument: PathArgument,
    ) -> Option<Result<Attributes, Errno>> {
        let subject = self.look_up(notification, argument)?;
        let (name, stat) = match subject.target {
            Target::Node(path, node) => (path.to_string_lossy().into_owned(), node.stat()),
            Target::Directory(path) => return Some(Ok(self.host.directory(&path))),
            Target::Proc(path) if argument.follow == Follow::Yes => {
                let served = self.linked(&subject.thread, path)?;
                (served.file.name().to_owned(), served.file.stat())
            }
            Target::Proc(_) => return None,
        };
        if subject.wants_directory {
            return Some(Err(Errno::ENOTDIR));
        }
        Some(Ok(self.host.attributes(&name, stat)))
    }
}

/// Whether the path in this argument is empty, or is not given at all.
pub(super) fn is_empty(notification: &Notification, index: usize) -> bool {
    let path = notification.args[index];
    let mut first = [1];
    path == 0 || remote::read(notification.tid, Hva::new(path), &mut first).is_ok() && first == [0]
}
