//! `HWPT_ALLOC` and `GET_HW_INFO`.

use swiommu_abi::hw_info::{IOMMU_GET_HW_INFO, IommuHwInfo};
use swiommu_abi::hwpt::{IOMMU_HWPT_ALLOC, IommuHwptAlloc};
use swiommu_abi::mock::IOMMU_HWPT_DATA_SELFTEST;
use swiommu_abi::{Errno, UapiStruct};
use swiommu_addr::{Hva, Iova};
use swiommu_iommufd::HwptFlags;

use crate::fixture::{BASE, NONE, PAGE, World, errno};
use crate::order::Rules;

const FAULT: u32 = HwptFlags::FAULT_ID_VALID.bits();
const NEST_PARENT: u32 = HwptFlags::NEST_PARENT.bits();
const SELFTEST: u32 = IOMMU_HWPT_DATA_SELFTEST.0;

#[test]
fn a_page_table_on_an_ioas_checks_in_order() {
    let w = World::new();
    // It cannot be linked to what lies outside of its aperture, nor filled with what is not there.
    let (outside, unbacked) = (w.iommu.ioas_alloc().unwrap(), w.iommu.ioas_alloc().unwrap());
    w.iommu
        .map_fixed(outside, w.page(0), PAGE, Iova::new(PAGE))
        .unwrap();
    w.iommu
        .map_fixed(unbacked, Hva::new(0x10_0000), PAGE, BASE)
        .unwrap();
    w.memory.write(0, &[0; 8]).unwrap();
    let good = IommuHwptAlloc {
        size: IommuHwptAlloc::SIZE,
        dev_id: w.device.idev.0,
        pt_id: w.ioas.0,
        data_type: SELFTEST,
        data_len: 8,
        data_uptr: w.page(0).get(),
        fault_id: NONE.0,
        ..Default::default()
    };
    Rules::of(good)
        .rule(Errno::EOPNOTSUPP, "reserved field", |c| {
            c.__reserved = 1;
        })
        .rule(Errno::EINVAL, "type without data", |c| {
            (c.data_type, c.data_len) = (SELFTEST, 0);
        })
        .rule(Errno::ENOENT, "no device", |c| c.dev_id = NONE.0)
        .rule(Errno::ENOENT, "not a device", |c| c.dev_id = w.ioas.0)
        .rule(Errno::EINVAL, "no target", |c| c.pt_id = NONE.0)
        .rule(Errno::EINVAL, "unsuitable target", |c| {
            c.pt_id = w.device.stdev.0;
        })
        .rule(Errno::EOPNOTSUPP, "flags", |c| c.flags |= 1 << 7)
        .rule(Errno::EOPNOTSUPP, "a parent with faults", |c| {
            c.flags |= FAULT | NEST_PARENT;
        })
        .rule(Errno::EOPNOTSUPP, "the driver's type", |c| {
            (c.data_type, c.data_len) = (1, 8);
        })
        .rule(Errno::EINVAL, "the driver's length", |c| {
            (c.data_type, c.data_len) = (SELFTEST, 9);
        })
        .rule(Errno::EFAULT, "the driver's data", |c| {
            c.data_uptr = 0x10_0000;
        })
        .rule(Errno::EADDRINUSE, "outside", |c| c.pt_id = outside.0)
        .rule(Errno::EFAULT, "no memory", |c| c.pt_id = unbacked.0)
        .rule(Errno::ENOENT, "no fault queue", |c| c.flags |= FAULT)
        .check(&w, IOMMU_HWPT_ALLOC);
    w.close();
}

#[test]
fn a_page_table_on_a_page_table_checks_in_order() {
    let w = World::new();
    let parent = w
        .iommu
        .hwpt_alloc(w.device.idev, w.ioas, HwptFlags::NEST_PARENT)
        .unwrap();
    w.memory.write(0, &[0; 8]).unwrap();
    let good = IommuHwptAlloc {
        size: IommuHwptAlloc::SIZE,
        dev_id: w.device.idev.0,
        pt_id: parent.0,
        data_type: SELFTEST,
        data_len: 8,
        data_uptr: w.page(0).get(),
        fault_id: NONE.0,
        ..Default::default()
    };
    Rules::of(good)
        .rule(Errno::ENOENT, "no device", |c| {
            c.dev_id = NONE.0;
        })
        .rule(Errno::EOPNOTSUPP, "flags", |c| c.flags |= NEST_PARENT)
        .rule(Errno::EOPNOTSUPP, "no data", |c| {
            (c.data_type, c.data_len) = (0, 0);
        })
        .rule(Errno::EINVAL, "no parent", |c| c.pt_id = w.device.hwpt.0)
        .rule(Errno::EOPNOTSUPP, "the driver's type", |c| {
            (c.data_type, c.data_len) = (1, 8);
        })
        .rule(Errno::EINVAL, "the driver's length", |c| {
            (c.data_type, c.data_len) = (SELFTEST, 3);
        })
        .rule(Errno::EFAULT, "the driver's data", |c| {
            c.data_uptr = 0x10_0000;
        })
        .rule(Errno::ENOENT, "no fault queue", |c| c.flags |= FAULT)
        .check(&w, IOMMU_HWPT_ALLOC);
    w.close();
}

#[test]
fn data_has_a_type_and_a_length_or_neither() {
    let w = World::new();
    for (data_type, data_len) in [(0, 8), (SELFTEST, 0)] {
        let mut cmd = IommuHwptAlloc {
            size: IommuHwptAlloc::SIZE,
            dev_id: NONE.0,
            data_type,
            data_len,
            ..Default::default()
        };
        assert_eq!(
            errno(w.iommu.ioctl(IOMMU_HWPT_ALLOC, &mut cmd)),
            Errno::EINVAL
        );
    }
    w.close();
}

#[test]
fn hardware_information_checks_in_order() {
    let w = World::new();
    let good = IommuHwInfo {
        size: IommuHwInfo::SIZE,
        flags: 1,
        dev_id: w.device.idev.0,
        data_len: 16,
        data_uptr: w.page(0).get(),
        ..Default::default()
    };
    Rules::of(good)
        .rule(Errno::EOPNOTSUPP, "flags", |c| c.flags |= 2)
        .rule(Errno::EOPNOTSUPP, "reserved field", |c| c.__reserved[2] = 1)
        .rule(Errno::ENOENT, "no device", |c| c.dev_id = NONE.0)
        .rule(Errno::ENOENT, "not a device", |c| {
            c.dev_id = w.device.stdev.0;
        })
        .rule(Errno::EOPNOTSUPP, "type", |c| c.out_data_type = 1)
        .rule(Errno::EFAULT, "no memory", |c| c.data_uptr = 0x10_0000)
        .rule(Errno::EFAULT, "no memory behind the data", |c| {
            c.data_uptr = w.memory.at(w.memory.len() - 8).get();
        })
        .check(&w, IOMMU_GET_HW_INFO);

    // Without the flag the type does not go in.
    let mut cmd = IommuHwInfo {
        flags: 0,
        out_data_type: 1,
        ..good
    };
    w.iommu.ioctl(IOMMU_GET_HW_INFO, &mut cmd).unwrap();
    w.close();
}
