//! Descriptors that are installed, and reads and writes of them.

use super::Client;
use super::sys::{self, Result, call, close, device, ioctl};
use crate::served::request;

pub(super) const ALL: &[Client] = &[
    ("events", events),
    ("events-limit", events_limit),
    ("install", install),
    ("descriptors", descriptors),
];

const EVENTS: u64 = 2;

pub(super) fn read(fd: i32, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0u8; len];
    let arguments = [fd as u64, bytes.as_mut_ptr() as u64, len as u64, 0, 0, 0];
    let read = call(libc::SYS_read, arguments)?;
    bytes.truncate(usize::try_from(read).expect("a length"));
    Ok(bytes)
}

pub(super) fn write(fd: i32, bytes: &[u8]) -> Result<i64> {
    let arguments = [
        fd as u64,
        bytes.as_ptr() as u64,
        bytes.len() as u64,
        0,
        0,
        0,
    ];
    call(libc::SYS_write, arguments)
}

fn events(_: &[String]) {
    let device = device();
    let fd = ioctl(device, request::INSTALL, EVENTS).expect("it is installed");
    assert_eq!(fd, 960);
    assert_eq!(read(fd, 100), Ok(b"event".to_vec()));
    assert_eq!(read(fd, 3), Ok(b"eve".to_vec()));
    assert_eq!(read(fd, 0), Ok(Vec::new()));
    assert_eq!(write(fd, b"xxx"), Ok(3));
    assert_eq!(write(fd, b"xyx"), Err(libc::EINVAL));
    let wild = |number| call(number, [fd as u64, 16, 100, 0, 0, 0]);
    assert_eq!(wild(libc::SYS_read), Err(libc::EFAULT));
    assert_eq!(wild(libc::SYS_write), Err(libc::EFAULT));
    assert_eq!(
        call(libc::SYS_pread64, [fd as u64, 16, 100, 0, 0, 0]),
        Err(libc::ESPIPE)
    );

    let (mut first, mut second) = ([0u8; 5], [0u8; 9]);
    let vectors = [
        libc::iovec {
            iov_base: first.as_mut_ptr().cast(),
            iov_len: 5,
        },
        libc::iovec {
            iov_base: second.as_mut_ptr().cast(),
            iov_len: 9,
        },
        libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 9,
        },
    ];
    let readv = |number, count: u64, position: u64| {
        call(
            number,
            [
                fd as u64,
                vectors.as_ptr() as u64,
                count,
                position,
                position,
                0,
            ],
        )
    };
    // The second vector is not filled, so the wild third is not reached.
    assert_eq!(readv(libc::SYS_readv, 3, 0), Ok(10));
    assert_eq!((&first, &second[..5]), (b"event", &b"event"[..]));
    assert_eq!(readv(libc::SYS_preadv, 2, 0), Err(libc::ESPIPE));
    assert_eq!(readv(libc::SYS_preadv2, 2, u64::MAX), Ok(10));
    assert_eq!(readv(libc::SYS_readv, 1025, 0), Err(libc::EINVAL));

    let next = ioctl(device, request::INSTALL, EVENTS).expect("it is installed");
    assert_eq!(next, 961);
    assert_eq!(close(fd), Ok(0));
    assert_eq!(ioctl(device, request::INSTALL, EVENTS), Ok(960));
    assert_eq!(ioctl(device, request::ALIVE, 0), Ok(3));

    // A file of the host with such a number is read natively.
    let null = sys::open("/dev/zero", libc::O_RDWR).expect("it opens");
    let dup2 = [null as u64, 961, 0, 0, 0, 0];
    assert_eq!(call(libc::SYS_dup2, dup2), Ok(961));
    assert_eq!(read(961, 3), Ok(vec![0; 3]));
    assert_eq!(ioctl(device, request::ALIVE, 0), Ok(2));
    assert_eq!(close(960), Ok(0));
    assert_eq!(ioctl(device, request::ALIVE, 0), Ok(1));
}

fn events_limit(_: &[String]) {
    let device = device();
    sys::limit_descriptors(962);
    assert_eq!(ioctl(device, request::INSTALL, EVENTS), Ok(960));
    assert_eq!(ioctl(device, request::INSTALL, EVENTS), Ok(961));
    assert_eq!(ioctl(device, request::INSTALL, EVENTS), Err(libc::EMFILE));
    sys::limit_descriptors(1024);
    for number in 962..=1023 {
        assert_eq!(ioctl(device, request::INSTALL, EVENTS), Ok(number));
    }
    assert_eq!(ioctl(device, request::INSTALL, EVENTS), Err(libc::EMFILE));
    assert_eq!(ioctl(device, request::ALIVE, 0), Ok(65));
}

fn install(_: &[String]) {
    let device = device();
    let flags = |fd: i32| {
        call(
            libc::SYS_fcntl,
            [fd as u64, libc::F_GETFD as u64, 0, 0, 0, 0],
        )
    };
    let plain = ioctl(device, request::INSTALL, 0).expect("it is installed");
    let cloexec = ioctl(device, request::INSTALL, 1).expect("it is installed");
    assert_eq!((flags(plain), flags(cloexec)), (Ok(0), Ok(1)));
    assert_eq!(ioctl(plain, request::FD, 0), Ok(plain));
    let link = sys::readlink(&format!("/proc/self/fd/{plain}"), 100);
    assert_eq!(link.as_deref(), Ok("anon_inode:[test]"));
    let again = sys::open(&format!("/proc/self/fd/{plain}"), libc::O_RDWR);
    assert_eq!(again, Err(libc::ENXIO));
    assert_eq!(sys::fstat(plain).map(|stat| stat.st_mode), Ok(0o600));

    sys::limit_descriptors(u64::from((cloexec + 1).cast_unsigned()));
    assert_eq!(ioctl(device, request::INSTALL, 0), Err(libc::EMFILE));
    assert_eq!(sys::open("/dev/iommu", libc::O_RDWR), Err(libc::EMFILE));
    assert_eq!(ioctl(device, request::ALIVE, 0), Ok(3));
}

fn descriptors(_: &[String]) {
    let device = device();
    let kind = |fd: i64| ioctl(device, request::KIND, fd.cast_unsigned());
    let null = sys::open("/dev/null", libc::O_RDWR).expect("it opens");
    assert_eq!(kind(device.into()), Ok(1));
    assert_eq!(kind(null.into()), Ok(2));
    assert_eq!(kind(77), Err(libc::EBADF));
    assert_eq!(kind(-1), Err(libc::EBADF));
}
