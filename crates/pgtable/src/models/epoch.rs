//! Waiting for a reader.

use loom::sync::atomic::{AtomicU64, Ordering, fence};
use loom::thread;

/// What lies between taking tables out and giving them back: the protocol of `swiommu_iommu::Epochs` for one reader, where
/// there is no `membarrier(2)`.
pub(super) struct Epoch(AtomicU64);

impl Epoch {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Runs a walk, or more, as one access.
    pub(super) fn access<T>(&self, walk: impl FnOnce() -> T) -> T {
        let epoch = self.0.load(Ordering::Relaxed);
        self.0.store(epoch + 1, Ordering::Release);
        fence(Ordering::SeqCst);
        let found = walk();
        self.0.store(epoch + 2, Ordering::Release);
        found
    }

    /// Returns when the access that is in progress at the call is over.
    pub(super) fn synchronize(&self) {
        fence(Ordering::SeqCst);
        let seen = self.0.load(Ordering::Acquire);
        while seen % 2 == 1 && self.0.load(Ordering::Acquire) == seen {
            thread::yield_now();
        }
    }
}
