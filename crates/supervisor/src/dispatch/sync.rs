//! The atomics of the turn. Its models are explored with those of loom.

#[cfg(all(loom, test))]
pub(super) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
#[cfg(not(all(loom, test)))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
