//! Dirty tracking: which leaves were written through.

use swiommu_abi::Errno;
use swiommu_abi::mock::MockIommupt;
use swiommu_abi::option::IommufdOption;
use swiommu_abi::test_cmd::MockFlagsDevice;
use swiommu_addr::{Iova, PageSize};
use swiommu_iommu::{DirtyRead, DirtyTracking, Pasid};
use swiommu_iommufd::{HwptFlags, ObjectId};
use swiommu_selftest::client::{Client, Device, Dirtied};

use crate::fixture::{APERTURE, Fixture, MOCK_PAGE, PAGE, PASIDS, add, count, errno};

const DIRTY: HwptFlags = HwptFlags::DIRTY_TRACKING;

/// A page table that tracks what is dirty, in an IOAS with leaves of one page.
fn tracking() -> (Fixture, Device, ObjectId) {
    let (f, device) = Fixture::one();
    let off = f.iommu().set_option(IommufdOption::HUGE_PAGES, f.ioas, 0);
    off.unwrap();
    let hwpt = f.iommu().hwpt_alloc(device.idev, f.ioas, DIRTY).unwrap();
    f.iommu()
        .set_dirty_tracking(hwpt, DirtyTracking::On)
        .unwrap();
    (f, device, hwpt)
}

/// The numbers of the bits that the page table reports, `granule` bytes each, through a bitmap that starts at an odd place.
fn bits(
    iommu: &Client,
    hwpt: ObjectId,
    range: (Iova, u64),
    granule: u64,
    mode: DirtyRead,
) -> Vec<u64> {
    let mut bytes = vec![0; count((range.1 / granule).div_ceil(8))];
    let buffer = iommu
        .process()
        .buffer(bytes.len() as u64 + 2 * PAGE)
        .unwrap();
    let place = PAGE - 15;
    let read = iommu.get_dirty_bitmap(hwpt, range, granule, buffer.at(place), mode);
    read.unwrap();
    buffer.read(place, &mut bytes).unwrap();
    let is_set = |n: &u64| bytes[count(n / 8)] >> (n % 8) & 1 == 1;
    (0..range.1 / granule).filter(is_set).collect()
}

fn dirtied(iova: Iova, len: u64, bitmap: &[u8]) -> Dirtied<'_> {
    Dirtied {
        iova,
        len,
        page_size: MOCK_PAGE,
        bitmap,
    }
}

#[test]
fn a_leaf_is_dirty_as_a_whole() {
    let (f, _, hwpt) = tracking();
    let iommu = f.iommu();
    let range = (APERTURE, 4 * PAGE);
    f.map_fixed(0, range.1, APERTURE);
    let read = |mode| bits(iommu, hwpt, range, MOCK_PAGE, mode);

    let one = iommu.dirty(hwpt, dirtied(APERTURE, range.1, &[0b0001]));
    assert_eq!(one.unwrap(), 1);
    assert_eq!(read(DirtyRead::Clear), [0, 1]);
    assert!(read(DirtyRead::Clear).is_empty());

    let two = iommu.dirty(hwpt, dirtied(APERTURE, range.1, &[0b1000_0010]));
    assert_eq!(two.unwrap(), 2);
    for _ in 0..2 {
        assert_eq!(read(DirtyRead::Keep), [0, 1, 6, 7]);
    }
    f.world.close();
}

#[test]
fn a_bit_is_as_large_as_the_client_says() {
    let (f, _, hwpt) = tracking();
    let iommu = f.iommu();
    let range = (APERTURE, 8 * PAGE);
    f.map_fixed(0, range.1, APERTURE);
    let third = Dirtied {
        page_size: PAGE,
        ..dirtied(APERTURE, range.1, &[0b100])
    };
    assert_eq!(iommu.dirty(hwpt, third).unwrap(), 1);
    for (granule, set) in [
        (MOCK_PAGE, &[4, 5][..]),
        (PAGE, &[2]),
        (4 * PAGE, &[0]),
        (1024, &[8, 9, 10, 11]),
    ] {
        assert_eq!(bits(iommu, hwpt, range, granule, DirtyRead::Keep), set);
    }
    f.world.close();
}

#[test]
fn every_other_leaf_of_many() {
    for pages in [2, 4, 16, 32, 80] {
        let (f, _, hwpt) = tracking();
        let iommu = f.iommu();
        let range = (APERTURE, pages * PAGE);
        f.map_fixed(0, range.1, APERTURE);
        let bitmap = vec![0b0001_0001; count(range.1 / MOCK_PAGE).div_ceil(8)];
        let marked = iommu.dirty(hwpt, dirtied(APERTURE, range.1, &bitmap));
        assert_eq!(marked.unwrap(), pages / 2);
        let set: Vec<u64> = (0..2 * pages).filter(|bit| bit % 4 < 2).collect();
        let read = |mode| bits(iommu, hwpt, range, MOCK_PAGE, mode);
        assert_eq!(read(DirtyRead::Keep), set);
        assert_eq!(read(DirtyRead::Clear), set);
        assert!(read(DirtyRead::Clear).is_empty());
        f.world.close();
    }
}

#[test]
fn a_huge_leaf_is_dirty_as_a_whole() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    let len = 4 << 20;
    let huge = f.world.process.buffer_of(len, PageSize::SIZE_2M).unwrap();
    let ioas = iommu.ioas_alloc().unwrap();
    let hwpt = iommu
        .hwpt_alloc_mock(device.idev, ioas, DIRTY, MockIommupt::HUGE)
        .unwrap();
    iommu.map_fixed(ioas, huge.at(0), len, APERTURE).unwrap();
    iommu.set_dirty_tracking(hwpt, DirtyTracking::On).unwrap();
    let second = Dirtied {
        page_size: 1 << 20,
        ..dirtied(APERTURE, len, &[0b10])
    };
    assert_eq!(iommu.dirty(hwpt, second).unwrap(), 1);
    let set = bits(iommu, hwpt, (APERTURE, len), MOCK_PAGE, DirtyRead::Clear);
    assert_eq!(set, (512..1024).collect::<Vec<_>>());
    f.world.close();
}

#[test]
fn enabling_starts_clean() {
    let (f, _, hwpt) = tracking();
    let iommu = f.iommu();
    f.map_fixed(0, PAGE, APERTURE);
    let mark = || iommu.dirty(hwpt, dirtied(APERTURE, PAGE, &[1]));
    let read = || bits(iommu, hwpt, (APERTURE, PAGE), MOCK_PAGE, DirtyRead::Keep);
    mark().unwrap();
    iommu.set_dirty_tracking(hwpt, DirtyTracking::Off).unwrap();
    assert_eq!(read(), [0, 1], "disabling leaves what was recorded");
    assert_eq!(errno(mark()), Errno::EINVAL);
    iommu.set_dirty_tracking(hwpt, DirtyTracking::On).unwrap();
    assert!(read().is_empty());
    f.world.close();
}

#[test]
fn what_is_not_mapped_is_counted_and_ignored() {
    let (f, _, hwpt) = tracking();
    let iommu = f.iommu();
    f.map_fixed(0, PAGE, APERTURE);
    let bitmap = [0b0000_0101];
    let marked = iommu.dirty(hwpt, dirtied(APERTURE, 2 * PAGE, &bitmap));
    assert_eq!(marked.unwrap(), 2);
    let set = bits(iommu, hwpt, (APERTURE, PAGE), MOCK_PAGE, DirtyRead::Clear);
    assert_eq!(set, [0, 1]);
    let outside = iommu.dirty(hwpt, dirtied(Iova::new(1 << 60), 2 * PAGE, &bitmap));
    assert_eq!(outside.unwrap(), 2);
    f.world.close();
}

#[test]
fn only_page_tables_for_it_track() {
    let (f, device, hwpt) = tracking();
    let iommu = f.iommu();
    let set = |hwpt| iommu.set_dirty_tracking(hwpt, DirtyTracking::On);
    assert_eq!(errno(set(device.hwpt)), Errno::EOPNOTSUPP);
    assert_eq!(errno(set(f.ioas)), Errno::ENOENT);
    set(hwpt).unwrap();
    let read = |hwpt| {
        let range = (APERTURE, PAGE);
        iommu.get_dirty_bitmap(hwpt, range, PAGE, f.at(0), DirtyRead::Keep)
    };
    assert_eq!(errno(read(device.hwpt)), Errno::EOPNOTSUPP);
    assert_eq!(errno(read(f.ioas)), Errno::ENOENT);
    read(hwpt).unwrap();
    f.world.close();
}

#[test]
fn pasids_attach_to_page_tables_that_track() {
    let (f, _) = Fixture::one();
    let iommu = f.iommu();
    let device = iommu.mock_domain_flags(f.ioas, PASIDS).unwrap();
    let flags = DIRTY | HwptFlags::PASID;
    let hwpt = iommu.hwpt_alloc(device.idev, f.ioas, flags).unwrap();
    let attach = |stdev| iommu.pasid_attach(stdev, Pasid(100), hwpt);
    assert_eq!(
        errno(attach(device.stdev)),
        Errno::EINVAL,
        "the RID is on an automatic page table"
    );
    iommu.mock_domain_replace(device.stdev, hwpt).unwrap();
    attach(device.stdev).unwrap();
    let limited = iommu
        .mock_domain_flags(f.ioas, MockFlagsDevice::NO_DIRTY)
        .unwrap();
    assert_eq!(errno(attach(limited.stdev)), Errno::EINVAL);
    f.world.close();
}

#[test]
fn requests_are_refused_in_order() {
    let (f, _, hwpt) = tracking();
    let iommu = f.iommu();
    let plain = dirtied(APERTURE, PAGE, &[0]);
    let unknown = ObjectId(99);
    for wrong in [
        Dirtied {
            page_size: 0,
            ..plain
        },
        Dirtied { len: 0, ..plain },
        Dirtied {
            iova: add(APERTURE, 1),
            ..plain
        },
        Dirtied {
            len: PAGE + 1,
            ..plain
        },
    ] {
        assert_eq!(errno(iommu.dirty(unknown, wrong)), Errno::EINVAL);
    }
    let too_many = Dirtied {
        len: (1 << 27) + 1,
        page_size: 1,
        ..plain
    };
    assert_eq!(errno(iommu.dirty(unknown, too_many)), Errno::EOVERFLOW);
    assert_eq!(errno(iommu.dirty(unknown, plain)), Errno::ENOENT);
    iommu.dirty(hwpt, plain).unwrap();
    let beyond_the_bitmap = Dirtied {
        len: 1 << 26,
        page_size: 1,
        ..plain
    };
    assert_eq!(errno(iommu.dirty(hwpt, beyond_the_bitmap)), Errno::EFAULT);
    f.world.close();
}
