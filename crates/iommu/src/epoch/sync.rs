//! What epochs are made of. Their models are explored with what loom has in its place.

#[cfg(all(loom, test))]
pub(super) use {
    loom::sync::atomic::{AtomicU64, fence},
    loom::thread::yield_now,
};
#[cfg(not(all(loom, test)))]
pub(super) use {
    parking_lot::Mutex,
    std::sync::atomic::{AtomicU64, fence},
    std::thread::yield_now,
};

/// Loom's, with the face of the other.
#[cfg(all(loom, test))]
#[derive(Debug, Default)]
pub(super) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(all(loom, test))]
impl<T> Mutex<T> {
    pub(super) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().expect("no model goes on after a panic")
    }
}
