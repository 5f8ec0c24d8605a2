//! The client's process, from the fork to the program's first instruction.

#![expect(
    unsafe_code,
    reason = "execve(2) and sigaction(2): see the parent module"
)]

use std::os::fd::OwnedFd;

use super::Plan;
use crate::channel::{self, Message, Stage};
use crate::config::NewPrivileges;
use crate::listener;

/// Becomes the program. Allocates nothing.
pub(super) fn run(plan: &Plan<'_>, channel: &OwnedFd, on_child_exit: &libc::sigaction) -> ! {
    // SAFETY: the actions are valid: one was in force before, the other is the default.
    unsafe {
        libc::sigaction(libc::SIGCHLD, on_child_exit, std::ptr::null_mut());
        // Rust's runtime ignores SIGPIPE, and execve would keep that.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    plan.mask.set();

    let (stage, errno) = start(plan, channel);
    let _ = channel::send(channel, &Message::Failed { stage, errno });
    exit(127)
}

/// Returns only when the program does not start.
fn start(plan: &Plan<'_>, channel: &OwnedFd) -> (Stage, i32) {
    if plan.new_privileges == NewPrivileges::Deny
        && let Err(errno) = rustix::thread::set_no_new_privs(true)
    {
        return (Stage::Filter, errno.raw_os_error());
    }
    let listener = match listener::install(plan.filter) {
        Ok(listener) => listener,
        Err(errno) => return (Stage::Filter, errno),
    };
    let filtered = Message::Filtered {
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        listener,
    };
    if let Err(errno) = channel::send(channel, &filtered) {
        return (Stage::Handover, errno.raw_os_error());
    }
    // The supervisor has the only copy from here on, so that the filter ends with it.
    drop(filtered);
    (Stage::Execute, execute(plan))
}

/// As `execvp(3)`: the first candidate that exists decides, except that one without permission is only remembered.
fn execute(plan: &Plan<'_>) -> i32 {
    let mut denied = false;
    for candidate in &plan.program.candidates {
        // SAFETY: the path is a C string; the arrays are null-terminated and point to C strings that live until now.
        unsafe {
            libc::execve(
                candidate.as_ptr(),
                plan.program.arguments.as_ptr(),
                plan.program.environment.as_ptr(),
            )
        };
        let errno = std::io::Error::last_os_error().raw_os_error();
        match errno.unwrap_or(libc::ENOENT) {
            libc::ENOENT | libc::ENOTDIR | libc::ENODEV | libc::ESTALE | libc::ETIMEDOUT => {}
            libc::EACCES => denied = true,
            errno => return errno,
        }
    }
    if denied { libc::EACCES } else { libc::ENOENT }
}

/// Ends the process without running anything of the supervisor's.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: _exit only ends the process.
    unsafe { libc::_exit(code) }
}
