//! The supervisor's end of a seccomp filter: `seccomp_unotify(2)`.

// UNSAFETY: the notification descriptor is driven by ioctls on C structs, which no crate wraps.
#![expect(unsafe_code, reason = "see above")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use swiommu_abi::Errno;
use swiommu_files::FdNumber;

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` of `linux/seccomp.h` (Linux 6.6).
const SYNC_WAKE_UP: u64 = 1;

/// The kernel's `struct seccomp_notif` may grow; this is room for it.
const NOTIFICATION_WORDS: usize = 32;

/// One trapped system call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notification {
    /// Names the notification while its thread waits.
    pub(crate) id: u64,
    /// Its place among all calls, in the order in which they were received.
    pub(crate) order: u64,
    /// The thread that waits.
    pub(crate) tid: i32,
    /// The call's number (`libc::SYS_*`).
    pub(crate) number: libc::c_long,
    /// Its arguments.
    pub(crate) args: [u64; 6],
}

impl Notification {
    /// An argument that the kernel takes as an `int`: its low half.
    #[expect(clippy::cast_possible_truncation, reason = "as the kernel does")]
    pub(crate) fn int(&self, index: usize) -> i32 {
        self.args[index] as i32
    }

    /// An argument that the kernel takes as an `unsigned int`.
    #[expect(clippy::cast_possible_truncation, reason = "as the kernel does")]
    pub(crate) fn uint(&self, index: usize) -> u32 {
        self.args[index] as u32
    }
}

/// How a trapped call ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    /// The kernel runs the call.
    Continue,
    /// The call returns this.
    Return(i64),
    /// The call fails.
    Fail(Errno),
}

impl<E: Into<Errno>> From<Result<i64, E>> for Reply {
    fn from(result: Result<i64, E>) -> Self {
        match result {
            Ok(value) => Self::Return(value),
            Err(errno) => Self::Fail(errno.into()),
        }
    }
}

/// What waiting for a notification yields.
#[derive(Debug)]
pub(crate) enum Received {
    /// A call to serve.
    Call(Notification),
    /// Its thread was interrupted or killed before we looked.
    Nothing,
    /// No task uses the filter any more.
    HungUp,
}

/// The notification descriptor.
#[derive(Debug)]
pub(crate) struct Listener {
    fd: OwnedFd,
    /// Before Linux 6.11 the wait did not end when the last task exited.
    polls: bool,
}

impl Listener {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let listener = Self {
            fd,
            polls: crate::probe::release() < (6, 11),
        };
        // SAFETY: the request takes its flags by value and touches no memory.
        let synchronous = unsafe {
            libc::ioctl(
                listener.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                SYNC_WAKE_UP,
            )
        };
        tracing::debug!(
            synchronous_wake_up = synchronous == 0,
            polls = listener.polls,
            "listening"
        );
        listener
    }

    /// Waits for the next trapped call, and gives it this place. One thread at a time.
    pub(crate) fn receive(&self, order: u64) -> Received {
        if self.polls && self.wait_until(PollFlags::IN).contains(PollFlags::HUP) {
            return Received::HungUp;
        }
        // The kernel refuses a buffer that is not zero.
        let mut room = [0u64; NOTIFICATION_WORDS];
        const {
            assert!(size_of::<libc::seccomp_notif>() <= 8 * NOTIFICATION_WORDS);
            assert!(align_of::<libc::seccomp_notif>() <= align_of::<u64>());
        }
        // SAFETY: the kernel writes one seccomp_notif; the room is larger than any kernel's, and outlives the call.
        let received = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                room.as_mut_ptr(),
            )
        };
        if received != 0 {
            let hung_up = self.is_hung_up();
            return if hung_up {
                Received::HungUp
            } else {
                Received::Nothing
            };
        }
        // SAFETY: the room is aligned for the struct, at least as large, initialised, and the struct is plain integers.
        let raw = unsafe { room.as_ptr().cast::<libc::seccomp_notif>().read() };
        Received::Call(Notification {
            id: raw.id,
            order,
            tid: raw.pid.cast_signed(),
            number: raw.data.nr.into(),
            args: raw.data.args,
        })
    }

    /// Whether no task uses the filter any more.
    pub(crate) fn is_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::empty())];
        let now = rustix::event::Timespec::default();
        poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
    }

    fn wait_until(&self, events: PollFlags) -> PollFlags {
        let mut fds = [PollFd::new(&self.fd, events)];
        match poll(&mut fds, None) {
            Ok(_) => fds[0].revents(),
            Err(_) => PollFlags::empty(),
        }
    }

    /// Ends a trapped call. A thread that is gone by now needs no answer.
    pub(crate) fn reply(&self, notification: &Notification, reply: Reply) {
        let (val, error, flags) = match reply {
            Reply::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE),
            Reply::Return(value) => (value, 0, 0),
            Reply::Fail(errno) => (0, -errno.code(), 0),
        };
        let mut response = libc::seccomp_notif_resp {
            id: notification.id,
            val,
            error,
            flags: u32::try_from(flags).unwrap_or(0),
        };
        // SAFETY: the kernel reads one seccomp_notif_resp, which lives through the call.
        let sent = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw mut response,
            )
        };
        if sent != 0 {
            tracing::trace!(tid = notification.tid, "the caller is gone");
        }
    }

    /// Whether a thread still waits for this notification, so that its number still means that thread.
    pub(crate) fn is_waiting(&self, id: u64) -> bool {
        // SAFETY: the kernel reads eight bytes, which live through the call.
        let valid = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
                &raw const id,
            )
        };
        valid == 0
    }

    /// Opens a copy of `file` in the waiting thread's descriptor table: at a free number, or at `at`.
    ///
    /// The call goes on waiting, so that our own copy can be closed before the client runs.
    pub(crate) fn add_fd(
        &self,
        notification: &Notification,
        file: BorrowedFd<'_>,
        at: Option<FdNumber>,
        close_on_exec: CloseOnExec,
    ) -> Result<FdNumber, Errno> {
        let (flags, newfd) = match at {
            Some(FdNumber(number)) => (libc::SECCOMP_ADDFD_FLAG_SETFD, number.cast_unsigned()),
            None => (0, 0),
        };
        let request = libc::seccomp_notif_addfd {
            id: notification.id,
            flags: u32::try_from(flags).unwrap_or(0),
            srcfd: file.as_raw_fd().cast_unsigned(),
            newfd,
            newfd_flags: match close_on_exec {
                CloseOnExec::Yes => libc::O_CLOEXEC.cast_unsigned(),
                CloseOnExec::No => 0,
            },
        };
        // SAFETY: the kernel reads one seccomp_notif_addfd, which lives through the call; srcfd is open, as it is borrowed.
        let number = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ADDFD,
                &raw const request,
            )
        };
        if number >= 0 {
            Ok(FdNumber(number))
        } else {
            let error = std::io::Error::last_os_error();
            Err(error.raw_os_error().map_or(Errno::EMFILE, Errno::from))
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether a descriptor is closed by `execve(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CloseOnExec {
    Yes,
    No,
}

/// Why a filter cannot be installed, as `seccomp(2)` reports it, and the filter's descriptor otherwise.
///
/// Async-signal-safe: it runs between `fork` and `execve`.
pub(crate) fn install(program: &[libc::sock_filter]) -> Result<OwnedFd, i32> {
    use std::os::fd::FromRawFd;

    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
        | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
        | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    let fprog = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or(0),
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from `filter`, which is a live slice of that length, and writes none.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER),
            flags,
            &raw const fprog,
        )
    };
    match i32::try_from(fd) {
        // SAFETY: a successful call with NEW_LISTENER returns a new descriptor that nobody else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EINVAL)),
    }
}
