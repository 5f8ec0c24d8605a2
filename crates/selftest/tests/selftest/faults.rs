//! Fault queues: page requests read, answered, and taken back.

use std::any::Any;
use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_abi::fault::{
    IOMMU_FAULT_QUEUE_ALLOC, IommuFaultAlloc, IommuHwptPageResponse, IommuHwptPgfault,
    IommuHwptPgfaultFlags, IommuHwptPgfaultPerm,
};
use swiommu_abi::test_cmd::TriggerIopf;
use swiommu_addr::{Hva, HvaRange, Iova};
use swiommu_files::{Arg, MmapFlags, MmapRequest, Readiness};
use swiommu_iommu::{PageRequest, PageRequestPerm, PageRequestPosition, Pasid};
use swiommu_iommufd::{HwptFlags, ObjectId};
use swiommu_selftest::MockEndpoint;
use swiommu_selftest::client::{Device, EventQueue, Result};
use zerocopy::{FromBytes, IntoBytes};

use crate::fixture::{Fixture, PAGE, PASIDS, errno};

const MESSAGE: usize = size_of::<IommuHwptPgfault>();
const SUCCESS: u32 = 0;
const INVALID: u32 = 1;
const BOTH: IommuHwptPgfaultPerm = IommuHwptPgfaultPerm::READ.union(IommuHwptPgfaultPerm::WRITE);
const LAST: u32 = IommuHwptPgfaultFlags::LAST_PAGE.bits();
const WITH_PASID: u32 = IommuHwptPgfaultFlags::PASID_VALID.bits();

/// A device on a nested page table with a fault queue.
struct Faulting {
    f: Fixture,
    device: Device,
    parent: ObjectId,
    nested: ObjectId,
    queue: EventQueue,
}

impl Faulting {
    fn new() -> Self {
        let (f, _) = Fixture::one();
        let device = f.iommu().mock_domain_flags(f.ioas, PASIDS).unwrap();
        let iommu = f.iommu();
        let parent = iommu
            .hwpt_alloc(device.idev, f.ioas, HwptFlags::NEST_PARENT)
            .unwrap();
        let queue = iommu.fault_queue_alloc().unwrap();
        let nested = iommu
            .hwpt_alloc_with_faults(device.idev, parent, HwptFlags::PASID, queue.id)
            .unwrap();
        iommu.mock_domain_replace(device.stdev, nested).unwrap();
        Self {
            f,
            device,
            parent,
            nested,
            queue,
        }
    }

    fn fault(&self, pasid: u32, group: u32) {
        let request = TriggerIopf {
            dev_id: self.device.idev.0,
            pasid,
            grpid: group,
            perm: BOTH.bits(),
            addr: 0xdead_beaf,
        };
        self.f.iommu().trigger_iopf(request).unwrap();
    }

    fn read(&self, messages: usize) -> Vec<IommuHwptPgfault> {
        let process = &self.f.world.process;
        let bytes = process.read(self.queue.fd, messages * MESSAGE).unwrap();
        bytes
            .chunks_exact(MESSAGE)
            .map(|message| IommuHwptPgfault::read_from_bytes(message).unwrap())
            .collect()
    }

    /// Cookies and groups of what is read.
    fn cookies(&self, messages: usize) -> Vec<(u32, u32)> {
        let read = self.read(messages);
        read.iter().map(|m| (m.cookie, m.grpid)).collect()
    }

    fn answer(&self, answers: &[(u32, u32)]) -> Result<usize> {
        let answers: Vec<_> = answers
            .iter()
            .map(|&(cookie, code)| IommuHwptPageResponse { cookie, code })
            .collect();
        self.f
            .world
            .process
            .write(self.queue.fd, answers.as_slice().as_bytes())
    }

    fn readiness(&self) -> Readiness {
        let file = self.f.world.process.file(self.queue.fd).unwrap();
        file.wait_queue().unwrap().now()
    }
}

#[test]
fn a_page_request_is_read_and_answered() {
    let t = Faulting::new();
    assert_eq!(t.readiness(), Readiness::OUT);
    assert!(t.read(1).is_empty(), "an empty queue does not block");
    t.fault(0, 2);
    assert_eq!(t.readiness(), Readiness::OUT | Readiness::IN);
    let message = IommuHwptPgfault {
        flags: LAST,
        dev_id: t.device.idev.0,
        grpid: 2,
        perm: BOTH.bits(),
        addr: 0xdead_beaf,
        cookie: 1,
        ..Default::default()
    };
    assert_eq!(t.read(4), [message]);
    assert_eq!(t.readiness(), Readiness::OUT);
    assert_eq!(t.answer(&[(1, SUCCESS)]).unwrap(), 8);
    assert_eq!(
        errno(t.answer(&[(1, SUCCESS)])),
        Errno::EINVAL,
        "it is answered"
    );
    t.f.world.close();
}

#[test]
fn the_lowest_free_cookie_is_given() {
    let t = Faulting::new();
    t.fault(0, 10);
    t.fault(0, 11);
    assert_eq!(t.cookies(1), [(1, 10)]);
    assert_eq!(t.cookies(1), [(2, 11)]);
    t.answer(&[(1, SUCCESS)]).unwrap();
    t.fault(0, 12);
    assert_eq!(t.cookies(1), [(1, 12)]);
    assert_eq!(errno(t.answer(&[(7, SUCCESS)])), Errno::EINVAL);
    assert_eq!(errno(t.answer(&[(2, 2)])), Errno::EINVAL);
    assert_eq!(t.answer(&[(2, SUCCESS), (9, SUCCESS)]).unwrap(), 8);
    assert_eq!(t.answer(&[(1, INVALID), (1, INVALID)]).unwrap(), 8);
    t.fault(0, 13);
    t.fault(0, 14);
    assert_eq!(t.cookies(2), [(1, 13), (2, 14)]);
    assert_eq!(t.answer(&[(2, INVALID), (1, SUCCESS)]).unwrap(), 16);
    t.f.world.close();
}

#[test]
fn sizes_and_buffers_are_checked() {
    let t = Faulting::new();
    let process = &t.f.world.process;
    let fd = t.queue.fd;
    for odd in [1, 39, 41, 79] {
        assert_eq!(errno(process.read(fd, odd)), Errno::ESPIPE);
    }
    for odd in [1, 7, 9] {
        assert_eq!(errno(process.write(fd, &[0; 16][..odd])), Errno::ESPIPE);
    }
    assert!(process.read(fd, 0).unwrap().is_empty());
    assert_eq!(process.write(fd, &[]).unwrap(), 0);
    t.fault(0, 1);
    t.fault(0, 2);
    assert_eq!(errno(process.read(fd, 0)), Errno::EINVAL);
    assert_eq!(errno(process.read(fd, 39)), Errno::ESPIPE);

    let file = process.file(fd).unwrap();
    let caller = process.descriptors();
    let nowhere = HvaRange::from_len(Hva::new(PAGE), MESSAGE as u64);
    assert_eq!(errno(file.read(caller, nowhere)), Errno::EFAULT);
    let one_answer = HvaRange::from_len(Hva::new(PAGE), 8);
    assert_eq!(errno(file.write(caller, one_answer)), Errno::EFAULT);

    let edge = process.buffer(PAGE).unwrap();
    let half = HvaRange::from_len(edge.at(PAGE - 40), 80);
    assert_eq!(
        file.read(caller, half).unwrap(),
        MESSAGE,
        "the first group was delivered"
    );
    assert_eq!(
        t.cookies(2),
        [(2, 2)],
        "the second is delivered later, and has no cookie before"
    );
    t.f.world.close();
}

#[test]
fn the_file_is_only_read_and_written() {
    let t = Faulting::new();
    let process = &t.f.world.process;
    let file = process.file(t.queue.fd).unwrap();
    let caller = process.descriptors();
    let ioctl = file.ioctl(caller, 0x3b80, Arg::from(Hva::new(PAGE)));
    assert_eq!(errno(ioctl), Errno::ENOTTY);
    let mmap = MmapRequest {
        offset: 0,
        len: PAGE,
        flags: MmapFlags::READ | MmapFlags::SHARED,
    };
    assert_eq!(errno(file.mmap(caller, &mmap)), Errno::ENODEV);
    assert_eq!(file.name(), "anon_inode:[iommufd-pgfault]");
    t.f.world.close();
}

#[test]
fn a_group_is_delivered_as_a_whole() {
    let t = Faulting::new();
    let context = t.f.iommu().context().unwrap();
    let endpoint: Arc<dyn Any + Send + Sync> = context.endpoint(t.device.idev).unwrap();
    let endpoint = endpoint.downcast::<MockEndpoint>().unwrap();
    drop(context);
    let request = |group, page: u64, position| {
        endpoint.request_page(PageRequest {
            pasid: Pasid(0),
            group,
            perm: PageRequestPerm::READ,
            address: Iova::new(page * PAGE),
            position,
        });
    };
    request(1, 1, PageRequestPosition::More);
    request(2, 9, PageRequestPosition::More);
    request(1, 2, PageRequestPosition::More);
    assert_eq!(t.readiness(), Readiness::OUT, "no group is complete");
    request(1, 3, PageRequestPosition::Last);
    t.fault(0, 7);

    let process = &t.f.world.process;
    let two = process.read(t.queue.fd, 2 * MESSAGE);
    assert_eq!(errno(two), Errno::EINVAL, "the first group has three pages");
    let group = t.read(3);
    let seen: Vec<_> = group
        .iter()
        .map(|m| (m.addr / PAGE, m.flags, m.cookie, m.grpid))
        .collect();
    assert_eq!(seen, [(1, 0, 1, 1), (2, 0, 1, 1), (3, LAST, 1, 1)]);
    assert_eq!(t.answer(&[(1, SUCCESS)]).unwrap(), 8);

    request(1, 1, PageRequestPosition::More);
    request(1, 2, PageRequestPosition::Last);
    assert_eq!(
        t.cookies(2),
        [(1, 7)],
        "the second group does not fit behind the first, and stays"
    );
    assert_eq!(t.cookies(2), [(2, 1), (2, 1)]);
    t.f.world.close();
}

#[test]
fn an_attachment_that_ends_answers_its_requests() {
    let t = Faulting::new();
    let iommu = t.f.iommu();
    t.fault(0, 1);
    t.fault(0, 2);
    assert_eq!(t.cookies(1), [(1, 1)]);
    assert_eq!(t.readiness(), Readiness::OUT | Readiness::IN, "one waits");
    let parent = iommu.mock_domain_replace(t.device.stdev, t.parent);
    assert_eq!(parent.unwrap(), t.parent);
    assert_eq!(t.readiness(), Readiness::OUT);
    assert!(t.read(4).is_empty(), "what waited is answered");
    assert_eq!(errno(t.answer(&[(1, SUCCESS)])), Errno::EINVAL);
    t.fault(0, 3);
    assert!(t.read(4).is_empty(), "nobody takes them");

    let again = iommu.mock_domain_replace(t.device.stdev, t.nested);
    again.unwrap();
    t.fault(0, 4);
    assert_eq!(t.cookies(4), [(1, 4)]);
    iommu.destroy(t.device.stdev).unwrap();
    assert_eq!(errno(t.answer(&[(1, SUCCESS)])), Errno::EINVAL);
    t.f.world.close();
}

#[test]
fn requests_with_a_pasid_go_to_its_page_table() {
    let t = Faulting::new();
    let iommu = t.f.iommu();
    t.fault(5, 1);
    let through_rid = t.read(4);
    assert_eq!(through_rid.len(), 1, "a nested table of the RID takes them");
    assert_eq!(
        (through_rid[0].flags, through_rid[0].pasid),
        (LAST | WITH_PASID, 5)
    );
    iommu.mock_domain_replace(t.device.stdev, t.f.ioas).unwrap();
    assert_eq!(
        errno(t.answer(&[(1, SUCCESS)])),
        Errno::EINVAL,
        "it came through the attachment that has ended"
    );
    t.fault(5, 2);
    assert!(t.read(4).is_empty(), "the RID has a paging table");

    t.f.world.close();
}

#[test]
fn the_end_of_a_pasid_answers_only_its_requests() {
    let t = Faulting::new();
    let iommu = t.f.iommu();
    let of_pasid = iommu
        .hwpt_alloc_with_faults(t.device.idev, t.parent, HwptFlags::PASID, t.queue.id)
        .unwrap();
    iommu
        .pasid_attach(t.device.stdev, Pasid(5), of_pasid)
        .unwrap();
    t.fault(5, 1);
    t.fault(0, 2);
    t.fault(6, 3);
    assert_eq!(t.cookies(1), [(1, 1)]);
    iommu.pasid_detach(t.device.stdev, Pasid(5)).unwrap();
    assert_eq!(errno(t.answer(&[(1, SUCCESS)])), Errno::EINVAL);
    assert_eq!(t.cookies(4), [(1, 2), (2, 3)]);
    assert_eq!(t.answer(&[(1, SUCCESS), (2, SUCCESS)]).unwrap(), 16);
    t.f.world.close();
}

#[test]
fn nobody_is_told_of_requests_without_a_queue() {
    let t = Faulting::new();
    let iommu = t.f.iommu();
    let request = |dev_id| {
        iommu.trigger_iopf(TriggerIopf {
            dev_id,
            grpid: 1,
            ..Default::default()
        })
    };
    request(t.f.devices[0].idev.0).unwrap();
    assert_eq!(errno(request(t.f.ioas.0)), Errno::ENOENT);
    assert_eq!(errno(request(999)), Errno::ENOENT);
    assert!(t.read(4).is_empty());
    t.f.world.close();
}

#[test]
fn a_queue_stays_while_it_is_used() {
    let t = Faulting::new();
    let iommu = t.f.iommu();
    assert_eq!(errno(iommu.destroy(t.queue.id)), Errno::EBUSY);
    t.f.world.process.close(t.queue.fd).unwrap();
    assert_eq!(errno(iommu.destroy(t.queue.id)), Errno::EBUSY);
    t.fault(0, 1);
    iommu.mock_domain_replace(t.device.stdev, t.parent).unwrap();
    assert_eq!(errno(iommu.destroy(t.queue.id)), Errno::EBUSY);
    iommu.destroy(t.nested).unwrap();
    iommu.destroy(t.queue.id).unwrap();
    assert_eq!(errno(iommu.destroy(t.queue.id)), Errno::ENOENT);

    let open = iommu.fault_queue_alloc().unwrap();
    assert_eq!(open.id, t.nested.min(t.queue.id), "numbers are used again");
    assert_eq!(errno(iommu.destroy(open.id)), Errno::EBUSY);
    t.f.world.process.close(open.fd).unwrap();
    iommu.destroy(open.id).unwrap();
    t.f.world.close();
}

#[test]
fn allocations_of_queues_are_checked() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    let mut flagged = IommuFaultAlloc {
        size: 16,
        flags: 1,
        ..Default::default()
    };
    let alloc = iommu.ioctl(IOMMU_FAULT_QUEUE_ALLOC, &mut flagged);
    assert_eq!(errno(alloc), Errno::EOPNOTSUPP);
    let parent = iommu
        .hwpt_alloc(device.idev, f.ioas, HwptFlags::NEST_PARENT)
        .unwrap();
    for not_a_queue in [f.ioas, ObjectId(0), ObjectId(99)] {
        let nested =
            iommu.hwpt_alloc_with_faults(device.idev, parent, HwptFlags::empty(), not_a_queue);
        assert_eq!(errno(nested), Errno::ENOENT);
    }
    iommu.destroy(parent).unwrap();
    f.world.close();
}

#[test]
fn the_file_of_a_queue_keeps_the_context() {
    let t = Faulting::new();
    t.f.map(0, PAGE);
    let Fixture { world, .. } = t.f;
    let (host, process) = (world.host.clone(), world.process.clone());
    drop(world.iommu);
    assert_eq!(host.memory().pinned_pages(), 1, "nothing is destroyed yet");
    assert!(process.read(t.queue.fd, MESSAGE).unwrap().is_empty());
    process.close(t.queue.fd).unwrap();
    assert_eq!(host.memory().pinned_pages(), 0);
}
