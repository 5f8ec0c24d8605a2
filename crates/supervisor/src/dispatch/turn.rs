//! Whose turn it is to receive calls, and how it goes to another thread when a call takes long.

use super::sync::{AtomicBool, AtomicU64, Ordering, fence};
use crate::long_calls::Call;

/// After so many ticks without a call, nobody watches any more.
const QUIET_TICKS: u32 = if cfg!(all(loom, test)) { 0 } else { 64 };

/// What the leader and the one who stands by tell each other.
#[derive(Debug)]
pub(super) struct Turn {
    /// Even while the leader waits for a call, odd while it serves one; it grows with every step, so that an unchanged odd value
    /// means one and the same call. Whoever moves it from odd to even leads from then on.
    number: AtomicU64,
    /// The notification of the call that the leader serves.
    serving: AtomicU64,
    /// Whether the one who stands by ticks.
    is_watched: AtomicBool,
}

/// The right to receive the next call. There is one of it.
#[derive(Debug)]
pub(super) struct Lead {
    number: u64,
}

/// A call that is being served by the one who received it.
#[derive(Debug)]
pub(super) struct Serving {
    order: u64,
}

/// Another leads, because the call of this order took long.
#[derive(Debug)]
pub(super) struct Relieved {
    pub(super) order: u64,
}

/// What the one who stands by has seen.
#[derive(Debug)]
pub(super) struct Watch {
    seen: u64,
    quiet_ticks: u32,
}

impl Lead {
    /// The place of the next call among all: the number while it is served.
    pub(super) fn order(&self) -> u64 {
        self.number + 1
    }
}

impl Turn {
    /// Before the first call. Nobody watches.
    pub(super) fn new() -> (Self, Lead) {
        let turn = Self {
            number: AtomicU64::new(0),
            serving: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
        };
        (turn, Lead { number: 0 })
    }

    /// The leader has received a call. If then nobody watches it, it has to find a watch.
    pub(super) fn begin(&self, Lead { number }: Lead, id: u64) -> Serving {
        let order = number + 1;
        self.serving.store(id, Ordering::Relaxed);
        self.number.store(order, Ordering::Release);
        // Between this and the look at the watch, as the watch has one in its place: one of the two sees the other.
        fence(Ordering::SeqCst);
        Serving { order }
    }

    /// The call is served: leads the thread still?
    pub(super) fn end(&self, Serving { order }: Serving) -> Result<Lead, Relieved> {
        let number = order + 1;
        self.step(order)
            .then_some(Lead { number })
            .ok_or(Relieved { order })
    }

    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Relaxed)
    }

    /// To be followed by waking the one who stands by.
    pub(super) fn set_watched(&self) {
        self.is_watched.store(true, Ordering::Relaxed);
    }

    /// Begins to stand by.
    pub(super) fn watch(&self) -> Watch {
        Watch {
            seen: self.number.load(Ordering::Acquire),
            quiet_ticks: 0,
        }
    }

    /// Looks at the leader. When it serves the same call as at the last tick, its turn is over: the call is a long one, and the
    /// thread leads that has looked.
    pub(super) fn tick(&self, watch: &mut Watch) -> Option<(Call, Lead)> {
        let number = self.number.load(Ordering::Acquire);
        if number != watch.seen {
            *watch = Watch {
                seen: number,
                quiet_ticks: 0,
            };
        } else if number % 2 == 1 {
            let id = self.serving.load(Ordering::Relaxed);
            return self
                .step(number)
                .then_some((Call { id, order: number }, Lead { number: number + 1 }));
        } else if watch.quiet_ticks == QUIET_TICKS {
            watch.quiet_ticks = 0;
            self.rest(number);
        } else {
            watch.quiet_ticks += 1;
        }
        None
    }

    /// Stops watching, unless there is a call after all.
    fn rest(&self, number: u64) {
        self.is_watched.store(false, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.number.load(Ordering::Relaxed) != number {
            self.set_watched();
        }
    }

    /// Ends the turn of the call, unless the other has.
    fn step(&self, order: u64) -> bool {
        let (end, relaxed) = (order + 1, Ordering::Relaxed);
        self.number
            .compare_exchange(order, end, Ordering::AcqRel, relaxed)
            .is_ok()
    }
}
