//! VFIO devices, whichever IOMMU they are behind.

use iommufd_bindings::iommufd::iommu_ioas_alloc;
use iommufd_ioctls::IommuFd;
use swiommu_client::raw::size;
use swiommu_client::vfio::{self, Device};

use crate::errno::{EBUSY, EINVAL, ENOENT, os_error};
use crate::harness::Fixture;
use crate::lab::Lab;

pub(crate) const FIXTURE: Fixture = Fixture {
    name: "vfio",
    tests: &[
        ("device_is_bound_once", device_is_bound_once),
        ("nothing_works_before_bind", nothing_works_before_bind),
        ("attach_and_detach", attach_and_detach),
        ("closing_unbinds", closing_unbinds),
        (
            "device_holds_its_context_open",
            device_holds_its_context_open,
        ),
    ],
};

fn for_each_device(test: impl Fn(&Lab, &dyn Fn() -> Device)) {
    let paths = vfio::paths().unwrap();
    assert!(!paths.is_empty(), "there is no device");
    for path in paths {
        test(&Lab::new(), &|| Device::open(&path).unwrap());
    }
}

fn device_is_bound_once() {
    for_each_device(|lab, open| {
        let (first, second) = (open(), open());
        first.bind(&*lab.iommufd).unwrap();
        assert_eq!(os_error(first.bind(&*lab.iommufd)), Err(EINVAL));
        assert_eq!(os_error(second.bind(&*lab.iommufd)), Err(EINVAL));
        drop(first);
        second.bind(&*lab.iommufd).unwrap();
    });
}

fn nothing_works_before_bind() {
    for_each_device(|lab, open| {
        let device = open();
        assert_eq!(os_error(device.attach(lab.ioas.id())), Err(EINVAL));
        assert_eq!(os_error(device.detach()), Err(EINVAL));
        assert_eq!(os_error(device.info().map(|_| ())), Err(EINVAL));
        device.bind(&*lab.iommufd).unwrap();
        assert!(device.info().is_ok());
    });
}

fn attach_and_detach() {
    for_each_device(|lab, open| {
        let device = open();
        let id = device.bind(&*lab.iommufd).unwrap();
        assert_eq!(os_error(device.detach()), Ok(()));
        assert_eq!(os_error(device.attach(99)), Err(ENOENT));
        assert_eq!(os_error(device.attach(id)), Err(EINVAL));
        lab.map();
        let hwpt = device.attach(lab.ioas.id()).unwrap();
        assert_eq!(os_error(device.attach(lab.ioas.id())), Ok(hwpt));
        assert_eq!(lab.destroy(hwpt), Err(EBUSY));
        assert_eq!(lab.destroy(id), Err(EBUSY));
        device.detach().unwrap();
        assert_eq!(lab.destroy(hwpt), Err(ENOENT), "nobody needs it any more");
    });
}

fn closing_unbinds() {
    for_each_device(|lab, open| {
        let device = open();
        let id = device.bind(&*lab.iommufd).unwrap();
        let hwpt = device.attach(lab.ioas.id()).unwrap();
        drop(device);
        assert_eq!(lab.destroy(id), Err(ENOENT));
        assert_eq!(lab.destroy(hwpt), Err(ENOENT));
    });
}

fn device_holds_its_context_open() {
    for_each_device(|lab, open| {
        let (first, second) = (open(), open());
        let iommufd = IommuFd::new().unwrap();
        first.bind(&iommufd).unwrap();
        let mut ioas = iommu_ioas_alloc {
            size: size::<iommu_ioas_alloc>(),
            ..Default::default()
        };
        iommufd.alloc_iommu_ioas(&mut ioas).unwrap();
        drop(iommufd);
        assert!(first.attach(ioas.out_ioas_id).is_ok());
        drop(first);
        second.bind(&*lab.iommufd).unwrap();
    });
}
