//! What `poll(2)` reports, and who waits for it.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bitflags::bitflags;

bitflags! {
    /// What `poll(2)` reports of a file.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Readiness: u32 {
        /// `POLLIN | POLLRDNORM`.
        const IN = 1;
        /// `POLLOUT | POLLWRNORM`.
        const OUT = 2;
    }
}

/// Someone who shows a file's readiness to others.
pub trait Watcher: Send + Sync + fmt::Debug {
    /// The file is ready for this now. It may have been so before: then there is more of it, and who waits is woken again.
    ///
    /// The calls come one after the other, under the locks of the file: this neither calls the file nor blocks.
    fn woken(&self, now: Readiness);
}

/// The readiness of a file, and all who wait for it.
#[derive(Debug)]
pub struct WaitQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    now: Readiness,
    watchers: Vec<Weak<dyn Watcher>>,
}

impl State {
    fn tell(&mut self) {
        let now = self.now;
        self.watchers
            .retain(|watcher| watcher.upgrade().map(|there| there.woken(now)).is_some());
    }
}

impl WaitQueue {
    /// Nobody waits for a file that is ready for this.
    pub const fn new(now: Readiness) -> Self {
        let watchers = Vec::new();
        Self {
            state: Mutex::new(State { now, watchers }),
            changed: Condvar::new(),
        }
    }

    /// What the file is ready for.
    pub fn now(&self) -> Readiness {
        self.lock().now
    }

    /// The file is ready for this too, or for more of it. Wakes all who wait.
    pub fn wake(&self, ready: Readiness) {
        let mut state = self.lock();
        state.now |= ready;
        state.tell();
        self.changed.notify_all();
    }

    /// The file is not ready for this any more.
    pub fn clear(&self, gone: Readiness) {
        let mut state = self.lock();
        if state.now.intersects(gone) {
            state.now -= gone;
            state.tell();
        }
    }

    /// Tells the watcher what the file is ready for, now and with every change, for as long as the watcher lives.
    pub fn watch(&self, watcher: Weak<dyn Watcher>) {
        let mut state = self.lock();
        if let Some(known) = watcher.upgrade() {
            known.woken(state.now);
            state.watchers.push(watcher);
        }
    }

    /// Waits until the file is ready for any of this, for at most so long. Returns what of it the file is ready for.
    pub fn wait(&self, wanted: Readiness, patience: Duration) -> Readiness {
        let begin = Instant::now();
        let mut state = self.lock();
        loop {
            let left = patience.saturating_sub(begin.elapsed());
            if state.now.intersects(wanted) || left.is_zero() {
                return state.now & wanted;
            }
            let result = self.changed.wait_timeout(state, left);
            (state, _) = result.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    const FOR_EVER: Duration = Duration::from_mins(1);

    #[derive(Debug, Default)]
    struct Seen(Mutex<Vec<Readiness>>);

    impl Watcher for Seen {
        fn woken(&self, now: Readiness) {
            self.0.lock().unwrap().push(now);
        }
    }

    #[test]
    fn a_watcher_sees_what_is_and_what_comes_until_it_goes() {
        let queue = WaitQueue::new(Readiness::OUT);
        let seen = Arc::new(Seen::default());
        let watcher: Weak<Seen> = Arc::downgrade(&seen);
        queue.watch(watcher.clone());
        queue.wake(Readiness::IN);
        queue.wake(Readiness::IN);
        queue.clear(Readiness::IN);
        queue.clear(Readiness::IN);
        let both = Readiness::IN | Readiness::OUT;
        let expected = [Readiness::OUT, both, both, Readiness::OUT];
        assert_eq!(*seen.0.lock().unwrap(), expected);
        drop(seen);
        queue.wake(Readiness::IN);
        assert_eq!(queue.now(), both);
        queue.watch(watcher);
    }

    #[test]
    fn a_thread_waits_until_it_is_woken() {
        let queue = WaitQueue::new(Readiness::OUT);
        assert_eq!(
            queue.wait(Readiness::IN, Duration::ZERO),
            Readiness::empty()
        );
        let both = Readiness::IN | Readiness::OUT;
        assert_eq!(queue.wait(both, FOR_EVER), Readiness::OUT);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.wait(Readiness::IN, FOR_EVER));
            queue.wake(Readiness::IN);
            assert_eq!(waiting.join().unwrap(), Readiness::IN);
        });
    }
}
