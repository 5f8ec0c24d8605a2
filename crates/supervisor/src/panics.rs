//! A fault of a served file must not leave a client waiting for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`; `None` and an error in the log when it panics.
pub(crate) fn contain<T>(what: &str, work: impl FnOnce() -> T) -> Option<T> {
    // What the closure touched is behind locks that are not poisoned, and atomics.
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        tracing::error!("{what} panicked: this is a bug in swiommu");
    }
    result.ok()
}
