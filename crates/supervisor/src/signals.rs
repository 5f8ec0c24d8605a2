//! The signals that the supervisor takes in the program's place.

// UNSAFETY: signal masks and signalfd(2) are C structs, which rustix leaves to libc.
#![expect(unsafe_code, reason = "see above")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Signals that are about this process itself and so are not passed on.
const OWN: [libc::c_int; 12] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGCHLD,
    libc::SIGPIPE,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGURG,
];

/// A signal mask, as it was.
#[derive(Clone, Copy)]
pub(crate) struct Mask(libc::sigset_t);

impl Mask {
    /// Makes it the mask of the calling thread. Async-signal-safe.
    pub(crate) fn set(&self) {
        // SAFETY: the set is initialised, and the old mask is not asked for.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }

    /// Blocks every signal in the calling thread. Async-signal-safe.
    pub(crate) fn block_all() {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises the set, which pthread_sigmask then reads.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
        }
    }
}

/// One signal that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arrived {
    pub(crate) signal: i32,
    /// The kernel sent it: the terminal, which sent it to the program too.
    pub(crate) from_kernel: bool,
    /// The process that sent it; 0 when none did.
    pub(crate) sender: i32,
}

/// Blocks signals in the calling thread and the threads it starts, and receives them, as long as it lives.
pub(crate) struct Signals {
    fd: OwnedFd,
    before: Mask,
}

impl Signals {
    pub(crate) fn take() -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises the set before the calls that read it, and pthread_sigmask initialises `before`
        // when it succeeds, which it does for a valid `how`. A successful signalfd returns a descriptor of our own.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            for signal in OWN {
                libc::sigdelset(set.as_mut_ptr(), signal);
            }
            let failed = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr());
            if failed != 0 {
                return Err(io::Error::from_raw_os_error(failed));
            }
            let before = Mask(before.assume_init());
            let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                let error = io::Error::last_os_error();
                before.set();
                return Err(error);
            }
            Ok(Self {
                fd: OwnedFd::from_raw_fd(fd),
                before,
            })
        }
    }

    /// The mask of the calling thread before.
    pub(crate) fn before(&self) -> Mask {
        self.before
    }

    /// The next signal that has arrived, if any.
    pub(crate) fn next(&self) -> Option<Arrived> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        // SAFETY: the kernel writes at most one struct into room for one.
        let read = unsafe {
            libc::read(
                self.fd.as_raw_fd(),
                info.as_mut_ptr().cast(),
                size_of::<libc::signalfd_siginfo>(),
            )
        };
        if read != size_of::<libc::signalfd_siginfo>().cast_signed() {
            return None;
        }
        // SAFETY: the struct is plain integers, and initialised.
        let info = unsafe { info.assume_init() };
        let from_process = matches!(
            info.ssi_code,
            libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL
        );
        Some(Arrived {
            signal: info.ssi_signo.cast_signed(),
            from_kernel: info.ssi_code == libc::SI_KERNEL,
            sender: if from_process {
                info.ssi_pid.cast_signed()
            } else {
                0
            },
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // What came after the program's end was meant for the program.
        while self.next().is_some() {}
        self.before.set();
    }
}
