//! `/proc/PID/task/TID/fail-nth`, and calls whose steps are made to fail.

use std::thread;

use super::Client;
use super::sys::{Result, call, close, device, ioctl, open};
use super::transfers::{read, write};
use crate::served::request;

pub(super) const ALL: &[Client] = &[
    ("fail-nth", fail_nth),
    ("fail-nth-absent", fail_nth_absent),
    ("fail-one", fail_one),
];

fn pread(fd: i32, len: usize, position: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0u8; len];
    let arguments = [
        fd as u64,
        bytes.as_mut_ptr() as u64,
        len as u64,
        position,
        0,
        0,
    ];
    let read = call(libc::SYS_pread64, arguments)?;
    bytes.truncate(usize::try_from(read).expect("a length"));
    Ok(bytes)
}

fn pwrite(fd: i32, bytes: &[u8], position: u64) -> Result<i64> {
    let (at, len) = (bytes.as_ptr() as u64, bytes.len() as u64);
    call(libc::SYS_pwrite64, [fd as u64, at, len, position, 0, 0])
}

/// What the calls with three steps come to.
fn three_steps(device: i32) -> Result {
    ioctl(device, request::THREE_STEPS, 0)
}

fn fail_nth(_: &[String]) {
    let device = device();
    let own = open("/proc/thread-self/fail-nth", libc::O_RDWR).expect("it is there");
    assert_eq!(pread(own, 100, 0), Ok(b"0\n".to_vec()));
    let outcomes = [
        ("1", Err(libc::ENOENT), "0\n"),
        ("2\n", Err(libc::EFAULT), "0\n"),
        ("3", Err(libc::ENOMEM), "0\n"),
        ("15", Ok(3), "12\n"),
        ("0", Ok(3), "0\n"),
    ];
    for (nth, outcome, left) in outcomes {
        // Wherever it is written, it is the whole number.
        assert_eq!(
            pwrite(own, nth.as_bytes(), 7),
            Ok(i64::try_from(nth.len()).expect("a short text"))
        );
        assert_eq!(three_steps(device), outcome, "{nth}");
        assert_eq!(pread(own, 100, 0), Ok(left.as_bytes().to_vec()), "{nth}");
    }
    assert_eq!(pread(own, 1, 1), Ok(b"\n".to_vec()));
    assert_eq!(pread(own, 1, 2), Ok(Vec::new()));
    assert_eq!(
        (read(own, 1), read(own, 9)),
        (Ok(b"0".to_vec()), Ok(b"\n".to_vec()))
    );
    assert_eq!(read(own, 9), Ok(Vec::new()), "the position moves");
    for wrong in ["", "x", "-1", "4294967296", "1 2", "000000000001"] {
        assert_eq!(write(own, wrong.as_bytes()), Err(libc::EINVAL), "{wrong}");
    }

    // Another thread has a countdown of its own, and can set ours.
    assert_eq!(write(own, b"2"), Ok(1));
    let path = format!("/proc/self/task/{}/fail-nth", own_tid());
    let other = thread::spawn(move || {
        let before = three_steps(device);
        let ours = open(&path, libc::O_RDWR).expect("it is there");
        let left = pread(ours, 9, 0);
        (before, left, write(ours, b"1"), close(ours))
    });
    let seen = other.join().expect("it ends");
    assert_eq!(seen, (Ok(3), Ok(b"2\n".to_vec()), Ok(1), Ok(0)));
    assert_eq!(three_steps(device), Err(libc::ENOENT));

    // What is set stays without a descriptor.
    assert_eq!(write(own, b"1"), Ok(1));
    close(own).expect("it was open");
    assert_eq!(three_steps(device), Err(libc::ENOENT));
    assert_eq!(three_steps(device), Ok(3));
}

/// The number of the calling thread.
fn own_tid() -> i64 {
    call(libc::SYS_gettid, [0; 6]).expect("it cannot fail")
}

fn fail_nth_absent(_: &[String]) {
    let host = std::path::Path::new("/proc/self/fail-nth").exists();
    let found = open("/proc/self/fail-nth", libc::O_RDWR);
    assert_eq!(found.is_ok(), host);
}

fn fail_one(_: &[String]) {
    let device = device();
    let outcomes = [
        three_steps(device),
        three_steps(device),
        three_steps(device),
    ];
    assert_eq!(outcomes, [Ok(3), Err(libc::EFAULT), Ok(3)]);
}
