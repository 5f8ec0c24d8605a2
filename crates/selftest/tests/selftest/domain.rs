//! Mappings of all alignments, as the page tables have them.

use std::fs::File;
use std::os::fd::OwnedFd;

use swiommu_abi::Errno;
use swiommu_abi::mock::MockIommupt;
use swiommu_addr::{HvaRange, Iova, PageSize};
use swiommu_files::FdNumber;
use swiommu_iommufd::{AccessKind, HwptFlags, ObjectId};
use swiommu_selftest::client::Device;

use crate::fixture::{
    APERTURE, BUFFER, Fixture, MOCK_PAGE, PAGE, VARIANTS, World, add, count, errno,
};

/// A memfd of this many bytes, open in the client's process, and our own handle on it.
fn memfd(w: &World, len: u64) -> (FdNumber, File) {
    let name = "test";
    let file = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&file, len).unwrap();
    let ours = File::from(OwnedFd::try_clone(&file).unwrap());
    (w.process.open_native(file), ours)
}

/// With one device, and with two that share a page table.
fn each_attached(test: impl Fn(&Fixture)) {
    for variant in &VARIANTS[1..3] {
        eprintln!("{variant:?}");
        let fixture = Fixture::new(*variant);
        let hwpts = fixture.devices.iter().map(|device| device.hwpt);
        assert!(hwpts.clone().all(|hwpt| Some(hwpt) == hwpts.clone().next()));
        test(&fixture);
        fixture.world.close();
    }
}

/// Every start and end at the page table's granule in eight pages.
fn each_piece(mut test: impl FnMut(u64, u64)) {
    for start in (0..8 * PAGE).step_by(count(MOCK_PAGE)) {
        for end in (start + MOCK_PAGE..8 * PAGE).step_by(count(MOCK_PAGE)) {
            test(start, end - start);
        }
    }
}

/// The whole pages that a piece touches but for one that it ends in.
fn pages_of(start: u64, len: u64) -> (u64, u64) {
    let (first, end) = (start / PAGE * PAGE, (start + len) / PAGE * PAGE);
    (first, end - first)
}

#[test]
fn memory_with_a_hole_is_refused_whole() {
    each_attached(|f| {
        let iova = f.map(0, PAGE);
        f.check_map(iova, PAGE, f.at(0));
        let len = 8 * PAGE;
        let space = f.world.process.space();
        for hole in [4 * PAGE, 0] {
            let pages = HvaRange::from_len(f.at(hole), 4 * PAGE).unwrap();
            space.unmap(pages);
            let mapped = f.iommu().map(f.ioas, f.at(0), len);
            assert_eq!(errno(mapped), Errno::EFAULT);
            assert_eq!(f.world.host.memory().pinned_pages(), 1);
        }
        space
            .map_shared(
                f.at(0),
                space,
                HvaRange::from_len(f.at(8 * PAGE), len).unwrap(),
            )
            .unwrap();
    });
}

#[test]
fn pieces_of_memory_are_mapped_and_pinned_once() {
    each_attached(|f| {
        each_piece(|start, len| {
            let iova = f.map(start, len);
            f.check_map(iova, len, f.at(start));
            let (pages, pages_len) = pages_of(start, len);
            f.check_refs(pages, pages_len, 1);
            f.unmap(iova, len);
        });
        f.check_refs(0, 8 * PAGE, 0);
    });
}

#[test]
fn pieces_are_mapped_in_a_device_that_comes_later() {
    each_attached(|f| {
        each_piece(|start, len| {
            let iova = f.map(start, len);
            let late = f.iommu().mock_domain(f.ioas).unwrap();
            f.check_map(iova, len, f.at(start));
            let later = f.iommu().check_map(late.hwpt, iova, len, f.at(start));
            later.unwrap();
            let (pages, pages_len) = pages_of(start, len);
            f.check_refs(pages, pages_len, 1);
            f.iommu().destroy(late.stdev).unwrap();
            f.unmap(iova, len);
        });
        f.check_refs(0, 8 * PAGE, 0);
    });
}

#[test]
fn pieces_are_copied_into_a_page_table_that_comes_later() {
    let (f, device) = Fixture::one();
    let plain = HwptFlags::empty();
    each_piece(|start, len| {
        let iova = f.map(start, len);
        let hwpt = f.iommu().hwpt_alloc(device.idev, f.ioas, plain).unwrap();
        f.iommu().check_map(hwpt, iova, len, f.at(start)).unwrap();
        f.iommu().destroy(hwpt).unwrap();
        f.check_map(iova, len, f.at(start));
        f.unmap(iova, len);
    });
    f.world.close();
}

#[test]
fn pieces_of_a_file_are_mapped() {
    let (f, device) = Fixture::one();
    let (fd, ours) = memfd(&f.world, 8 * PAGE);
    let other = f.world.iommu.ioas_alloc().unwrap();
    let late = f.iommu().mock_domain(other).unwrap();
    each_piece(|start, len| {
        let iova = f.iommu().map_file(f.ioas, fd, start, len, None).unwrap();
        let again = f.iommu().map_file(other, fd, start, len, Some(iova));
        again.unwrap();
        let context = f.iommu().context().unwrap();
        for at in (0..len).step_by(count(MOCK_PAGE)) {
            let pa = |hwpt| {
                context
                    .paging_domain(hwpt)
                    .unwrap()
                    .iova_to_phys(add(iova, at))
            };
            assert!(pa(device.hwpt).is_some());
            assert_eq!(pa(device.hwpt), pa(late.hwpt), "the same page of the file");
        }
        f.unmap(iova, len);
        f.iommu().unmap(other, iova, len).unwrap();
    });
    drop(ours);
    f.world.close();
}

#[test]
fn a_file_is_refused_beyond_its_end() {
    let (f, _) = Fixture::one();
    let (fd, ours) = memfd(&f.world, 8 * PAGE);
    let map = |start, len| f.iommu().map_file(f.ioas, fd, start, len, None);
    map(0, PAGE).unwrap();
    assert_eq!(errno(map(0, 0)), Errno::EINVAL);
    assert_eq!(errno(map(u64::MAX, 2)), Errno::EOVERFLOW);
    assert_eq!(errno(map(PAGE, 8 * PAGE)), Errno::EINVAL);
    ours.set_len(0).unwrap();
    assert_eq!(errno(map(0, PAGE)), Errno::EINVAL);
    let closed = f.iommu().map_file(f.ioas, FdNumber(99), 0, PAGE, None);
    assert_eq!(errno(closed), Errno::EBADF);
    let of_ours = f.iommu().map_file(f.ioas, f.iommu().fd(), 0, PAGE, None);
    assert_eq!(errno(of_ours), Errno::EINVAL, "not memory");
    f.world.close();
}

#[test]
fn huge_pages_are_leaves_of_the_largest_size() {
    let (f, device) = Fixture::one();
    let len = 4 << 20;
    let huge = f.world.process.buffer_of(len, PageSize::SIZE_2M).unwrap();
    let before = f.world.host.memory().pinned_pages();
    let iova = f.iommu().map(f.ioas, huge.at(0), len).unwrap();
    assert_eq!(iova.get() % (2 << 20), 0);
    f.check_map(iova, len, huge.at(0));
    assert_eq!(f.world.host.memory().pinned_pages() - before, len / PAGE);
    for refs in [0, 1, 7] {
        let checked = f.iommu().check_refs(huge.at(0), len, refs);
        checked.expect("pages of hugetlb memory always match");
    }

    let table = MockIommupt::HUGE;
    let flags = HwptFlags::empty();
    let second = f.iommu().ioas_alloc().unwrap();
    let hwpt = f
        .iommu()
        .hwpt_alloc_mock(device.idev, second, flags, table)
        .unwrap();
    let iova = f.iommu().map(second, huge.at(0), len).unwrap();
    f.iommu().check_map(hwpt, iova, len, huge.at(0)).unwrap();
    let odd = f.iommu().check_map(hwpt, iova, MOCK_PAGE, huge.at(0));
    assert_eq!(errno(odd), Errno::EINVAL, "its smallest leaf is a page");
    f.world.close();
}

#[test]
fn check_map_compares_in_order() {
    let (f, device) = Fixture::one();
    let check = |iova: Iova, len, offset| f.iommu().check_map(device.hwpt, iova, len, f.at(offset));
    f.map_fixed(0, 2 * PAGE, APERTURE);
    check(APERTURE, 0, 0).unwrap();
    check(APERTURE, 2 * PAGE, 0).unwrap();
    check(add(APERTURE, MOCK_PAGE), MOCK_PAGE, MOCK_PAGE).unwrap();
    for (iova, len, offset) in [
        (APERTURE, PAGE, PAGE),
        (APERTURE, MOCK_PAGE, MOCK_PAGE),
        (APERTURE, 3 * PAGE, 0),
        (Iova::new(0), PAGE, 0),
        (add(APERTURE, 1), MOCK_PAGE, 0),
        (APERTURE, 1, 0),
        (APERTURE, MOCK_PAGE, 1),
    ] {
        assert_eq!(errno(check(iova, len, offset)), Errno::EINVAL);
    }
    let past = f.iommu().check_map(
        device.hwpt,
        APERTURE,
        MOCK_PAGE,
        swiommu_addr::Hva::new(u64::MAX - MOCK_PAGE + 1),
    );
    assert_eq!(errno(past), Errno::EINVAL);

    let space = f.world.process.space();
    space.unmap(HvaRange::from_len(f.at(PAGE), PAGE).unwrap());
    assert_eq!(errno(check(APERTURE, 2 * PAGE, 0)), Errno::EFAULT);
    f.map_fixed(2 * PAGE, 2 * PAGE, add(APERTURE, 2 * PAGE));
    assert_eq!(
        errno(check(add(APERTURE, 2 * PAGE), 2 * PAGE, 0)),
        Errno::EINVAL,
        "the first page differs before the second is missing"
    );
    let ioas = f.iommu().check_map(f.ioas, APERTURE, PAGE, f.at(0));
    assert_eq!(errno(ioas), Errno::ENOENT);
    f.world
        .process
        .space()
        .map_shared(
            f.at(PAGE),
            space,
            HvaRange::from_len(f.at(4 * PAGE), PAGE).unwrap(),
        )
        .unwrap();
    f.world.close();
}

#[test]
fn check_refs_counts_pages_objects() {
    let (f, _) = Fixture::one();
    let check = |offset, len, refs| f.iommu().check_refs(f.at(offset), len, refs);
    f.map(0, 2 * PAGE);
    f.map(PAGE, 2 * PAGE);
    check(0, 0, 9).unwrap();
    check(0, PAGE, 1).unwrap();
    check(PAGE, PAGE, 2).unwrap();
    check(2 * PAGE, PAGE, 1).unwrap();
    check(3 * PAGE, BUFFER, 0).unwrap();
    assert_eq!(errno(check(0, 2 * PAGE, 1)), Errno::EIO);
    assert_eq!(errno(check(2 * PAGE, 2 * PAGE, 1)), Errno::EIO);
    assert_eq!(errno(check(1, PAGE, 1)), Errno::EINVAL);
    assert_eq!(errno(check(0, 1, 1)), Errno::EINVAL);
    let nowhere = f.iommu().check_refs(swiommu_addr::Hva::new(PAGE), PAGE, 0);
    assert_eq!(errno(nowhere), Errno::EFAULT);
    f.world.close();
}

#[test]
fn pins_go_with_the_ioas_that_needed_them() {
    each_attached(|f| {
        let iommu = f.iommu();
        let first = iommu.ioas_alloc().unwrap();
        let from = iommu.map(first, f.at(0), BUFFER).unwrap();
        let access = iommu.create_access(first, AccessKind::Pins).unwrap();
        iommu.access_pages(access, from, BUFFER, f.at(0)).unwrap();
        f.check_refs(0, BUFFER, 1);
        iommu
            .copy((first, from), BUFFER, f.ioas, Some(APERTURE))
            .unwrap();
        f.check_map(APERTURE, BUFFER, f.at(0));
        f.check_refs(0, BUFFER, 1);

        let second = iommu.ioas_alloc().unwrap();
        let from = iommu.map(second, f.at(0), BUFFER).unwrap();
        iommu.access_replace_ioas(access, second).unwrap();
        f.unmap(APERTURE, BUFFER);
        f.check_refs(0, BUFFER, 0);
        iommu.destroy(first).unwrap();

        let pin = iommu.access_pages(access, from, BUFFER, f.at(0)).unwrap();
        iommu
            .copy((second, from), BUFFER, f.ioas, Some(APERTURE))
            .unwrap();
        f.check_map(APERTURE, BUFFER, f.at(0));
        iommu.destroy_access_pages(access, pin).unwrap();
        f.check_refs(0, BUFFER, 1);
        assert_eq!(errno(iommu.destroy(second)), Errno::EBUSY);
        iommu.destroy_access(access).unwrap();
        iommu.destroy(second).unwrap();
        f.check_map(APERTURE, BUFFER, f.at(0));
    });
}

#[test]
fn page_tables_can_be_rotated() {
    each_attached(|f| {
        let iommu = f.iommu();
        for &Device { stdev, idev, .. } in &f.devices {
            let alloc = |flags| iommu.hwpt_alloc(idev, f.ioas, flags);
            let unknown = alloc(HwptFlags::from_bits_retain(!HwptFlags::NEST_PARENT.bits()));
            assert_eq!(errno(unknown), Errno::EOPNOTSUPP);
            let plain = alloc(HwptFlags::empty()).unwrap();
            let parent = alloc(HwptFlags::NEST_PARENT).unwrap();
            for hwpt in [plain, parent] {
                assert_eq!(iommu.mock_domain_replace(stdev, hwpt).unwrap(), hwpt);
                assert_eq!(errno(iommu.destroy(hwpt)), Errno::EBUSY);
            }
            iommu.mock_domain_replace(stdev, f.ioas).unwrap();
            iommu.destroy(parent).unwrap();
            let on_plain = iommu.mock_domain(plain).unwrap();
            assert_eq!(on_plain.hwpt, plain);
            iommu.destroy(on_plain.stdev).unwrap();
            iommu.destroy(plain).unwrap();
            assert_eq!(errno(iommu.destroy(ObjectId(0))), Errno::ENOENT);
        }
    });
}
