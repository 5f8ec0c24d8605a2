//! Mock devices and PASIDs.

use swiommu_abi::Errno;
use swiommu_iommu::Pasid;
use swiommu_iommufd::{HwptFlags, ObjectId};
use swiommu_selftest::client::Device;

use crate::fixture::{Fixture, PASIDS, VARIANTS, errno};

/// A device with PASIDs, and page tables to attach it to.
struct Tables {
    f: Fixture,
    device: Device,
    /// For use beside PASIDs.
    compatible: ObjectId,
    parent: ObjectId,
    nested: [ObjectId; 2],
}

impl Tables {
    fn new() -> Self {
        let f = Fixture::new(VARIANTS[1]);
        let device = f.iommu().mock_domain_flags(f.ioas, PASIDS).unwrap();
        let paging = |flags| f.iommu().hwpt_alloc(device.idev, f.ioas, flags).unwrap();
        let (compatible, parent) = (paging(HwptFlags::PASID), paging(HwptFlags::NEST_PARENT));
        let nested = || {
            f.iommu()
                .hwpt_alloc_nested(device.idev, parent, HwptFlags::PASID, 1)
                .unwrap()
        };
        Self {
            nested: [nested(), nested()],
            compatible,
            parent,
            device,
            f,
        }
    }

    fn attach(&self, pasid: u32, target: ObjectId) -> Result<ObjectId, Errno> {
        let stdev = self.device.stdev;
        let attached = self.f.iommu().pasid_attach(stdev, Pasid(pasid), target);
        attached.map_err(|refusal| refusal.errno())
    }

    fn replace(&self, pasid: u32, target: ObjectId) -> Result<ObjectId, Errno> {
        let stdev = self.device.stdev;
        let replaced = self.f.iommu().pasid_replace(stdev, Pasid(pasid), target);
        replaced.map_err(|refusal| refusal.errno())
    }

    fn detach(&self, pasid: u32) {
        let stdev = self.device.stdev;
        self.f.iommu().pasid_detach(stdev, Pasid(pasid)).unwrap();
    }

    fn rid(&self, target: ObjectId) -> Result<ObjectId, Errno> {
        let replaced = self
            .f
            .iommu()
            .mock_domain_replace(self.device.stdev, target);
        replaced.map_err(|refusal| refusal.errno())
    }

    #[track_caller]
    fn is_attached(&self, pasid: u32, hwpt: impl Into<Option<ObjectId>>) {
        let stdev = self.device.stdev;
        let checked = self.f.iommu();
        checked
            .pasid_check_hwpt(stdev, Pasid(pasid), hwpt.into())
            .unwrap();
    }
}

#[test]
fn the_rid_must_be_on_a_compatible_page_table_too() {
    let t = Tables::new();
    t.detach(100);
    assert_eq!(
        t.attach(100, t.compatible),
        Err(Errno::EINVAL),
        "RID on an automatic one"
    );
    t.rid(t.parent).unwrap();
    assert_eq!(t.attach(100, t.compatible), Err(Errno::EINVAL));
    t.rid(t.compatible).unwrap();
    t.attach(100, t.nested[0]).unwrap();
    assert_eq!(t.rid(t.parent), Err(Errno::EINVAL), "a PASID is attached");
    t.detach(100);
    t.is_attached(100, None);
    t.rid(t.parent).unwrap();
    t.f.world.close();
}

#[test]
fn a_pasid_attaches_once_and_then_is_replaced() {
    let t = Tables::new();
    t.rid(t.compatible).unwrap();
    assert_eq!(t.attach(100, t.parent), Err(Errno::EINVAL));
    t.is_attached(100, None);
    assert_eq!(t.attach(100, t.f.ioas), Err(Errno::EINVAL));
    t.is_attached(100, None);
    assert_eq!(t.attach(100, t.compatible), Ok(t.compatible));
    t.is_attached(100, t.compatible);
    assert_eq!(t.attach(100, t.nested[0]), Err(Errno::EBUSY));
    t.detach(100);
    t.is_attached(100, None);
    assert_eq!(t.attach(100, t.nested[0]), Ok(t.nested[0]));
    assert_eq!(t.attach(100, t.nested[0]), Err(Errno::EBUSY));
    assert_eq!(errno(t.f.iommu().destroy(t.nested[0])), Errno::EBUSY);
    t.detach(100);

    assert_eq!(t.replace(200, t.compatible), Err(Errno::EINVAL));
    t.attach(200, t.compatible).unwrap();
    assert_eq!(t.replace(200, t.f.ioas), Err(Errno::EINVAL));
    t.is_attached(200, t.compatible);
    for nested in t.nested {
        assert_eq!(t.replace(200, nested), Ok(nested));
        t.is_attached(200, nested);
    }
    t.detach(200);
    t.f.iommu().destroy(t.nested[1]).unwrap();
    t.f.world.close();
}

#[test]
fn every_second_attachment_of_the_reserved_pasid_fails() {
    let t = Tables::new();
    t.rid(t.compatible).unwrap();
    t.attach(1024, t.compatible).unwrap();
    assert_eq!(t.replace(1024, t.nested[0]), Err(Errno::ENOMEM));
    t.is_attached(1024, t.compatible);
    t.replace(1024, t.nested[0])
        .expect("the third does not fail");
    t.detach(1024);
    t.attach(1024, t.compatible).expect("detaching starts anew");
    t.detach(1024);
    t.f.world.close();
}

#[test]
fn pasids_are_bounded_by_the_device() {
    let t = Tables::new();
    t.rid(t.compatible).unwrap();
    t.attach((1 << 20) - 1, t.compatible).unwrap();
    assert_eq!(t.attach(1 << 20, t.compatible), Err(Errno::EINVAL));
    assert_eq!(t.attach(u32::MAX, t.compatible), Err(Errno::EINVAL));
    assert_eq!(t.attach(0, t.compatible), Err(Errno::EBUSY), "0 is the RID");

    let plain = t.f.devices[0].stdev;
    let iommu = t.f.iommu();
    iommu.mock_domain_replace(plain, t.nested[0]).unwrap();
    iommu.mock_domain_replace(plain, t.f.ioas).unwrap();
    for hwpt in [t.parent, t.compatible] {
        let attached = iommu.pasid_attach(plain, Pasid(100), hwpt);
        assert_eq!(errno(attached), Errno::EINVAL, "a device without PASIDs");
    }
    t.f.world.close();
}

#[test]
fn checks_tell_absent_from_unsuitable() {
    let t = Tables::new();
    t.rid(t.compatible).unwrap();
    t.is_attached(0, t.compatible);
    let check = |stdev, hwpt| errno(t.f.iommu().pasid_check_hwpt(stdev, Pasid(5), hwpt));
    let stdev = t.device.stdev;
    assert_eq!(check(stdev, Some(t.compatible)), Errno::EINVAL);
    assert_eq!(check(stdev, Some(t.f.ioas)), Errno::EINVAL);
    assert_eq!(check(stdev, Some(ObjectId(99))), Errno::ENOENT);
    assert_eq!(check(t.device.idev, None), Errno::ENOENT);
    t.attach(5, t.compatible).unwrap();
    assert_eq!(check(stdev, None), Errno::EINVAL);
    t.f.world.close();
}

#[test]
fn a_device_may_go_with_pasids_attached() {
    let t = Tables::new();
    t.rid(t.compatible).unwrap();
    t.attach(7, t.nested[0]).unwrap();
    t.attach(8, t.compatible).unwrap();
    let iommu = t.f.iommu();
    iommu.destroy(t.device.stdev).unwrap();
    for hwpt in [t.nested[0], t.nested[1], t.parent, t.compatible] {
        iommu.destroy(hwpt).unwrap();
    }
    t.f.world.close();
}
