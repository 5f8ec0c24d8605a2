//! The threads that serve trapped calls.
//!
//! Several threads waiting on one listener would all be woken by every call. So one thread, the leader, receives and serves; a
//! second stands by, and takes over when the leader has spent a whole tick on one call. The old leader then stands by itself when it is
//! done. While calls come in and are quick, the leader is alone and no thread is woken but it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::calls::Service;
use crate::listener::{Received, Reply};
use crate::panics;

/// How long a call may keep other calls waiting.
const TICK: Duration = Duration::from_millis(1);

/// After so many ticks without a call, nobody ticks any more.
const QUIET_TICKS: u32 = 64;

/// The most threads there are. More calls than that at once wait for each other.
const THREADS: usize = 64;

/// How long the end waits for calls that are still being served.
const PATIENCE: Duration = Duration::from_secs(10);

/// The threads that serve trapped calls.
#[derive(Debug)]
pub(crate) struct Dispatchers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    service: Arc<Service>,
    /// Even while the leader waits for a call, odd while it serves one; it grows with every step, so that an unchanged odd value
    /// means one and the same call. Whoever moves it from odd to even leads from then on.
    turn: AtomicU64,
    /// Whether the one who stands by ticks.
    ticking: AtomicBool,
    crew: Mutex<Crew>,
    /// Wakes the one who stands by, and those who are idle.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Crew {
    threads: Vec<JoinHandle<()>>,
    running: usize,
    /// Whether someone stands by.
    standing_by: bool,
    stopped: bool,
}

impl Dispatchers {
    /// Starts the leader and the one who stands by.
    pub(crate) fn start(service: Arc<Service>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            service,
            turn: AtomicU64::new(0),
            ticking: AtomicBool::new(false),
            crew: Mutex::default(),
            changed: Condvar::new(),
        });
        let dispatchers = Self { shared };
        Shared::spawn(&dispatchers.shared, Role::Leader { turn: 0 })?;
        Ok(dispatchers)
    }
}

impl Drop for Dispatchers {
    /// Waits until all calls are served. The filter has hung up by now, so no more come.
    fn drop(&mut self) {
        let until = Instant::now() + PATIENCE;
        let mut crew = self.shared.crew.lock();
        crew.stopped = true;
        self.shared.changed.notify_all();
        while crew.running > 0 {
            if self.shared.changed.wait_until(&mut crew, until).timed_out() {
                tracing::error!(threads = crew.running, "calls are still being served: leaving them");
                return;
            }
        }
        let threads = std::mem::take(&mut crew.threads);
        drop(crew);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Role {
    Leader { turn: u64 },
    StandBy,
}
