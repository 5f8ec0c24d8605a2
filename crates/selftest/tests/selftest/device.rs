//! Mock devices: their numbers, what they attach to, and what becomes of page tables.

use swiommu_abi::Errno;
use swiommu_abi::hw_info::IommufdHwCapabilities;
use swiommu_abi::mock::{
    IOMMU_HW_INFO_SELFTEST_REGVAL, IOMMU_HW_INFO_TYPE_SELFTEST, IOMMU_TEST_DEV_CACHE_DEFAULT,
};
use swiommu_abi::test_cmd::MockFlagsDevice;
use swiommu_iommufd::{HwptFlags, ObjectId};

use crate::fixture::{APERTURE, Fixture, PAGE, PASIDS, World, errno};

#[test]
fn numbers_are_the_lowest_that_are_free() {
    let w = World::new();
    let id = ObjectId;
    let ids = |device: swiommu_selftest::client::Device| (device.stdev, device.idev, device.hwpt);
    assert_eq!(w.iommu.ioas_alloc().unwrap(), id(1));
    let first = w.iommu.mock_domain(id(1)).unwrap();
    assert_eq!(ids(first), (id(2), id(3), id(4)));
    let second = w.iommu.mock_domain(id(1)).unwrap();
    assert_eq!(
        ids(second),
        (id(5), id(6), id(4)),
        "the page table is shared"
    );
    for busy in [1, 4, 3] {
        assert_eq!(errno(w.iommu.destroy(id(busy))), Errno::EBUSY);
    }
    w.iommu.destroy(id(2)).unwrap();
    assert_eq!(errno(w.iommu.destroy(id(3))), Errno::ENOENT, "gone with it");
    assert_eq!(w.iommu.ioas_alloc().unwrap(), id(2));
    assert_eq!(w.iommu.mock_domain_replace(id(5), id(2)).unwrap(), id(3));
    let gone = w.iommu.mock_domain_replace(id(5), id(4));
    assert_eq!(errno(gone), Errno::ENOENT);
    w.close();
}

#[test]
fn a_device_that_cannot_be_attached_leaves_no_numbers() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    assert_eq!(errno(w.iommu.mock_domain(ObjectId(0))), Errno::ENOENT);
    assert_eq!(errno(w.iommu.mock_domain(ObjectId(9))), Errno::ENOENT);
    let unknown = w
        .iommu
        .mock_domain_flags(ioas, MockFlagsDevice::from_bits_retain(2));
    assert_eq!(errno(unknown), Errno::EINVAL);
    let device = w.iommu.mock_domain(ioas).unwrap();
    assert_eq!(device.stdev, ObjectId(2));
    let on_device = w.iommu.mock_domain(device.idev);
    assert_eq!(errno(on_device), Errno::EINVAL);
    let on_stdev = w.iommu.mock_domain(device.stdev);
    assert_eq!(errno(on_stdev), Errno::EINVAL);
    assert_eq!(w.iommu.ioas_alloc().unwrap(), ObjectId(5));
    w.close();
}

#[test]
fn a_device_attaches_to_a_page_table_by_number() {
    Fixture::each(|f| {
        let iommu = f.iommu();
        match f.devices.first() {
            Some(first) => {
                let device = iommu.mock_domain(first.hwpt).unwrap();
                assert_eq!(device.hwpt, first.hwpt);
            }
            None => assert_eq!(errno(iommu.mock_domain(ObjectId(0))), Errno::ENOENT),
        }
    });
}

#[test]
fn automatic_page_tables_live_as_long_as_a_device_is_attached() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    let other = iommu.ioas_alloc().unwrap();
    f.map_fixed(0, PAGE, APERTURE);
    assert_eq!(errno(iommu.destroy(device.hwpt)), Errno::EBUSY);

    let second = iommu.mock_domain(device.hwpt).unwrap();
    iommu.mock_domain_replace(device.stdev, other).unwrap();
    f.check_refs(0, PAGE, 1);
    let kept = iommu.check_map(device.hwpt, APERTURE, PAGE, f.at(0));
    kept.expect("the second device keeps the page table");
    iommu
        .mock_domain_replace(device.stdev, device.hwpt)
        .unwrap();
    iommu.mock_domain_replace(device.stdev, other).unwrap();

    iommu.destroy(second.stdev).unwrap();
    f.check_refs(0, PAGE, 0);
    let gone = iommu.check_map(device.hwpt, APERTURE, PAGE, f.at(0));
    assert_eq!(errno(gone), Errno::ENOENT);
    let gone = iommu.mock_domain_replace(device.stdev, device.hwpt);
    assert_eq!(errno(gone), Errno::ENOENT);

    iommu.mock_domain_replace(device.stdev, other).unwrap();
    iommu.mock_domain_replace(device.stdev, f.ioas).unwrap();
    iommu.destroy(other).unwrap();
    f.world.close();
}

#[test]
fn manual_page_tables_stay_and_are_never_chosen() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    let manual = iommu
        .hwpt_alloc(device.idev, f.ioas, HwptFlags::empty())
        .unwrap();
    iommu.mock_domain_replace(device.stdev, manual).unwrap();
    let second = iommu.mock_domain(f.ioas).unwrap();
    assert_ne!(second.hwpt, manual);
    iommu.mock_domain_replace(device.stdev, f.ioas).unwrap();
    f.map_fixed(0, PAGE, APERTURE);
    iommu
        .check_map(manual, APERTURE, PAGE, f.at(0))
        .expect("a page table without a device is filled too");
    f.check_refs(0, PAGE, 1);
    iommu.destroy(manual).unwrap();
    assert_eq!(errno(iommu.destroy(manual)), Errno::ENOENT);
    f.world.close();
}

#[test]
fn a_failed_replace_changes_nothing() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    f.map_fixed(0, PAGE, APERTURE);
    let other = iommu.ioas_alloc().unwrap();
    let nowhere = swiommu_addr::Hva::new(0x10_0000);
    iommu.map_fixed(other, nowhere, PAGE, APERTURE).unwrap();
    let replaced = iommu.mock_domain_replace(device.stdev, other);
    assert_eq!(errno(replaced), Errno::EFAULT);
    let unknown = iommu.mock_domain_replace(device.stdev, ObjectId(77));
    assert_eq!(errno(unknown), Errno::ENOENT);
    let not_ours = iommu.mock_domain_replace(device.idev, f.ioas);
    assert_eq!(errno(not_ours), Errno::ENOENT, "a DEVICE is no stdev");
    iommu
        .check_map(device.hwpt, APERTURE, PAGE, f.at(0))
        .unwrap();
    iommu.destroy(other).expect("nothing holds it");
    f.world.close();
}

#[test]
fn devices_without_dirty_tracking_refuse_page_tables_with_it() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    let dirty = HwptFlags::DIRTY_TRACKING;
    let hwpt = iommu.hwpt_alloc(device.idev, f.ioas, dirty).unwrap();
    let without = |target| iommu.mock_domain_flags(target, MockFlagsDevice::NO_DIRTY);
    assert_eq!(errno(without(hwpt)), Errno::EINVAL);
    let limited = without(f.ioas).unwrap();
    let alloc = iommu.hwpt_alloc(limited.idev, f.ioas, dirty);
    assert_eq!(errno(alloc), Errno::EOPNOTSUPP);
    let replaced = iommu.mock_domain_replace(limited.stdev, hwpt);
    assert_eq!(errno(replaced), Errno::EINVAL);
    iommu.mock_domain(hwpt).unwrap();
    f.world.close();
}

#[test]
fn hardware_information_fits_the_buffer_it_gets() {
    Fixture::each(|f| {
        let iommu = f.iommu();
        let Some(device) = f.devices.first() else {
            assert_eq!(errno(iommu.hw_info(ObjectId(9), None, 8)), Errno::ENOENT);
            return;
        };
        let selftest = IOMMU_HW_INFO_TYPE_SELFTEST.0;
        let mut whole = vec![0; 4];
        whole.extend(IOMMU_HW_INFO_SELFTEST_REGVAL.to_ne_bytes());
        let mut padded = whole.clone();
        padded.resize(16, 0);
        for (asked, room, buffer) in [
            (None, 0, &[][..]),
            (None, 8, &whole),
            (Some(selftest), 8, &whole),
            (Some(0), 4, &whole[..4]),
            (None, 16, &padded),
        ] {
            let info = iommu.hw_info(device.idev, asked, room).unwrap();
            assert_eq!(info.buffer, buffer);
            assert_eq!((info.data_len, info.data_type), (8, selftest));
            assert_eq!(info.max_pasid_log2, 0);
        }
        let other = iommu.hw_info(device.idev, Some(selftest + 1), 8);
        assert_eq!(errno(other), Errno::EOPNOTSUPP);

        let pasids = iommu.mock_domain_flags(f.ioas, PASIDS).unwrap();
        let info = iommu.hw_info(pasids.idev, None, 8).unwrap();
        assert_eq!(info.max_pasid_log2, 20);
        assert_eq!(info.capabilities.bits(), 9);
        let no_dirty = MockFlagsDevice::NO_DIRTY;
        let limited = iommu.mock_domain_flags(f.ioas, no_dirty).unwrap();
        let info = iommu.hw_info(limited.idev, None, 8).unwrap();
        assert_eq!(
            info.capabilities,
            IommufdHwCapabilities::PCI_ATS_NOT_SUPPORTED
        );
    });
}

#[test]
fn the_cache_of_a_device_holds_its_initial_value() {
    let (f, device) = Fixture::one();
    let check = |id, entry, cache| f.iommu().check_dev_cache(id, entry, cache);
    let initial = IOMMU_TEST_DEV_CACHE_DEFAULT;
    check(device.idev, 3, initial).unwrap();
    assert_eq!(errno(check(device.idev, 4, initial)), Errno::EINVAL);
    assert_eq!(errno(check(device.idev, 0, initial + 1)), Errno::EINVAL);
    assert_eq!(errno(check(device.stdev, 0, initial)), Errno::ENOENT);
    f.world.close();
}
