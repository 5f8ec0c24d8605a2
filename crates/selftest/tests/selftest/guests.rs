//! What a guest has of an IOMMU: virtual IOMMUs and devices, their events, queues and invalidations.

use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_abi::UapiStruct;
use swiommu_abi::hw_queue::{IOMMU_HW_QUEUE_ALLOC, IommuHwQueueAlloc};
use swiommu_abi::invalidate::{IOMMU_HWPT_INVALIDATE, IommuHwptInvalidate};
use swiommu_abi::ioas::IommufdIoasMapFlags as MapFlags;
use swiommu_abi::mock::{
    IOMMU_HW_QUEUE_TYPE_SELFTEST, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST,
    IOMMU_TEST_DEV_CACHE_DEFAULT, IOMMU_TEST_IOTLB_DEFAULT, IOMMU_VEVENTQ_TYPE_SELFTEST,
    IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST, IOMMU_VIOMMU_TYPE_SELFTEST, IommuViommuSelftest,
};
use swiommu_abi::object::{IOMMU_DESTROY, IommuDestroy};
use swiommu_abi::option::IommufdOption;
use swiommu_abi::veventq::{IOMMU_VEVENTQ_ALLOC, IommuVeventqAlloc};
use swiommu_abi::viommu::{IOMMU_VIOMMU_ALLOC, IommuViommuAlloc};
use swiommu_addr::{Gpa, Hva, HvaRange};
use swiommu_files::{
    Arg, Caller, Capability, Descriptor, FdNumber, File, InstallFlags, Local, MmapFlags,
    MmapRequest, Readiness, Task,
};
use swiommu_iommu::VirtId;
use swiommu_iommufd::{HwptFlags, ObjectId};
use swiommu_mem::{AddressSpace, FileId, FileRange};
use swiommu_selftest::client::{Client, Device, EventQueue, Invalidation, Result};
use zerocopy::IntoBytes;

use crate::fixture::{APERTURE, Fixture, MOCK_PAGE, PAGE, add, errno};

const MOCK: u32 = IOMMU_VIOMMU_TYPE_SELFTEST.0;
const EVENTS: u32 = IOMMU_VEVENTQ_TYPE_SELFTEST.0;
const QUEUES: u32 = IOMMU_HW_QUEUE_TYPE_SELFTEST.0;
const OTHER_TYPE: u32 = 0x0dad_beef;
const NOBODY: ObjectId = ObjectId(99);
const IOTLB: u32 = IOMMU_TEST_IOTLB_DEFAULT;
const CACHE: u32 = IOMMU_TEST_DEV_CACHE_DEFAULT;
const PLAIN: HwptFlags = HwptFlags::empty();

/// A device, a nesting parent and a virtual IOMMU on it.
struct Guest {
    f: Fixture,
    device: Device,
    parent: ObjectId,
    viommu: ObjectId,
}

impl Guest {
    fn new() -> Self {
        let (f, device) = Fixture::one();
        let parent = f
            .iommu()
            .hwpt_alloc(device.idev, f.ioas, HwptFlags::NEST_PARENT)
            .unwrap();
        let viommu = f
            .iommu()
            .viommu_alloc(device.idev, parent, MOCK, None)
            .unwrap();
        Self {
            f,
            device,
            parent,
            viommu,
        }
    }

    fn iommu(&self) -> &Client {
        self.f.iommu()
    }

    /// One more virtual IOMMU, with a region; and what the driver says of it.
    fn with_region(&self, in_data: u32) -> (ObjectId, IommuViommuSelftest) {
        let mut data = IommuViommuSelftest {
            in_data,
            ..Default::default()
        };
        let viommu =
            self.iommu()
                .viommu_alloc(self.device.idev, self.parent, MOCK, Some(&mut data));
        (viommu.unwrap(), data)
    }

    /// Attaches the device to a nested page table of the virtual IOMMU.
    fn nest(&self, virt_id: u64) -> ObjectId {
        let iommu = self.iommu();
        iommu
            .vdevice_alloc(self.viommu, self.device.idev, VirtId(virt_id))
            .unwrap();
        let nested = iommu
            .hwpt_alloc_nested(self.device.idev, self.viommu, PLAIN, 0)
            .unwrap();
        iommu
            .mock_domain_replace(self.device.stdev, nested)
            .unwrap();
        nested
    }

    fn hw_queue(&self, index: u32, offset: u64, len: u64) -> Result<ObjectId> {
        let base = Gpa::new(add(APERTURE, offset).get());
        self.iommu()
            .hw_queue_alloc(self.viommu, QUEUES, index, (base, len))
    }
}

#[test]
fn virtual_iommus_are_refused_in_order() {
    let g = Guest::new();
    let (iommu, device) = (g.iommu(), g.device);
    let mut flagged = IommuViommuAlloc {
        size: IommuViommuAlloc::SIZE,
        flags: 1,
        dev_id: 99,
        ..Default::default()
    };
    let refused = iommu.ioctl(IOMMU_VIOMMU_ALLOC, &mut flagged);
    assert_eq!(errno(refused), Errno::EOPNOTSUPP);
    let alloc = |dev, on, kind| errno(iommu.viommu_alloc(dev, on, kind, None));
    assert_eq!(alloc(NOBODY, NOBODY, 0), Errno::EOPNOTSUPP);
    assert_eq!(alloc(NOBODY, NOBODY, OTHER_TYPE), Errno::ENOENT);
    assert_eq!(alloc(device.idev, NOBODY, OTHER_TYPE), Errno::EOPNOTSUPP);
    assert_eq!(alloc(device.idev, NOBODY, MOCK), Errno::ENOENT);
    assert_eq!(alloc(device.idev, g.f.ioas, MOCK), Errno::ENOENT);
    assert_eq!(alloc(device.idev, device.hwpt, MOCK), Errno::EINVAL);
    let with_data = |data_len, data_uptr| {
        let mut cmd = IommuViommuAlloc {
            size: IommuViommuAlloc::SIZE,
            r#type: MOCK,
            dev_id: device.idev.0,
            hwpt_id: g.parent.0,
            data_len,
            data_uptr,
            ..Default::default()
        };
        errno(iommu.ioctl(IOMMU_VIOMMU_ALLOC, &mut cmd))
    };
    assert_eq!(with_data(7, 0), Errno::EINVAL);
    assert_eq!(with_data(25, 0), Errno::EINVAL);
    assert_eq!(with_data(8, PAGE), Errno::EFAULT);
    assert_eq!(errno(iommu.destroy(g.parent)), Errno::EBUSY);
    iommu.destroy(g.viommu).unwrap();
    iommu.destroy(g.parent).unwrap();
    g.f.world.close();
}

#[test]
fn a_virtual_iommu_stays_while_it_is_used() {
    let g = Guest::new();
    let iommu = g.iommu();
    let busy = || assert_eq!(errno(iommu.destroy(g.viommu)), Errno::EBUSY);
    let vdevice = iommu.vdevice_alloc(g.viommu, g.device.idev, VirtId(1));
    busy();
    iommu.destroy(vdevice.unwrap()).unwrap();
    let nested = iommu.hwpt_alloc_nested(g.device.idev, g.viommu, PLAIN, 0);
    busy();
    iommu.destroy(nested.unwrap()).unwrap();
    let events = iommu.veventq_alloc(g.viommu, EVENTS, 1).unwrap();
    busy();
    assert_eq!(errno(iommu.destroy(events.id)), Errno::EBUSY);
    g.f.world.process.close(events.fd).unwrap();
    busy();
    iommu.destroy(events.id).unwrap();
    g.f.map_fixed(0, PAGE, APERTURE);
    let queue = g.hw_queue(0, 0, PAGE).unwrap();
    busy();
    iommu.destroy(queue).unwrap();
    iommu.destroy(g.viommu).unwrap();
    g.f.world.close();
}

#[test]
fn a_guest_has_one_number_for_a_device() {
    let g = Guest::new();
    let iommu = g.iommu();
    let other = iommu.mock_domain(g.f.ioas).unwrap();
    let second = iommu
        .viommu_alloc(other.idev, g.parent, MOCK, None)
        .unwrap();
    let alloc = |viommu, device, id| iommu.vdevice_alloc(viommu, device, VirtId(id));
    assert_eq!(errno(alloc(NOBODY, NOBODY, 0)), Errno::ENOENT);
    assert_eq!(errno(alloc(g.viommu, NOBODY, 0)), Errno::ENOENT);
    assert_eq!(errno(alloc(g.viommu, g.f.ioas, 0)), Errno::ENOENT);

    let vdevice = alloc(g.viommu, g.device.idev, u64::MAX).unwrap();
    assert_eq!(errno(alloc(g.viommu, g.device.idev, 1)), Errno::EEXIST);
    assert_eq!(errno(alloc(second, g.device.idev, 1)), Errno::EEXIST);
    assert_eq!(errno(alloc(g.viommu, other.idev, u64::MAX)), Errno::EEXIST);
    let elsewhere = alloc(second, other.idev, u64::MAX).unwrap();
    iommu.destroy(vdevice).unwrap();
    let zero = alloc(second, g.device.idev, 0).unwrap();
    assert_eq!(zero, vdevice, "the number of the object is free again");
    for id in [zero, elsewhere] {
        iommu.destroy(id).unwrap();
    }
    alloc(g.viommu, other.idev, u64::MAX).unwrap();
    g.f.world.close();
}

#[test]
fn a_device_that_goes_leaves_a_tombstone() {
    let g = Guest::new();
    let iommu = g.iommu();
    let device = iommu.mock_domain(g.f.ioas).unwrap();
    let vdevice = iommu
        .vdevice_alloc(g.viommu, device.idev, VirtId(7))
        .unwrap();
    assert_eq!(errno(iommu.destroy(g.viommu)), Errno::EBUSY);
    iommu.destroy(device.stdev).unwrap();
    assert_eq!(errno(iommu.destroy(vdevice)), Errno::ENOENT);
    assert_eq!(
        iommu.ioas_alloc().unwrap(),
        device.stdev,
        "the other numbers are free"
    );
    for _ in 0..8 {
        assert_ne!(iommu.ioas_alloc().unwrap(), vdevice);
    }
    iommu
        .vdevice_alloc(g.viommu, g.device.idev, VirtId(7))
        .unwrap();
    g.f.world.close();
}

#[test]
fn a_tombstone_is_an_object_still() {
    let g = Guest::new();
    let iommu = g.iommu();
    iommu
        .vdevice_alloc(g.viommu, g.device.idev, VirtId(7))
        .unwrap();
    let mode = || iommu.set_option(IommufdOption::RLIMIT_MODE, ObjectId(0), 1);
    for id in [g.device.stdev, g.viommu, g.parent, g.f.ioas] {
        assert_eq!(errno(mode()), Errno::EBUSY);
        iommu.destroy(id).unwrap();
    }
    assert_eq!(errno(mode()), Errno::EBUSY);
    g.f.world.close();
}

#[test]
fn only_known_devices_attach_through_a_virtual_iommu() {
    let g = Guest::new();
    let iommu = g.iommu();
    let nested = iommu
        .hwpt_alloc_nested(g.device.idev, g.viommu, PLAIN, IOMMU_TEST_IOTLB_DEFAULT)
        .unwrap();
    iommu
        .check_iotlb(nested, 3, IOMMU_TEST_IOTLB_DEFAULT)
        .unwrap();
    let attach = || iommu.mock_domain_replace(g.device.stdev, nested);
    assert_eq!(errno(attach()), Errno::ENOENT);
    let second = iommu
        .viommu_alloc(g.device.idev, g.parent, MOCK, None)
        .unwrap();
    let elsewhere = iommu.vdevice_alloc(second, g.device.idev, VirtId(1));
    assert_eq!(errno(attach()), Errno::ENOENT, "it is known to another");
    iommu.destroy(elsewhere.unwrap()).unwrap();
    iommu
        .vdevice_alloc(g.viommu, g.device.idev, VirtId(1))
        .unwrap();
    assert_eq!(attach().unwrap(), nested);
    let parent = HwptFlags::NEST_PARENT;
    let flagged = iommu.hwpt_alloc_nested(g.device.idev, g.viommu, parent, 0);
    assert_eq!(errno(flagged), Errno::EOPNOTSUPP);
    let no_data = iommu.hwpt_alloc(g.device.idev, g.viommu, PLAIN);
    assert_eq!(errno(no_data), Errno::EOPNOTSUPP);
    g.f.world.close();
}

/// What is read of an event queue: flags and sequence, and the device's number unless it is the mark of lost events.
fn events(g: &Guest, queue: EventQueue, room: usize) -> Vec<(u32, u32, Option<u32>)> {
    let bytes = g.f.world.process.read(queue.fd, room).unwrap();
    let mut words = bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let mut events = Vec::new();
    while let (Some(flags), Some(sequence)) = (words.next(), words.next()) {
        let data = if flags == 0 { words.next() } else { None };
        events.push((flags, sequence, data));
    }
    events
}

#[test]
fn events_are_numbered_and_losses_are_marked() {
    let g = Guest::new();
    let iommu = g.iommu();
    let queue = iommu.veventq_alloc(g.viommu, EVENTS, 2).unwrap();
    g.nest(0x99);
    let report = |times| (0..times).for_each(|_| iommu.trigger_vevent(g.device.idev).unwrap());
    let event = |sequence| (0, sequence, Some(0x99));
    assert!(events(&g, queue, 64).is_empty(), "a read does not block");
    report(1);
    assert_eq!(events(&g, queue, 64), [event(0)]);
    report(4);
    assert_eq!(
        events(&g, queue, 64),
        [event(1), event(2), (1, 4, None)],
        "one mark for two losses"
    );
    report(4);
    assert_eq!(events(&g, queue, 12), [event(5)]);
    report(1);
    assert_eq!(
        events(&g, queue, 64),
        [event(6), event(9)],
        "the gap tells, the mark is gone"
    );
    report(3);
    assert_eq!(events(&g, queue, 31), [event(10), event(11)]);
    assert_eq!(events(&g, queue, 8), [(1, 12, None)]);
    assert!(events(&g, queue, 8).is_empty());
    g.f.world.close();
}

#[test]
fn the_sizes_of_reads_of_events_are_checked() {
    let g = Guest::new();
    let iommu = g.iommu();
    let queue = iommu.veventq_alloc(g.viommu, EVENTS, 2).unwrap();
    g.nest(0x1_0000_0002);
    let process = &g.f.world.process;
    for short in [0, 1, 7] {
        assert_eq!(errno(process.read(queue.fd, short)), Errno::EINVAL);
    }
    assert_eq!(errno(process.write(queue.fd, &[0; 12])), Errno::EINVAL);
    let file = process.file(queue.fd).unwrap();
    let wait_queue = file.wait_queue().unwrap();
    assert_eq!(wait_queue.now(), Readiness::empty());
    iommu.trigger_vevent(g.device.idev).unwrap();
    assert_eq!(wait_queue.now(), Readiness::IN);
    assert_eq!(errno(process.read(queue.fd, 11)), Errno::EINVAL);
    let caller = process.descriptors();
    let nowhere = HvaRange::from_len(Hva::new(PAGE), 64);
    assert_eq!(errno(file.read(caller, nowhere)), Errno::EFAULT);
    assert_eq!(
        events(&g, queue, 13),
        [(0, 0, Some(2))],
        "the low half of the number"
    );
    assert_eq!(file.name(), "anon_inode:[iommufd-viommu-event]");
    let ioctl = file.ioctl(caller, IOMMU_DESTROY, Arg::from(Hva::new(PAGE)));
    assert_eq!(errno(ioctl), Errno::ENOTTY);
    g.f.world.close();
}

#[test]
fn event_queues_are_refused_in_order() {
    let g = Guest::new();
    let iommu = g.iommu();
    let alloc = |viommu, kind, depth| iommu.veventq_alloc(viommu, kind, depth);
    for (flags, reserved) in [(1, 0), (0, 1)] {
        let mut cmd = IommuVeventqAlloc {
            size: IommuVeventqAlloc::SIZE,
            flags,
            r#type: EVENTS,
            __reserved: reserved,
            ..Default::default()
        };
        let refused = iommu.ioctl(IOMMU_VEVENTQ_ALLOC, &mut cmd);
        assert_eq!(errno(refused), Errno::EOPNOTSUPP);
    }
    assert_eq!(errno(alloc(NOBODY, 0, 0)), Errno::EOPNOTSUPP);
    assert_eq!(errno(alloc(NOBODY, EVENTS, 0)), Errno::EINVAL);
    assert_eq!(errno(alloc(NOBODY, EVENTS, (1 << 19) + 1)), Errno::EINVAL);
    assert_eq!(errno(alloc(NOBODY, EVENTS, 1 << 19)), Errno::ENOENT);
    assert_eq!(errno(alloc(g.f.ioas, EVENTS, 1)), Errno::ENOENT);
    let queue = alloc(g.viommu, EVENTS, 1 << 19).unwrap();
    assert_eq!(errno(alloc(g.viommu, EVENTS, 1)), Errno::EEXIST);
    let unknown_to_the_driver = alloc(g.viommu, OTHER_TYPE, 1).unwrap();
    assert_ne!(unknown_to_the_driver.id, queue.id);

    g.nest(1);
    iommu.trigger_vevent(g.device.idev).unwrap();
    g.f.world.process.close(queue.fd).unwrap();
    iommu.destroy(queue.id).unwrap();
    let lost = iommu.trigger_vevent(g.device.idev);
    assert_eq!(errno(lost), Errno::EOPNOTSUPP);
    let again = alloc(g.viommu, EVENTS, 1).unwrap();
    iommu.trigger_vevent(g.device.idev).unwrap();
    assert_eq!(
        events(&g, again, 64),
        [(0, 0, Some(1))],
        "numbers start anew"
    );
    g.f.world.close();
}

#[test]
fn only_devices_of_a_guest_have_events() {
    let g = Guest::new();
    let iommu = g.iommu();
    let trigger = |device| errno(iommu.trigger_vevent(device));
    iommu.veventq_alloc(g.viommu, EVENTS, 1).unwrap();
    assert_eq!(trigger(NOBODY), Errno::ENOENT);
    assert_eq!(trigger(g.f.ioas), Errno::ENOENT);
    assert_eq!(trigger(g.device.idev), Errno::ENOENT);
    g.nest(0);
    assert_eq!(
        trigger(g.device.idev),
        Errno::ENOENT,
        "the mock takes 0 for no number"
    );
    g.f.world.close();
}

#[test]
fn the_file_of_an_event_queue_keeps_the_context() {
    let g = Guest::new();
    let queue = g.iommu().veventq_alloc(g.viommu, EVENTS, 1).unwrap();
    g.f.map(0, PAGE);
    let world = g.f.world;
    let (host, process) = (world.host.clone(), world.process.clone());
    drop(world.iommu);
    assert_eq!(host.memory().pinned_pages(), 1);
    assert!(process.read(queue.fd, 64).unwrap().is_empty());
    process.close(queue.fd).unwrap();
    assert_eq!(host.memory().pinned_pages(), 0);
}

#[test]
fn hardware_queues_are_refused_in_order() {
    let g = Guest::new();
    let iommu = g.iommu();
    let at = |base| Gpa::new(base);
    let alloc = |viommu, kind, index, bytes| iommu.hw_queue_alloc(viommu, kind, index, bytes);
    let mut flagged = IommuHwQueueAlloc {
        size: IommuHwQueueAlloc::SIZE,
        flags: 1,
        r#type: QUEUES,
        ..Default::default()
    };
    let refused = iommu.ioctl(IOMMU_HW_QUEUE_ALLOC, &mut flagged);
    assert_eq!(errno(refused), Errno::EOPNOTSUPP);
    assert_eq!(errno(alloc(NOBODY, 0, 0, (at(0), 0))), Errno::EOPNOTSUPP);
    assert_eq!(errno(alloc(NOBODY, QUEUES, 0, (at(0), 0))), Errno::EINVAL);
    let too_far = (at(u64::MAX), 2);
    assert_eq!(errno(alloc(NOBODY, QUEUES, 0, too_far)), Errno::EOVERFLOW);
    let bytes = (at(APERTURE.get()), PAGE);
    assert_eq!(errno(alloc(NOBODY, QUEUES, 0, bytes)), Errno::ENOENT);
    assert_eq!(
        errno(alloc(g.viommu, OTHER_TYPE, 0, bytes)),
        Errno::EOPNOTSUPP
    );
    let rounded = (at(0), u64::MAX);
    assert_eq!(errno(alloc(g.viommu, QUEUES, 0, rounded)), Errno::ERANGE);
    assert_eq!(errno(g.hw_queue(9, 0, PAGE)), Errno::ENOENT, "not mapped");

    let write_only = iommu.map_with(
        g.f.ioas,
        g.f.at(0),
        PAGE,
        Some(APERTURE),
        MapFlags::WRITEABLE,
    );
    write_only.unwrap();
    assert_eq!(errno(g.hw_queue(9, 0, PAGE)), Errno::EPERM);
    g.f.unmap(APERTURE, PAGE);
    g.f.map_fixed(MOCK_PAGE, PAGE, add(APERTURE, MOCK_PAGE));
    assert_eq!(errno(g.hw_queue(0, 0, PAGE)), Errno::EADDRINUSE);
    g.f.unmap(add(APERTURE, MOCK_PAGE), PAGE);
    g.f.map_fixed(MOCK_PAGE, PAGE, APERTURE);
    assert_eq!(
        errno(g.hw_queue(0, 0, PAGE)),
        Errno::EADDRINUSE,
        "the memory does not start at a page"
    );
    g.f.unmap(APERTURE, PAGE);
    g.f.map_fixed(PAGE, PAGE, APERTURE);
    g.f.map_fixed(0, PAGE, add(APERTURE, PAGE));
    assert_eq!(
        errno(g.hw_queue(9, 0, 2 * PAGE)),
        Errno::EFAULT,
        "in two pieces"
    );
    assert_eq!(errno(g.hw_queue(2, 0, PAGE)), Errno::EINVAL, "too many");
    assert_eq!(errno(g.hw_queue(1, 0, PAGE)), Errno::EIO, "the first first");
    g.f.unmap(APERTURE, PAGE);
    g.f.unmap(add(APERTURE, PAGE), PAGE);
    let buf = iommu.dma_buf_get(4096).unwrap();
    iommu
        .map_file(g.f.ioas, buf, 0, PAGE, Some(APERTURE))
        .unwrap();
    assert_eq!(errno(g.hw_queue(0, 0, PAGE)), Errno::EINVAL, "a dma-buf");
    g.f.world.close();
}

#[test]
fn hardware_queues_come_and_go_in_order() {
    let g = Guest::new();
    let iommu = g.iommu();
    g.f.map_fixed(0, 4 * PAGE, APERTURE);
    g.f.map_fixed(0, PAGE, add(APERTURE, 8 * PAGE));
    let free = iommu.ioas_alloc().unwrap();
    iommu.destroy(free).unwrap();
    let first = g.hw_queue(0, PAGE + 8, PAGE).unwrap();
    assert_eq!(first, free);
    let hidden = ObjectId(first.0 + 1);
    assert_eq!(
        errno(iommu.destroy(hidden)),
        Errno::EBUSY,
        "its access has a number too"
    );
    assert_eq!(errno(g.hw_queue(0, 0, PAGE)), Errno::EEXIST);
    let second = g.hw_queue(1, 0, PAGE).unwrap();
    assert_eq!(errno(g.hw_queue(2, 0, PAGE)), Errno::EINVAL);
    assert_eq!(errno(iommu.destroy(first)), Errno::EBUSY);

    let unmap = |at, len| iommu.unmap(g.f.ioas, at, len);
    assert_eq!(errno(unmap(APERTURE, 4 * PAGE)), Errno::EBUSY);
    iommu.destroy(second).unwrap();
    assert_eq!(errno(unmap(APERTURE, 4 * PAGE)), Errno::EBUSY);
    assert_eq!(unmap(add(APERTURE, 8 * PAGE), PAGE).unwrap(), PAGE);
    let odd = iommu.map_fixed(g.f.ioas, g.f.at(0), MOCK_PAGE, add(APERTURE, 16 * PAGE));
    assert_eq!(errno(odd), Errno::EINVAL, "whole pages while a queue lives");
    let second = g.hw_queue(1, 0, PAGE).unwrap();
    iommu.destroy(second).unwrap();
    iommu.destroy(first).unwrap();
    g.f.map_fixed(0, MOCK_PAGE, add(APERTURE, 16 * PAGE));
    assert_eq!(unmap(APERTURE, 4 * PAGE).unwrap(), 4 * PAGE);
    g.f.world.close();
}

/// Requests of 12 bytes for a virtual IOMMU: flags, device, cache.
fn for_guest(requests: &[[u32; 3]]) -> Invalidation<'_> {
    Invalidation {
        data_type: IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST.0,
        bytes: Some(requests.as_bytes()),
        entry_len: 12,
        entry_num: u32::try_from(requests.len()).unwrap(),
    }
}

/// The errno, if it failed, and how many requests were carried out.
fn outcome((result, done): (Result<()>, u32)) -> (Option<Errno>, u32) {
    (result.err().map(|error| error.errno()), done)
}

#[test]
fn invalidations_are_refused_in_order() {
    let g = Guest::new();
    let iommu = g.iommu();
    let one = for_guest(&[[0; 3]]);
    let call = |target, requests| outcome(iommu.invalidate(target, requests));
    let refused = |errno| (Some(errno), 0);
    let mut reserved = IommuHwptInvalidate {
        size: IommuHwptInvalidate::SIZE,
        hwpt_id: g.viommu.0,
        entry_num: 3,
        __reserved: 1,
        ..Default::default()
    };
    let result = iommu.ioctl(IOMMU_HWPT_INVALIDATE, &mut reserved);
    assert_eq!(errno(result), Errno::EOPNOTSUPP);
    assert_eq!(reserved.entry_num, 0);
    let bad = [
        Invalidation { bytes: None, ..one },
        Invalidation {
            entry_len: 0,
            ..one
        },
        Invalidation {
            entry_len: 4097,
            ..one
        },
        Invalidation {
            entry_num: (1 << 19) + 1,
            ..one
        },
    ];
    for requests in bad {
        assert_eq!(call(NOBODY, requests), refused(Errno::EINVAL));
    }
    assert_eq!(call(NOBODY, one), refused(Errno::ENOENT));
    for target in [g.parent, g.f.ioas, g.device.idev] {
        assert_eq!(call(target, one), refused(Errno::EINVAL));
    }
    let nested = iommu
        .hwpt_alloc_nested(g.device.idev, g.viommu, PLAIN, 0)
        .unwrap();
    let probe = Invalidation {
        bytes: None,
        entry_len: 0,
        entry_num: 0,
        ..one
    };
    for target in [nested, g.viommu] {
        assert_eq!(call(target, probe), (None, 0));
        let other_type = Invalidation {
            data_type: OTHER_TYPE,
            ..probe
        };
        assert_eq!(call(target, other_type), refused(Errno::EINVAL));
    }
    g.f.world.close();
}

#[test]
fn invalidations_of_a_page_table_stop_at_the_first_error() {
    let g = Guest::new();
    let iommu = g.iommu();
    let nested = iommu
        .hwpt_alloc_nested(g.device.idev, g.parent, PLAIN, IOTLB)
        .unwrap();
    let call = |requests: &[[u32; 2]], entry_len| {
        outcome(iommu.invalidate(
            nested,
            Invalidation {
                data_type: IOMMU_HWPT_INVALIDATE_DATA_SELFTEST.0,
                bytes: Some(requests.as_bytes()),
                entry_len,
                entry_num: u32::try_from(requests.len()).unwrap(),
            },
        ))
    };
    let check = |entries: [u32; 4]| {
        for (entry, value) in (0..).zip(entries) {
            iommu.check_iotlb(nested, entry, value).unwrap();
        }
    };
    for odd in [4, 12] {
        assert_eq!(call(&[[0; 2]; 2], odd), (Some(Errno::EINVAL), 0));
    }
    check([IOTLB; 4]);
    let unknown_flag = [[0, 0], [2, 1], [0, 2]];
    assert_eq!(call(&unknown_flag, 8), (Some(Errno::EOPNOTSUPP), 1));
    check([0, IOTLB, IOTLB, IOTLB]);
    let no_entry = [[0, 1], [0, 2], [1, 4]];
    assert_eq!(call(&no_entry, 8), (Some(Errno::EINVAL), 2));
    check([0, 0, 0, IOTLB]);
    assert_eq!(call(&[[1, 0]], 8), (None, 1));
    check([0; 4]);
    g.f.world.close();
}

#[test]
fn invalidations_for_a_guest_name_its_devices() {
    let g = Guest::new();
    let iommu = g.iommu();
    let vdevice = iommu
        .vdevice_alloc(g.viommu, g.device.idev, VirtId(0x99))
        .unwrap();
    let call = |requests: Invalidation<'_>| outcome(iommu.invalidate(g.viommu, requests));
    let check = |entries: [u32; 4]| {
        for (entry, value) in (0..).zip(entries) {
            iommu.check_dev_cache(g.device.idev, entry, value).unwrap();
        }
    };
    let stops = |second, errno| {
        let requests = [[0, 0x99, 0], second];
        assert_eq!(call(for_guest(&requests)), (Some(errno), 1));
    };
    stops([2, 0x99, 9], Errno::EOPNOTSUPP);
    stops([0, 0x99, 4], Errno::EINVAL);
    stops([0, 0x98, 1], Errno::EINVAL);
    check([0, CACHE, CACHE, CACHE]);

    let nowhere = for_guest(&[[0; 3]]);
    let beyond = Invalidation {
        entry_num: 1 << 19,
        ..nowhere
    };
    assert_eq!(call(beyond), (Some(Errno::EFAULT), 0));

    let long = [[0, 0x99, 1, 0], [0, 0x99, 2, 1]];
    let tailed = Invalidation {
        bytes: Some(long.as_bytes()),
        entry_len: 16,
        entry_num: 2,
        ..nowhere
    };
    assert_eq!(call(tailed), (Some(Errno::E2BIG), 0));
    check([0, CACHE, CACHE, CACHE]);
    let first_only = Invalidation {
        entry_num: 1,
        ..tailed
    };
    assert_eq!(call(first_only), (None, 1));
    check([0, 0, CACHE, CACHE]);
    let short = Invalidation {
        bytes: Some([[1, 0x99]].as_bytes()),
        entry_len: 8,
        entry_num: 1,
        ..nowhere
    };
    assert_eq!(call(short), (None, 1), "cache 0, which with ALL means all");
    check([0; 4]);
    iommu.destroy(vdevice).unwrap();
    let gone = for_guest(&[[0, 0x99, 0]]);
    assert_eq!(call(gone), (Some(Errno::EINVAL), 0));
    g.f.world.close();
}

#[test]
fn regions_take_the_lowest_offset() {
    let g = Guest::new();
    let iommu = g.iommu();
    let (first, data) = g.with_region(42);
    let told = IommuViommuSelftest {
        in_data: 42,
        out_data: 42,
        out_mmap_offset: PAGE,
        out_mmap_length: 2 * PAGE,
    };
    assert_eq!(data, told);
    let (_, second) = g.with_region(1);
    assert_eq!(second.out_mmap_offset, 3 * PAGE);
    iommu.destroy(first).unwrap();
    assert_eq!(g.with_region(2).1.out_mmap_offset, PAGE);
    assert_eq!(g.with_region(3).1.out_mmap_offset, 5 * PAGE);

    let file = g.f.world.process.file(iommu.fd()).unwrap();
    let memory = file.memory().unwrap();
    let mut word = [0xff; 8];
    rustix::io::pread(memory, &mut word, PAGE).unwrap();
    assert_eq!(word, [2, 0, 0, 0, 0, 0, 0, 0]);
    g.f.world.close();
}

#[test]
fn a_region_is_mapped_whole_and_shared() {
    let g = Guest::new();
    let iommu = g.iommu();
    let (viommu, _) = g.with_region(0);
    g.with_region(0);
    let file = g.f.world.process.file(iommu.fd()).unwrap();
    let shared = MmapFlags::SHARED | MmapFlags::READ | MmapFlags::WRITE;
    let map = |offset, len, flags| {
        let request = MmapRequest { offset, len, flags };
        file.mmap(g.f.world.process.descriptors(), &request)
    };
    map(PAGE, 2 * PAGE, shared).unwrap();
    map(3 * PAGE, 2 * PAGE, MmapFlags::SHARED | MmapFlags::READ).unwrap();
    let private = MmapFlags::READ | MmapFlags::EXEC;
    assert_eq!(errno(map(0, PAGE, private)), Errno::EINVAL);
    let executable = shared | MmapFlags::EXEC;
    assert_eq!(errno(map(0, PAGE, executable)), Errno::EPERM);
    let not_a_region = [
        (0, 2 * PAGE),
        (PAGE, PAGE),
        (2 * PAGE, PAGE),
        (PAGE, 4 * PAGE),
        (5 * PAGE, 2 * PAGE),
    ];
    for (offset, len) in not_a_region {
        assert_eq!(errno(map(offset, len, shared)), Errno::ENXIO);
    }
    iommu.destroy(viommu).unwrap();
    assert_eq!(errno(map(PAGE, 2 * PAGE, shared)), Errno::ENXIO);
    g.f.world.close();
}

/// A process that maps some bytes of the memory of `/dev/iommu`.
struct Mapping<'a> {
    process: &'a Local,
    mapped: FileRange,
}

impl Caller for Mapping<'_> {
    fn task(&self) -> Task {
        self.process.task()
    }

    fn space(&self) -> &Arc<dyn AddressSpace> {
        self.process.space()
    }

    fn capable(&self, capability: Capability) -> bool {
        self.process.capable(capability)
    }

    fn descriptor(&self, fd: FdNumber) -> std::result::Result<Descriptor, Errno> {
        self.process.descriptor(fd)
    }

    fn maps(&self, _: FileId, bytes: FileRange) -> bool {
        self.mapped == bytes
    }

    fn install(
        &self,
        file: Arc<dyn File>,
        flags: InstallFlags,
    ) -> std::result::Result<FdNumber, Errno> {
        self.process.install(file, flags)
    }
}

#[test]
fn a_virtual_iommu_stays_while_its_region_is_mapped() {
    let g = Guest::new();
    let iommu = g.iommu();
    let process = &g.f.world.process;
    let (viommu, data) = g.with_region(0);
    let (other, _) = g.with_region(0);
    let start = swiommu_mem::FileOffset::new(data.out_mmap_offset);
    let mapping = Mapping {
        process: process.descriptors(),
        mapped: FileRange::from_len(start, data.out_mmap_length).unwrap(),
    };
    let file = process.file(iommu.fd()).unwrap();
    let destroy = |id: ObjectId| {
        let command = process.buffer(PAGE)?;
        let cmd = IommuDestroy {
            size: IommuDestroy::SIZE,
            id: id.0,
        };
        command.write(0, cmd.as_bytes())?;
        file.ioctl(&mapping, IOMMU_DESTROY, Arg::from(command.at(0)))
    };
    assert_eq!(errno(destroy(viommu)), Errno::EBUSY);
    destroy(other).unwrap();
    iommu.destroy(viommu).unwrap();
    g.f.world.close();
}
