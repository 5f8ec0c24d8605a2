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
//!
//! The variant with fences is explored by loom. The other differs in one thing only: the fence of each entry is executed by
//! the kernel, at some point between the two ends of the synchronizer's call. That it is, is what `membarrier(2)` promises;
//! that the compiler keeps the store before what follows, so that the point is before or after both, is what the compiler
//! fence is for.

#[cfg(all(loom, test))]
mod models;
mod sync;
#[cfg(all(test, not(loom)))]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{Ordering, compiler_fence};
use std::time::{Duration, Instant};

use rustix::thread::{MembarrierCommand, membarrier};
use swiommu_sabotage::Fault;

use sync::{AtomicU64, Mutex, fence, yield_now};

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
        Arc::new(Self {
            slots: Mutex::default(),
            barrier: Barrier::choose(),
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
        if slots.is_empty() || Fault::SkipWait.is_on() {
            return;
        }
        match self.barrier {
            Barrier::Membarrier => {
                // A fork loses the registration; a fence alone would then be too weak.
                while membarrier(MembarrierCommand::PrivateExpedited).is_err() {
                    let _ = membarrier(MembarrierCommand::RegisterPrivateExpedited);
                    yield_now();
                }
            }
            Barrier::Fence => fence(Ordering::SeqCst),
        }
        for slot in &slots {
            slot.wait();
        }
    }
}

impl Barrier {
    fn choose() -> Self {
        // Loom does not know what the kernel does to other threads.
        let can_register = !cfg!(all(loom, test));
        if can_register && membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok() {
            Self::Membarrier
        } else {
            Self::Fence
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
            yield_now();
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
        // Who waits for the access before this one may miss its end and see this.
        self.slot
            .epoch
            .store(epoch.wrapping_add(1), Ordering::Release);
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
