//! What becomes of a command whose reply cannot be written.

use swiommu_abi::Errno;
use swiommu_abi::UapiStruct;
use swiommu_abi::hwpt::{IOMMU_HWPT_ALLOC, IommuHwptAlloc};
use swiommu_abi::ioas::{
    IOMMU_IOAS_ALLOC, IOMMU_IOAS_MAP, IOMMU_IOAS_UNMAP, IommuIoasAlloc, IommuIoasMap,
    IommuIoasUnmap,
};
use swiommu_abi::test_cmd::{
    AccessPages, CreateAccess, IOMMU_TEST_CMD, IommuTestCmd, IommuTestOp, MockDomain,
    MockDomainReplace, PasidAttach, TestBody,
};
use swiommu_files::Arg;
use swiommu_iommu::Pasid;
use swiommu_iommufd::{AccessKind, HwptFlags, ObjectId};
use swiommu_mem::Protection;
use swiommu_selftest::client::Client;

use crate::fixture::{APERTURE, Fixture, PAGE, PASIDS, World, errno};

/// Calls with a struct that can be read and not written.
fn call_read_only<T: UapiStruct>(iommu: &Client, request: u32, argument: T) {
    let buffer = iommu.process().buffer(PAGE).unwrap();
    buffer.write(0, argument.as_bytes()).unwrap();
    let space = iommu.process().space();
    space.protect(buffer.range(), Protection::Read);
    let called = iommu.ioctl_raw(request, Arg::from(buffer.at(0)));
    assert_eq!(errno(called), Errno::EFAULT);
}

fn test_read_only<T: UapiStruct>(iommu: &Client, op: IommuTestOp, id: u32, body: T) {
    let cmd = IommuTestCmd {
        size: IommuTestCmd::SIZE,
        op: op.0,
        id,
        body: TestBody::new(body),
        ..Default::default()
    };
    call_read_only(iommu, IOMMU_TEST_CMD, cmd);
}

#[test]
fn new_objects_are_undone() {
    let w = World::new();
    let cmd = IommuIoasAlloc {
        size: IommuIoasAlloc::SIZE,
        ..Default::default()
    };
    call_read_only(&w.iommu, IOMMU_IOAS_ALLOC, cmd);
    let ioas = w.iommu.ioas_alloc().unwrap();
    assert_eq!(ioas, ObjectId(1));
    w.iommu.map_fixed(ioas, w.at(0), PAGE, APERTURE).unwrap();

    let body = MockDomain::default();
    test_read_only(&w.iommu, IommuTestOp::MOCK_DOMAIN, ioas.0, body);
    w.iommu.check_refs(w.at(0), PAGE, 0).unwrap();
    let device = w.iommu.mock_domain(ioas).unwrap();
    assert_eq!((device.stdev, device.hwpt), (ObjectId(2), ObjectId(4)));

    let cmd = IommuHwptAlloc {
        size: IommuHwptAlloc::SIZE,
        dev_id: device.idev.0,
        pt_id: ioas.0,
        ..Default::default()
    };
    call_read_only(&w.iommu, IOMMU_HWPT_ALLOC, cmd);
    let plain = HwptFlags::empty();
    let hwpt = w.iommu.hwpt_alloc(device.idev, ioas, plain).unwrap();
    assert_eq!(hwpt, ObjectId(5));
    w.close();
}

#[test]
fn a_new_access_is_undone() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    let body = CreateAccess::default();
    test_read_only(&w.iommu, IommuTestOp::CREATE_ACCESS, ioas.0, body);
    let access = w.iommu.create_access(ioas, AccessKind::Pins).unwrap();
    assert_eq!(access.0.0, w.iommu.fd().0 + 1, "no descriptor is left over");
    assert_eq!(w.iommu.ioas_alloc().unwrap(), ObjectId(3));
    w.iommu.destroy_access(access).unwrap();
    w.iommu.destroy(ioas).expect("nobody uses it");
    let again = w.iommu.ioas_alloc().unwrap();
    assert_eq!(again, ObjectId(1));
    w.close();
}

#[test]
fn a_pin_is_undone() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    w.iommu.map_fixed(ioas, w.at(0), PAGE, APERTURE).unwrap();
    let access = w.iommu.create_access(ioas, AccessKind::Pins).unwrap();
    let body = AccessPages {
        iova: APERTURE.get(),
        length: PAGE,
        ..Default::default()
    };
    let id = access.0.0.cast_unsigned();
    test_read_only(&w.iommu, IommuTestOp::ACCESS_PAGES, id, body);
    w.iommu.check_refs(w.at(0), PAGE, 0).unwrap();
    let pin = w
        .iommu
        .access_pages(access, APERTURE, PAGE, w.at(0))
        .unwrap();
    assert_eq!(pin, 1, "its number is not used again");
    w.iommu.check_refs(w.at(0), PAGE, 1).unwrap();
    w.close();
}

#[test]
fn a_pasid_is_detached_again() {
    let (f, _) = Fixture::one();
    let iommu = f.iommu();
    let device = iommu.mock_domain_flags(f.ioas, PASIDS).unwrap();
    let hwpt = iommu
        .hwpt_alloc(device.idev, f.ioas, HwptFlags::PASID)
        .unwrap();
    iommu.mock_domain_replace(device.stdev, hwpt).unwrap();
    let body = PasidAttach {
        pasid: 9,
        pt_id: hwpt.0,
    };
    test_read_only(iommu, IommuTestOp::PASID_ATTACH, device.stdev.0, body);
    iommu
        .pasid_check_hwpt(device.stdev, Pasid(9), None)
        .unwrap();
    f.world.close();
}

#[test]
fn mappings_and_moves_are_kept() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    let cmd = IommuIoasMap {
        size: IommuIoasMap::SIZE,
        flags: 7,
        ioas_id: f.ioas.0,
        user_va: f.at(0).get(),
        length: PAGE,
        iova: APERTURE.get(),
        ..Default::default()
    };
    call_read_only(iommu, IOMMU_IOAS_MAP, cmd);
    f.check_map(APERTURE, PAGE, f.at(0));
    let cmd = IommuIoasUnmap {
        size: IommuIoasUnmap::SIZE,
        ioas_id: f.ioas.0,
        iova: APERTURE.get(),
        length: PAGE,
    };
    call_read_only(iommu, IOMMU_IOAS_UNMAP, cmd);
    f.check_refs(0, PAGE, 0);

    let other = iommu.ioas_alloc().unwrap();
    let body = MockDomainReplace { pt_id: other.0 };
    let stdev = device.stdev.0;
    test_read_only(iommu, IommuTestOp::MOCK_DOMAIN_REPLACE, stdev, body);
    assert_eq!(
        errno(iommu.destroy(other)),
        Errno::EBUSY,
        "the device is there"
    );
    iommu.destroy(f.ioas).expect("and not here");
    f.world.close();
}
