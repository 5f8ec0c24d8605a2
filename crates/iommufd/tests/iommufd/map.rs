//! `IOAS_MAP`, `IOAS_MAP_FILE` and `IOAS_UNMAP`.

use swiommu_abi::ioas::{
    IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP, IommuIoasMap, IommuIoasMapFile,
    IommuIoasUnmap,
};
use swiommu_abi::{Errno, UapiStruct};

use crate::fixture::{
    BASE, FIXED, LAST_MOCK_PAGE, NONE, PAGE, READABLE, WRITEABLE, World, at, errno,
};
use crate::order::Rules;

fn map(w: &World) -> IommuIoasMap {
    IommuIoasMap {
        size: IommuIoasMap::SIZE,
        flags: FIXED | WRITEABLE | READABLE,
        ioas_id: w.ioas.0,
        user_va: w.page(0).get(),
        length: PAGE,
        iova: at(4).get(),
        ..Default::default()
    }
}

#[test]
fn map_checks_in_order() {
    let w = World::new();
    w.map(8, 1, BASE);
    Rules::of(map(&w))
        .rule(Errno::EOPNOTSUPP, "flags", |c| {
            c.flags |= 8;
        })
        .rule(Errno::EOPNOTSUPP, "reserved field", |c| c.__reserved = 1)
        .rule(Errno::EOVERFLOW, "iova 2^64-1", |c| c.iova = u64::MAX)
        .rule(Errno::EINVAL, "permission", |c| {
            c.flags &= !(READABLE | WRITEABLE);
        })
        .rule(Errno::ENOENT, "no object", |c| c.ioas_id = NONE.0)
        .rule(Errno::ENOENT, "no IOAS", |c| c.ioas_id = w.device.hwpt.0)
        .rule(Errno::EOVERFLOW, "the end of user_va", |c| {
            c.user_va = u64::MAX;
        })
        .rule(Errno::EINVAL, "length misaligned", |c| c.length = PAGE + 1)
        .rule(Errno::EINVAL, "iova misaligned", |c| {
            c.iova = at(4).get() + 1;
        })
        .rule(Errno::EOVERFLOW, "the end of iova", |c| {
            c.iova = LAST_MOCK_PAGE;
        })
        .rule(Errno::EINVAL, "reserved", |c| c.iova = BASE.get() - PAGE)
        .rule(Errno::EEXIST, "an area", |c| c.iova = BASE.get())
        .rule(Errno::EINVAL, "page offset", |c| c.user_va |= 1)
        .rule(Errno::EFAULT, "no memory", |c| c.user_va = 0x10_0000)
        .check(&w, IOMMU_IOAS_MAP);
    w.close();
}

#[test]
fn map_checks_lengths_in_order() {
    let w = World::new();
    let too_long = u64::MAX - PAGE + 1;
    for (length, user_va, flags, ioas, refused) in [
        (u64::MAX, 0, FIXED, NONE, Errno::EOVERFLOW),
        (0, u64::MAX, FIXED, w.ioas, Errno::EINVAL),
        (0, u64::MAX, FIXED | READABLE, NONE, Errno::ENOENT),
        (0, u64::MAX, FIXED | READABLE, w.ioas, Errno::EINVAL),
        (too_long, PAGE, FIXED | READABLE, w.ioas, Errno::EOVERFLOW),
        (too_long, 0, FIXED | READABLE, w.ioas, Errno::EINVAL),
        // Only automatic placement bounds lengths below that.
        (1 << 63, 0, READABLE, w.ioas, Errno::EOVERFLOW),
        (1 << 63, 0, FIXED | READABLE, w.ioas, Errno::EINVAL),
        (1 << 62, 0, READABLE, w.ioas, Errno::ENOSPC),
    ] {
        let mut cmd = map(&w);
        (cmd.length, cmd.user_va, cmd.flags, cmd.ioas_id) = (length, user_va, flags, ioas.0);
        let found = errno(w.iommu.ioctl(IOMMU_IOAS_MAP, &mut cmd));
        assert_eq!(
            found, refused,
            "{length:#x} bytes at {user_va:#x}, flags {flags}"
        );
    }
    w.close();
}

#[test]
fn without_a_page_table_alignment_and_memory_do_not_matter() {
    let w = World::new();
    let mut cmd = map(&w);
    (cmd.ioas_id, cmd.user_va, cmd.iova, cmd.length) = (w.empty.0, 0x10_0001, 3, 5);
    w.iommu.ioctl(IOMMU_IOAS_MAP, &mut cmd).unwrap();
    assert_eq!(cmd.iova, 3);
    // The last IOVA can be mapped, though not by a range that starts there.
    (cmd.iova, cmd.length) = (u64::MAX - 4, 5);
    w.iommu.ioctl(IOMMU_IOAS_MAP, &mut cmd).unwrap();
    w.close();
}

#[test]
fn map_file_checks_in_order() {
    let w = World::new();
    w.map(8, 1, BASE);
    let file = w.file(2 * PAGE);
    let no_memory = w
        .process
        .open_native(std::fs::File::open("/dev/null").unwrap().into());
    let good = IommuIoasMapFile {
        size: IommuIoasMapFile::SIZE,
        flags: FIXED | WRITEABLE | READABLE,
        ioas_id: w.ioas.0,
        fd: file.0,
        start: PAGE,
        length: PAGE,
        iova: at(4).get(),
    };
    Rules::of(good)
        .rule(Errno::EOPNOTSUPP, "flags", |c| {
            c.flags |= 8;
        })
        .rule(Errno::EOVERFLOW, "iova 2^64-1", |c| c.iova = u64::MAX)
        .rule(Errno::EINVAL, "permission", |c| {
            c.flags &= !(READABLE | WRITEABLE);
        })
        .rule(Errno::ENOENT, "no object", |c| c.ioas_id = NONE.0)
        .rule(Errno::EOVERFLOW, "the end of start", |c| c.start = u64::MAX)
        .rule(Errno::EBADF, "not open", |c| c.fd = 99)
        .rule(Errno::EBADF, "no descriptor", |c| c.fd = -1)
        .rule(Errno::EINVAL, "length misaligned", |c| c.length = PAGE - 1)
        .rule(Errno::EINVAL, "iova misaligned", |c| {
            c.iova = at(4).get() + 1;
        })
        .rule(Errno::EOVERFLOW, "the end of iova", |c| {
            c.iova = LAST_MOCK_PAGE;
        })
        .rule(Errno::EINVAL, "reserved", |c| c.iova = BASE.get() - PAGE)
        .rule(Errno::EEXIST, "an area", |c| c.iova = BASE.get())
        .rule(Errno::EINVAL, "page offset", |c| c.start |= 1)
        .rule(Errno::EINVAL, "no memory", |c| c.fd = no_memory.0)
        .rule(Errno::EINVAL, "beyond the end", |c| c.start = 2 * PAGE)
        .check(&w, IOMMU_IOAS_MAP_FILE);

    let wrong_length = |length, start, fd: i32| {
        let mut cmd = IommuIoasMapFile {
            length,
            start,
            fd,
            ..good
        };
        errno(w.iommu.ioctl(IOMMU_IOAS_MAP_FILE, &mut cmd))
    };
    assert_eq!(wrong_length(u64::MAX, 0, 99), Errno::EOVERFLOW);
    assert_eq!(wrong_length(0, u64::MAX, 99), Errno::EINVAL);
    w.close();
}

#[test]
fn any_file_is_mapped_as_long_as_nobody_needs_its_memory() {
    let w = World::new();
    let no_memory = w
        .process
        .open_native(std::fs::File::open("/dev/null").unwrap().into());
    w.iommu
        .map_file(w.empty, no_memory, 0, PAGE, Some(BASE))
        .unwrap();
    w.iommu
        .map_file(w.empty, w.iommu.fd(), 0, PAGE, Some(at(1)))
        .unwrap();
    w.process.close(no_memory).unwrap();
    let before = w.state();
    assert_eq!(errno(w.iommu.mock_domain(w.empty)), Errno::EINVAL);
    assert_eq!(w.state(), before);
    w.close();
}

#[test]
fn unmap_checks_in_order() {
    let w = World::new();
    w.map(0, 2, at(4));
    let good = IommuIoasUnmap {
        size: IommuIoasUnmap::SIZE,
        ioas_id: w.ioas.0,
        iova: at(4).get(),
        length: 2 * PAGE,
    };
    Rules::of(good)
        .rule(Errno::ENOENT, "no object", |c| {
            c.ioas_id = NONE.0;
        })
        .rule(Errno::ENOENT, "no IOAS", |c| c.ioas_id = w.device.hwpt.0)
        .rule(Errno::EOVERFLOW, "iova 2^64-1", |c| c.iova = u64::MAX)
        .rule(Errno::EOVERFLOW, "length 2^64-1", |c| c.length = u64::MAX)
        .rule(Errno::EINVAL, "length 0", |c| c.length = 0)
        .rule(Errno::EOVERFLOW, "the end", |c| c.iova = u64::MAX - 1)
        .rule(Errno::ENOENT, "a part", |c| c.length = PAGE)
        .rule(Errno::ENOENT, "nothing", |c| c.iova = at(40).get())
        .check(&w, IOMMU_IOAS_UNMAP);
    w.close();
}
