//! The guardian: parent and subreaper of the client's tree.

#![expect(
    unsafe_code,
    reason = "fork(2), sigaction(2), signalfd(2): see the parent module"
)]

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, setpgid, wait,
};

use super::{Plan, client};
use crate::channel::{self, Message, Stage};
use crate::signals::Mask;

/// The guardian's life. It never returns into the code that forked it.
pub(super) fn run(plan: &Plan<'_>, channel: &OwnedFd, supervisor: &OwnedFd) -> ! {
    // A panic must not unwind into the supervisor's frames, of which this process has a copy.
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        guard(plan, channel, supervisor);
    }))
    .map_or(1, |()| 0);
    kill_children();
    client::exit(code)
}

fn guard(plan: &Plan<'_>, channel: &OwnedFd, supervisor: &OwnedFd) {
    Mask::block_all();
    let _ = set_child_subreaper(Some(getpid()));
    let _ = rustix::thread::set_name(c"swiommu-guard");

    // The default action, or the kernel would reap children on its own.
    let mut on_child_exit = MaybeUninit::uninit();
    // SAFETY: a zeroed sigaction is the default action with an empty mask; the old one is written on success, which is certain
    // for this signal.
    let on_child_exit = unsafe {
        let default: libc::sigaction = MaybeUninit::zeroed().assume_init();
        libc::sigaction(
            libc::SIGCHLD,
            &raw const default,
            on_child_exit.as_mut_ptr(),
        );
        on_child_exit.assume_init()
    };

    // SAFETY: the child runs `client::run`, which never returns, and allocates nothing.
    let first = match unsafe { libc::fork() } {
        0 => client::run(plan, channel, &on_child_exit),
        pid => pid,
    };
    if first < 0 {
        let errno = std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EAGAIN);
        let stage = Stage::Fork;
        let _ = channel::send(channel, &Message::Failed { stage, errno });
        return;
    }

    // Out of the terminal's reach, and of a kill of the supervisor's process group.
    let _ = setpgid(None, None);
    keep_only(channel.as_raw_fd(), supervisor.as_raw_fd());
    if let Some(children) = child_signals() {
        watch(first, channel, supervisor, &children);
    }
}

/// Reaps and reports until no child is left, or until the supervisor is gone or wants the tree gone.
fn watch(first: i32, channel: &OwnedFd, supervisor: &OwnedFd, children: &OwnedFd) {
    loop {
        if !reap(first, channel) {
            return;
        }
        let mut fds = [
            PollFd::new(channel, PollFlags::empty()),
            PollFd::new(supervisor, PollFlags::IN),
            PollFd::new(children, PollFlags::IN),
        ];
        if poll(&mut fds, None).is_err() {
            continue;
        }
        if !fds[0].revents().is_empty() || !fds[1].revents().is_empty() {
            return;
        }
        let mut seen = [0; size_of::<libc::signalfd_siginfo>()];
        let _ = rustix::io::read(children, &mut seen);
    }
}

/// Reaps what has ended and tells of the first process. Whether there are children left.
fn reap(first: i32, channel: &OwnedFd) -> bool {
    let options = WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED;
    loop {
        match wait(options) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == first => {
                report(status, channel);
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

fn report(status: WaitStatus, channel: &OwnedFd) {
    if let Some(signal) = status.stopping_signal() {
        let _ = channel::send(channel, &Message::Stopped { signal });
    } else if status.continued() {
        // The supervisor stopped with its program, and must run again when the program does.
        if let Some(supervisor) = rustix::process::getppid() {
            let _ = kill_process(supervisor, Signal::CONT);
        }
    } else {
        let status = status.as_raw();
        let _ = channel::send(channel, &Message::Ended { status });
    }
}

/// Closes every descriptor but these two: the client's files are not ours to hold open.
fn keep_only(one: i32, other: i32) {
    let (low, high) = (
        one.min(other).cast_unsigned(),
        one.max(other).cast_unsigned(),
    );
    for (first, last) in [
        (0, low.checked_sub(1)),
        (low + 1, high.checked_sub(1)),
        (high + 1, Some(u32::MAX)),
    ] {
        if let Some(last) = last.filter(|last| first <= *last) {
            // SAFETY: this process has one thread, which uses no descriptor in the range any more.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

fn child_signals() -> Option<OwnedFd> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set; a successful signalfd returns a descriptor of our own.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}

/// Kills all children, and what comes up as their orphans, until none is left.
pub(crate) fn kill_children() {
    loop {
        for child in children() {
            let _ = kill_process(child, Signal::KILL);
        }
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        thread::sleep(Duration::from_micros(100));
    }
}

/// The children of this process.
fn children() -> Vec<Pid> {
    let by_task = || -> Option<Vec<Pid>> {
        let mut found = Vec::new();
        for task in fs::read_dir("/proc/self/task").ok()? {
            let list = fs::read_to_string(task.ok()?.path().join("children")).ok()?;
            found.extend(list.split_whitespace().filter_map(parse_pid));
        }
        Some(found)
    };
    by_task().unwrap_or_else(by_scan)
}

/// The same for a kernel without `CONFIG_PROC_CHILDREN`.
fn by_scan() -> Vec<Pid> {
    let own = getpid();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| parse_pid(entry.ok()?.file_name().to_str()?))
        .filter(|pid| parent(*pid) == Some(own))
        .collect()
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name, in parentheses, may contain anything; the state and the parent follow its end.
    let (_, after) = stat.rsplit_once(") ")?;
    parse_pid(after.split(' ').nth(1)?)
}

fn parse_pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}
