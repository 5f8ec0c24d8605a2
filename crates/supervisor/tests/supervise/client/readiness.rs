//! Waiting for event files, with calls that are not trapped.

use std::thread;
use std::time::Duration;

use super::Client;
use super::sys::{self, Result, call, close, device, dup, fork, ioctl};
use super::transfers::{read, write};
use crate::served::request;

pub(super) const ALL: &[Client] = &[
    ("poll", polls),
    ("woken", woken),
    ("epoll", epolls),
    ("select", selects),
    ("shared-readiness", shared),
    ("queue-released", released),
];

const IN: i16 = libc::POLLIN | libc::POLLRDNORM;
const OUT: i16 = libc::POLLOUT | libc::POLLWRNORM;
const ALL_EVENTS: i16 = IN | OUT | libc::POLLPRI | libc::POLLRDHUP;

/// Longer than any test takes.
const FOR_EVER: i32 = 60_000;

/// Both kinds of queue, and what they are ready for when they have no event.
const KINDS: [(u64, i16); 2] = [(0, 0), (1, OUT)];

fn queue(device: i32, kind: u64) -> i32 {
    ioctl(device, request::INSTALL_QUEUE, kind).expect("it is installed")
}

fn raise(queue: i32) {
    ioctl(queue, request::RAISE, 0).expect("it is raised");
}

/// What the file is ready for, when it is for any of `events`, or the time is over.
fn poll(fd: i32, events: i16, timeout: i32) -> i16 {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let at = std::ptr::from_mut(&mut poll) as u64;
    let count = call(libc::SYS_poll, [at, 1, timeout as u64, 0, 0, 0]).expect("it polls");
    assert_eq!(count, i64::from(poll.revents != 0));
    poll.revents
}

fn polls(_: &[String]) {
    let device = device();
    for (kind, idle) in KINDS {
        let queue = queue(device, kind);
        assert_eq!(poll(queue, ALL_EVENTS, 0), idle);
        assert_eq!(read(queue, 8), Ok(Vec::new()), "it does not block");
        raise(queue);
        raise(queue);
        assert_eq!(poll(queue, ALL_EVENTS, 0), idle | IN);
        assert_eq!(poll(queue, ALL_EVENTS, FOR_EVER), idle | IN);
        assert_eq!(read(queue, 8), Ok(vec![0]));
        assert_eq!(poll(queue, ALL_EVENTS, 0), idle | IN, "one is left");
        let unread = call(libc::SYS_read, [queue as u64, 16, 8, 0, 0, 0]);
        assert_eq!(unread, Err(libc::EFAULT));
        assert_eq!(poll(queue, ALL_EVENTS, 0), idle | IN, "it is still left");
        assert_eq!(read(queue, 8), Ok(vec![1]));
        assert_eq!(poll(queue, ALL_EVENTS, 0), idle);
        // What is written does not come back.
        assert_eq!(write(queue, b"x"), Err(libc::EINVAL));
        assert_eq!(poll(queue, ALL_EVENTS, 0), idle);
        for _ in 0..3000 {
            raise(queue);
        }
        assert_eq!(poll(queue, ALL_EVENTS, 0), idle | IN);
        for _ in 0..3000 {
            assert_eq!(read(queue, 8).map(|events| events.len()), Ok(1));
        }
        assert_eq!(poll(queue, ALL_EVENTS, 0), idle);
    }
}

/// Waits until a thread of this process sleeps.
fn sleeps(tid: i32) {
    for _ in 0..60_000 {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat"));
        let stat = stat.expect("the thread is there");
        if stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('S'))
        {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("the thread does not sleep");
}

/// Runs `wait` while another thread raises an event, as soon as `wait` blocks.
fn raise_during<T>(queue: i32, wait: impl FnOnce() -> T) -> T {
    let waiting = sys::gettid();
    thread::scope(|scope| {
        scope.spawn(move || {
            sleeps(waiting);
            raise(queue);
        });
        wait()
    })
}

fn woken(_: &[String]) {
    let device = device();
    for (kind, idle) in KINDS {
        let queue = queue(device, kind);
        for _ in 0..3 {
            let ready = raise_during(queue, || poll(queue, libc::POLLIN, FOR_EVER));
            assert_eq!(ready, libc::POLLIN);
            assert_eq!(read(queue, 8).map(|events| events.len()), Ok(1));
            assert_eq!(poll(queue, ALL_EVENTS, 0), idle);
        }
        // A duplicate is the same file, under whatever number.
        let copy = dup(queue).expect("it is duplicated");
        assert!(copy < 960);
        let ready = raise_during(queue, || poll(copy, libc::POLLIN, FOR_EVER));
        assert_eq!(ready, libc::POLLIN);
        assert_eq!(read(queue, 8).map(|events| events.len()), Ok(1));
        assert_eq!(poll(copy, ALL_EVENTS, 0), idle);
    }
}

/// An epoll instance with one file, which tells of it with its number.
struct Epoll(i32);

impl Epoll {
    fn new(fd: i32, events: i32) -> Self {
        let epoll = call(libc::SYS_epoll_create1, [0; 6]).expect("it is created");
        let event = libc::epoll_event {
            events: events.cast_unsigned(),
            u64: fd as u64,
        };
        let at = std::ptr::from_ref(&event) as u64;
        let add = libc::EPOLL_CTL_ADD as u64;
        let added = call(
            libc::SYS_epoll_ctl,
            [epoll.cast_unsigned(), add, fd as u64, at, 0, 0],
        );
        assert_eq!(added, Ok(0));
        Self(i32::try_from(epoll).expect("a descriptor"))
    }

    /// What is told of the file; 0 when nothing is.
    fn wait(&self, timeout: i32) -> i32 {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
        let at = events.as_mut_ptr() as u64;
        let count = call(
            libc::SYS_epoll_wait,
            [self.0 as u64, at, 4, timeout as u64, 0, 0],
        );
        assert!(count.expect("it waits") <= 1);
        events[0].events.cast_signed()
    }
}

fn epolls(_: &[String]) {
    let device = device();
    let every = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP;
    for (kind, idle) in [(0, 0), (1, libc::EPOLLOUT)] {
        let queue = queue(device, kind);
        let level = Epoll::new(queue, every);
        let edge = Epoll::new(queue, every | libc::EPOLLET);
        let ready = idle | libc::EPOLLIN;
        assert_eq!((level.wait(0), level.wait(0)), (idle, idle));
        assert_eq!((edge.wait(0), edge.wait(0)), (idle, 0));
        raise(queue);
        assert_eq!((level.wait(0), level.wait(0)), (ready, ready));
        assert_eq!((edge.wait(0), edge.wait(0)), (ready, 0));
        // Another event is another edge.
        raise(queue);
        assert_eq!((edge.wait(0), edge.wait(0)), (ready, 0));
        assert_eq!((read(queue, 8), read(queue, 8)), (Ok(vec![0]), Ok(vec![1])));
        assert_eq!((level.wait(0), edge.wait(0)), (idle, 0));
        for events in [libc::EPOLLIN, libc::EPOLLIN | libc::EPOLLET] {
            let epoll = Epoll::new(queue, events);
            let told = raise_during(queue, || epoll.wait(FOR_EVER));
            assert_eq!(told, libc::EPOLLIN);
            assert_eq!(read(queue, 8).map(|events| events.len()), Ok(1));
            assert_eq!(epoll.wait(0), 0);
        }
    }
}

/// Which of reading, writing and exceptions the file is ready for.
fn select(fd: i32, timeout: i64) -> Result<[bool; 3]> {
    let (word, bit) = (fd as usize / 64, 1 << (fd % 64));
    let mut sets = [[0_u64; 16]; 3];
    for set in &mut sets {
        set[word] = bit;
    }
    let time = libc::timeval {
        tv_sec: timeout,
        tv_usec: 0,
    };
    let [read, write, except] = sets.each_mut().map(|set| set.as_mut_ptr() as u64);
    let time = std::ptr::from_ref(&time) as u64;
    call(
        libc::SYS_select,
        [fd as u64 + 1, read, write, except, time, 0],
    )?;
    Ok(sets.map(|set| set[word] & bit != 0))
}

fn selects(_: &[String]) {
    let device = device();
    for (kind, out) in [(0, false), (1, true)] {
        let queue = queue(device, kind);
        assert_eq!(select(queue, 0), Ok([false, out, false]));
        raise(queue);
        assert_eq!(select(queue, 60), Ok([true, out, false]));
        assert_eq!(read(queue, 8), Ok(vec![0]));
        assert_eq!(select(queue, 0), Ok([false, out, false]));
    }
    let queue = queue(device, 0);
    let ready = raise_during(queue, || select(queue, 60));
    assert_eq!(ready, Ok([true, false, false]));
}

fn shared(_: &[String]) {
    let device = device();
    let queue = queue(device, 0);
    let (ours, theirs) = sys::socket_pair();
    let child = fork(|| {
        assert_eq!(poll(queue, IN, FOR_EVER), IN);
        assert_eq!(read(queue, 8), Ok(vec![0]));
        assert_eq!(poll(queue, IN, 0), 0);
        sys::send_fd(theirs, 0);
        assert_eq!(poll(queue, IN, FOR_EVER), IN);
    });
    raise(queue);
    sys::receive_fd(ours);
    assert_eq!(poll(queue, IN, 0), 0, "the child has read it");
    raise(queue);
    child.assert_success();
    assert_eq!(poll(queue, IN, 0), IN, "the child has not read it");
    assert_eq!(read(queue, 8), Ok(vec![1]));
}

fn released(_: &[String]) {
    let device = device();
    let alive = || ioctl(device, request::ALIVE, 0);
    for (kind, idle) in KINDS {
        let queue = queue(device, kind);
        assert_eq!(alive(), Ok(2));
        raise(queue);
        let copy = dup(queue).expect("it is duplicated");
        let child = fork(|| assert_eq!(poll(queue, ALL_EVENTS, 0), idle | IN));
        assert_eq!(close(queue), Ok(0));
        child.assert_success();
        assert_eq!(alive(), Ok(2));
        assert_eq!(poll(copy, ALL_EVENTS, 0), idle | IN);
        assert_eq!(close(copy), Ok(0));
        assert_eq!(alive(), Ok(1));
        // The last descriptor goes with a process.
        let queue = self::queue(device, kind);
        let child = fork(|| {
            assert_eq!(poll(queue, ALL_EVENTS, 0), idle);
        });
        assert_eq!(close(queue), Ok(0));
        child.assert_success();
        assert_eq!(alive(), Ok(1));
    }
    // What is left open is released at the end.
    queue(device, 0);
}
