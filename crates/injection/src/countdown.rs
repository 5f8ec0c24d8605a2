//! Which step fails.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::{Injected, Step};

thread_local! {
    /// Whether there is a countdown: all that is looked at when there is none.
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static CURRENT: RefCell<Option<Arc<Countdown>>> = const { RefCell::new(None) };
}

/// Counts fallible steps, and makes one of them fail: the n-th from when it was set.
#[derive(Debug, Default)]
pub struct Countdown {
    /// How many steps it takes until one fails; 0 when none will.
    left: AtomicU32,
    failed: OnceLock<Step>,
    /// How many steps were made to fail, together with those of other countdowns.
    failures: Arc<AtomicU64>,
}

impl Countdown {
    /// Lets the `nth` step fail, counted from 1; with 0, none.
    pub fn new(nth: u32) -> Arc<Self> {
        Self::counted_in(nth, &Arc::default())
    }

    /// As [`new`](Self::new), and each failure adds one to `failures`.
    pub fn counted_in(nth: u32, failures: &Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU32::new(nth),
            failed: OnceLock::new(),
            failures: failures.clone(),
        })
    }

    /// How many steps it takes until one fails; 0 when none will, or one has.
    pub fn left(&self) -> u32 {
        self.left.load(Ordering::Relaxed)
    }

    /// Starts anew: lets the `nth` step from now fail.
    pub fn set(&self, nth: u32) {
        self.left.store(nth, Ordering::Relaxed);
    }

    /// The step that failed first.
    pub fn failed(&self) -> Option<Step> {
        self.failed.get().copied()
    }

    /// Runs a call whose steps are counted, those on this thread.
    pub fn during<R>(self: &Arc<Self>, call: impl FnOnce() -> R) -> R {
        let outer = CURRENT.replace(Some(self.clone()));
        let _restored = Restore(outer);
        COUNTING.set(true);
        call()
    }

    fn step(&self, step: Step) -> Result<(), Injected> {
        let counted = |left: u32| left.checked_sub(1);
        if self
            .left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, counted)
            != Ok(1)
        {
            return Ok(());
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failed.get_or_init(|| step);
        Err(Injected(step))
    }
}

/// Gives the thread back the countdown that it had, also after a panic.
struct Restore(Option<Arc<Countdown>>);

impl Drop for Restore {
    fn drop(&mut self) {
        COUNTING.set(self.0.is_some());
        CURRENT.replace(self.0.take());
    }
}

/// Passes a step of the current call.
///
/// # Errors
/// [`Injected`], when it is this step that shall fail.
#[inline]
pub fn step(step: Step) -> Result<(), Injected> {
    if COUNTING.get() {
        counted(step)
    } else {
        Ok(())
    }
}

#[cold]
fn counted(step: Step) -> Result<(), Injected> {
    CURRENT.with_borrow(|current| {
        current
            .as_ref()
            .map_or(Ok(()), |countdown| countdown.step(step))
    })
}
