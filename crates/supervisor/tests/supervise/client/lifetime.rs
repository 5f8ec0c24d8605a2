//! From the open to the release.

use super::Client;
use super::sys::{self, Mapping, close, device, dup, fork, ioctl};
use crate::served::{REGION, request};

pub(super) const ALL: &[Client] = &[
    ("thin", thin),
    ("dup", duplicates),
    ("fork", forks),
    ("cycles", cycles),
    ("passing", passing),
    ("mapping-holds", mapping_holds),
    ("exec", exec),
    ("after-exec", after_exec),
    ("leave-open", leave_open),
];

/// How many files are open, seen through a file of one's own that does not count.
pub(super) fn others() -> i32 {
    let fd = device();
    let alive = ioctl(fd, request::ALIVE, 0).expect("it answers");
    assert_eq!(close(fd), Ok(0));
    alive - 1
}

/// Opens, calls and closes.
fn thin(_: &[String]) {
    let fd = device();
    let mut word = 41;
    assert_eq!(sys::ioctl_u32(fd, request::ADD_ONE, &mut word), Ok(7));
    assert_eq!(word, 42);
    assert_eq!(ioctl(fd, request::ALIVE, 0), Ok(1));
    assert_eq!(ioctl(fd, request::FD, 0), Ok(fd));
    assert_eq!(ioctl(fd, request::TID, 0), Ok(sys::gettid()));
    assert_eq!(ioctl(fd, 0x3B9F, 0), Err(libc::ENOTTY));
    assert_eq!(close(fd), Ok(0));
    assert_eq!(ioctl(fd, request::ALIVE, 0), Err(libc::EBADF));
    assert_eq!(others(), 0);
}

fn duplicates(_: &[String]) {
    let fd = device();
    let serial = ioctl(fd, request::SERIAL, 0);
    let copy = dup(fd).expect("it is duplicated");
    assert_eq!(close(fd), Ok(0));
    assert_eq!(ioctl(copy, request::SERIAL, 0), serial);
    assert_eq!(others(), 1);
    let second = device();
    assert_ne!(ioctl(second, request::SERIAL, 0), serial);
    assert_eq!(close(copy), Ok(0));
    assert_eq!(ioctl(second, request::ALIVE, 0), Ok(1));
}

fn forks(_: &[String]) {
    let fd = device();
    let serial = ioctl(fd, request::SERIAL, 0);
    let (ours, theirs) = sys::socket_pair();
    let child = fork(|| {
        assert_eq!(ioctl(fd, request::SERIAL, 0), serial);
        // Until the parent has closed its own.
        sys::receive_fd(theirs);
        assert_eq!(ioctl(fd, request::SERIAL, 0), serial);
        assert_eq!(others(), 1);
    });
    assert_eq!(close(fd), Ok(0));
    assert_eq!(others(), 1);
    sys::send_fd(ours, 0);
    child.assert_success();
    assert_eq!(others(), 0);
}

/// The release is complete before the next call, in whichever process that is.
fn cycles(arguments: &[String]) {
    let rounds: u32 = arguments[0].parse().expect("a number");
    for round in 0..rounds {
        let fd = device();
        assert_eq!(ioctl(fd, request::ALIVE, 0), Ok(1), "round {round}");
        match round % 4 {
            0 => assert_eq!(close(fd), Ok(0)),
            1 => {
                // The last descriptor goes with a process.
                let child = fork(|| sys::exit(0));
                assert_eq!(close(fd), Ok(0));
                child.assert_success();
            }
            2 => {
                let flags = libc::O_RDONLY;
                let only_read = sys::open("/dev/iommu", flags).expect("it opens for reading");
                assert_eq!(close(fd), Ok(0));
                assert_eq!(ioctl(only_read, request::ALIVE, 0), Ok(1), "round {round}");
                assert_eq!(close(only_read), Ok(0));
            }
            _ => {
                // dup2 closes what was there.
                let null = sys::open("/dev/null", libc::O_RDWR).expect("it opens");
                let dup2 = [null as u64, fd as u64, 0, 0, 0, 0];
                sys::call(libc::SYS_dup2, dup2).expect("it is duplicated");
                assert_eq!(others(), 0, "round {round}");
                assert_eq!((close(null), close(fd)), (Ok(0), Ok(0)));
            }
        }
    }
}

fn passing(_: &[String]) {
    let (ours, theirs) = sys::socket_pair();
    let child = fork(|| {
        let fd = sys::receive_fd(theirs);
        assert_eq!(ioctl(fd, request::FD, 0), Ok(fd));
        assert_eq!(others(), 1);
        assert_eq!(close(fd), Ok(0));
        assert_eq!(others(), 0);
    });
    let fd = device();
    sys::send_fd(ours, fd);
    // In flight, it has no number anywhere.
    assert_eq!(close(fd), Ok(0));
    child.assert_success();

    // What nobody receives is released with the socket.
    let fd = device();
    sys::send_fd(ours, fd);
    assert_eq!(close(fd), Ok(0));
    assert_eq!(others(), 1);
    assert_eq!((close(ours), close(theirs)), (Ok(0), Ok(0)));
    assert_eq!(others(), 0);
}

fn mapping_holds(_: &[String]) {
    let fd = device();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let map = Mapping::new(REGION.len, protection, libc::MAP_SHARED, fd, REGION.offset);
    let map = map.expect("it is mapped");
    assert_eq!(close(fd), Ok(0));
    assert_eq!(others(), 1);
    let child = fork(|| map.store(5, 99));
    child.assert_success();
    assert_eq!(map.load(5), 99);
    assert_eq!(map.unmap(), Ok(0));
    assert_eq!(others(), 0);
}

fn exec(_: &[String]) {
    let kept = device();
    let closed = sys::open("/dev/iommu", libc::O_RDWR | libc::O_CLOEXEC).expect("it opens");
    let serial = ioctl(kept, request::SERIAL, 0).expect("it answers");
    let space = ioctl(kept, request::SPACE, 0).expect("it answers");
    let failed = sys::exec(&["/nonexistent"]);
    assert_eq!(failed, libc::ENOENT);
    assert_eq!(ioctl(closed, request::FD, 0), Ok(closed));
    let numbers = [kept, closed, serial, space].map(|number| number.to_string());
    let own = crate::harness::own_path();
    let mut program = vec![own.as_str(), crate::harness::CLIENT, "after-exec"];
    program.extend(numbers.iter().map(String::as_str));
    panic!("exec: {}", sys::exec(&program));
}

fn after_exec(arguments: &[String]) {
    let number = |index: usize| arguments[index].parse::<i32>().expect("a number");
    let (kept, closed) = (number(0), number(1));
    assert_eq!(ioctl(kept, request::ALIVE, 0), Ok(1));
    assert_eq!(ioctl(kept, request::SERIAL, 0), Ok(number(2)));
    assert_eq!(ioctl(closed, request::FD, 0), Err(libc::EBADF));
    // Another program has another memory.
    assert_ne!(ioctl(kept, request::SPACE, 0), Ok(number(3)));
    let mut word = 1;
    assert_eq!(sys::ioctl_u32(kept, request::ADD_ONE, &mut word), Ok(7));
    assert_eq!(word, 2);
}

/// Ends without closing anything.
fn leave_open(_: &[String]) {
    for _ in 0..50 {
        let fd = device();
        assert_eq!(ioctl(fd, request::FD, 0), Ok(fd));
    }
}
