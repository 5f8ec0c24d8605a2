//! COPY: areas that share memory.

use swiommu_abi::Errno;
use swiommu_abi::ioas::IommufdIoasMapFlags as MapFlags;
use swiommu_abi::test_cmd::MockFlagsAccess;
use swiommu_addr::Iova;
use swiommu_iommufd::ObjectId;

use crate::fixture::{APERTURE, BUFFER, Fixture, MOCK_PAGE, PAGE, add, errno};

#[test]
fn copies_share_the_pin() {
    Fixture::each(|f| {
        let iommu = f.iommu();
        f.map_fixed(0, PAGE, f.base);
        let within = add(f.base, PAGE);
        iommu
            .copy((f.ioas, f.base), PAGE, f.ioas, Some(within))
            .unwrap();
        f.check_map(within, PAGE, f.at(0));
        let other = iommu.ioas_alloc().unwrap();
        let across = iommu.copy((f.ioas, f.base), PAGE, other, Some(Iova::new(0)));
        assert_eq!(across.unwrap(), Iova::new(0));
        let pins = u32::from(!f.devices.is_empty());
        f.check_refs(0, PAGE, pins);
        f.unmap(f.base, PAGE);
        f.check_refs(0, PAGE, pins);
        f.unmap(within, PAGE);
        f.check_refs(0, PAGE, 0);
    });
}

#[test]
fn any_covered_part_can_be_copied() {
    Fixture::each(|f| {
        let iommu = f.iommu();
        let target = iommu.ioas_alloc().unwrap();
        let last = if f.devices.is_empty() {
            BUFFER - 2
        } else {
            BUFFER - 1
        };
        f.map_fixed(0, last + 1, APERTURE);
        let first = APERTURE.get();
        for from in (first - PAGE..=first + last).step_by(511) {
            let copied = iommu.copy((f.ioas, Iova::new(from)), MOCK_PAGE, target, Some(APERTURE));
            if from < first || from + MOCK_PAGE - 1 > first + last {
                assert_eq!(errno(copied), Errno::ENOENT, "from {from:#x}");
            } else {
                copied.unwrap();
                iommu.unmap(target, APERTURE, MOCK_PAGE).unwrap();
            }
        }
        iommu.destroy(target).unwrap();
    });
}

#[test]
fn a_copy_may_span_areas_and_keeps_them_apart() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    let source = iommu.ioas_alloc().unwrap();
    let start = Iova::new(0x10_0000);
    iommu.map_fixed(source, f.at(0), 2 * PAGE, start).unwrap();
    iommu
        .map_fixed(source, f.at(8 * PAGE), PAGE, add(start, 2 * PAGE))
        .unwrap();
    let copy = iommu
        .copy((source, add(start, PAGE)), 2 * PAGE, f.ioas, None)
        .unwrap();
    iommu
        .check_map(device.hwpt, copy, PAGE, f.at(PAGE))
        .unwrap();
    iommu
        .check_map(device.hwpt, add(copy, PAGE), PAGE, f.at(8 * PAGE))
        .unwrap();
    let gap = iommu.copy((source, add(start, PAGE)), 3 * PAGE, f.ioas, None);
    assert_eq!(errno(gap), Errno::ENOENT);
    f.unmap(copy, PAGE);
    f.unmap(add(copy, PAGE), PAGE);
    f.check_refs(0, BUFFER, 0);
    f.world.close();
}

#[test]
fn a_failed_copy_leaves_nothing() {
    let (f, _) = Fixture::one();
    let iommu = f.iommu();
    let source = iommu.ioas_alloc().unwrap();
    let start = Iova::new(0x10_0000);
    iommu.map_fixed(source, f.at(0), PAGE, start).unwrap();
    let nowhere = swiommu_addr::Hva::new(0x10_0000);
    iommu
        .map_fixed(source, nowhere, PAGE, add(start, PAGE))
        .unwrap();
    let copied = iommu.copy((source, start), 2 * PAGE, f.ioas, Some(APERTURE));
    assert_eq!(errno(copied), Errno::EFAULT);
    f.check_refs(0, PAGE, 0);
    f.map_fixed(0, 2 * PAGE, APERTURE);
    f.world.close();
}

#[test]
fn a_copy_of_memory_mapped_for_reading_cannot_be_written() {
    let (f, _) = Fixture::one();
    let iommu = f.iommu();
    let source = iommu.ioas_alloc().unwrap();
    let readable = MapFlags::READABLE;
    let from = iommu
        .map_with(source, f.at(0), PAGE, None, readable)
        .unwrap();
    let writable = iommu.copy((source, from), PAGE, f.ioas, None);
    assert_eq!(errno(writable), Errno::EPERM);
    iommu
        .copy_with((source, from), PAGE, f.ioas, None, readable.bits())
        .unwrap();
    f.world.close();
}

#[test]
fn the_arguments_of_copy_are_checked_in_order() {
    let (f, _) = Fixture::one();
    let iommu = f.iommu();
    f.map_fixed(0, PAGE, APERTURE);
    let unknown = ObjectId(99);
    let copy = |source, from, len, target| {
        errno(iommu.copy(
            (source, Iova::new(from)),
            len,
            target,
            Some(add(APERTURE, PAGE)),
        ))
    };
    let from = APERTURE.get();
    assert_eq!(copy(f.ioas, u64::MAX, PAGE, f.ioas), Errno::EOVERFLOW);
    assert_eq!(copy(f.ioas, from, u64::MAX, f.ioas), Errno::EOVERFLOW);
    assert_eq!(copy(unknown, from, 0, unknown), Errno::ENOENT);
    assert_eq!(copy(f.ioas, from, 0, unknown), Errno::EINVAL);
    assert_eq!(copy(f.ioas, 0, PAGE, unknown), Errno::ENOENT);
    assert_eq!(copy(f.ioas, from, PAGE, unknown), Errno::ENOENT);
    assert_eq!(copy(f.ioas, from, 1, f.ioas), Errno::EINVAL);
    let no_access = iommu.copy_with((f.ioas, APERTURE), PAGE, f.ioas, None, 0);
    assert_eq!(errno(no_access), Errno::EINVAL);
    let unknown_flag = iommu.copy_with((f.ioas, APERTURE), PAGE, f.ioas, None, 1 << 8);
    assert_eq!(errno(unknown_flag), Errno::EOPNOTSUPP);
    f.world.close();
}

#[test]
fn the_source_can_be_named_by_its_area() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    f.map_fixed(0, PAGE, APERTURE);
    f.map_fixed(4 * PAGE, 2 * PAGE, add(APERTURE, 4 * PAGE));
    let flags = MapFlags::READABLE.bits() | MockFlagsAccess::SYZ.bits();
    let name = |area: u64, offset: u64| Iova::new(offset << 32 | area);
    let copy = iommu
        .copy_with((f.ioas, name(1, PAGE)), PAGE, f.ioas, None, flags)
        .unwrap();
    iommu
        .check_map(device.hwpt, copy, PAGE, f.at(5 * PAGE))
        .unwrap();
    let no_area = iommu.copy_with((f.ioas, name(7, 0)), PAGE, f.ioas, None, flags);
    assert_eq!(errno(no_area), Errno::ENOENT);
    let no_ioas = iommu.copy_with((ObjectId(99), name(0, 0)), PAGE, f.ioas, None, flags);
    assert_eq!(errno(no_ioas), Errno::ENOENT);
    f.world.close();
}
