//! Starting the tree of processes: supervisor → guardian → client and whatever it starts.
//!
//! The guardian is the parent and the subreaper of the whole tree. It and the supervisor watch each other: whichever dies, the
//! other kills the tree.

// UNSAFETY: fork(2) and execve(2) have no safe form that leaves room for a seccomp filter between the two.
#![expect(unsafe_code, reason = "see above")]

mod client;
mod guardian;
mod program;

pub(crate) use guardian::kill_children;
pub(crate) use program::Program;

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, PidfdFlags, WaitOptions, getpid, pidfd_open, waitpid};

use crate::channel::{self, Message};
use crate::config::NewPrivileges;
use crate::error::Error;
use crate::signals::Mask;
use crate::waiting::is_readable;

/// How long the end waits for processes that do not die: one that waits for a device or a network file system.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the new processes need to know.
pub(crate) struct Plan<'a> {
    pub(crate) program: &'a Program,
    pub(crate) filter: &'a [libc::sock_filter],
    pub(crate) new_privileges: NewPrivileges,
    /// The signal mask of the program.
    pub(crate) mask: Mask,
}

/// The started tree. Dropping it kills what is left of it.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Where the guardian and the client report. The tree is killed when it is closed.
    control: OwnedFd,
    guardian: Pid,
}

impl Tree {
    /// Forks the guardian, which forks the client.
    pub(crate) fn start(plan: &Plan<'_>) -> Result<Self, Error> {
        let (ours, theirs) = channel::pair().map_err(Error::host("cannot make a socket pair"))?;
        let supervisor = pidfd_open(getpid(), PidfdFlags::empty())
            .map_err(Error::host("cannot open a pidfd of this process"))?;
        // SAFETY: the new process runs `guardian::run`, which never returns into this stack. It allocates, which the C
        // libraries of Linux allow after a fork of a process with several threads, and takes no lock of ours.
        match unsafe { libc::fork() } {
            0 => guardian::run(plan, &theirs, &supervisor),
            pid => match Pid::from_raw(pid).filter(|_| pid > 0) {
                Some(guardian) => Ok(Self {
                    control: ours,
                    guardian,
                }),
                None => Err(Error::host("cannot start a process")(
                    std::io::Error::last_os_error(),
                )),
            },
        }
    }

    /// Where the guardian and the client report.
    pub(crate) fn control(&self) -> &OwnedFd {
        &self.control
    }

    /// The next report; `None` when the guardian is gone.
    pub(crate) fn receive(&self) -> Result<Option<Message>, Error> {
        channel::receive(&self.control).map_err(Error::host("cannot hear from the guardian"))
    }

    /// The guardian's process id.
    pub(crate) fn guardian(&self) -> Pid {
        self.guardian
    }

    /// Waits for the guardian's end: whether it found nothing left to guard.
    pub(crate) fn guardian_ended_well(&self) -> bool {
        let ended = pidfd_open(self.guardian, PidfdFlags::empty())
            .is_ok_and(|guardian| is_readable(guardian, PATIENCE));
        if !ended {
            return false;
        }
        loop {
            match waitpid(Some(self.guardian), WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                Ok(Some((_, status))) => return status.exit_status() == Some(0),
                Ok(None) | Err(_) => return false,
            }
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // The guardian kills the tree when it sees this end shut, and exits when nothing is left.
        let _ = shutdown(&self.control, Shutdown::Both);
        self.guardian_ended_well();
    }
}
