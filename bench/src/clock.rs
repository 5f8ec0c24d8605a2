//! How long work takes.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of this thread for some work. Where the machine is shared, others would lengthen long work more than short, were
/// it measured by the time that passes.
pub(crate) fn nanoseconds(work: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let begin = now();
    work();
    now() - begin
}
