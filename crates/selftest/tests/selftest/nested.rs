//! Nested page tables of the mock.

use swiommu_abi::Errno;
use swiommu_abi::mock::IOMMU_TEST_IOTLB_DEFAULT;
use swiommu_abi::mock::{IOMMU_HWPT_DATA_SELFTEST, MockIommupt};
use swiommu_iommufd::{HwptFlags, ObjectId};
use swiommu_selftest::client::HwptData;

use crate::fixture::{APERTURE, Fixture, PAGE, add, errno};

const IOTLB: u32 = IOMMU_TEST_IOTLB_DEFAULT;
const PLAIN: HwptFlags = HwptFlags::empty();

#[test]
fn a_nested_page_table_is_made_on_a_nesting_parent() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    let parent = iommu
        .hwpt_alloc(device.idev, f.ioas, HwptFlags::NEST_PARENT)
        .unwrap();
    let first = iommu
        .hwpt_alloc_nested(device.idev, parent, PLAIN, IOTLB)
        .unwrap();
    let second = iommu
        .hwpt_alloc_nested(device.idev, parent, HwptFlags::PASID, 7)
        .unwrap();
    for entry in 0..4 {
        iommu.check_iotlb(first, entry, IOTLB).unwrap();
        iommu.check_iotlb(second, entry, 7).unwrap();
    }
    assert_eq!(errno(iommu.check_iotlb(first, 4, IOTLB)), Errno::EINVAL);
    assert_eq!(errno(iommu.check_iotlb(first, 0, 7)), Errno::EINVAL);
    assert_eq!(errno(iommu.check_iotlb(parent, 0, IOTLB)), Errno::ENOENT);
    assert_eq!(errno(iommu.destroy(parent)), Errno::EBUSY);

    let replace = |target| iommu.mock_domain_replace(device.stdev, target);
    assert_eq!(replace(first).unwrap(), first);
    assert_eq!(errno(iommu.destroy(first)), Errno::EBUSY);
    assert_eq!(replace(second).unwrap(), second);
    iommu.destroy(first).unwrap();
    assert_eq!(errno(iommu.destroy(second)), Errno::EBUSY);
    assert_eq!(replace(parent).unwrap(), parent);
    iommu.destroy(second).unwrap();
    replace(f.ioas).unwrap();
    iommu.destroy(parent).unwrap();
    f.world.close();
}

#[test]
fn a_device_on_a_nested_page_table_keeps_the_mappings_of_the_parent() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    let parent = iommu
        .hwpt_alloc(device.idev, f.ioas, HwptFlags::NEST_PARENT)
        .unwrap();
    let nested = iommu
        .hwpt_alloc_nested(device.idev, parent, PLAIN, IOTLB)
        .unwrap();
    iommu.mock_domain_replace(device.stdev, nested).unwrap();
    f.map_fixed(0, PAGE, APERTURE);
    iommu.check_map(parent, APERTURE, PAGE, f.at(0)).unwrap();
    f.check_refs(0, PAGE, 1);
    let attached = iommu.mock_domain(nested).unwrap();
    assert_eq!(attached.hwpt, nested);
    let reserved = f
        .iommu()
        .map_fixed(f.ioas, f.at(0), PAGE, add(APERTURE, 1 << 31));
    assert_eq!(
        errno(reserved),
        Errno::EINVAL,
        "the parent's aperture counts"
    );
    f.world.close();
}

#[test]
fn nested_allocations_are_refused_in_order() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    let alloc = |dev, on, flags, data| errno(iommu.hwpt_alloc_with(dev, on, flags, data));
    let mock = HwptData::mock(&[0; 8]);
    let parent = iommu
        .hwpt_alloc(device.idev, f.ioas, HwptFlags::NEST_PARENT)
        .unwrap();
    let not_parent = iommu.hwpt_alloc(device.idev, f.ioas, PLAIN).unwrap();
    let nested = iommu
        .hwpt_alloc_nested(device.idev, parent, PLAIN, IOTLB)
        .unwrap();

    let untyped = HwptData {
        data_type: 0,
        ..mock
    };
    assert_eq!(alloc(device.idev, parent, PLAIN, untyped), Errno::EINVAL);
    let other_type = HwptData {
        data_type: IOMMU_HWPT_DATA_SELFTEST.0 + 1,
        ..mock
    };
    assert_eq!(
        alloc(device.idev, parent, PLAIN, other_type),
        Errno::EOPNOTSUPP
    );
    for len in [1, 3, 9] {
        let odd = HwptData::mock(&[0; 9][..len]);
        assert_eq!(alloc(device.idev, parent, PLAIN, odd), Errno::EINVAL);
    }
    let nowhere = HwptData {
        bytes: None,
        ..mock
    };
    assert_eq!(alloc(device.idev, parent, PLAIN, nowhere), Errno::EFAULT);
    assert_eq!(
        alloc(device.idev, parent, HwptFlags::NEST_PARENT, mock),
        Errno::EOPNOTSUPP
    );
    assert_eq!(
        alloc(device.idev, parent, PLAIN, HwptData::NONE),
        Errno::EOPNOTSUPP
    );
    for on in [not_parent, device.hwpt, nested, device.idev, ObjectId(99)] {
        assert_eq!(alloc(device.idev, on, PLAIN, mock), Errno::EINVAL);
    }
    assert_eq!(alloc(f.ioas, parent, PLAIN, mock), Errno::ENOENT);
    let faults = HwptFlags::FAULT_ID_VALID;
    assert_eq!(alloc(device.idev, parent, faults, mock), Errno::ENOENT);
    let shorter = iommu.hwpt_alloc_with(device.idev, parent, PLAIN, HwptData::mock(&[1; 4]));
    iommu.check_iotlb(shorter.unwrap(), 0, 0x0101_0101).unwrap();
    f.world.close();
}

#[test]
fn paging_allocations_are_refused_in_order() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    let alloc = |flags, data| iommu.hwpt_alloc_with(device.idev, f.ioas, flags, data);
    let mock = HwptData::mock(&[0; 8]);
    let both = HwptFlags::NEST_PARENT | HwptFlags::FAULT_ID_VALID;
    assert_eq!(errno(alloc(both, mock)), Errno::EOPNOTSUPP);
    let other_type = HwptData {
        data_type: 1,
        ..mock
    };
    assert_eq!(errno(alloc(PLAIN, other_type)), Errno::EOPNOTSUPP);
    assert_eq!(errno(alloc(PLAIN, HwptData::mock(&[0; 3]))), Errno::EINVAL);
    let nowhere = HwptData {
        bytes: None,
        ..mock
    };
    assert_eq!(errno(alloc(PLAIN, nowhere)), Errno::EFAULT);
    let table = iommu.hwpt_alloc_mock(device.idev, f.ioas, PLAIN, MockIommupt(2));
    assert_eq!(errno(table), Errno::EOPNOTSUPP);
    let all = HwptFlags::NEST_PARENT | HwptFlags::DIRTY_TRACKING | HwptFlags::PASID;
    alloc(all, mock).unwrap();
    alloc(PLAIN, HwptData::mock(&[9; 4])).unwrap();
    let wrong_device = iommu.hwpt_alloc(f.ioas, f.ioas, PLAIN);
    assert_eq!(errno(wrong_device), Errno::ENOENT);
    f.world.close();
}

#[test]
fn a_huge_page_table_raises_the_alignment_while_it_is_linked() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    f.map_fixed(2048, PAGE, add(APERTURE, 2048));
    let alloc = || iommu.hwpt_alloc_mock(device.idev, f.ioas, PLAIN, MockIommupt::HUGE);
    assert_eq!(errno(alloc()), Errno::EADDRINUSE);
    f.unmap(add(APERTURE, 2048), PAGE);
    let huge = alloc().unwrap();
    let (ranges, alignment) = iommu.iova_ranges(f.ioas).unwrap();
    assert_eq!(alignment.bytes(), PAGE);
    assert_eq!(ranges.len(), 1, "the smaller aperture counts");
    let odd = iommu.map_fixed(f.ioas, f.at(0), 2048, APERTURE);
    assert_eq!(errno(odd), Errno::EINVAL);
    iommu.destroy(huge).unwrap();
    f.map_fixed(0, 2048, APERTURE);
    f.world.close();
}
