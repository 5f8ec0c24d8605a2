//! The mock IOMMU of the kernel's selftest: what needs something to happen, and hardware queues.
//!
//! Its devices are made with `IOMMU_TEST_CMD`; its numbers are those of the kernel's `iommufd_test.h`.

use std::fs::File;
use std::io::{Read, Write};

use iommufd_bindings::iommufd::{
    iommu_hw_queue_alloc, iommu_hwpt_page_response, iommu_hwpt_pgfault, iommu_vdevice_alloc,
    iommu_veventq_alloc, iommu_viommu_alloc,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_NEST_PARENT as NEST_PARENT,
    iommufd_page_response_code_IOMMUFD_PAGE_RESP_SUCCESS as SUCCESS, iommufd_vevent_header,
};
use swiommu_client::raw::{self, size};

use crate::errno::{EBUSY, EEXIST, EINVAL, EIO, ENOENT, EOPNOTSUPP, errno};
use crate::harness::Fixture;
use crate::lab::{Hwpt, IOVA, LEN, Lab, descriptor, out_type};

pub(crate) const FIXTURE: Fixture = Fixture {
    name: "mock",
    tests: &[
        ("get_hw_info", get_hw_info),
        ("alloc_nested_hwpt", alloc_nested_hwpt),
        ("invalidate_hwpt", invalidate_hwpt),
        ("fault_queue", fault_queue),
        ("alloc_iommu_viommu", alloc_iommu_viommu),
        ("alloc_iommu_vdevice", alloc_iommu_vdevice),
        ("invalidate_viommu", invalidate_viommu),
        ("alloc_veventq", alloc_veventq),
        ("veventq_overflows", veventq_overflows),
        ("alloc_hw_queue", alloc_hw_queue),
    ],
};

const HW_INFO: u32 = 0xfeed_beef;
const REGISTER: u32 = 0xdead_beef;
const HWPT_DATA: u32 = 0xdead;
const VIOMMU: u32 = 0xdead_beef;
const VEVENTQ: u32 = 0xbeef_beef;
const HW_QUEUE: u32 = 0xdead_beef;
const INVALIDATE: u32 = 0xdead_beef;
const INVALIDATE_ALL: u32 = 1;

/// What a guest's page table of the mock's holds in its four cache entries.
const CACHED: u32 = 0xbad_beef;

/// What the guest calls its device.
const VIRT_ID: u64 = 0x1234;

/// A mock device, attached to a nesting parent with memory.
struct Guest {
    device: raw::MockDevice,
    parent: u32,
    lab: Lab,
}

impl Guest {
    fn new() -> Self {
        let lab = Lab::new();
        lab.map();
        let fd = descriptor(&lab.iommufd);
        let device = raw::mock_domain(fd, lab.ioas.id()).unwrap();
        lab.made(device.stdev);
        let parent = Hwpt::<()>::plain(NEST_PARENT);
        let parent = lab.hwpt(device.idev, lab.ioas.id(), parent).unwrap();
        Self {
            device,
            parent,
            lab,
        }
    }

    /// A guest's page table on a nesting parent or a vIOMMU.
    fn nested(&self, on: u32, fault_id: Option<u32>) -> Result<u32, i32> {
        let hwpt = Hwpt {
            data: Some((HWPT_DATA, &CACHED)),
            fault_id,
            ..Hwpt::plain(0)
        };
        self.lab.hwpt(self.device.idev, on, hwpt)
    }

    fn attach(&self, hwpt: u32) {
        let fd = descriptor(&self.lab.iommufd);
        raw::mock_domain_replace(fd, self.device.stdev, hwpt).unwrap();
    }

    fn viommu(&self) -> u32 {
        self.viommu_with::<()>(VIOMMU, None).unwrap()
    }

    fn viommu_with<T>(&self, type_: u32, data: Option<&mut T>) -> Result<u32, i32> {
        let mut arg = iommu_viommu_alloc {
            size: size::<iommu_viommu_alloc>(),
            type_,
            dev_id: self.device.idev,
            hwpt_id: self.parent,
            ..Default::default()
        };
        if let Some(data) = data {
            arg.data_len = size::<T>();
            arg.data_uptr = std::ptr::from_mut(data).expose_provenance() as u64;
        }
        let allocated = self.lab.iommufd.alloc_iommu_viommu(&mut arg);
        allocated.map_err(errno)?;
        Ok(self.lab.made(arg.out_viommu_id))
    }

    fn vdevice(&self, viommu_id: u32, virt_id: u64) -> Result<u32, i32> {
        let mut arg = iommu_vdevice_alloc {
            size: size::<iommu_vdevice_alloc>(),
            viommu_id,
            dev_id: self.device.idev,
            virt_id,
            ..Default::default()
        };
        let allocated = self.lab.iommufd.alloc_iommu_vdevice(&mut arg);
        allocated.map_err(errno)?;
        Ok(self.lab.made(arg.out_vdevice_id))
    }

    fn veventq(&self, viommu_id: u32, veventq_depth: u32) -> Result<(u32, File), i32> {
        let mut arg = iommu_veventq_alloc {
            size: size::<iommu_veventq_alloc>(),
            viommu_id,
            type_: VEVENTQ,
            veventq_depth,
            ..Default::default()
        };
        let (id, file) = self.lab.iommufd.alloc_veventq(&mut arg).map_err(errno)?;
        Ok((self.lab.made(id), file))
    }

    /// A device that is attached through a vIOMMU, so that the guest hears of it.
    fn virtualized(&self) -> u32 {
        let viommu = self.viommu();
        self.vdevice(viommu, VIRT_ID).unwrap();
        self.attach(self.nested(viommu, None).unwrap());
        viommu
    }

    fn event(&self) {
        raw::trigger_vevent(descriptor(&self.lab.iommufd), self.device.idev).unwrap();
    }
}

/// Words as they are in memory.
fn words(bytes: &[u8]) -> Vec<u32> {
    let words = bytes.chunks_exact(4);
    words
        .map(|word| u32::from_ne_bytes(word.try_into().unwrap()))
        .collect()
}

fn get_hw_info() {
    let guest = Guest::new();
    let mut data = [0_u32; 2];
    let info = guest
        .lab
        .hw_info(guest.device.idev, HW_INFO, &mut data)
        .unwrap();
    assert_eq!(out_type(&info), HW_INFO);
    assert_eq!(data, [0, REGISTER]);
    assert_eq!(guest.lab.hw_info_type(guest.device.idev), HW_INFO);
}

fn alloc_nested_hwpt() {
    let guest = Guest::new();
    let nested = guest.nested(guest.parent, None).unwrap();
    guest.attach(nested);
    assert_eq!(guest.lab.destroy(nested), Err(EBUSY));
    let plain = guest.device.hwpt;
    assert_eq!(
        guest.nested(plain, None),
        Err(EINVAL),
        "it went with the device"
    );
    assert_eq!(guest.nested(nested, None), Err(EINVAL));
    guest.attach(guest.parent);
    assert_eq!(guest.lab.destroy(nested), Ok(()));
}

fn invalidate_hwpt() {
    let guest = Guest::new();
    let nested = guest.nested(guest.parent, None).unwrap();
    let lab = &guest.lab;
    let fd = || descriptor(&lab.iommufd);
    let cached = |entry, value| raw::check_iotlb(fd(), nested, entry, value).is_ok();
    assert!((0..4).all(|entry| cached(entry, CACHED)));
    let one = |entry: u32| [0, entry];
    assert_eq!(
        lab.invalidate(nested, INVALIDATE, &[one(1), one(3)]),
        (2, Ok(()))
    );
    assert!(cached(0, CACHED) && cached(1, 0) && cached(2, CACHED) && cached(3, 0));
    let bad = lab.invalidate(nested, INVALIDATE, &[one(0), one(4)]);
    assert_eq!(bad, (1, Err(EINVAL)));
    assert!(cached(0, 0) && cached(2, CACHED));
    let all = lab.invalidate(nested, INVALIDATE, &[[INVALIDATE_ALL, 0]]);
    assert_eq!(all, (1, Ok(())));
    assert!((0..4).all(|entry| cached(entry, 0)));
}

fn fault_queue() {
    const GROUP: u32 = 7;
    let guest = Guest::new();
    let (fault, mut file) = guest.lab.fault_queue();
    guest.attach(guest.nested(guest.parent, Some(fault)).unwrap());
    let fd = descriptor(&guest.lab.iommufd);
    raw::trigger_iopf(fd, guest.device.idev, GROUP, IOVA).unwrap();

    let mut bytes = [0; size_of::<iommu_hwpt_pgfault>()];
    assert_eq!(file.read(&mut bytes).unwrap(), bytes.len());
    let [_, dev_id, _, group, .., cookie] = words(&bytes)[..] else {
        panic!("a page request has ten words");
    };
    assert_eq!((dev_id, group), (guest.device.idev, GROUP));
    let again = file.read(&mut bytes).map_err(|error| error.raw_os_error());
    assert_eq!(again, Ok(0), "there is no second one");

    let mut answer = [0; size_of::<iommu_hwpt_page_response>()];
    answer[..4].copy_from_slice(&cookie.to_ne_bytes());
    answer[4..].copy_from_slice(&SUCCESS.to_ne_bytes());
    assert_eq!(file.write(&answer).unwrap(), answer.len());
    let twice = file.write(&answer).map_err(|error| error.raw_os_error());
    assert_eq!(twice, Err(Some(EINVAL)), "it was answered");
}

/// `struct iommu_viommu_selftest`.
#[repr(C)]
#[derive(Default)]
struct ViommuData {
    in_data: u32,
    out_data: u32,
    out_mmap_offset: u64,
    out_mmap_length: u64,
}

fn alloc_iommu_viommu() {
    let guest = Guest::new();
    let mut data = ViommuData {
        in_data: 0x7654,
        ..Default::default()
    };
    let viommu = guest.viommu_with(VIOMMU, Some(&mut data)).unwrap();
    assert_eq!(data.out_data, 0x7654);
    assert_ne!(data.out_mmap_length, 0);
    assert_eq!(guest.lab.destroy(guest.parent), Err(EBUSY));
    assert_eq!(guest.lab.destroy(viommu), Ok(()));
    assert_eq!(guest.viommu_with::<()>(99, None), Err(EOPNOTSUPP));
}

fn alloc_iommu_vdevice() {
    let guest = Guest::new();
    let viommu = guest.viommu();
    let vdevice = guest.vdevice(viommu, VIRT_ID).unwrap();
    assert_eq!(guest.vdevice(viommu, VIRT_ID + 1), Err(EEXIST));
    assert_eq!(guest.vdevice(99, VIRT_ID), Err(ENOENT));
    assert_eq!(guest.lab.destroy(viommu), Err(EBUSY));
    assert_eq!(guest.lab.destroy(vdevice), Ok(()));
    assert!(guest.vdevice(viommu, VIRT_ID + 1).is_ok());
}

fn invalidate_viommu() {
    let guest = Guest::new();
    let viommu = guest.virtualized();
    let lab = &guest.lab;
    let virt_id = u32::try_from(VIRT_ID).unwrap();
    let all = [INVALIDATE_ALL, virt_id, 0];
    assert_eq!(lab.invalidate(viommu, INVALIDATE, &[all, all]), (2, Ok(())));
    let stranger = [INVALIDATE_ALL, virt_id + 1, 0];
    let bad = lab.invalidate(viommu, INVALIDATE, &[all, stranger]);
    assert_eq!(bad, (1, Err(EINVAL)));
}

fn alloc_veventq() {
    let guest = Guest::new();
    let viommu = guest.virtualized();
    let (id, mut file) = guest.veventq(viommu, 4).unwrap();
    assert_eq!(guest.veventq(viommu, 4).map(|_| ()), Err(EEXIST));
    let mut bytes = [0; 64];
    assert_eq!(file.read(&mut bytes).unwrap(), 0);
    guest.event();
    guest.event();
    let read = file.read(&mut bytes).unwrap();
    let event = size_of::<iommufd_vevent_header>() + size_of::<u32>();
    assert_eq!(read, 2 * event);
    let virt_id = u32::try_from(VIRT_ID).unwrap();
    assert_eq!(words(&bytes[..read]), [0, 0, virt_id, 0, 1, virt_id]);
    assert_eq!(guest.lab.destroy(id), Err(EBUSY), "its file is open");
    drop(file);
    assert_eq!(guest.lab.destroy(id), Ok(()));
}

fn veventq_overflows() {
    const LOST: u32 = 1;
    let guest = Guest::new();
    let viommu = guest.virtualized();
    let (_, mut file) = guest.veventq(viommu, 1).unwrap();
    guest.event();
    guest.event();
    guest.event();
    let mut bytes = [0; 64];
    let read = file.read(&mut bytes).unwrap();
    let virt_id = u32::try_from(VIRT_ID).unwrap();
    assert_eq!(words(&bytes[..read]), [0, 0, virt_id, LOST, 2]);
}

fn alloc_hw_queue() {
    let guest = Guest::new();
    let viommu = guest.viommu();
    let lab = &guest.lab;
    let alloc = |type_, index, nesting_parent_iova, length| {
        let mut arg = iommu_hw_queue_alloc {
            size: size::<iommu_hw_queue_alloc>(),
            viommu_id: viommu,
            type_,
            index,
            nesting_parent_iova,
            length,
            ..Default::default()
        };
        lab.iommufd.alloc_hw_queue(&mut arg).map_err(errno)?;
        Ok::<u32, i32>(lab.made(arg.out_hw_queue_id))
    };
    assert_eq!(alloc(1, 0, IOVA, 4096), Err(EOPNOTSUPP));
    assert_eq!(alloc(HW_QUEUE, 2, IOVA, 4096), Err(EINVAL));
    assert_eq!(alloc(HW_QUEUE, 0, IOVA, 0), Err(EINVAL));
    assert_eq!(
        alloc(HW_QUEUE, 0, IOVA + LEN, 4096),
        Err(ENOENT),
        "nothing is mapped"
    );
    assert_eq!(
        alloc(HW_QUEUE, 1, IOVA, 4096),
        Err(EIO),
        "one after the other"
    );
    let first = alloc(HW_QUEUE, 0, IOVA, 4096).unwrap();
    assert_eq!(alloc(HW_QUEUE, 0, IOVA, 4096), Err(EEXIST));
    let second = alloc(HW_QUEUE, 1, IOVA, 4096).unwrap();
    assert_eq!(lab.destroy(first), Err(EBUSY));
    let unmapped = lab.ioas.unmap(IOVA, LEN).map_err(errno);
    assert_eq!(unmapped, Err(EBUSY), "the hardware uses it");
    assert_eq!(lab.destroy(second), Ok(()));
    assert_eq!(lab.destroy(first), Ok(()));
    lab.ioas.unmap(IOVA, LEN).unwrap();
}
