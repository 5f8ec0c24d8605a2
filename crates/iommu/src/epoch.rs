//! Knowing when nobody uses an old translation any more.
//!
//! Whoever translates addresses does it through a [`Reader`], and holds a [`Guard`] from before the walk until after the
//! last byte is copied. Whoever unmaps first makes the translation unreachable, then calls [`Epochs::synchronize`]: it
//! returns when every guard that existed at the call is gone. After it, no access that used the old translation is in
//! flight, and the page tables that were taken out can be reused.
//!
//! Entering is one plain store. What makes that enough is `membarrier(2)` on the other side: it runs a full barrier on
//! every thread of the process, so a reader either shows its store to the synchronizer or sees the unlinked table. Where
//! the kernel has no membarrier, each entry pays for a fence instead.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence, fence};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::thread::{MembarrierCommand, membarrier};

/// After so long, a wait says in the log who is in the way.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// The readers of one machine's page tables, and the means to wait for them.
pub struct Epochs {
    slots: Mutex<Vec<Arc<Slot>>>,
    barrier: Barrier,
}

/// Odd while the reader is inside, even while it is not; it never returns to an earlier value.
#[derive(Default)]
struct Slot {
    epoch: AtomicU64,
    name: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Barrier {
    Membarrier,
    Fence,
}

impl Epochs {
    /// No readers yet.
    pub fn new() -> Arc<Self> {
        let registered = membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok();
        let barrier = if registered {
            Barrier::Membarrier
        } else {
            Barrier::Fence
        };
        Arc::new(Self {
            slots: Mutex::default(),
            barrier,
        })
    }

    /// A reader of its own for a DMA port or a thread. The name is for the log.
    pub fn reader(self: &Arc<Self>, name: impl Into<String>) -> Reader {
        let slot = Arc::new(Slot {
            epoch: AtomicU64::new(0),
            name: name.into(),
        });
        self.slots.lock().push(slot.clone());
        Reader {
            epochs: self.clone(),
            slot,
        }
    }

    /// Returns when every guard that existed at the call is gone.
    pub fn synchronize(&self) {
        let slots = self.slots.lock().clone();
        if slots.is_empty() {
            return;
        }
        match self.barrier {
            Barrier::Membarrier => {
                // A fork loses the registration; a fence alone would then be too weak.
                while membarrier(MembarrierCommand::PrivateExpedited).is_err() {
                    let _ = membarrier(MembarrierCommand::RegisterPrivateExpedited);
                    std::thread::yield_now();
                }
            }
            Barrier::Fence => fence(Ordering::SeqCst),
        }
        for slot in &slots {
            slot.wait();
        }
    }
}

impl Slot {
    fn wait(&self) {
        let seen = self.epoch.load(Ordering::Acquire);
        if seen.is_multiple_of(2) {
            return;
        }
        let started = Instant::now();
        let mut told = false;
        while self.epoch.load(Ordering::Acquire) == seen {
            std::thread::yield_now();
            if !told && started.elapsed() > LONG_WAIT {
                tracing::warn!(
                    reader = self.name,
                    "an unmap waits for DMA that has not finished for a second"
                );
                told = true;
            }
        }
    }
}

impl fmt::Debug for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epochs")
            .field("readers", &self.slots.lock().len())
            .field("barrier", &self.barrier)
            .finish()
    }
}

/// The right to read page tables, for one thread at a time.
pub struct Reader {
    epochs: Arc<Epochs>,
    slot: Arc<Slot>,
}

impl Reader {
    /// Starts one access: translations found while the guard lives stay usable until it is dropped.
    #[inline]
    pub fn enter(&mut self) -> Guard<'_> {
        let epoch = self.slot.epoch.load(Ordering::Relaxed);
        self.slot
            .epoch
            .store(epoch.wrapping_add(1), Ordering::Relaxed);
        match self.epochs.barrier {
            Barrier::Membarrier => compiler_fence(Ordering::SeqCst),
            Barrier::Fence => fence(Ordering::SeqCst),
        }
        Guard { slot: &self.slot }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.epochs
            .slots
            .lock()
            .retain(|slot| !Arc::ptr_eq(slot, &self.slot));
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("name", &self.slot.name)
            .finish_non_exhaustive()
    }
}

/// One access in progress.
#[must_use = "the access ends when the guard is dropped"]
pub struct Guard<'a> {
    slot: &'a Slot,
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        let epoch = self.slot.epoch.load(Ordering::Relaxed);
        self.slot
            .epoch
            .store(epoch.wrapping_add(1), Ordering::Release);
    }
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("reader", &self.slot.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn synchronize_waits_for_a_guard_that_existed() {
        let epochs = Epochs::new();
        let mut reader = epochs.reader("a");
        let (left, inside) = (Arc::new(AtomicBool::new(false)), std::sync::mpsc::channel());
        let at_exit = left.clone();
        let thread = std::thread::spawn(move || {
            let guard = reader.enter();
            inside.0.send(()).unwrap();
            for _ in 0..1000 {
                std::thread::yield_now();
            }
            at_exit.store(true, Ordering::Relaxed);
            drop(guard);
            reader
        });
        inside.1.recv().unwrap();
        epochs.synchronize();
        assert!(
            left.load(Ordering::Relaxed),
            "synchronize returned while a guard was held"
        );
        drop(thread.join().unwrap());
        assert_eq!(epochs.slots.lock().len(), 0);
    }

    /// A value is poisoned only after `synchronize`; a reader that could still see it poisoned under its guard would
    /// mean that the wait ended too early.
    #[test]
    fn nothing_is_reused_under_a_guard() {
        let epochs = Epochs::new();
        let current = Arc::new(AtomicU64::new(0));
        let values: Arc<[AtomicU64; 2]> = Arc::default();
        let threads: Vec<_> = (0..2)
            .map(|n| {
                let (mut reader, current, values) = (
                    epochs.reader(format!("reader {n}")),
                    current.clone(),
                    values.clone(),
                );
                std::thread::spawn(move || {
                    for _ in 0..20_000 {
                        let guard = reader.enter();
                        let index = usize::try_from(current.load(Ordering::Acquire)).unwrap();
                        for _ in 0..4 {
                            assert_eq!(
                                values[index].load(Ordering::Relaxed),
                                0,
                                "read after reuse"
                            );
                        }
                        drop(guard);
                    }
                })
            })
            .collect();
        for round in 0..2_000_u64 {
            let (old, new) = (usize::try_from(round % 2).unwrap(), (round + 1) % 2);
            values[usize::try_from(new).unwrap()].store(0, Ordering::Relaxed);
            current.store(new, Ordering::Release);
            epochs.synchronize();
            values[old].store(0xdead, Ordering::Relaxed);
        }
        // The last poisoned value is not current; readers finish on the good one.
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
