//! Mappings, and memory that is given back.

use super::Client;
use super::sys::{self, Mapping, call, device, ioctl};
use crate::served::{REGION, request};

pub(super) const ALL: &[Client] = &[("mmap", mmap), ("gives-back", gives_back)];

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

fn mmap(_: &[String]) {
    let fd = device();
    let map = |len, protection, offset| {
        Mapping::new(len, protection, libc::MAP_SHARED, fd, offset).map(Mapping::unmap)
    };
    assert_eq!(map(REGION.len, READ_WRITE, REGION.offset), Ok(Ok(0)));
    assert_eq!(
        map(REGION.len - 1, READ_WRITE, REGION.offset),
        Ok(Ok(0)),
        "whole pages"
    );
    assert_eq!(map(REGION.len, READ_WRITE, 0), Err(libc::ENXIO));
    assert_eq!(map(4096, READ_WRITE, REGION.offset), Err(libc::ENXIO));
    let executable = READ_WRITE | libc::PROT_EXEC;
    assert_eq!(map(REGION.len, executable, REGION.offset), Err(libc::EPERM));
    assert_eq!(map(0, READ_WRITE, REGION.offset), Err(libc::EINVAL));
    assert_eq!(map(REGION.len, READ_WRITE, 17), Err(libc::EINVAL));
    let private = |fd, protection| {
        Mapping::new(REGION.len, protection, libc::MAP_PRIVATE, fd, 0).map(|map| map.at)
    };
    assert_eq!(private(fd, READ_WRITE), Err(libc::EINVAL));
    assert_eq!(private(fd, libc::PROT_WRITE), Err(libc::EINVAL));

    let only_read = sys::open("/dev/iommu", libc::O_RDONLY).expect("it opens");
    let map = |protection| {
        let flags = libc::MAP_SHARED;
        Mapping::new(REGION.len, protection, flags, only_read, REGION.offset).map(|map| map.at)
    };
    assert_eq!(map(READ_WRITE), Err(libc::EACCES));
    // A file that is only read is not shared.
    assert_eq!(map(libc::PROT_READ), Err(libc::EINVAL));
    assert_eq!(private(only_read, READ_WRITE), Err(libc::EINVAL));

    // Files of the host are not our business.
    let own = sys::open("/proc/self/exe", libc::O_RDONLY).expect("it opens");
    let native = Mapping::new(4096, libc::PROT_READ, libc::MAP_SHARED, own, 0);
    assert_eq!(
        native.expect("it is mapped").load(0),
        u32::from_ne_bytes(*b"\x7fELF")
    );
    let copy = Mapping::new(4096, READ_WRITE, libc::MAP_PRIVATE, own, 0).expect("it is mapped");
    copy.store(0, 1);
    assert_eq!(copy.load(0), 1);
}

fn gives_back(arguments: &[String]) {
    let watched = arguments[0] == "watched";
    let fd = device();
    let page = 4096;
    let seen = || {
        let seen = ioctl(fd, request::DETACHED, 0).expect("it answers");
        if watched {
            seen
        } else {
            assert_eq!(seen, 0);
            -1
        }
    };
    let expect = |count: i32, what: &str| {
        let seen = seen();
        assert!(
            !watched || seen == count,
            "{what}: {seen} instead of {count}"
        );
    };
    let map = Mapping::anonymous(8 * page);
    seen();
    let advise = |advice: i32| call(libc::SYS_madvise, [map.at, page, advice as u64, 0, 0, 0]);
    assert_eq!(advise(libc::MADV_WILLNEED), Ok(0));
    expect(0, "advice that keeps memory");
    assert_eq!(advise(libc::MADV_DONTNEED), Ok(0));
    expect(1, "MADV_DONTNEED");
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    Mapping::at(map.at, page, READ_WRITE, flags, -1, 0).expect("it is replaced");
    expect(1, "MAP_FIXED");
    let remap = |old: u64, new: u64, flags: i32| {
        call(libc::SYS_mremap, [map.at, old, new, flags as u64, 0, 0])
    };
    assert!(remap(8 * page, 4 * page, 0).is_ok());
    expect(1, "a mapping that shrinks");
    let moved = remap(4 * page, 64 * page, libc::MREMAP_MAYMOVE).expect("it grows");
    expect(1, "a mapping that may move");
    let moved = Mapping {
        at: moved.cast_unsigned(),
        len: 64 * page,
    };
    assert_eq!(moved.unmap(), Ok(0));
    expect(1, "munmap");
    let end = call(libc::SYS_brk, [0; 6])
        .expect("it answers")
        .cast_unsigned();
    let brk = |to: u64| call(libc::SYS_brk, [to, 0, 0, 0, 0, 0]).map(i64::cast_unsigned);
    assert_eq!(brk(end + 16 * page), Ok(end + 16 * page));
    expect(0, "a heap that grows");
    assert_eq!(brk(end + 8 * page), Ok(end + 8 * page));
    expect(1, "a heap that shrinks");
}
