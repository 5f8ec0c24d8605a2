//! I/O address spaces.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use iommufd_bindings::iommufd::{
    iommu_ioas_alloc, iommu_ioas_map_file, iommu_ioas_unmap,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA as FIXED_IOVA,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE as READABLE,
};
use iommufd_ioctls::{IommuFd, IommufdError, IommufdIoas};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use swiommu_client::raw::size;

use crate::errno::{EBADF, EEXIST, EINVAL, ENOENT, EOPNOTSUPP, errno};
use crate::harness::Fixture;
use crate::lab::{IOVA, LEN, Lab};

pub(crate) const FIXTURE: Fixture = Fixture {
    name: "ioas",
    tests: &[
        ("new_from_fd", new_from_fd),
        ("alloc_iommu_ioas", alloc_iommu_ioas),
        (
            "ioas_is_destroyed_when_dropped",
            ioas_is_destroyed_when_dropped,
        ),
        ("map_iommu_ioas", map_iommu_ioas),
        ("map_iommu_ioas_file", map_iommu_ioas_file),
        ("map_file", map_file),
        ("unmap_iommu_ioas", unmap_iommu_ioas),
        ("unmap", unmap),
        ("destroy_iommu_object", destroy_iommu_object),
    ],
};

fn alloc(iommufd: &IommuFd, flags: u32) -> Result<u32, i32> {
    let mut arg = iommu_ioas_alloc {
        size: size::<iommu_ioas_alloc>(),
        flags,
        out_ioas_id: 0,
    };
    iommufd.alloc_iommu_ioas(&mut arg).map_err(errno)?;
    Ok(arg.out_ioas_id)
}

fn new_from_fd() {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).open("/dev/iommu").unwrap();
    let iommufd = IommuFd::new_from_fd(file);
    assert_eq!(alloc(&iommufd, 0), Ok(1));
    // Another open file has objects of its own.
    assert_eq!(alloc(&IommuFd::new().unwrap(), 0), Ok(1));
}

fn alloc_iommu_ioas() {
    let iommufd = IommuFd::new().unwrap();
    assert_eq!(alloc(&iommufd, 1), Err(EOPNOTSUPP));
    assert_eq!(alloc(&iommufd, 0), Ok(1));
    assert_eq!(alloc(&iommufd, 0), Ok(2));
}

fn ioas_is_destroyed_when_dropped() {
    let iommufd = Arc::new(IommuFd::new().unwrap());
    let ioas = IommufdIoas::new(iommufd.clone()).unwrap();
    let id = ioas.id();
    drop(ioas);
    assert_eq!(iommufd.destroy_iommu_object(id).map_err(errno), Err(ENOENT));
    assert_eq!(alloc(&iommufd, 0), Ok(id), "numbers are used again");
}

fn map_iommu_ioas() {
    let lab = Lab::new();
    lab.map();
    assert_eq!(lab.map_at(IOVA, READABLE), Err(EEXIST));
    assert_eq!(lab.map_at(IOVA + LEN, READABLE), Ok(()));
    assert_eq!(lab.map_at(2 * IOVA, 0), Err(EINVAL));
    assert_eq!(lab.map_at(2 * IOVA, 8 | READABLE), Err(EOPNOTSUPP));
}

fn memory_file() -> File {
    let file = memfd_create("memory", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, LEN).unwrap();
    file.into()
}

fn map_iommu_ioas_file() {
    let lab = Lab::new();
    let file = memory_file();
    let map = |fd, start, length, iova| {
        let arg = iommu_ioas_map_file {
            size: size::<iommu_ioas_map_file>(),
            flags: FIXED_IOVA | READABLE,
            ioas_id: lab.ioas.id(),
            fd,
            start,
            length,
            iova,
        };
        lab.iommufd.map_iommu_ioas_file(&arg).map_err(errno)
    };
    let fd = file.as_raw_fd();
    assert_eq!(map(-1, 0, LEN, IOVA), Err(EBADF));
    assert_eq!(map(fd, 0, LEN, IOVA), Ok(()));
    assert_eq!(map(fd, LEN / 2, LEN / 2, IOVA + LEN / 2), Err(EEXIST));
    assert_eq!(map(fd, LEN / 2, LEN / 2, IOVA + LEN), Ok(()));
}

fn map_file() {
    let lab = Lab::new();
    let ioas = &lab.ioas;
    let file = memory_file();
    let fd = file.as_raw_fd();
    ioas.map_file(fd, 0, LEN, IOVA, true).unwrap();
    ioas.map_file(fd, 0, LEN, 2 * IOVA, false).unwrap();
    let again = ioas.map_file(fd, 0, LEN, IOVA, true);
    assert_eq!(again.map_err(errno), Err(EEXIST));
    ioas.unmap(IOVA, LEN).unwrap();
    ioas.map_file(fd, 0, LEN, IOVA, true).unwrap();
}

fn unmap_iommu_ioas() {
    let lab = Lab::new();
    lab.map();
    let unmap = |iova, length| {
        let mut arg = iommu_ioas_unmap {
            size: size::<iommu_ioas_unmap>(),
            ioas_id: lab.ioas.id(),
            iova,
            length,
        };
        lab.iommufd.unmap_iommu_ioas(&mut arg).map_err(errno)?;
        Ok::<u64, i32>(arg.length)
    };
    assert_eq!(unmap(IOVA, LEN / 2), Err(ENOENT), "areas are not split");
    assert_eq!(unmap(IOVA, 4 * LEN), Ok(LEN));
    assert_eq!(unmap(IOVA, LEN), Err(ENOENT));
    assert_eq!(unmap(0, u64::MAX), Ok(0), "everything, which is nothing");
}

fn unmap() {
    let lab = Lab::new();
    lab.map();
    let unmap = |iova, length| lab.ioas.unmap(iova, length).map_err(errno);
    assert_eq!(unmap(IOVA, LEN), Ok(()));
    assert_eq!(unmap(IOVA, LEN), Err(ENOENT));
    let error = lab.ioas.unmap(IOVA, LEN).unwrap_err();
    assert!(matches!(error, IommufdError::IommuIoasUnmap(_)), "{error}");
}

fn destroy_iommu_object() {
    let lab = Lab::new();
    assert_eq!(lab.destroy(99), Err(ENOENT));
    let id = alloc(&lab.iommufd, 0).unwrap();
    assert_eq!(lab.destroy(id), Ok(()));
    assert_eq!(lab.destroy(id), Err(ENOENT));
}
