//! A forked child under control.

#![expect(unsafe_code, reason = "forks")]

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::area::Area;

/// How long anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A child process, killed when dropped.
pub(crate) struct Child {
    pid: libc::pid_t,
    line: Line,
    reaped: bool,
}

/// One end of a line between parent and child on which either waits for the other.
pub(crate) struct Line {
    hear: OwnedFd,
    speak: OwnedFd,
}

impl Line {
    pub(crate) fn tell(&self) {
        assert_eq!(rustix::io::write(&self.speak, &[1]), Ok(1));
    }

    /// Waits for the other side to tell.
    pub(crate) fn wait(&self) {
        let mut readable = [PollFd::new(&self.hear, PollFlags::IN)];
        let patience = PATIENCE.try_into().unwrap();
        assert_eq!(
            poll(&mut readable, Some(&patience)),
            Ok(1),
            "the other side is silent"
        );
        assert_eq!(
            rustix::io::read(self.hear.as_fd(), &mut [0]),
            Ok(1),
            "the other side is gone"
        );
    }
}

impl Child {
    /// Forks. The child runs `body` and then waits to be killed. `body` must not allocate: another thread may have held the
    /// allocator when we forked.
    pub(crate) fn spawn(body: impl FnOnce(&Line)) -> Self {
        let (hear, their_speak) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (their_hear, speak) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        // SAFETY: the child calls only what is safe after a fork: system calls, and `body`, of which the same is asked.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            // SAFETY: a child that outlives us is killed; plain system calls.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let line = Line {
                hear: their_hear,
                speak: their_speak,
            };
            body(&line);
            loop {
                // SAFETY: waits for the signal that ends the process.
                unsafe { libc::pause() };
            }
        }
        Self {
            pid,
            line: Line { hear, speak },
            reaped: false,
        }
    }

    /// A child that does nothing.
    pub(crate) fn idle() -> Self {
        Self::spawn(|_| {})
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// The line to the child.
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    /// Kills the child; when this returns it does not exist any more.
    pub(crate) fn kill(&mut self) {
        if !self.reaped {
            // SAFETY: our own child, not waited for yet, so the id is its.
            unsafe {
                libc::kill(self.pid, libc::SIGKILL);
                libc::waitpid(self.pid, std::ptr::null_mut(), 0);
            }
            self.reaped = true;
        }
    }

    /// Waits until the child, which exits by itself, does not exist any more.
    pub(crate) fn join(&mut self) {
        if !self.reaped {
            // SAFETY: our own child, not waited for yet, so the id is its.
            unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
            self.reaped = true;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ends a child without running anything of its parent's.
pub(crate) fn exit() -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) }
}

/// Replaces the child's program by one that sleeps; returns when that fails.
pub(crate) fn exec(program: &std::ffi::CStr) {
    let sleep = [program.as_ptr(), c"600".as_ptr(), std::ptr::null()];
    // SAFETY: a null-terminated array of null-terminated strings.
    unsafe { libc::execv(program.as_ptr(), sleep.as_ptr()) };
}

/// Makes a child that shares all memory of the calling process. It sleeps until the first byte of `go` is not 0, and then
/// executes another program. Returns its id.
pub(crate) fn share_memory(stack: &Area, go: &Area) -> libc::pid_t {
    extern "C" fn wait_and_exec(go: *mut libc::c_void) -> libc::c_int {
        // SAFETY: plain system calls, and a look at memory that stays mapped.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            while go.cast::<u8>().read_volatile() == 0 {
                libc::usleep(1000);
            }
        }
        exec(c"/bin/sleep");
        exit()
    }
    let top = usize::try_from(stack.range().last().get()).unwrap() & !15;
    let go = usize::try_from(go.range().start().get()).unwrap();
    // SAFETY: the stack is mapped, ours alone, and never unmapped in the calling child; nor is `go`.
    unsafe {
        libc::clone(
            wait_and_exec,
            std::ptr::without_provenance_mut(top),
            libc::CLONE_VM | libc::SIGCHLD,
            std::ptr::with_exposed_provenance_mut(go),
        )
    }
}
