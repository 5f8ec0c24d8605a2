//! `IOMMU_OPTION` and `IOMMU_VFIO_IOAS`.

use swiommu_abi::option::{
    IOMMU_OPTION, IOMMU_VFIO_IOAS, IommuOption, IommuVfioIoas, IommufdOption, IommufdOptionOps,
    IommufdVfioIoasOp,
};
use swiommu_abi::{Errno, UapiStruct};
use swiommu_files::Capability;
use swiommu_iommufd::{AccessKind, ObjectId};
use swiommu_selftest::client::{Client, Host};

use crate::fixture::{BASE, NONE, PAGE, World, at, errno};
use crate::order::Rules;

const SET: u16 = IommufdOptionOps::SET.0;
const GET: u16 = IommufdOptionOps::GET.0;
const MODE: IommufdOption = IommufdOption::RLIMIT_MODE;
const HUGE: IommufdOption = IommufdOption::HUGE_PAGES;
const NOBODY: ObjectId = ObjectId(0);

/// A context without objects.
fn fresh(capabilities: &[Capability]) -> Client {
    Host::new()
        .unwrap()
        .process_with(capabilities)
        .unwrap()
        .open()
        .unwrap()
}

fn option(iommu: &Client, cmd: IommuOption) -> Errno {
    let mut sent = IommuOption {
        size: IommuOption::SIZE,
        ..cmd
    };
    let before = sent;
    let refused = errno(iommu.ioctl(IOMMU_OPTION, &mut sent));
    assert_eq!(sent, before, "written though it failed");
    refused
}

#[test]
fn the_rlimit_mode_checks_in_order() {
    let iommu = fresh(&[]);
    let (mode, op, object) = (MODE.0, 7, NONE.0);
    let wrong = IommuOption {
        option_id: mode,
        op,
        object_id: object,
        __reserved: 1,
        ..Default::default()
    };
    assert_eq!(option(&iommu, wrong), Errno::EOPNOTSUPP);
    for option_id in [2, u32::MAX] {
        let wrong = IommuOption {
            option_id,
            op: GET,
            ..Default::default()
        };
        assert_eq!(option(&iommu, wrong), Errno::EOPNOTSUPP);
    }
    for (op, object_id) in [(GET, 1), (SET, 1), (7, 0)] {
        let wrong = IommuOption {
            option_id: mode,
            op,
            object_id,
            val64: 5,
            ..Default::default()
        };
        assert_eq!(option(&iommu, wrong), Errno::EOPNOTSUPP, "op {op}");
    }

    // The capability, then objects, then the value.
    let set = IommuOption {
        option_id: mode,
        op: SET,
        val64: 5,
        ..Default::default()
    };
    assert_eq!(option(&iommu, set), Errno::EPERM);
    let able = fresh(&[Capability::SysResource]);
    assert_eq!(option(&able, set), Errno::EINVAL);
    let ioas = able.ioas_alloc().unwrap();
    assert_eq!(option(&able, set), Errno::EBUSY);
    let valid = IommuOption { val64: 1, ..set };
    assert_eq!(option(&able, valid), Errno::EBUSY);
    assert_eq!(option(&iommu, valid), Errno::EPERM);
    assert_eq!(able.option(MODE, NOBODY).unwrap(), 0, "the user pays");
    able.destroy(ioas).unwrap();
    able.set_option(MODE, NOBODY, 1).unwrap();
    assert_eq!(able.option(MODE, NOBODY).unwrap(), 1);
    able.set_option(MODE, NOBODY, 0).unwrap();
    assert_eq!(able.option(MODE, NOBODY).unwrap(), 0);
}

#[test]
fn large_pages_check_in_order() {
    let w = World::new();
    let base = IommuOption {
        option_id: HUGE.0,
        op: 7,
        object_id: NONE.0,
        val64: 5,
        ..Default::default()
    };
    assert_eq!(
        option(&w.iommu, base),
        Errno::ENOENT,
        "the IOAS before the operation"
    );
    let known = IommuOption {
        object_id: w.ioas.0,
        ..base
    };
    assert_eq!(option(&w.iommu, known), Errno::EOPNOTSUPP);
    assert_eq!(
        option(&w.iommu, IommuOption { op: SET, ..known }),
        Errno::EINVAL
    );
    assert_eq!(
        option(
            &w.iommu,
            IommuOption {
                __reserved: 1,
                ..base
            }
        ),
        Errno::EOPNOTSUPP
    );
    w.close();
}

#[test]
fn large_pages_go_only_where_nothing_is_mapped_with_them() {
    let w = World::new();
    let set = |ioas, value| w.iommu.set_option(HUGE, ioas, value);
    w.map(0, 1, BASE);
    assert_eq!(errno(set(w.ioas, 0)), Errno::EINVAL);
    set(w.ioas, 1).expect("as it is");
    w.iommu.unmap_all(w.ioas).unwrap();
    set(w.ioas, 0).expect("a page table, and nothing mapped");
    w.map(0, 1, BASE);
    set(w.ioas, 0).expect("as it is");
    assert_eq!(w.iommu.option(HUGE, w.ioas).unwrap(), 0);
    assert_eq!(w.iommu.iova_ranges(w.ioas).unwrap().1.bytes(), PAGE);
    set(w.ioas, 1).expect("allowing is always possible");
    assert_eq!(w.iommu.iova_ranges(w.ioas).unwrap().1.bytes(), 2048);

    // Without a page table only the alignment counts.
    w.iommu.map_fixed(w.empty, w.page(0), PAGE, at(0)).unwrap();
    set(w.empty, 0).unwrap();
    set(w.empty, 1).unwrap();
    w.iommu.map_fixed(w.empty, w.page(0), 2048, at(2)).unwrap();
    assert_eq!(errno(set(w.empty, 0)), Errno::EADDRINUSE);
    assert_eq!(w.iommu.option(HUGE, w.empty).unwrap(), 1);
    w.close();
}

#[test]
fn the_ioas_for_vfio_checks_in_order() {
    let w = World::new();
    let (get, set) = (IommufdVfioIoasOp::GET.0, IommufdVfioIoasOp::SET.0);
    let cmd = IommuVfioIoas {
        size: IommuVfioIoas::SIZE,
        ioas_id: w.ioas.0,
        ..Default::default()
    };
    let mut none = IommuVfioIoas { op: get, ..cmd };
    assert_eq!(
        errno(w.iommu.ioctl(IOMMU_VFIO_IOAS, &mut none)),
        Errno::ENODEV
    );
    Rules::of(IommuVfioIoas { op: set, ..cmd })
        .rule(Errno::EOPNOTSUPP, "reserved field", |c| {
            c.__reserved = 1;
        })
        .rule(Errno::EOPNOTSUPP, "operation", |c| c.op = 3)
        .rule(Errno::ENOENT, "no object", |c| c.ioas_id = NONE.0)
        .rule(Errno::ENOENT, "no IOAS", |c| c.ioas_id = w.device.hwpt.0)
        .check(&w, IOMMU_VFIO_IOAS);
    let found = w.iommu.vfio_ioas(IommufdVfioIoasOp::GET, NONE).unwrap();
    assert_eq!(found, w.ioas);
    w.close();
}

#[test]
fn the_ioas_for_vfio_can_be_forgotten() {
    let w = World::new();
    let vfio = |op, ioas| w.iommu.vfio_ioas(op, ioas);
    vfio(IommufdVfioIoasOp::SET, w.empty).unwrap();
    vfio(IommufdVfioIoasOp::CLEAR, NONE).expect("the number is not looked at");
    assert_eq!(errno(vfio(IommufdVfioIoasOp::GET, NONE)), Errno::ENODEV);
    vfio(IommufdVfioIoasOp::SET, w.empty).unwrap();
    w.iommu.destroy(w.empty).expect("it is not in use by that");
    assert_eq!(errno(vfio(IommufdVfioIoasOp::GET, NONE)), Errno::ENODEV);
    assert_eq!(w.iommu.ioas_alloc().unwrap(), w.empty);
    assert_eq!(
        errno(vfio(IommufdVfioIoasOp::GET, NONE)),
        Errno::ENODEV,
        "another IOAS"
    );
    w.close();
}

/// The mode is the context's, and goes for mappings of IOASes that come later.
#[test]
fn any_object_fixes_the_rlimit_mode() {
    let able = fresh(&[Capability::SysResource]);
    let ioas = able.ioas_alloc().unwrap();
    let access = able.create_access(ioas, AccessKind::Copies).unwrap();
    assert_eq!(errno(able.destroy(ioas)), Errno::EBUSY);
    assert_eq!(errno(able.set_option(MODE, NOBODY, 1)), Errno::EBUSY);
    able.destroy_access(access).unwrap();
    able.destroy(ioas).unwrap();
    able.set_option(MODE, NOBODY, 1).unwrap();
}
