//! Bare seccomp user notification, `seccomp_unotify(2)`: the floor under every trapped call.

// UNSAFETY: seccomp(2), its ioctls and process_vm_readv(2) take raw structs.
#![expect(unsafe_code, reason = "see above")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use swiommu_abi::ioas::IommuIoasAlloc;
use swiommu_abi::object::IommuDestroy;

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` of `linux/seccomp.h`.
const SYNC_WAKE_UP: u64 = 1;

/// Where a filtered program has the descriptor of its notifications.
const LISTENER: RawFd = 100;

/// Which calls wait for an answer.
#[derive(Clone, Copy, Debug)]
enum Traps {
    /// Those of the program that has clients measured: `ioctl`, `openat`, `statx`.
    Measured,
    /// All.
    All,
}

fn instruction(code: u32, (yes, no): (u8, u8), k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: yes,
        jf: no,
        k,
    }
}

impl Traps {
    fn program(self) -> Vec<libc::sock_filter> {
        let notify = instruction(libc::BPF_RET, (0, 0), libc::SECCOMP_RET_USER_NOTIF);
        let numbers = match self {
            Self::All => return vec![notify],
            Self::Measured => [libc::SYS_ioctl, libc::SYS_openat, libc::SYS_statx],
        };
        let number = instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, (0, 0), 0);
        let mut program = vec![number];
        for (n, number) in (0..).zip(numbers) {
            let is = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
            let to_notify = numbers.len() as u8 - n;
            program.push(instruction(is, (to_notify, 0), number as u32));
        }
        program.extend([
            instruction(libc::BPF_RET, (0, 0), libc::SECCOMP_RET_ALLOW),
            notify,
        ]);
        program
    }
}

/// A trapped call.
struct Call(libc::seccomp_notif);

impl Call {
    fn number(&self) -> i64 {
        self.0.data.nr.into()
    }
}

/// How a trapped call ends.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// The kernel runs it.
    Continue,
    /// It returns 0.
    Zero,
}

/// The descriptor of notifications.
struct Listener(OwnedFd);

impl Listener {
    /// Traps calls of the calling thread and of what it starts. Async-signal-safe but for the memory of the program.
    fn install(program: &[libc::sock_filter]) -> io::Result<OwnedFd> {
        rustix::thread::set_no_new_privs(true)?;
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
            | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
            | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        let program = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_ptr().cast_mut(),
        };
        let operation = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: the kernel copies `len` instructions from the slice that `program` points to.
        let fd = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call returned a new descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    }

    fn new(fd: OwnedFd) -> Self {
        // SAFETY: the request takes its flags by value.
        unsafe {
            libc::ioctl(
                fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                SYNC_WAKE_UP,
            )
        };
        Self(fd)
    }

    /// Waits for the next call; `None` when nobody is left to make one, or it is gone already.
    fn receive(&self) -> Option<Call> {
        let mut call = MaybeUninit::<libc::seccomp_notif>::zeroed();
        // SAFETY: the kernel writes one struct, for which there is room.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                call.as_mut_ptr(),
            )
        };
        // SAFETY: plain integers, zeroed at least.
        (result == 0).then(|| Call(unsafe { call.assume_init() }))
    }

    fn answer(&self, call: &Call, answer: Answer) {
        let flags = match answer {
            Answer::Continue => libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            Answer::Zero => 0,
        };
        let mut response = libc::seccomp_notif_resp {
            id: call.0.id,
            val: 0,
            error: 0,
            flags,
        };
        // SAFETY: the kernel reads one struct, which lives through the call.
        unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw mut response,
            )
        };
    }
}

/// How many system calls `work` makes between the two times that it calls what it is given.
pub(crate) fn system_calls(work: impl FnOnce(&dyn Fn()) + Send) -> anyhow::Result<u64> {
    // The filtered thread cannot wake anybody before we have its descriptor, so that we look until it is there.
    let installed = Mutex::new(None);
    thread::scope(|scope| {
        scope.spawn(|| {
            let listener = Listener::install(&Traps::All.program());
            let failed = listener.is_err();
            if let Ok(mut installed) = installed.lock() {
                *installed = Some(listener);
            }
            if !failed {
                work(&|| {
                    let _ = rustix::process::getppid();
                });
            }
        });
        let listener = loop {
            match installed.lock().map(|mut installed| installed.take()) {
                Ok(None) => thread::yield_now(),
                Ok(Some(listener)) => break Listener::new(listener?),
                Err(_) => bail!("the counted thread panicked"),
            }
        };
        Ok(count(&listener))
    })
}

/// Lets all calls continue, to the last. Returns how many there are between two marks.
fn count(listener: &Listener) -> u64 {
    let mut marks = 0;
    let mut calls = 0;
    loop {
        let mut fds = [PollFd::new(&listener.0, PollFlags::IN)];
        if poll(&mut fds, None).is_ok() && fds[0].revents().contains(PollFlags::HUP) {
            return calls;
        }
        let Some(call) = listener.receive() else {
            continue;
        };
        match call.number() {
            libc::SYS_getppid => marks += 1,
            _ if marks == 1 => calls += 1,
            _ => {}
        }
        listener.answer(&call, Answer::Continue);
    }
}

/// Runs a program, and does the least that can be done for its calls: structs of IOMMUFD are read and written back, all
/// else is continued.
pub(crate) fn supervise(command: &mut Command) -> anyhow::Result<ExitCode> {
    let program = Traps::Measured.program();
    let filter = move || {
        let listener = Listener::install(&program)?;
        // SAFETY: a copy under a number that nothing in the new process has.
        match unsafe { libc::dup2(listener.as_raw_fd(), LISTENER) } {
            LISTENER => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: what runs between fork and execve makes system calls only.
    let mut child = unsafe { command.pre_exec(filter) }.spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let process = pidfd_open(
        pid.context("a child has a process ID")?,
        PidfdFlags::empty(),
    )?;
    let listener = pidfd_getfd(process, LISTENER, PidfdGetfdFlags::empty())?;
    thread::spawn(move || serve(&Listener::new(listener)));
    let status = child.wait()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn serve(listener: &Listener) {
    while let Some(call) = listener.receive() {
        let answer = if call.number() == libc::SYS_ioctl {
            copy_twice(&call)
        } else {
            Answer::Continue
        };
        listener.answer(&call, answer);
    }
}

/// Reads the struct of a command, and writes it back.
fn copy_twice(call: &Call) -> Answer {
    let len = match call.0.data.args[1] as u32 {
        swiommu_abi::object::IOMMU_DESTROY => size_of::<IommuDestroy>(),
        swiommu_abi::ioas::IOMMU_IOAS_ALLOC => size_of::<IommuIoasAlloc>(),
        _ => return Answer::Continue,
    };
    let mut bytes = [0_u8; size_of::<IommuIoasAlloc>()];
    let local = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: len,
    };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(call.0.data.args[2] as usize),
        iov_len: len,
    };
    let pid = call.0.pid.cast_signed();
    // SAFETY: the kernel writes and then reads `len` bytes of `bytes`, which has as many; the other address is of another
    // process, which waits.
    unsafe {
        libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0);
        libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0);
    }
    Answer::Zero
}
