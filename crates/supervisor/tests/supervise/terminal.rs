//! A pseudo-terminal.

#![expect(
    unsafe_code,
    reason = "openpty(3), and what a child does before it executes"
)]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A terminal, from its keyboard's side.
pub(crate) struct Terminal {
    keyboard: File,
    line: OwnedFd,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let (mut keyboard, mut line) = (-1, -1);
        // SAFETY: both numbers are written; nothing else is asked for. The descriptors are new, and nobody else's.
        unsafe {
            let opened = libc::openpty(
                &raw mut keyboard,
                &raw mut line,
                std::ptr::null_mut(),
                std::ptr::null(),
                std::ptr::null(),
            );
            assert_eq!(opened, 0, "there is a terminal");
            Self {
                keyboard: File::from_raw_fd(keyboard),
                line: OwnedFd::from_raw_fd(line),
            }
        }
    }

    /// Makes it the controlling terminal of a session that the command leads.
    pub(crate) fn control(&self, command: &mut Command) {
        let line = self.line.as_raw_fd();
        let take = move || {
            // SAFETY: these calls touch no memory.
            let taken =
                unsafe { libc::setsid() >= 0 && libc::ioctl(line, libc::TIOCSCTTY, 0) == 0 };
            if taken {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        };
        // SAFETY: the closure only makes system calls.
        unsafe { command.pre_exec(take) };
    }

    /// Types Ctrl-C.
    pub(crate) fn interrupt(&self) {
        (&self.keyboard).write_all(b"\x03").expect("someone types");
    }
}
