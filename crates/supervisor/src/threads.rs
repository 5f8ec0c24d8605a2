//! The client threads that we have met: their process, memory and descriptor table.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, open, openat, readlinkat};
use rustix::path::DecInt;
use swiommu_abi::Errno;
use swiommu_addr::HvaRange;
use swiommu_files::{FdNumber, Task};
use swiommu_mem::{AddressSpace, DetachCause};

use crate::errno::errno;
use crate::listener::{Listener, Notification};
use crate::paths::Owner;
use crate::placeholder::Identity;
use crate::spaces::Spaces;

/// How many threads are remembered. Each costs us a descriptor.
const LIMIT: usize = 256;

/// A client thread.
#[derive(Debug)]
pub(crate) struct Thread {
    tid: i32,
    /// `/proc/TID/fd`: look-ups fail once the thread is gone, also when its number has been given to another.
    descriptors: OwnedFd,
    pid: OnceLock<i32>,
    space: OnceLock<Arc<dyn AddressSpace>>,
}

impl Thread {
    fn open(tid: i32) -> Result<Self, Errno> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptors =
            open(format!("/proc/{tid}/fd"), directory, Mode::empty()).map_err(errno)?;
        Ok(Self {
            tid,
            descriptors,
            pid: OnceLock::new(),
            space: OnceLock::new(),
        })
    }

    /// Its number.
    pub(crate) fn tid(&self) -> i32 {
        self.tid
    }

    /// The identity of the file behind a descriptor of this thread.
    pub(crate) fn identify(&self, fd: FdNumber) -> Result<Identity, Errno> {
        Identity::at(&self.descriptors, DecInt::new(fd.0).as_c_str()).map_err(errno)
    }

    /// A file of the thread's directory in `/proc`, opened for reading.
    pub(crate) fn proc(&self, name: &str) -> Result<OwnedFd, Errno> {
        openat(
            &self.descriptors,
            format!("../{name}"),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(errno)
    }

    /// A file of the thread's directory in `/proc`, as a place to look up paths from.
    pub(crate) fn open_path(&self, name: &str) -> Result<OwnedFd, Errno> {
        openat(
            &self.descriptors,
            format!("../{name}"),
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(errno)
    }

    /// A link of the thread's directory in `/proc`.
    pub(crate) fn link(&self, name: &str) -> Result<Vec<u8>, Errno> {
        let link = readlinkat(&self.descriptors, format!("../{name}"), Vec::new());
        Ok(link.map_err(errno)?.into_bytes())
    }

    /// The thread that a directory of `/proc` is about, which this thread names.
    pub(crate) fn owner(self: &Arc<Self>, owner: Owner) -> Option<Arc<Self>> {
        let number = match owner {
            Owner::Thread => self.tid,
            Owner::Process => self.pid().ok()?,
            Owner::Number(number) if self.numbers_threads_as_we_do() => number,
            Owner::Number(_) => return None,
        };
        if number == self.tid {
            Some(self.clone())
        } else {
            Self::open(number).ok().map(Arc::new)
        }
    }

    /// Whether the thread is in our PID namespace, so that the numbers that it uses mean the same to us.
    fn numbers_threads_as_we_do(&self) -> bool {
        let ours = readlinkat(rustix::fs::CWD, c"/proc/self/ns/pid", Vec::new());
        ours.is_ok_and(|ours| {
            self.link("ns/pid")
                .is_ok_and(|theirs| theirs == ours.as_bytes())
        })
    }

    fn is_alive(&self) -> bool {
        accessat(
            &self.descriptors,
            c"../stat",
            Access::EXISTS,
            AtFlags::empty(),
        )
        .is_ok()
    }

    /// The process that the thread belongs to (`Tgid`).
    pub(crate) fn pid(&self) -> Result<i32, Errno> {
        if let Some(pid) = self.pid.get() {
            return Ok(*pid);
        }
        let status = self.proc("status")?;
        let mut room = [0; 256];
        let length = rustix::io::read(&status, &mut room).map_err(errno)?;
        let pid = String::from_utf8_lossy(&room[..length])
            .lines()
            .find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
            .ok_or(Errno::ESRCH)?;
        Ok(*self.pid.get_or_init(|| pid))
    }

    /// The thread and its process.
    pub(crate) fn task(&self) -> Result<Task, Errno> {
        let (pid, tid) = (self.pid()?, self.tid);
        Ok(Task { pid, tid })
    }
}

/// The threads that we have met.
#[derive(Debug)]
pub(crate) struct Threads {
    known: Mutex<Known>,
    spaces: Arc<dyn Spaces>,
}

#[derive(Debug, Default)]
struct Known {
    threads: BTreeMap<i32, Arc<Thread>>,
    /// By process, the thread that is about to execute another program. Until that has happened or failed, nothing is remembered
    /// about the process.
    executing: BTreeMap<i32, i32>,
}

impl Threads {
    pub(crate) fn new(spaces: Arc<dyn Spaces>) -> Self {
        Self {
            known: Mutex::default(),
            spaces,
        }
    }

    /// The thread that waits for this notification.
    pub(crate) fn of(
        &self,
        listener: &Listener,
        notification: &Notification,
    ) -> Result<Arc<Thread>, Errno> {
        match self.recall(notification.tid) {
            Some(thread) if thread.is_alive() => Ok(thread),
            _ => self.meet(listener, notification),
        }
    }

    /// The identity of the file behind a descriptor of the waiting thread, and the thread.
    pub(crate) fn identify(
        &self,
        listener: &Listener,
        notification: &Notification,
        fd: FdNumber,
    ) -> Result<(Arc<Thread>, Identity), Errno> {
        if let Some(thread) = self.recall(notification.tid) {
            // A success says that the thread lives, and so that it is the one that waits.
            match thread.identify(fd) {
                Ok(identity) => return Ok((thread, identity)),
                Err(errno) if thread.is_alive() => return Err(errno),
                Err(_) => {}
            }
        }
        let thread = self.meet(listener, notification)?;
        let identity = thread.identify(fd)?;
        Ok((thread, identity))
    }

    /// The memory of the waiting thread.
    pub(crate) fn space<'a>(
        &self,
        listener: &Listener,
        notification: &Notification,
        thread: &'a Thread,
    ) -> Result<&'a Arc<dyn AddressSpace>, Errno> {
        if let Some(space) = thread.space.get() {
            return Ok(space);
        }
        let pid = thread.pid()?;
        let space = self.spaces.get(pid).map_err(|error| {
            tracing::warn!(pid, %error, "cannot reach the memory of a client");
            Errno::EFAULT
        })?;
        if !listener.is_waiting(notification.id) {
            return Err(Errno::ESRCH);
        }
        Ok(thread.space.get_or_init(|| space))
    }

    /// The memory of a thread's process, if it has been used before.
    pub(crate) fn known_space(&self, thread: &Thread) -> Option<Arc<dyn AddressSpace>> {
        self.spaces.known(thread.pid().ok()?)
    }

    /// The process of the waiting thread is about to give memory back.
    pub(crate) fn detach(&self, thread: &Thread, range: HvaRange, cause: DetachCause) {
        if let Ok(pid) = thread.pid() {
            self.spaces.detach(pid, range, cause);
        }
    }

    /// The waiting thread is about to execute another program: its process will have other memory, unless that fails.
    pub(crate) fn executing(&self, thread: &Thread) {
        let Ok(pid) = thread.pid() else { return };
        self.spaces.execing(pid);
        let mut known = self.known.lock();
        if known.executing.len() >= LIMIT {
            known.executing.retain(|&pid, &mut tid| has_task(pid, tid));
        }
        known.executing.insert(pid, thread.tid);
        known.forget(pid);
    }

    /// The waiting thread is about to end its process.
    pub(crate) fn exiting(&self, thread: &Thread) {
        let Ok(pid) = thread.pid() else { return };
        self.spaces.exiting(pid);
        self.known.lock().forget(pid);
    }

    /// Gives up what is kept of threads and processes that are gone.
    pub(crate) fn forget_dead(&self) {
        let mut gone: Vec<_> = self.known.lock().threads.values().cloned().collect();
        gone.retain(|thread| !thread.is_alive());
        self.known
            .lock()
            .threads
            .retain(|_, thread| !gone.iter().any(|gone| Arc::ptr_eq(gone, thread)));
        self.spaces.forget_dead();
    }

    fn recall(&self, tid: i32) -> Option<Arc<Thread>> {
        self.known.lock().threads.get(&tid).cloned()
    }

    fn meet(&self, listener: &Listener, notification: &Notification) -> Result<Arc<Thread>, Errno> {
        let thread = match Thread::open(notification.tid) {
            Err(Errno::EMFILE | Errno::ENFILE) => {
                tracing::warn!("too few descriptors: forgetting what is known of threads");
                self.known.lock().threads.clear();
                Thread::open(notification.tid)?
            }
            other => other?,
        };
        let thread = Arc::new(thread);
        // While the thread waits, its number has not been given to another.
        if !listener.is_waiting(notification.id) {
            return Err(Errno::ESRCH);
        }
        let mut known = self.known.lock();
        if known.may_remember(&thread) {
            known.remember(&thread);
        }
        Ok(thread)
    }
}

impl Known {
    fn may_remember(&mut self, thread: &Thread) -> bool {
        if self.executing.is_empty() {
            return true;
        }
        let Ok(pid) = thread.pid() else { return false };
        let Some(executing) = self.executing.get(&pid).copied() else {
            return true;
        };
        // The thread that called execve calls again, or is gone: it has returned, or the process runs the new program.
        let over = executing == thread.tid || !has_task(pid, executing);
        if over {
            self.executing.remove(&pid);
        }
        over
    }

    fn remember(&mut self, thread: &Arc<Thread>) {
        if self.threads.len() >= LIMIT {
            self.threads.retain(|_, thread| thread.is_alive());
        }
        if self.threads.len() >= LIMIT {
            self.threads.clear();
        }
        self.threads.insert(thread.tid, thread.clone());
    }

    fn forget(&mut self, pid: i32) {
        self.threads
            .retain(|_, thread| thread.pid.get().is_some_and(|other| *other != pid));
    }
}

fn has_task(pid: i32, tid: i32) -> bool {
    rustix::fs::access(format!("/proc/{pid}/task/{tid}"), Access::EXISTS).is_ok()
}
