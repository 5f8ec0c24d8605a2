//! The threads that serve trapped calls.
//!
//! Several threads waiting on one listener would all be woken by every call. So one thread, the leader, receives and serves; a
//! second stands by, and takes over when the leader has spent a whole tick on one call. The old leader then stands by itself when it is
//! done. While calls come in and are quick, the leader is alone and no thread is woken but it.

#[cfg(all(loom, test))]
mod models;
mod sync;
mod turn;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, mem};

use parking_lot::{Condvar, Mutex, MutexGuard};
use swiommu_abi::Errno;

use crate::calls::Service;
use crate::listener::{Notification, Received, Reply};
use crate::panics;
use turn::{Lead, Turn};

/// How long a call may keep other calls waiting.
const TICK: Duration = Duration::from_millis(1);

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
    turn: Turn,
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
    pub(crate) fn start(service: Arc<Service>) -> io::Result<Self> {
        let (turn, lead) = Turn::new();
        let dispatchers = Self {
            shared: Arc::new(Shared {
                service,
                turn,
                crew: Mutex::default(),
                changed: Condvar::new(),
            }),
        };
        let shared = &dispatchers.shared;
        let mut crew = shared.crew.lock();
        shared.spawn(&mut crew, Role::Lead(lead))?;
        if let Err(error) = shared.spawn(&mut crew, Role::StandBy) {
            tracing::warn!(%error, "cannot start a second thread: calls may wait for a long one");
        }
        drop(crew);
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
                let threads = crew.running;
                tracing::error!(threads, "calls are still being served: leaving them");
                return;
            }
        }
        let threads = mem::take(&mut crew.threads);
        drop(crew);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn spawn(self: &Arc<Self>, crew: &mut Crew, role: Role) -> io::Result<()> {
        let shared = self.clone();
        let thread = thread::Builder::new()
            .name("swiommu-serve".into())
            .spawn(move || shared.work(role))?;
        crew.threads.retain(|thread| !thread.is_finished());
        crew.threads.push(thread);
        crew.running += 1;
        Ok(())
    }

    fn work(self: Arc<Self>, mut role: Role) {
        while let Some(next) = match role {
            Role::Lead(lead) => self.lead(lead),
            Role::StandBy => self.stand_by(),
        } {
            role = next;
        }
        self.crew.lock().running -= 1;
        self.changed.notify_all();
    }

    /// Receives and serves, until another thread leads or the filter has hung up.
    fn lead(&self, mut lead: Lead) -> Option<Role> {
        loop {
            match self.service.listener.receive(lead.order()) {
                Received::Call(notification) => {
                    let serving = self.turn.begin(lead, notification.id);
                    if !self.turn.is_watched() {
                        self.start_ticking();
                    }
                    self.answer(&notification);
                    match self.turn.end(serving) {
                        Ok(next) => lead = next,
                        Err(relieved) => {
                            // Whoever took over holds the lock until the call is known as a long one.
                            drop(self.crew.lock());
                            self.service.long_calls.end(relieved.order);
                            return Some(Role::StandBy);
                        }
                    }
                }
                Received::Nothing => {}
                Received::HungUp => {
                    self.crew.lock().stopped = true;
                    self.changed.notify_all();
                    return None;
                }
            }
        }
    }

    fn answer(&self, notification: &Notification) {
        let service = &self.service;
        let reply = panics::contain("a call", || service.serve(notification));
        let reply = reply.unwrap_or(Reply::Fail(Errno::EIO));
        service.listener.reply(notification, reply);
    }

    fn start_ticking(&self) {
        let _crew = self.crew.lock();
        self.turn.set_watched();
        self.changed.notify_all();
    }

    /// Watches the leader, and takes over from it. There is work for one such thread; another ends.
    fn stand_by(self: &Arc<Self>) -> Option<Role> {
        let mut crew = self.crew.lock();
        if crew.standing_by {
            return None;
        }
        crew.standing_by = true;
        let lead = self.wait_for_long_call(&mut crew);
        crew.standing_by = false;
        let lead = lead?;
        if crew.running < THREADS
            && let Err(error) = self.spawn(&mut crew, Role::StandBy)
        {
            tracing::warn!(%error, "cannot start another thread: calls may wait for a long one");
        }
        Some(Role::Lead(lead))
    }

    /// The lead, once the leader has spent a whole tick on one call; `None` when all is over.
    fn wait_for_long_call(&self, crew: &mut MutexGuard<'_, Crew>) -> Option<Lead> {
        let mut watch = self.turn.watch();
        while !crew.stopped {
            if !self.turn.is_watched() {
                self.changed.wait(crew);
                continue;
            }
            self.changed.wait_for(crew, TICK);
            if let Some((call, lead)) = self.turn.tick(&mut watch) {
                self.service.long_calls.add(call);
                return Some(lead);
            }
        }
        None
    }
}

#[derive(Debug)]
enum Role {
    /// Receives calls.
    Lead(Lead),
    /// Watches the leader.
    StandBy,
}
