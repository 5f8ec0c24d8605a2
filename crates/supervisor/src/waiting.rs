//! Waiting for a descriptor, for some time.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A duration as system calls take it.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// Waits until there is something to read; `false` when nothing comes in that time.
pub(crate) fn is_readable(file: impl AsFd, patience: Duration) -> bool {
    let mut fds = [PollFd::new(&file, PollFlags::IN)];
    poll(&mut fds, Some(&timespec(patience))).is_ok_and(|ready| ready > 0)
}
