//! Exit codes, signals, threads and trees of processes.

use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use super::Client;
use super::sys::{self, close, device, fork, ioctl};
use crate::harness::{CLIENT, own_path};
use crate::served::request;

pub(super) const ALL: &[Client] = &[
    ("exit", exit),
    ("die", die),
    ("signals", signals),
    ("interrupted", interrupted),
    ("stop", stop),
    ("threads", threads),
    ("long-calls", long_calls),
    ("spawn", spawn),
    ("orphan", orphan),
    ("capable", capable),
    ("wait", wait),
    ("nested", nested),
];

fn number(argument: &str) -> i32 {
    argument.parse().expect("a number")
}

fn exit(arguments: &[String]) {
    sys::exit(number(&arguments[0]));
}

/// Dies of a signal, with a file open.
fn die(arguments: &[String]) {
    device();
    let signal = number(&arguments[0]);
    sys::on_signal_default(signal);
    sys::kill(sys::getpid(), signal);
    thread::sleep(Duration::from_mins(1));
}

static ARRIVED: AtomicI32 = AtomicI32::new(0);

/// Says which signals arrive, until SIGTERM does.
fn signals(_: &[String]) {
    for signal in [
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGWINCH,
        libc::SIGTERM,
    ] {
        sys::on_signal(signal, |signal| ARRIVED.store(signal, Ordering::SeqCst));
    }
    say("ready");
    loop {
        match ARRIVED.swap(0, Ordering::SeqCst) {
            0 => thread::sleep(Duration::from_millis(1)),
            libc::SIGTERM => break,
            signal => say(&signal.to_string()),
        }
    }
}

pub(super) fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("someone listens");
}

/// Exits with the number of SIGINTs that arrive together.
fn interrupted(_: &[String]) {
    sys::on_signal(libc::SIGINT, |_| {
        ARRIVED.fetch_add(1, Ordering::SeqCst);
    });
    say("ready");
    while ARRIVED.load(Ordering::SeqCst) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(300));
    sys::exit(ARRIVED.load(Ordering::SeqCst));
}

/// Stops itself as the terminal would.
fn stop(_: &[String]) {
    let fd = device();
    say("stopping");
    sys::kill(sys::getpid(), libc::SIGTSTP);
    assert_eq!(ioctl(fd, request::ALIVE, 0), Ok(1));
}

/// Threads that open, call and close at once.
fn threads(arguments: &[String]) {
    let rounds = number(&arguments[0]);
    let shared = device();
    let work = || {
        for round in 0..rounds {
            let mut word = 7;
            assert_eq!(sys::ioctl_u32(shared, request::ADD_ONE, &mut word), Ok(7));
            assert_eq!(word, 8);
            assert_eq!(ioctl(shared, request::TID, 0), Ok(sys::gettid()));
            if round % 8 == 0 {
                let own = device();
                assert_eq!(ioctl(own, request::FD, 0), Ok(own));
                assert_eq!(close(own), Ok(0));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(work);
        }
    });
    assert_eq!(ioctl(shared, request::ALIVE, 0), Ok(1));
}

/// A long call does not keep others waiting, and more of them than there are threads all end.
fn long_calls(_: &[String]) {
    let fd = device();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                assert_eq!(ioctl(fd, request::SLEEP, 2000), Ok(0));
                assert!(done.load(Ordering::SeqCst), "others waited for a long call");
            });
        }
        scope.spawn(|| {
            // Until the long calls are under way.
            thread::sleep(Duration::from_millis(100));
            for _ in 0..100 {
                assert_eq!(ioctl(fd, request::ALIVE, 0), Ok(1));
            }
            done.store(true, Ordering::SeqCst);
        });
    });
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| assert_eq!(ioctl(fd, request::SLEEP, 50), Ok(0)));
        }
    });
}

/// vfork and exec, as the standard library does.
fn spawn(_: &[String]) {
    let fd = device();
    for _ in 0..20 {
        let mut child = Command::new(own_path());
        let status = child
            .args([CLIENT, "exit", "3"])
            .status()
            .expect("it starts");
        assert_eq!(status.code(), Some(3));
        assert_eq!(ioctl(fd, request::ALIVE, 0), Ok(1));
    }
    assert!(Command::new("/nonexistent").status().is_err());
    let mut word = 1;
    assert_eq!(sys::ioctl_u32(fd, request::ADD_ONE, &mut word), Ok(7));
}

/// Leaves a process behind that goes on using its file.
fn orphan(arguments: &[String]) {
    let endless = arguments[0] == "endless";
    let fd = device();
    let first = sys::getpid();
    fork(|| {
        sys::setsid();
        // Until the first process is gone.
        while sys::parent() == first {
            thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..100 {
            assert_eq!(ioctl(fd, request::ALIVE, 0), Ok(1));
        }
        say("orphan");
        if endless {
            thread::sleep(Duration::from_secs(1000));
        }
    });
}

fn capable(arguments: &[String]) {
    let fd = device();
    assert_eq!(ioctl(fd, request::CAPABLE, 0), Ok(number(&arguments[0])));
}

/// Says that it runs, and waits to be killed.
fn wait(_: &[String]) {
    let fd = device();
    let child = fork(|| {
        sys::setsid();
        loop {
            assert_eq!(ioctl(fd, request::FD, 0), Ok(fd));
            thread::sleep(Duration::from_millis(1));
        }
    });
    say(&format!("{} {}", sys::getpid(), child.0));
    thread::sleep(Duration::from_secs(100));
}

fn nested(_: &[String]) {
    let mut inner = Command::new(own_path());
    let inner = inner
        .args([crate::harness::SUPERVISOR, "/bin/true"])
        .env_remove("REPORT");
    let output = inner.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert!(text.contains("already supervised"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}
