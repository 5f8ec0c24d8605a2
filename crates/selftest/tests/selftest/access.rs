//! Software accesses: pinning, copying, and letting go.

use swiommu_abi::Errno;
use swiommu_abi::ioas::IommufdIoasMapFlags as MapFlags;
use swiommu_abi::test_cmd::{
    AccessPages, AccessRw, CreateAccess, IommuTestOp, MockAccessRw, MockFlagsAccess,
    MockFlagsAccessCreate,
};
use swiommu_addr::{Hva, HvaRange, Iova, PageSize};
use swiommu_files::{Arg, FdNumber, MmapFlags, MmapRequest};
use swiommu_iommufd::{AccessKind, ObjectId};
use swiommu_selftest::client::{Access, CopyPath};

use crate::fixture::{APERTURE, BUFFER, Fixture, MOCK_PAGE, PAGE, World, add, count, errno};

/// Bytes that differ from their neighbours and from what was there before.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// Reads and writes every length around the end of the first page, then all of the buffer.
pub(crate) fn check_copies(f: &Fixture, access: Access, iova: Iova, path: CopyPath) {
    let iommu = f.iommu();
    f.world.write(0, &noise(1, count(BUFFER)));
    for offset in PAGE - 20..PAGE + 20 {
        for len in 1..40 {
            let at = add(iova, offset);
            let read = iommu.access_read(access, at, len, path).unwrap();
            assert_eq!(read, f.world.read(offset, len));
            let new = noise(offset * 64 + len as u64, len);
            iommu.access_write(access, at, &new, path).unwrap();
            assert_eq!(f.world.read(offset, len), new);
        }
    }
    let all = iommu
        .access_read(access, iova, count(BUFFER), path)
        .unwrap();
    assert_eq!(all, f.world.read(0, count(BUFFER)));
}

#[test]
fn copies_reach_every_byte() {
    Fixture::each(|f| {
        let access = f.iommu().create_access(f.ioas, AccessKind::Copies).unwrap();
        let iova = f.map(0, BUFFER);
        for path in [CopyPath::Caller, CopyPath::Slow] {
            check_copies(f, access, iova, path);
        }
        f.unmap(iova, BUFFER);
        f.iommu().destroy_access(access).unwrap();
    });
}

#[test]
fn copies_do_not_need_alignment() {
    Fixture::each(|f| {
        let access = f.iommu().create_access(f.ioas, AccessKind::Copies).unwrap();
        let iova = add(f.base, MOCK_PAGE);
        f.map_fixed(0, BUFFER, iova);
        check_copies(f, access, iova, CopyPath::Caller);
        f.unmap(iova, BUFFER);
    });
}

#[test]
fn copies_keep_to_areas_and_their_protection() {
    Fixture::each(|f| {
        let iommu = f.iommu();
        let access = iommu.create_access(f.ioas, AccessKind::Copies).unwrap();
        let readable = MapFlags::READABLE;
        iommu
            .map_with(f.ioas, f.at(0), PAGE, Some(f.base), readable)
            .unwrap();
        let second = add(f.base, PAGE);
        let writable = MapFlags::WRITEABLE;
        iommu
            .map_with(f.ioas, f.at(PAGE), PAGE, Some(second), writable)
            .unwrap();
        let read = |iova, len| iommu.access_read(access, iova, len, CopyPath::Caller);
        let write = |iova, len| iommu.access_write(access, iova, &vec![9; len], CopyPath::Caller);
        read(f.base, 8).unwrap();
        assert_eq!(errno(write(f.base, 8)), Errno::EPERM);
        assert_eq!(errno(read(second, 8)), Errno::EPERM);
        write(second, 8).unwrap();
        assert_eq!(errno(read(f.base, 0)), Errno::EINVAL);
        assert_eq!(errno(read(Iova::new(u64::MAX), 2)), Errno::EOVERFLOW);
        assert_eq!(errno(read(add(f.base, 2 * PAGE), 1)), Errno::ENOENT);

        f.world.write(2 * PAGE - 4, &[0; 4]);
        let over_the_end = write(add(f.base, 2 * PAGE - 4), 8);
        assert_eq!(errno(over_the_end), Errno::ENOENT);
        assert_eq!(
            f.world.read(2 * PAGE - 4, 4),
            [9; 4],
            "what came before the gap"
        );
    });
}

#[test]
fn copies_fault_on_either_side() {
    let (f, _) = Fixture::one();
    let iommu = f.iommu();
    let access = iommu.create_access(f.ioas, AccessKind::Copies).unwrap();
    f.map_fixed(0, PAGE, APERTURE);
    let nowhere = Hva::new(0x10_0000);
    for flags in [MockAccessRw::empty(), MockAccessRw::WRITE] {
        let copied = iommu.access_rw(access, APERTURE, 8, nowhere, flags);
        assert_eq!(errno(copied), Errno::EFAULT);
    }
    let empty = iommu.ioas_alloc().unwrap();
    iommu.map_fixed(empty, nowhere, PAGE, APERTURE).unwrap();
    iommu.access_replace_ioas(access, empty).unwrap();
    for path in [CopyPath::Caller, CopyPath::Slow] {
        let read = iommu.access_read(access, APERTURE, 8, path);
        assert_eq!(errno(read), Errno::EFAULT);
    }
    f.world.close();
}

#[test]
fn operations_on_accesses_are_refused_in_order() {
    let (f, _) = Fixture::one();
    let iommu = f.iommu();
    let access = iommu.create_access(f.ioas, AccessKind::Copies).unwrap();
    let fd = access.0.0.cast_unsigned();
    let no_fd = 77;
    let rw = |id, length, flags| {
        let body = AccessRw {
            length,
            flags,
            ..Default::default()
        };
        errno(iommu.test(IommuTestOp::ACCESS_RW, id, body))
    };
    let pages = |id, length, flags| {
        let body = AccessPages {
            length,
            flags,
            ..Default::default()
        };
        errno(iommu.test(IommuTestOp::ACCESS_PAGES, id, body))
    };
    let too_long = (16 << 20) + 1;
    assert_eq!(rw(no_fd, too_long, 2), Errno::ENOMEM);
    assert_eq!(rw(no_fd, 1, 2), Errno::EOPNOTSUPP);
    assert_eq!(rw(no_fd, 1, 0), Errno::EBADFD);
    assert_eq!(rw(iommu.fd().0.cast_unsigned(), 1, 0), Errno::EBADFD);
    assert_eq!(pages(no_fd, too_long, 4), Errno::ENOMEM);
    assert_eq!(pages(no_fd, 1, 4), Errno::EOPNOTSUPP);
    assert_eq!(pages(no_fd, 1, 0), Errno::EBADFD);
    assert_eq!(pages(fd, 0, 0), Errno::EOPNOTSUPP, "made without pins");
    let unknown = Access(FdNumber(no_fd.cast_signed()));
    let replaced = iommu.access_replace_ioas(unknown, f.ioas);
    assert_eq!(errno(replaced), Errno::EBADFD);
    let unpinned = iommu.destroy_access_pages(unknown, 0);
    assert_eq!(errno(unpinned), Errno::EBADFD);
    let create = |id, flags| {
        let body = CreateAccess {
            flags,
            ..Default::default()
        };
        errno(iommu.test(IommuTestOp::CREATE_ACCESS, id, body))
    };
    assert_eq!(create(99, 2), Errno::EOPNOTSUPP);
    assert_eq!(create(99, 0), Errno::ENOENT);
    f.map_fixed(0, MOCK_PAGE, APERTURE);
    let needs_pin = MockFlagsAccessCreate::NEEDS_PIN_PAGES.bits();
    assert_eq!(create(f.ioas.0, needs_pin), Errno::EADDRINUSE);
    f.world.close();
}

#[test]
fn pins_are_counted_once_with_the_page_tables() {
    Fixture::each(|f| {
        let iommu = f.iommu();
        let access = iommu.create_access(f.ioas, AccessKind::Pins).unwrap();
        for pages in 1..BUFFER / PAGE {
            let len = pages * PAGE;
            f.map_fixed(0, BUFFER, APERTURE);
            let pin = || iommu.access_pages(access, APERTURE, len, f.at(0)).unwrap();
            let unpin = |pin| iommu.destroy_access_pages(access, pin).unwrap();
            unpin(pin());
            f.check_refs(0, len, u32::from(!f.devices.is_empty()));

            let (first, second) = (pin(), pin());
            f.check_refs(0, len, 1);
            unpin(second);
            unpin(first);

            let pinned = pin();
            let device = iommu.mock_domain(f.ioas).unwrap();
            iommu
                .check_map(device.hwpt, APERTURE, BUFFER, f.at(0))
                .unwrap();
            f.check_refs(0, BUFFER, 1);
            iommu.destroy(device.stdev).unwrap();
            f.check_refs(0, len, 1);
            f.check_refs(len, BUFFER - len, u32::from(!f.devices.is_empty()));
            unpin(pinned);
            f.unmap(APERTURE, BUFFER);
        }
        iommu.destroy_access(access).unwrap();
    });
}

#[test]
fn unmap_makes_accesses_let_go() {
    Fixture::each(|f| {
        let iommu = f.iommu();
        let access = iommu.create_access(f.ioas, AccessKind::Pins).unwrap();
        let second = iommu.create_access(f.ioas, AccessKind::Pins).unwrap();
        f.map_fixed(0, BUFFER, APERTURE);
        f.map_fixed(0, BUFFER, add(APERTURE, BUFFER));
        let pin = |access, iova| iommu.access_pages(access, iova, BUFFER, f.at(0)).unwrap();
        let (gone, kept) = (pin(access, APERTURE), pin(access, add(APERTURE, BUFFER)));
        let other = pin(second, APERTURE);
        f.unmap(APERTURE, BUFFER);
        for (access, pin) in [(access, gone), (second, other)] {
            let unpinned = iommu.destroy_access_pages(access, pin);
            assert_eq!(errno(unpinned), Errno::ENOENT);
        }
        iommu.destroy_access_pages(access, kept).unwrap();
        f.map_fixed(0, BUFFER, APERTURE);
    });
}

#[test]
fn a_pin_must_be_of_the_expected_pages() {
    Fixture::each(|f| {
        let iommu = f.iommu();
        let access = iommu.create_access(f.ioas, AccessKind::Pins).unwrap();
        f.map_fixed(0, 4 * PAGE, APERTURE);
        let pin = |iova, len, at| iommu.access_pages(access, iova, len, at);
        assert_eq!(errno(pin(APERTURE, 2 * PAGE, f.at(PAGE))), Errno::EBADE);
        let nowhere = Hva::new(0x10_0000);
        assert_eq!(errno(pin(APERTURE, PAGE, nowhere)), Errno::EFAULT);
        assert_eq!(
            pin(APERTURE, PAGE, Hva::new(0)).unwrap(),
            0,
            "the numbers count pins"
        );
        assert_eq!(pin(APERTURE, 2 * PAGE + 1, f.at(0)).unwrap(), 1);
        assert_eq!(errno(pin(APERTURE, 0, f.at(0))), Errno::EINVAL);
        assert_eq!(errno(pin(add(APERTURE, 1), PAGE, f.at(0))), Errno::EINVAL);
        let past = Iova::new(u64::MAX);
        assert_eq!(errno(pin(past, 2, f.at(0))), Errno::EOVERFLOW);
        assert_eq!(errno(pin(APERTURE, 5 * PAGE, f.at(0))), Errno::ENOENT);
        f.check_refs(3 * PAGE, PAGE, u32::from(!f.devices.is_empty()));
    });
}

#[test]
fn a_pin_keeps_to_the_protection() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    let access = w.iommu.create_access(ioas, AccessKind::Pins).unwrap();
    let map = |iova, flags| {
        w.iommu
            .map_with(ioas, w.at(0), PAGE, Some(iova), flags)
            .unwrap()
    };
    let (readable, writable) = (APERTURE, add(APERTURE, PAGE));
    map(readable, MapFlags::READABLE);
    map(writable, MapFlags::WRITEABLE);
    let pin = |iova: Iova, flags: MockFlagsAccess| {
        let body = AccessPages {
            flags: flags.bits(),
            iova: iova.get(),
            length: PAGE,
            ..Default::default()
        };
        let id = access.0.0.cast_unsigned();
        w.iommu.test(IommuTestOp::ACCESS_PAGES, id, body)
    };
    let (read, write) = (MockFlagsAccess::empty(), MockFlagsAccess::WRITE);
    pin(readable, read).unwrap();
    assert_eq!(errno(pin(readable, write)), Errno::EPERM);
    assert_eq!(errno(pin(writable, read)), Errno::EPERM);
    pin(writable, write).unwrap();
    w.iommu.check_refs(w.at(0), PAGE, 2).unwrap();
    w.close();
}

#[test]
fn a_pin_in_huge_pages_survives_the_page_table() {
    Fixture::each(|f| {
        let iommu = f.iommu();
        let len = 4 << 20;
        let huge = f.world.process.buffer_of(len, PageSize::SIZE_2M).unwrap();
        iommu.map_fixed(f.ioas, huge.at(0), len, f.base).unwrap();
        let access = iommu.create_access(f.ioas, AccessKind::Pins).unwrap();
        let pin = iommu
            .access_pages(access, add(f.base, PAGE), PAGE, huge.at(PAGE))
            .unwrap();
        for device in &f.devices {
            iommu.destroy(device.stdev).unwrap();
        }
        assert_eq!(f.world.host.memory().pinned_pages(), 1);
        iommu.destroy_access_pages(access, pin).unwrap();
        assert_eq!(f.world.host.memory().pinned_pages(), 0);
        iommu.destroy_access(access).unwrap();
        f.world.process.space().unmap(huge.range());
    });
}

#[test]
fn the_range_can_be_named_by_its_area() {
    let (f, _) = Fixture::one();
    let iommu = f.iommu();
    let access = iommu.create_access(f.ioas, AccessKind::Pins).unwrap();
    f.map_fixed(0, PAGE, APERTURE);
    f.map_fixed(4 * PAGE, 2 * PAGE, add(APERTURE, 4 * PAGE));
    f.world.write(5 * PAGE, b"second area");
    let name = |area: u64, offset: u64| offset << 32 | area;
    let id = access.0.0.cast_unsigned();
    let pages = |iova, offset| {
        let body = AccessPages {
            flags: MockFlagsAccess::SYZ.bits(),
            iova,
            length: PAGE,
            uptr: f.at(offset).get(),
            ..Default::default()
        };
        iommu.test(IommuTestOp::ACCESS_PAGES, id, body)
    };
    pages(name(1, PAGE), 5 * PAGE).unwrap();
    assert_eq!(errno(pages(name(1, 0), 0)), Errno::EBADE);
    assert_eq!(errno(pages(name(2, 0), 0)), Errno::ENOENT, "IOVA 0");
    let body = AccessRw {
        iova: name(1, PAGE),
        length: 11,
        uptr: f.at(0).get(),
        flags: MockAccessRw::SYZ.bits(),
        ..Default::default()
    };
    iommu.test(IommuTestOp::ACCESS_RW, id, body).unwrap();
    assert_eq!(f.world.read(0, 11), b"second area");
    f.world.close();
}

#[test]
fn an_access_holds_one_ioas_at_a_time() {
    let w = World::new();
    let (first, second) = (w.iommu.ioas_alloc().unwrap(), w.iommu.ioas_alloc().unwrap());
    let access = w.iommu.create_access(first, AccessKind::Pins).unwrap();
    w.iommu.map_fixed(first, w.at(0), PAGE, APERTURE).unwrap();
    let pin = w
        .iommu
        .access_pages(access, APERTURE, PAGE, w.at(0))
        .unwrap();
    assert_eq!(errno(w.iommu.destroy(first)), Errno::EBUSY);
    w.iommu.access_replace_ioas(access, first).unwrap();
    w.iommu.check_refs(w.at(0), PAGE, 1).unwrap();

    w.iommu.map_fixed(second, w.at(1), PAGE, APERTURE).unwrap();
    let misaligned = w.iommu.access_replace_ioas(access, second);
    assert_eq!(errno(misaligned), Errno::EADDRINUSE);
    w.iommu.check_refs(w.at(0), PAGE, 1).unwrap();
    w.iommu.unmap_all(second).unwrap();
    assert_eq!(
        errno(w.iommu.access_replace_ioas(access, ObjectId(99))),
        Errno::ENOENT
    );
    w.iommu.access_replace_ioas(access, second).unwrap();
    w.iommu.check_refs(w.at(0), PAGE, 0).unwrap();
    let unpinned = w.iommu.destroy_access_pages(access, pin);
    assert_eq!(errno(unpinned), Errno::ENOENT);
    w.iommu.destroy(first).unwrap();
    let odd = w.iommu.map_fixed(second, w.at(1), PAGE, APERTURE);
    assert_eq!(errno(odd), Errno::EINVAL, "pins need page alignment");
    w.close();
}

#[test]
fn an_access_takes_a_number_that_cannot_be_destroyed() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    let access = w.iommu.create_access(ioas, AccessKind::Copies).unwrap();
    assert_eq!(errno(w.iommu.destroy(ObjectId(2))), Errno::EBUSY);
    assert_eq!(w.iommu.ioas_alloc().unwrap(), ObjectId(3));
    w.iommu.destroy_access(access).unwrap();
    assert_eq!(errno(w.iommu.destroy(ObjectId(2))), Errno::ENOENT);
    assert_eq!(w.iommu.ioas_alloc().unwrap(), ObjectId(2));
    w.close();
}

#[test]
fn an_access_keeps_its_context_open() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    w.iommu.map_fixed(ioas, w.at(0), PAGE, APERTURE).unwrap();
    let access = w.iommu.create_access(ioas, AccessKind::Pins).unwrap();
    w.iommu
        .access_pages(access, APERTURE, PAGE, w.at(0))
        .unwrap();
    w.process.close(w.iommu.fd()).unwrap();

    let other = w.process.open().unwrap();
    other.check_refs(w.at(0), PAGE, 1).unwrap();
    let pin = other.access_pages(access, APERTURE, PAGE, w.at(0));
    pin.expect("the descriptor names the access, whichever context is asked");
    other.destroy_access(access).unwrap();
    other.check_refs(w.at(0), PAGE, 0).unwrap();
    drop(other);
    assert_eq!(w.host.memory().pinned_pages(), 0);
}

#[test]
fn the_file_of_an_access_has_no_operations() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    let access = w.iommu.create_access(ioas, AccessKind::Copies).unwrap();
    let caller = w.process.descriptors();
    let file = caller.served(access.0).unwrap();
    assert_eq!(file.name(), "anon_inode:[iommufd_test_staccess]");
    let bytes = HvaRange::from_len(w.at(0), 8);
    assert_eq!(errno(file.read(caller, bytes)), Errno::EINVAL);
    assert_eq!(errno(file.write(caller, bytes)), Errno::EINVAL);
    assert_eq!(
        errno(file.ioctl(caller, 0x3ba0, Arg::new(0))),
        Errno::ENOTTY
    );
    let request = MmapRequest {
        offset: 0,
        len: PAGE,
        flags: MmapFlags::READ | MmapFlags::SHARED,
    };
    assert_eq!(errno(file.mmap(caller, &request)), Errno::ENODEV);
    drop(file);
    w.close();
}
