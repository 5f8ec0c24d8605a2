//! Numbers, users, and DESTROY.

use std::collections::BTreeSet;

use swiommu_abi::Errno;
use swiommu_abi::UapiStruct;
use swiommu_abi::object::{IOMMU_DESTROY, IommuDestroy};
use swiommu_abi::test_cmd::MockFlagsDevice;
use swiommu_iommu::Pasid;
use swiommu_iommufd::{AccessKind, HwptFlags, ObjectId};

use crate::fixture::{BASE, NONE, PAGE, World, at, errno};
use crate::order::Rules;

#[test]
fn destroy_checks_in_order() {
    let w = World::new();
    let good = IommuDestroy {
        size: IommuDestroy::SIZE,
        id: w.empty.0,
    };
    Rules::of(good)
        .rule(Errno::ENOENT, "number 0", |c| c.id = 0)
        .rule(Errno::ENOENT, "no object", |c| c.id = NONE.0)
        .rule(Errno::ENOENT, "more than 31 bits", |c| c.id = u32::MAX)
        .rule(Errno::EBUSY, "a device of a driver", |c| {
            c.id = w.device.idev.0;
        })
        .rule(Errno::EBUSY, "a page table in use", |c| {
            c.id = w.device.hwpt.0;
        })
        .rule(Errno::EBUSY, "an IOAS in use", |c| c.id = w.ioas.0)
        .check(&w, IOMMU_DESTROY);
    w.close();
}

/// The example that the description of the interface works through.
#[test]
fn automatic_page_tables_are_shared_and_go_with_their_last_device() {
    let w = World::new();
    w.iommu.destroy(w.empty).unwrap();
    assert_eq!(
        (w.ioas.0, w.device.stdev.0, w.device.idev.0, w.device.hwpt.0),
        (1, 2, 3, 4)
    );
    let second = w.iommu.mock_domain(w.ioas).unwrap();
    assert_eq!((second.stdev.0, second.idev.0, second.hwpt.0), (5, 6, 4));
    for used in [1, 4, 3] {
        assert_eq!(
            errno(w.iommu.destroy(ObjectId(used))),
            Errno::EBUSY,
            "{used}"
        );
    }
    w.iommu.destroy(w.device.stdev).unwrap();
    assert_eq!(
        errno(w.iommu.destroy(w.device.idev)),
        Errno::ENOENT,
        "it went with its driver"
    );
    assert_eq!(w.iommu.ioas_alloc().unwrap(), ObjectId(2));
    let moved = w
        .iommu
        .mock_domain_replace(second.stdev, ObjectId(2))
        .unwrap();
    assert_eq!(moved, ObjectId(3));
    let gone = w.iommu.mock_domain_replace(second.stdev, ObjectId(4));
    assert_eq!(errno(gone), Errno::ENOENT, "the automatic page table");
    w.iommu.destroy(w.ioas).expect("it has no users any more");
    w.close();
}

/// Any order of making and destroying against a set of numbers.
#[test]
fn the_lowest_free_number_is_taken() {
    let w = World::new();
    let mut used: BTreeSet<u32> = w.state().0.iter().map(|node| node.id.0).collect();
    let mut mine: Vec<ObjectId> = Vec::new();
    let mut dice = 1_u32;
    for _ in 0..400 {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let choice = (dice >> 16) as usize;
        if choice % 5 < 3 || mine.is_empty() {
            let id = w.iommu.ioas_alloc().unwrap();
            let lowest = (1..=1000).find(|n| !used.contains(n)).unwrap();
            assert_eq!(id.0, lowest);
            used.insert(id.0);
            mine.push(id);
        } else {
            let id = mine.swap_remove(choice % mine.len());
            w.iommu.destroy(id).unwrap();
            assert_eq!(errno(w.iommu.destroy(id)), Errno::ENOENT);
            used.remove(&id.0);
        }
    }
    w.close();
}

/// A call that fails after it took numbers gives all of them back.
#[test]
fn failed_calls_leave_no_gaps() {
    let w = World::new();
    w.iommu
        .map_fixed(w.empty, w.memory.at(w.memory.len()), PAGE, BASE)
        .unwrap();
    assert_eq!(
        errno(w.iommu.mock_domain(w.empty)),
        Errno::EFAULT,
        "with three numbers"
    );
    let device = w.device.idev;
    let full = w.iommu.hwpt_alloc(device, w.empty, HwptFlags::empty());
    assert_eq!(errno(full), Errno::EFAULT);
    let unaligned = w.iommu.map_fixed(w.empty, w.page(0), 5, at(8));
    unaligned.unwrap();
    let access = w.iommu.create_access(w.empty, AccessKind::Pins);
    assert_eq!(errno(access), Errno::EADDRINUSE);
    assert_eq!(w.iommu.ioas_alloc().unwrap(), ObjectId(w.empty.0 + 1));
    w.close();
}

/// Which types a number may have is the same for every use of it.
#[test]
fn look_ups_keep_to_their_types() {
    let w = World::new();
    let parent = w
        .iommu
        .hwpt_alloc(w.device.idev, w.ioas, HwptFlags::NEST_PARENT)
        .unwrap();
    let nested = w
        .iommu
        .hwpt_alloc_nested(w.device.idev, parent, HwptFlags::empty(), 1)
        .unwrap();
    let access = w.iommu.create_access(w.empty, AccessKind::Copies).unwrap();
    let access_id = w
        .state()
        .0
        .iter()
        .find(|node| node.type_name == "ACCESS")
        .unwrap()
        .id;
    let all = [
        w.ioas,
        w.device.idev,
        w.device.hwpt,
        w.device.stdev,
        parent,
        nested,
        access_id,
    ];
    for id in all {
        let name = |wanted: &[ObjectId]| wanted.contains(&id);
        if !name(&[w.ioas]) {
            assert_eq!(
                errno(w.iommu.iova_ranges(id)),
                Errno::ENOENT,
                "{id} as an IOAS"
            );
            assert_eq!(
                errno(w.iommu.access_replace_ioas(access, id)),
                Errno::ENOENT
            );
        }
        if !name(&[w.device.idev]) {
            assert_eq!(
                errno(w.iommu.hw_info(id, None, 0)),
                Errno::ENOENT,
                "{id} as a device"
            );
            let alloc = w.iommu.hwpt_alloc(id, w.ioas, HwptFlags::empty());
            assert_eq!(errno(alloc), Errno::ENOENT);
        }
        if !name(&[w.device.stdev]) {
            let replaced = w.iommu.mock_domain_replace(id, w.ioas);
            assert_eq!(errno(replaced), Errno::ENOENT, "{id} as a mock device");
        }
        if !name(&[w.ioas, w.device.hwpt, parent, nested]) {
            let attached = w.iommu.mock_domain(id);
            assert_eq!(errno(attached), Errno::EINVAL, "{id} to attach to");
            let alloc = w.iommu.hwpt_alloc(w.device.idev, id, HwptFlags::empty());
            assert_eq!(errno(alloc), Errno::EINVAL, "{id} to allocate on");
        }
        if !name(&[w.device.hwpt, parent]) {
            let checked = w.iommu.check_map(id, BASE, 0, w.page(0));
            assert_eq!(errno(checked), Errno::ENOENT, "{id} as a page table");
        }
        if !name(&[nested]) {
            assert_eq!(
                errno(w.iommu.check_iotlb(id, 0, 1)),
                Errno::ENOENT,
                "{id} as a nested one"
            );
        }
    }
    w.iommu.destroy_access(access).unwrap();
    w.close();
}

/// What refers to an object must go before it, and closing finds an order by itself.
#[test]
fn objects_go_from_the_leaves() {
    let chain = |w: &World| {
        let device = w
            .iommu
            .mock_domain_flags(w.empty, MockFlagsDevice::PASID)
            .unwrap();
        let flags = HwptFlags::NEST_PARENT | HwptFlags::PASID;
        let parent = w.iommu.hwpt_alloc(device.idev, w.empty, flags).unwrap();
        let nested = w
            .iommu
            .hwpt_alloc_nested(device.idev, parent, HwptFlags::PASID, 0)
            .unwrap();
        w.iommu.mock_domain_replace(device.stdev, nested).unwrap();
        w.iommu
            .pasid_attach(device.stdev, Pasid(5), parent)
            .unwrap();
        (device, parent, nested)
    };
    let w = World::new();
    let (device, parent, nested) = chain(&w);
    w.iommu.map_fixed(w.empty, w.page(0), PAGE, BASE).unwrap();
    let busy = |ids: &[ObjectId]| {
        for &id in ids {
            assert_eq!(errno(w.iommu.destroy(id)), Errno::EBUSY, "{id}");
        }
    };
    busy(&[w.empty, parent, nested, device.idev]);
    w.iommu.pasid_detach(device.stdev, Pasid(5)).unwrap();
    busy(&[w.empty, parent, nested]);
    w.iommu.destroy(device.stdev).unwrap();
    busy(&[w.empty, parent]);
    for id in [nested, parent, w.empty] {
        w.iommu.destroy(id).unwrap();
    }
    assert_eq!(w.host.memory().pinned_pages(), 0);

    let w = World::new();
    chain(&w);
    w.iommu.map_fixed(w.empty, w.page(0), PAGE, BASE).unwrap();
    w.close();
}
