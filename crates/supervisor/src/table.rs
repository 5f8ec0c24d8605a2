//! The served files that clients hold open, and their release.
//!
//! The recipe that makes a release complete before the client's next call: watch the placeholder, give it to the client *without*
//! answering the call, close our own copy, then answer. So the close event fires when the last descriptor and the last mapping of
//! it, in all processes, are gone; it is queued when the client's `close` returns; and whoever serves a call drains the queue
//! first, under one lock that is held until the releases are done.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use swiommu_abi::Errno;
use swiommu_files::{File, OpenFlags};

use crate::errno::errno;
use crate::error::Error;
use crate::fifo::Fifo;
use crate::placeholder::{Identity, Placeholder, link};

/// `IN_CLOSE`: of a file opened for writing, or not.
const CLOSE: WatchFlags = WatchFlags::CLOSE_WRITE.union(WatchFlags::CLOSE_NOWRITE);

/// Events of a file: its close, and the end of its watch.
pub(crate) const EVENTS_PER_FILE: usize = 2;

/// A served file that a client holds open.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) file: Arc<dyn File>,
    /// How it was opened.
    pub(crate) flags: OpenFlags,
    /// Shows the client the file's readiness, if it has one, for as long as it is open.
    _fifo: Option<Arc<Fifo>>,
}

/// The served files that clients hold open.
#[derive(Debug)]
pub(crate) struct Table {
    inotify: OwnedFd,
    open: RwLock<Open>,
    /// Held while releases are completed.
    draining: Mutex<()>,
    /// More open files could overflow the event queue, and a close would be missed.
    limit: usize,
}

#[derive(Debug, Default)]
struct Open {
    files: BTreeMap<Identity, Served>,
    watches: BTreeMap<i32, Identity>,
}

impl Open {
    /// A placeholder that is a file's own memory. The closes of two could not be told apart, so there is one at a time.
    fn placeholder_of(
        &self,
        memory: BorrowedFd<'_>,
        flags: OpenFlags,
    ) -> Result<Placeholder, Errno> {
        let identity = Identity::of(memory).map_err(errno)?;
        if self.files.contains_key(&identity) {
            return Err(Errno::EBUSY);
        }
        Placeholder::of(memory, flags).map_err(errno)
    }
}

impl Table {
    pub(crate) fn new() -> Result<Self, Error> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(
            Error::host(
                "cannot create an inotify instance (fs.inotify.max_user_instances bounds them, one per run)",
            ),
        )?;
        let events = crate::probe::sysctl("fs/inotify/max_queued_events").unwrap_or(16384);
        Ok(Self {
            inotify,
            open: RwLock::default(),
            draining: Mutex::default(),
            limit: usize::try_from(events).unwrap_or(usize::MAX) / EVENTS_PER_FILE,
        })
    }

    /// Enters a file under a new placeholder. It is released when all copies of the placeholder are closed, ours too.
    pub(crate) fn add(&self, file: Arc<dyn File>, flags: OpenFlags) -> Result<Placeholder, Errno> {
        let mut open = self.open.write();
        let (placeholder, fifo) = match (file.memory(), file.wait_queue()) {
            (Some(memory), _) => (open.placeholder_of(memory, flags)?, None),
            (None, Some(wait_queue)) => {
                let fifo = Arc::new(Fifo::new().map_err(errno)?);
                let placeholder = Placeholder::waiting(&fifo, wait_queue.now());
                (placeholder.map_err(errno)?, Some(fifo))
            }
            (None, None) => (Placeholder::new(file.name(), flags).map_err(errno)?, None),
        };
        if open.files.len() >= self.limit {
            tracing::warn!(
                limit = self.limit,
                "too many open files: fs.inotify.max_queued_events bounds them"
            );
            return Err(Errno::ENFILE);
        }
        let watch = inotify::add_watch(
            &self.inotify,
            link(placeholder.as_fd()),
            CLOSE | WatchFlags::ONESHOT,
        )
        .map_err(|errno| {
            tracing::warn!(%errno, "cannot watch a file: fs.inotify.max_user_watches bounds them");
            Errno::ENFILE
        })?;
        open.watches.insert(watch, placeholder.identity());
        if let (Some(wait_queue), Some(fifo)) = (file.wait_queue(), &fifo) {
            let fifo: Weak<Fifo> = Arc::downgrade(fifo);
            wait_queue.watch(fifo);
        }
        let served = Served {
            file,
            flags,
            _fifo: fifo,
        };
        open.files.insert(placeholder.identity(), served);
        Ok(placeholder)
    }

    /// The served file with this identity.
    pub(crate) fn get(&self, identity: Identity) -> Option<Served> {
        self.open.read().files.get(&identity).cloned()
    }

    /// Completes every release that is due. Afterwards no file is open that had its last close before this call.
    pub(crate) fn complete_releases(&self) {
        let draining = self.draining.lock();
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut room);
        // The queue is empty, or the read failed for good, when there is no next event.
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                tracing::error!("lost close events: some files stay open until the end");
            }
            if !event
                .events()
                .intersects(ReadFlags::CLOSE_WRITE | ReadFlags::CLOSE_NOWRITE)
            {
                continue;
            }
            let released = {
                let mut open = self.open.write();
                let identity = open.watches.remove(&event.wd());
                identity.and_then(|identity| open.files.remove(&identity))
            };
            if let Some(served) = released {
                tracing::debug!(file = served.file.name(), "released");
                crate::panics::contain("a release", || drop(served));
            }
        }
        drop(draining);
    }
}

impl AsFd for Table {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
