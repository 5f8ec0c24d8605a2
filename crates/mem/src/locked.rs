//! The pinned and locked page counters of an address space.

use std::sync::atomic::{AtomicI64, Ordering};

/// `VmPin` and `VmLck` of one address space, in pages, as far as we move them.
#[derive(Debug, Default)]
pub struct Locked {
    pinned: AtomicI64,
    locked: AtomicI64,
}

impl Locked {
    /// Pages pinned (`VmPin`), in every accounting mode.
    pub fn pinned(&self) -> i64 {
        self.pinned.load(Ordering::Relaxed)
    }

    /// Pages locked (`VmLck`), in the per-`mm` accounting mode.
    pub fn locked(&self) -> i64 {
        self.locked.load(Ordering::Relaxed)
    }

    pub(crate) fn add_pinned(&self, pages: i64) {
        self.pinned.fetch_add(pages, Ordering::Relaxed);
    }

    /// Returns how many are locked then.
    pub(crate) fn add_locked(&self, pages: i64) -> u64 {
        let before = self.locked.fetch_add(pages, Ordering::Relaxed);
        u64::try_from(before + pages).unwrap_or(0)
    }
}
