//! What several threads share. Its models are explored with loom's, which try every order and every stale value.

#[cfg(not(all(loom, test)))]
pub(super) use parking_lot::Mutex;
#[cfg(not(all(loom, test)))]
pub(super) use std::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(all(loom, test))]
pub(super) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(all(loom, test))]
pub(super) use model::Mutex;

#[cfg(all(loom, test))]
mod model {
    use loom::sync::MutexGuard;

    /// loom's lock with the interface of `parking_lot`'s.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}
