//! A call that is really trapped, and what may be done to its caller.

// UNSAFETY: fork(2), and a system call of the child.
#![expect(unsafe_code, reason = "see above")]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_getfd,
    pidfd_open, waitpid,
};
use swiommu_addr::Hva;

use super::{Advice, Finding, Verdict};
use crate::channel::{self, Message, Stage};
use crate::config::MemoryWatch;
use crate::listener::{self, CloseOnExec, Listener, Received, Reply};
use crate::remote::RemotePath;
use crate::waiting::is_readable;
use crate::{filter, placeholder};

/// What the child asks for.
const PATH: &std::ffi::CStr = c"/swiommu-trial";

/// How long a step of the child may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What happened.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each thing that is tried"
)]
struct Trial {
    /// Why there is no filter: the stage and the errno.
    refused: Option<(Stage, i32)>,
    trapped: bool,
    memory: bool,
    descriptors: bool,
    installs: bool,
    answered: bool,
}

pub(super) fn findings() -> Vec<Finding> {
    let trial = match Child::start() {
        Ok(child) => child.watch(),
        Err(errno) => Trial {
            refused: Some((Stage::Fork, errno)),
            ..Trial::default()
        },
    };
    let mut findings = vec![trial.notifications()];
    if trial.trapped {
        findings.extend([
            trial.of_memory(),
            trial.of_descriptors(),
            trial.of_installs(),
        ]);
    }
    findings
}

impl Trial {
    fn notifications(&self) -> Finding {
        let subject = "seccomp notifications";
        let missing = |found: String, remedy| {
            let cost = "no call can be trapped";
            Finding::lacks(Verdict::Missing, subject, found, Advice { cost, remedy })
        };
        match self.refused {
            Some((Stage::Filter, libc::EBUSY)) => missing(
                "this process is already supervised through one".to_owned(),
                "run swiommu outside of the other supervisor or container",
            ),
            Some((stage, errno)) => {
                let error = std::io::Error::from_raw_os_error(errno);
                missing(
                    format!("{stage:?}: {error}"),
                    "use Linux 5.19 or newer with CONFIG_SECCOMP_FILTER, and allow seccomp(2) in containers",
                )
            }
            None if self.trapped && self.answered => {
                Finding::good(subject, "a call was trapped and answered")
            }
            None => missing(
                "a trapped call was not answered in time".to_owned(),
                "report this: it should work here",
            ),
        }
    }

    fn of_memory(&self) -> Finding {
        let advice = Advice {
            cost: "the paths and structs of a program cannot be read, so none of its calls is served",
            remedy: "allow process_vm_readv(2) in the container's seccomp profile, or sysctl kernel.yama.ptrace_scope=1",
        };
        verdict(self.memory, "memory of programs", Verdict::Missing, advice)
    }

    fn of_descriptors(&self) -> Finding {
        let advice = Advice {
            cost: "descriptors that a program passes in a struct cannot be used: eventfds, MAP_FILE",
            remedy: "allow pidfd_getfd(2) in the container's seccomp profile, or sysctl kernel.yama.ptrace_scope=1",
        };
        verdict(
            self.descriptors,
            "descriptors of programs",
            Verdict::Limited,
            advice,
        )
    }

    fn of_installs(&self) -> Finding {
        let advice = Advice {
            cost: "no file can be given to a program",
            remedy: "report this: Linux 5.9 and newer can do it",
        };
        verdict(
            self.installs,
            "files for programs",
            Verdict::Missing,
            advice,
        )
    }
}

fn verdict(good: bool, subject: &'static str, lack: Verdict, advice: Advice) -> Finding {
    if good {
        Finding::good(subject, "reachable")
    } else {
        Finding::lacks(lack, subject, "out of reach", advice)
    }
}

/// A child that makes one trapped call.
struct Child {
    pid: Pid,
    channel: OwnedFd,
}

impl Child {
    fn start() -> Result<Self, i32> {
        let program = filter::program(MemoryWatch::Off);
        let (channel, theirs) = channel::pair().map_err(rustix::io::Errno::raw_os_error)?;
        // SAFETY: the child makes system calls only, and never returns.
        match unsafe { libc::fork() } {
            0 => {
                let code = trap(&program, &theirs);
                // SAFETY: it only ends the process.
                unsafe { libc::_exit(code) }
            }
            pid => match Pid::from_raw(pid).filter(|_| pid > 0) {
                Some(pid) => Ok(Self { pid, channel }),
                None => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
            },
        }
    }

    fn watch(self) -> Trial {
        let mut trial = Trial::default();
        if is_readable(&self.channel, PATIENCE) {
            match channel::receive(&self.channel) {
                Ok(Some(Message::Filtered { listener, .. })) => {
                    self.serve(&Listener::new(listener), &mut trial);
                }
                Ok(Some(Message::Failed { stage, errno })) => trial.refused = Some((stage, errno)),
                _ => {}
            }
        }
        trial
    }

    /// Serves the call, and the exit that follows it.
    fn serve(&self, listener: &Listener, trial: &mut Trial) {
        while is_readable(listener, PATIENCE) {
            let Received::Call(call) = listener.receive(0) else {
                return;
            };
            if call.number == libc::SYS_exit_group {
                // The exit code says whether the answer arrived.
                trial.answered = call.args[0] == 0;
                listener.reply(&call, Reply::Continue);
                return;
            }
            trial.trapped = true;
            trial.memory = RemotePath::read(call.tid, Hva::new(call.args[0]))
                .is_ok_and(|path| path.as_bytes() == PATH.to_bytes());
            trial.descriptors = pidfd_open(self.pid, PidfdFlags::empty()).is_ok_and(|pidfd| {
                let number = self.channel.as_raw_fd();
                pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).is_ok()
            });
            trial.installs = placeholder::text("trial", b"").is_ok_and(|file| {
                listener
                    .add_fd(&call, file.as_fd(), None, CloseOnExec::Yes)
                    .is_ok()
            });
            listener.reply(&call, Reply::Return(0));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = kill_process(self.pid, Signal::KILL);
        while let Err(rustix::io::Errno::INTR) = waitpid(Some(self.pid), WaitOptions::empty()) {}
    }
}

/// The child: filters itself and asks for a path that does not exist. The exit code is 0 when it is told that it does.
fn trap(program: &[libc::sock_filter], channel: &OwnedFd) -> i32 {
    let _ = rustix::thread::set_no_new_privs(true);
    let listener = match listener::install(program) {
        Ok(listener) => listener,
        Err(errno) => {
            let stage = Stage::Filter;
            let _ = channel::send(channel, &Message::Failed { stage, errno });
            return 1;
        }
    };
    let pid = getpid().as_raw_nonzero().get();
    if channel::send(channel, &Message::Filtered { pid, listener }).is_err() {
        return 1;
    }
    // SAFETY: the path is a C string.
    unsafe { libc::access(PATH.as_ptr(), libc::F_OK) }
}
