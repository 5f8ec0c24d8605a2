//! `open(2)`, `openat(2)`, `openat2(2)` and `creat(2)`.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_addr::Hva;
use swiommu_files::{FdNumber, Node, OpenFlags, Opened, Stat};

use super::path::{PathArgument, Subject, WORKING_DIRECTORY};
use super::{Service, refuse};
use crate::client::Client;
use crate::config::FaultInjection;
use crate::errno::errno;
use crate::handle::Handle;
use crate::listener::{Notification, Reply};
use crate::paths::{Follow, Owner, ProcPath, Target};
use crate::placeholder;
use crate::remote;

/// The flags of `open(2)`, as the client gave them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Flags(i32);

impl Flags {
    fn has(self, flag: i32) -> bool {
        self.0 & flag == flag
    }

    /// Those that matter to a served file.
    fn for_file(self) -> OpenFlags {
        let mut flags = match self.0 & libc::O_ACCMODE {
            libc::O_RDONLY => OpenFlags::READ,
            libc::O_WRONLY => OpenFlags::WRITE,
            libc::O_RDWR => OpenFlags::READ | OpenFlags::WRITE,
            // For ioctls only.
            _ => OpenFlags::empty(),
        };
        flags.set(OpenFlags::CLOEXEC, self.has(libc::O_CLOEXEC));
        flags.set(OpenFlags::NONBLOCK, self.has(libc::O_NONBLOCK));
        flags.set(OpenFlags::PATH, self.has(libc::O_PATH));
        flags
    }
}

impl Service {
    pub(super) fn open(&self, notification: &Notification) -> Reply {
        let create = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
        let (at, path, flags) = match notification.number {
            libc::SYS_open => (WORKING_DIRECTORY, 0, Some(notification.int(1))),
            libc::SYS_creat => (WORKING_DIRECTORY, 0, Some(create)),
            libc::SYS_openat => (FdNumber(notification.int(0)), 1, Some(notification.int(2))),
            _ => (FdNumber(notification.int(0)), 1, None),
        };
        let argument = PathArgument {
            at,
            path: Hva::new(notification.args[path]),
            follow: Follow::Yes,
        };
        let Some(subject) = self.look_up(notification, argument) else {
            return Reply::Continue;
        };
        let Some(flags) = flags.or_else(|| open_how(notification)) else {
            return Reply::Continue;
        };
        let flags = Flags(flags);
        match &subject.target {
            Target::Node(path, node) => self.open_node(notification, &subject, path, node, flags),
            Target::Proc(path @ ProcPath::Descriptor(..)) => {
                if flags.has(libc::O_NOFOLLOW) {
                    return Reply::Continue;
                }
                self.open_again(notification, &subject, *path, flags)
            }
            Target::Proc(ProcPath::Status(owner)) => {
                let only_read = flags.0 & (libc::O_ACCMODE | libc::O_PATH | libc::O_DIRECTORY) == 0;
                match self.status(&subject.thread, *owner) {
                    Some(text) if only_read && !subject.wants_directory => {
                        self.open_text(notification, &subject, "status", &text, flags)
                    }
                    _ => Reply::Continue,
                }
            }
            Target::Proc(ProcPath::FailNth(owner)) => {
                self.open_fail_nth(notification, &subject, *owner, flags)
            }
            Target::Directory(path) => self.open_directory(notification, &subject, path, flags),
        }
    }

    /// Opens a node, as the kernel opens a file that exists and is no directory.
    fn open_node(
        &self,
        notification: &Notification,
        subject: &Subject,
        path: &Path,
        node: &Arc<dyn Node>,
        flags: Flags,
    ) -> Reply {
        if let Err(errno) = permit(node.stat(), flags, subject.wants_directory) {
            return Reply::Fail(errno);
        }
        self.settle(notification);
        let client = match Client::new(self, notification, &subject.thread, None) {
            Ok(client) => client,
            Err(errno) => return Reply::Fail(errno),
        };
        let for_file = flags.for_file();
        if for_file.contains(OpenFlags::PATH) {
            let handle = Handle::new(path, node.clone());
            let flags = OpenFlags::READ | for_file & OpenFlags::CLOEXEC;
            return opened(client.open(Arc::new(handle), flags, None));
        }
        match node.open(&client, for_file) {
            Ok(Opened::File(file)) => opened(client.open(file, for_file, None)),
            Ok(Opened::Text(text)) => {
                let name = path.to_string_lossy();
                self.open_text(notification, subject, &name, &text, flags)
            }
            Ok(Opened::Host(file)) => opened(client.give(file.as_fd(), for_file, None)),
            Err(refusal) => Reply::Fail(refuse(&client, "open", &refusal)),
        }
    }

    /// Opens a directory that the host lacks.
    fn open_directory(
        &self,
        notification: &Notification,
        subject: &Subject,
        path: &Path,
        flags: Flags,
    ) -> Reply {
        const DIRECTORY: Stat = Stat::Directory { mode: 0o755 };
        if let Err(errno) = permit(DIRECTORY, flags, subject.wants_directory) {
            return Reply::Fail(errno);
        }
        let directory = match self.shadow.open(path, &self.paths, &self.names) {
            Ok(directory) => directory,
            Err(errno) => return Reply::Fail(errno),
        };
        let client = match Client::new(self, notification, &subject.thread, None) {
            Ok(client) => client,
            Err(errno) => return Reply::Fail(errno),
        };
        opened(client.give(directory.as_fd(), flags.for_file(), None))
    }

    /// Opens `/proc/PID/task/TID/fail-nth`, if it exists in this run.
    fn open_fail_nth(
        &self,
        notification: &Notification,
        subject: &Subject,
        owner: Owner,
        flags: Flags,
    ) -> Reply {
        let FaultInjection::ByThread(injected) = &self.fault_injection else {
            return Reply::Continue;
        };
        let Some(thread) = subject.thread.owner(owner) else {
            return Reply::Fail(Errno::ENOENT);
        };
        let client = match Client::new(self, notification, &subject.thread, None) {
            Ok(client) => client,
            Err(errno) => return Reply::Fail(errno),
        };
        let file = Arc::new(injected.file(thread.tid()));
        opened(client.open_events(file, flags.for_file()))
    }

    /// Opens what a link of `/proc/PID/fd` leads to: a new open of the same node.
    fn open_again(
        &self,
        notification: &Notification,
        subject: &Subject,
        path: ProcPath,
        flags: Flags,
    ) -> Reply {
        let Some(served) = self.linked(&subject.thread, path) else {
            return Reply::Continue;
        };
        let path = PathBuf::from(served.file.name());
        match self.paths.get(&path) {
            Some(node) => self.open_node(notification, subject, &path, node, flags),
            // As for any anonymous inode.
            None => Reply::Fail(Errno::ENXIO),
        }
    }

    fn open_text(
        &self,
        notification: &Notification,
        subject: &Subject,
        name: &str,
        text: &[u8],
        flags: Flags,
    ) -> Reply {
        let copy = match placeholder::text(name, text) {
            Ok(copy) => copy,
            Err(error) => return Reply::Fail(errno(error)),
        };
        let client = match Client::new(self, notification, &subject.thread, None) {
            Ok(client) => client,
            Err(errno) => return Reply::Fail(errno),
        };
        opened(client.give(copy.as_fd(), flags.for_file(), None))
    }
}

fn opened(result: Result<FdNumber, Errno>) -> Reply {
    result.map(|FdNumber(number)| i64::from(number)).into()
}

/// What the kernel checks before it opens a file that exists and is no directory.
fn permit(stat: Stat, flags: Flags, wants_directory: bool) -> Result<(), Errno> {
    let for_path = flags.has(libc::O_PATH);
    let create = flags.has(libc::O_CREAT) && !for_path;
    let directory = flags.has(libc::O_DIRECTORY);
    if create && directory {
        return Err(Errno::EINVAL);
    }
    if create && wants_directory {
        return Err(Errno::EISDIR);
    }
    if create && flags.has(libc::O_EXCL) {
        return Err(Errno::EEXIST);
    }
    if matches!(stat, Stat::Directory { .. }) {
        let for_reading = flags.0 & libc::O_ACCMODE == libc::O_RDONLY;
        return if for_reading && !create {
            Ok(())
        } else {
            Err(Errno::EISDIR)
        };
    }
    if directory || wants_directory {
        return Err(Errno::ENOTDIR);
    }
    let mode = super::stat::permissions(stat);
    let for_file = flags.for_file();
    let wanted = [(OpenFlags::READ, 0o400), (OpenFlags::WRITE, 0o200)];
    let denied = wanted
        .into_iter()
        .any(|(flag, bit)| for_file.contains(flag) && mode & bit == 0);
    if denied && !for_path {
        return Err(Errno::EACCES);
    }
    Ok(())
}

/// The flags of `openat2(2)`, unless the client asks for a look-up of another kind or the kernel would refuse the struct.
fn open_how(notification: &Notification) -> Option<i32> {
    const FLAGS: usize = 0;
    const RESOLVE: usize = 16;
    let native = libc::RESOLVE_BENEATH | libc::RESOLVE_IN_ROOT | libc::RESOLVE_CACHED;
    let mut how = [0; size_of::<libc::open_how>()];
    if notification.args[3] != how.len() as u64 {
        return None;
    }
    remote::read(notification.tid, Hva::new(notification.args[2]), &mut how).ok()?;
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&how[at..at + 8]);
        u64::from_ne_bytes(word)
    };
    if word(RESOLVE) & native != 0 {
        return None;
    }
    i32::try_from(word(FLAGS)).ok()
}
