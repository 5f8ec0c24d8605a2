//! Calls that are still being served while others are received.
//!
//! A thread that is killed does not wait for its call to be served, so its process can be gone, and known to be gone, before the call
//! is over. In the kernel that cannot be: a process ends after its calls. So whoever serves a later call first waits for the calls
//! of the dead.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::listener::{Listener, Notification};

/// The calls that are still being served while others are received.
#[derive(Debug, Default)]
pub(crate) struct LongCalls {
    count: AtomicUsize,
    calls: Mutex<Vec<Call>>,
    ended: Condvar,
}

/// A call by its notification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    pub(crate) id: u64,
    pub(crate) order: u64,
}

impl LongCalls {
    pub(crate) fn add(&self, call: Call) {
        self.calls.lock().push(call);
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// The call that was received in this place is over, and all that it held is released.
    pub(crate) fn end(&self, order: u64) {
        self.calls.lock().retain(|call| call.order != order);
        self.count.fetch_sub(1, Ordering::SeqCst);
        self.ended.notify_all();
    }

    /// Waits for the end of all calls before this one whose threads are dead.
    pub(crate) fn wait_for_the_dead(&self, listener: &Listener, own: &Notification) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut calls = self.calls.lock();
        // Only earlier calls: so no two wait for each other.
        while calls
            .iter()
            .any(|call| call.order < own.order && !listener.is_waiting(call.id))
        {
            self.ended.wait(&mut calls);
        }
    }
}
