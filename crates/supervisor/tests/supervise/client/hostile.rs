//! Clients that do what they should not.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::Client;
use super::sys::{self, Mapping, call, close, device, fork, ioctl};
use crate::served::request;

pub(super) const ALL: &[Client] = &[
    ("unmap-mid-call", unmap_mid_call),
    ("wild-pointers", wild_pointers),
    ("die-in-calls", die_in_calls),
    ("fork-storm", fork_storm),
    ("exec-storm", exec_storm),
    ("stubborn", stubborn),
    ("panic", panic),
    ("chaos", chaos),
];

/// The struct of a call goes away while the call is served.
fn unmap_mid_call(_: &[String]) {
    let fd = device();
    let map = Mapping::anonymous(4096);
    map.store(0, 300);
    thread::scope(|scope| {
        let slow = scope.spawn(|| ioctl(fd, request::COPY_SLOWLY, map.at));
        thread::sleep(Duration::from_millis(100));
        assert_eq!(map.unmap(), Ok(0));
        assert_eq!(slow.join().expect("it ends"), Err(libc::EFAULT));
    });
    assert_eq!(ioctl(fd, request::ALIVE, 0), Ok(1));
}

/// Every trapped call, with pointers and numbers from all over.
fn wild_pointers(_: &[String]) {
    let fd = device();
    let event = ioctl(fd, request::INSTALL, 2).expect("it is installed");
    let path = sys::c("/dev/iommu");
    let near_end = Mapping::anonymous(4096);
    let values = [
        0,
        1,
        8,
        fd as u64,
        event as u64,
        path.as_ptr() as u64,
        near_end.at + 4095,
        i64::MAX as u64,
        u64::MAX - 3,
        u64::MAX,
        libc::AT_FDCWD as u64,
        0x1000,
        0x3B80,
    ];
    // A small generator: the same calls in every run.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        values[usize::try_from(state % 13).expect("it is small")]
    };
    let calls = [
        libc::SYS_ioctl,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_access,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_readlink,
        libc::SYS_readlinkat,
        libc::SYS_getxattr,
        libc::SYS_llistxattr,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_preadv2,
        libc::SYS_pwrite64,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_shmdt,
        libc::SYS_execveat,
    ];
    for round in 0..200 {
        for number in calls {
            let arguments = [next(), next(), next(), next(), next(), next()];
            // What a call does to this process is its own matter, so each round has a process of its own.
            if round % 50 == 0 {
                fork(|| {
                    let _ = call(number, arguments);
                })
                .wait();
            } else if number == libc::SYS_ioctl {
                let _ = ioctl(fd, 0x3B80, arguments[2]);
                let _ = call(number, [arguments[0], 0x3B80, arguments[2], 0, 0, 0]);
            } else if !matches!(
                number,
                libc::SYS_mremap | libc::SYS_madvise | libc::SYS_shmdt
            ) {
                // Nothing that the call may write to is in use.
                let _ = call(number, [8, arguments[1] | 1 << 63, 8, 8, 8, 8]);
                let _ = call(number, [arguments[0], 8, 8, 8, 8, 8]);
            }
        }
    }
    assert_eq!(ioctl(fd, request::FD, 0), Ok(fd));
}

/// Children are killed at every moment of a call.
fn die_in_calls(_: &[String]) {
    let fd = device();
    for microseconds in 0..100 {
        let child = fork(|| {
            loop {
                let own = device();
                let _ = ioctl(own, request::SLEEP, 1);
                let _ = ioctl(own, request::INSTALL, 2);
                let _ = sys::stat_at(libc::AT_FDCWD, "/dev/iommu", 0);
            }
        });
        thread::sleep(Duration::from_micros(microseconds * 40));
        child.kill(libc::SIGKILL);
        child.wait();
        assert_eq!(
            ioctl(fd, request::ALIVE, 0),
            Ok(1),
            "a killed process holds nothing"
        );
    }
}

fn fork_storm(_: &[String]) {
    let fd = device();
    for _ in 0..10 {
        let children: Vec<_> = (0..40)
            .map(|_| {
                fork(|| {
                    fork(|| {
                        device();
                        let _ = ioctl(fd, request::FD, 0);
                    })
                    .assert_success();
                    device();
                })
            })
            .collect();
        for child in children {
            child.assert_success();
        }
        assert_eq!(ioctl(fd, request::ALIVE, 0), Ok(1));
    }
}

/// Processes that execute while their other threads call.
fn exec_storm(_: &[String]) {
    let fd = device();
    for round in 0..30 {
        let child = fork(|| {
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        loop {
                            let mut word = 1;
                            let _ = sys::ioctl_u32(fd, request::ADD_ONE, &mut word);
                            let _ = device();
                        }
                    });
                }
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(round % 4));
                    let own = crate::harness::own_path();
                    sys::exec(&[&own, crate::harness::CLIENT, "exit", "0"]);
                });
            });
        });
        child.assert_success();
    }
    assert_eq!(super::lifetime::others(), 1);
}

/// Ignores every signal that it can, and keeps forking away.
fn stubborn(_: &[String]) {
    for signal in 1..32 {
        sys::on_signal(signal, |_| ());
    }
    device();
    super::process::say("ready");
    loop {
        // The parent ends and the child goes on, again and again.
        fork(sys::setsid).wait();
        let child = fork(|| ());
        if child.0 != 0 {
            child.wait();
        }
        thread::sleep(Duration::from_micros(200));
    }
}

/// A fault of a served file is an error of the call, and no more.
fn panic(_: &[String]) {
    let fd = device();
    for _ in 0..3 {
        assert_eq!(ioctl(fd, request::PANIC, 0), Err(libc::EIO));
        assert_eq!(ioctl(fd, request::ALIVE, 0), Ok(1));
    }
}

/// Threads and forked children that open, call and close, and children that are killed at random moments.
fn chaos(arguments: &[String]) {
    let kills: u64 = arguments[0].parse().expect("a number");
    let descriptors = || fs::read_dir("/proc/self/fd").expect("it exists").count();
    let before = descriptors();
    let stop = AtomicBool::new(false);
    let busy = || {
        while !stop.load(Ordering::SeqCst) {
            let fd = device();
            let mut word = 1;
            assert_eq!(sys::ioctl_u32(fd, request::ADD_ONE, &mut word), Ok(7));
            assert_eq!(close(fd), Ok(0));
        }
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(busy);
        }
        for kill in 0..kills {
            let child = fork(|| {
                loop {
                    let fd = raw_open();
                    let _ = ioctl(fd, request::INSTALL, 0);
                    let _ = ioctl(fd, request::SLEEP, kill % 3);
                    let _ = close(fd);
                }
            });
            thread::sleep(Duration::from_micros((kill * 7919) % 3000));
            child.kill(libc::SIGKILL);
            child.wait();
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(
        super::lifetime::others(),
        0,
        "what was killed holds nothing"
    );
    assert_eq!(descriptors(), before);
}

/// Without an allocation, which a child of a process with threads had better not make.
fn raw_open() -> i32 {
    let path = c"/dev/iommu".as_ptr() as u64;
    let arguments = [libc::AT_FDCWD as u64, path, libc::O_RDWR as u64, 0, 0, 0];
    call(libc::SYS_openat, arguments).map_or(-1, |fd| i32::try_from(fd).unwrap_or(-1))
}
