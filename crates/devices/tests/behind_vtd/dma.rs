//! The DMA test device, its ring and its data behind VT-d.

use std::sync::{Arc, Weak};
use std::thread;

use proptest::prelude::*;
use swiommu_addr::{Address, Iova};
use swiommu_devices::DmaDevice;
use swiommu_devices::dma::{
    BATCH, Completion, Descriptor, Halt, MAX_LENGTH, Progress, Status, register,
};
use swiommu_iommu::vtd::VtdEndpoint;
use swiommu_iommu::{
    Domain, Endpoint, NestedDomain, PageRequest, PageRequestHandler, PageResponse, PagingFlags,
    Pasid,
};

use crate::guest::{Guest, PAGE, WRITABLE};

/// Where the ring of each engine is: it begins in one page and ends in another.
fn ring(engine: u32) -> Iova {
    Iova::new((10 + 2 * u64::from(engine)) * PAGE - 128)
}

/// A driver with rings of eight descriptors.
struct Driver {
    guest: Arc<Guest>,
    device: Arc<DmaDevice>,
}

const SIZE: u32 = 8;

impl Driver {
    fn new(engines: u32) -> Self {
        let guest = Guest::new();
        let endpoint = guest.endpoint.clone();
        let device = DmaDevice::new(engines, move |pasid| endpoint.port(pasid));
        let driver = Self {
            guest,
            device: Arc::new(device),
        };
        for engine in 0..engines {
            driver.enable(engine);
        }
        driver
    }

    fn enable(&self, engine: u32) {
        let [low, high] = halves(ring(engine).get());
        self.set(engine, register::RING_LOW, low);
        self.set(engine, register::RING_HIGH, high);
        self.set(engine, register::SIZE, SIZE.ilog2());
        self.set(engine, register::CONTROL, register::ENABLE);
    }

    fn set(&self, engine: u32, register: u32, value: u32) {
        let at = register::engine(engine) + register;
        self.device.registers().store(at, value);
    }

    fn get(&self, engine: u32, register: u32) -> u32 {
        self.device
            .registers()
            .load(register::engine(engine) + register)
    }

    fn write(&self, engine: u32, index: u32, descriptor: &[u8; Descriptor::LEN]) {
        let at = u64::from(index % SIZE) * 64;
        self.guest.write(ring(engine).wrapping_add(at), descriptor);
    }

    fn completion(&self, engine: u32, index: u32) -> Completion {
        let at = u64::from(index % SIZE) * 64 + 40;
        Completion::from_bytes(&self.guest.read(ring(engine).wrapping_add(at)))
    }

    /// Has the first engine do one more descriptor.
    fn submit(&self, descriptor: &Descriptor) -> Completion {
        let tail = self.get(0, register::TAIL);
        self.write(0, tail, &descriptor.to_bytes());
        assert_eq!(self.device.doorbell(0, tail + 1), Progress::Idle);
        assert_eq!(self.get(0, register::HEAD), tail + 1);
        self.completion(0, tail)
    }

    fn halted(&self, engine: u32) -> (u32, u64) {
        let [low, high] = [register::FAULT_LOW, register::FAULT_HIGH].map(|r| self.get(engine, r));
        let status = self.get(engine, register::STATUS);
        assert_eq!(status & register::RUNNING, 0, "it has halted");
        let fault = u64::from(high) << 32 | u64::from(low);
        (status >> register::HALT_SHIFT, fault)
    }
}

fn halves(word: u64) -> [u32; 2] {
    zerocopy::transmute!(word)
}

fn at(page: u64, offset: u64) -> Iova {
    Iova::new(page * PAGE + offset)
}

fn outcome(completion: Completion) -> (Option<Status>, u32, u64) {
    let Completion { fault, done, .. } = completion;
    (completion.status(), done.get(), fault.get())
}

const SUCCESS: Option<Status> = Some(Status::Success);

#[test]
fn descriptors_are_carried_out_through_both_stages() {
    let driver = Driver::new(1);
    driver.guest.attach_nested(Pasid::NONE);
    let mut text = [0; 9000];
    for (byte, value) in text.iter_mut().zip((0..251).cycle()) {
        *byte = value;
    }
    driver.guest.write(at(30, 77), &text);
    let copied = driver.submit(&Descriptor::copy(at(30, 77), at(40, 3), 9000));
    assert_eq!(outcome(copied), (SUCCESS, 9000, 0));
    assert_eq!(driver.guest.read::<9000>(at(40, 3)), text);

    let word = u64::from_le_bytes(*b"SWIOMMU!");
    let filled = driver.submit(&Descriptor::fill(at(41, 4090), 11, word));
    assert_eq!(outcome(filled), (SUCCESS, 11, 0));
    assert_eq!(driver.guest.read::<11>(at(41, 4090)), *b"SWIOMMU!SWI");
    assert_eq!(driver.guest.read::<1>(at(42, 5)), [text[8194]]);

    driver.guest.write(at(30, 4094), b"123456789");
    let sum = driver.submit(&Descriptor::checksum(at(30, 4094), 9));
    assert_eq!(outcome(sum), (SUCCESS, 9, 0));
    assert_eq!(sum.result.get(), 0xe306_9283, "CRC-32C's check value");

    let nothing = driver.submit(&Descriptor::default());
    assert_eq!(outcome(nothing), (SUCCESS, 0, 0));
    let empty = driver.submit(&Descriptor::copy(at(1000, 0), at(1000, 0), 0));
    assert_eq!(outcome(empty), (SUCCESS, 0, 0));
}

#[test]
fn each_pasid_has_its_own_addresses() {
    let driver = Driver::new(1);
    let guest = &driver.guest;
    guest.attach_nested(Pasid::NONE);
    let first = guest.paging(PagingFlags::PASID);
    let second = guest.paging(PagingFlags::DIRTY_TRACKING);
    for (pasid, domain, from) in [(1, &first, 50), (2, &second, 51)] {
        guest.map(&**domain, 30, Guest::guest_page(from));
        guest.map(&**domain, 31, Guest::guest_page(from + 2));
        let attached = Domain::Paging(domain.clone());
        guest.endpoint.attach(Pasid(pasid), &attached).unwrap();
    }
    guest.attach_nested(Pasid(3));
    for (page, text) in [(30, b"none"), (50, b"one "), (51, b"two ")] {
        guest.write(at(page, 0), text);
    }
    let copy = Descriptor::copy(at(30, 0), at(31, 0), 4);
    for (pasid, to, text) in [(1, 52, b"one "), (2, 53, b"two "), (3, 31, b"none")] {
        let done = driver.submit(&copy.with_pasid(Pasid(pasid)));
        assert_eq!(outcome(done), (SUCCESS, 4, 0));
        assert_eq!(guest.read::<4>(at(to, 0)), *text);
    }
    let nobody = driver.submit(&copy.with_pasid(Pasid(4)));
    let blocked = (Some(Status::ReadFault), 0, at(30, 0).get());
    assert_eq!(outcome(nobody), blocked);
    guest.endpoint.detach(Pasid(2));
    assert_eq!(outcome(driver.submit(&copy.with_pasid(Pasid(2)))), blocked);
    assert_eq!(driver.submit(&copy).status(), SUCCESS);
}

#[test]
fn a_fault_says_how_far_it_came_and_where() {
    let driver = Driver::new(1);
    let guest = &driver.guest;
    guest.attach_nested(Pasid::NONE);
    guest.set_leaf(32, 0);
    guest.set_leaf(42, Guest::leads_to(42, 0x65));
    let [from, to] = [at(30, 100), at(40, 200)];
    let read = driver.submit(&Descriptor::copy(from, at(50, 0), 9000));
    let unread = (Some(Status::ReadFault), 4096, at(32, 0).get());
    assert_eq!(outcome(read), unread, "the second piece meets the hole");
    let written = driver.submit(&Descriptor::fill(to, 9000, 0));
    let unwritten = (Some(Status::WriteFault), 8192 - 200, at(42, 0).get());
    assert_eq!(
        outcome(written),
        unwritten,
        "up to the page that is read-only"
    );
    let mut privileged = Descriptor::checksum(from, 8).privileged();
    let refused = (Some(Status::ReadFault), 0, from.get());
    assert_eq!(outcome(driver.submit(&privileged)), refused);
    privileged.flags = 0;
    assert_eq!(driver.submit(&privileged).status(), SUCCESS);
    guest.unmap(Guest::guest_page(30));
    assert_eq!(outcome(driver.submit(&privileged)), refused, "stage 2");
}

/// Brings pages that are asked for, as a guest's driver does; those from page 60 on do not exist.
#[derive(Debug)]
struct Pager {
    guest: Weak<Guest>,
    endpoint: Weak<VtdEndpoint>,
    nested: Arc<dyn NestedDomain>,
}

impl PageRequestHandler for Pager {
    fn handle(&self, request: PageRequest) {
        let (guest, endpoint) = (self.guest.upgrade(), self.endpoint.upgrade());
        let (Some(guest), Some(endpoint)) = (guest, endpoint) else {
            return;
        };
        let page = request.address.get() / PAGE;
        let response = if page < 60 {
            guest.set_leaf(page, Guest::leads_to(page, WRITABLE));
            Guest::invalidate(&*self.nested, page);
            PageResponse::Success
        } else {
            PageResponse::Invalid
        };
        endpoint.respond(request.pasid, request.group, response);
    }
}

#[test]
fn pages_that_are_not_there_are_asked_for() {
    let driver = Driver::new(1);
    let guest = &driver.guest;
    let nested = guest.attach_nested(Pasid::NONE);
    guest
        .endpoint
        .set_page_request_handler(Some(Arc::new(Pager {
            guest: Arc::downgrade(guest),
            endpoint: Arc::downgrade(&guest.endpoint),
            nested,
        })));
    guest.write(at(40, 4000), &[7; 200]);
    for page in [10, 40, 41, 50, 51, 60] {
        guest.set_leaf(page, 0);
    }
    let copy = Descriptor::copy(at(40, 4000), at(50, 4000), 200);
    assert_eq!(outcome(driver.submit(&copy)), (SUCCESS, 200, 0));
    assert_eq!(guest.read::<200>(at(50, 4000)), [7; 200]);
    let refused = driver.submit(&Descriptor::fill(at(59, 4000), 200, 0));
    let expected = (Some(Status::WriteFault), 96, at(60, 0).get());
    assert_eq!(outcome(refused), expected);
}

/// Makes a good descriptor a bad one.
type Change = fn(&mut Descriptor);

#[test]
fn each_bad_descriptor_has_a_status() {
    let driver = Driver::new(1);
    driver.guest.attach_nested(Pasid::NONE);
    let good = Descriptor::copy(at(30, 0), at(40, 0), 8);
    let end = u64::MAX - 3;
    let bad: [(Change, Status); 10] = [
        (|d| d.opcode = 4, Status::BadOpcode),
        (|d| d.opcode = 255, Status::BadOpcode),
        (|d| d.flags = 2, Status::BadField),
        (|d| d.reserved = 1.into(), Status::BadField),
        (|d| d.reserved2 = 1.into(), Status::BadField),
        (|d| d.pasid = (1 << 20).into(), Status::BadField),
        (|d| d.value = 1.into(), Status::BadField),
        (|d| d.opcode = 0, Status::BadField),
        (|d| d.length = (MAX_LENGTH + 1).into(), Status::TooLong),
        (|d| d.length = u32::MAX.into(), Status::TooLong),
    ];
    for (change, status) in bad {
        let mut descriptor = good;
        change(&mut descriptor);
        let completion = driver.submit(&descriptor);
        assert_eq!(outcome(completion), (Some(status), 0, 0), "{descriptor:?}");
    }
    for (source, destination) in [(end, 0x28000), (0x1e000, end)] {
        let passing = Descriptor::copy(Iova::new(source), Iova::new(destination), 8);
        assert_eq!(driver.submit(&passing).status(), Some(Status::BadField));
    }
    let last = Descriptor::copy(Iova::new(end), at(40, 0), 4);
    assert_eq!(driver.submit(&last).status(), Some(Status::ReadFault));
}

#[test]
fn an_engine_that_cannot_go_on_halts_until_it_is_enabled_anew() {
    let driver = Driver::new(1);
    let guest = &driver.guest;
    guest.attach_nested(Pasid::NONE);
    let again = || {
        driver.set(0, register::CONTROL, 0);
        driver.set(0, register::TAIL, 0);
        assert_eq!(driver.device.run(0), Progress::Idle);
        assert_eq!(driver.get(0, register::STATUS), 0);
        driver.set(0, register::CONTROL, register::ENABLE);
    };
    let halts = |tail, halt: Halt, fault| {
        assert_eq!(driver.device.doorbell(0, tail), Progress::Idle);
        assert_eq!(driver.halted(0), (halt as u32, fault));
        assert_eq!(driver.device.run(0), Progress::Idle);
        again();
    };
    halts(SIZE + 1, Halt::BadTail, 0);
    halts(u32::MAX, Halt::BadTail, 0);
    guest.set_leaf(10, 0);
    assert_eq!(driver.device.doorbell(0, 2), Progress::Idle);
    assert_eq!(
        driver.get(0, register::HEAD),
        2,
        "these are in the page before"
    );
    halts(3, Halt::ReadFault, at(10, 0).get());
    guest.set_leaf(10, Guest::leads_to(10, 0x65));
    halts(3, Halt::WriteFault, at(10, 40).get());
    for (reg, value) in [
        (register::SIZE, register::MAX_SIZE + 1),
        (register::SIZE, 32),
        (register::PASID, 1 << 20),
        (register::RING_LOW, 0x20),
    ] {
        let good = driver.get(0, reg);
        driver.set(0, reg, value);
        halts(0, Halt::BadRing, 0);
        driver.set(0, reg, good);
    }
    driver.set(0, register::RING_HIGH, u32::MAX);
    driver.set(0, register::RING_LOW, 0xffff_ffc0);
    halts(0, Halt::BadRing, 0);
    let [low, high] = halves(ring(0).get());
    driver.set(0, register::RING_LOW, low);
    driver.set(0, register::RING_HIGH, high);
    let done = driver.submit(&Descriptor::fill(at(40, 0), 8, 1));
    assert_eq!(done.status(), SUCCESS);
}

#[test]
fn a_doorbell_is_answered_with_a_bounded_amount_of_work() {
    let driver = Driver::new(1);
    driver.guest.attach_nested(Pasid::NONE);
    // Zeroed memory is a ring of descriptors that ask for nothing.
    let [low, high] = halves(at(50, 0).get());
    driver.set(0, register::RING_LOW, low);
    driver.set(0, register::RING_HIGH, high);
    driver.set(0, register::SIZE, 8);
    let waiting = 2 * BATCH + 1;
    for (head, progress) in [
        (BATCH, Progress::More),
        (2 * BATCH, Progress::More),
        (waiting, Progress::Idle),
    ] {
        assert_eq!(driver.device.doorbell(0, waiting), progress);
        assert_eq!(driver.get(0, register::HEAD), head);
    }
}

#[test]
fn a_pasid_that_the_device_cannot_have_is_refused() {
    let guest = Guest::new();
    guest.attach_nested(Pasid::NONE);
    let endpoint = guest.endpoint.clone();
    let device = DmaDevice::new(1, move |pasid| {
        let port = endpoint.port(pasid);
        port.filter(|_| pasid.is_none())
    });
    let driver = Driver {
        guest,
        device: Arc::new(device),
    };
    driver.enable(0);
    let fill = Descriptor::fill(at(40, 0), 8, 1);
    let refused = driver.submit(&fill.with_pasid(Pasid(1)));
    assert_eq!(outcome(refused), (Some(Status::BadField), 0, 0));
    assert_eq!(driver.submit(&fill).status(), SUCCESS);
    driver.set(0, register::CONTROL, 0);
    assert_eq!(driver.device.run(0), Progress::Idle);
    driver.set(0, register::PASID, 1);
    driver.set(0, register::CONTROL, register::ENABLE);
    assert_eq!(driver.device.run(0), Progress::Idle);
    assert_eq!(driver.halted(0), (Halt::BadRing as u32, 0));
}

#[test]
fn engines_run_side_by_side() {
    const ENGINES: u32 = 4;
    let driver = Driver::new(ENGINES);
    driver.guest.attach_nested(Pasid::NONE);
    thread::scope(|scope| {
        for engine in 0..ENGINES {
            let driver = &driver;
            scope.spawn(move || {
                let target = at(40 + u64::from(engine), 0);
                for tail in 0..100_u32 {
                    let fill = Descriptor::fill(target.wrapping_add(tail.into()), 1, engine.into());
                    driver.write(engine, tail, &fill.to_bytes());
                    assert_eq!(driver.device.doorbell(engine, tail + 1), Progress::Idle);
                    assert_eq!(driver.completion(engine, tail).status(), SUCCESS);
                }
            });
        }
    });
    for (engine, byte) in (0..ENGINES).zip(0..) {
        let filled = driver.guest.read::<101>(at(40 + u64::from(engine), 0));
        let mut expected = [byte; 101];
        expected[100] = 0;
        assert_eq!(filled, expected);
        assert_eq!(driver.get(engine, register::HEAD), 100);
    }
    assert_eq!(driver.device.run(ENGINES), Progress::Idle, "there is none");
    assert_eq!(driver.device.doorbell(u32::MAX, 1), Progress::Idle);
}

/// Descriptors that mean something, now and then.
fn hostile() -> impl Strategy<Value = [u8; Descriptor::LEN]> {
    let address = prop_oneof![
        (0..70 * PAGE).boxed(),
        Just(ring(0).get()).boxed(),
        any::<u64>().boxed()
    ];
    let length = prop_oneof![0..20_000_u32, any::<u32>()];
    let fields = (0..5_u8, 0..3_u8, 0..3_u32, address.clone(), address, length);
    let sensible = fields.prop_map(|(opcode, flags, pasid, source, destination, length)| {
        let mut descriptor = Descriptor::copy(Iova::new(source), Iova::new(destination), length);
        (descriptor.opcode, descriptor.flags) = (opcode, flags);
        descriptor.with_pasid(Pasid(pasid)).to_bytes()
    });
    let any_bytes = prop::collection::vec(any::<u8>(), Descriptor::LEN)
        .prop_map(|bytes| std::array::from_fn(|n| bytes[n]));
    prop_oneof![3 => sensible, 1 => any_bytes]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the driver writes, each descriptor that was taken has a status, or the engine says why it has halted.
    #[test]
    fn every_descriptor_ends(descriptors in prop::collection::vec(hostile(), 1..8), tail in 0..20_u32) {
        let driver = Driver::new(1);
        driver.guest.attach_nested(Pasid::NONE);
        // The tables are not where descriptors write: the driver would have to build them anew.
        driver.guest.attach_nested(Pasid(1));
        for (index, descriptor) in (0..).zip(&descriptors) {
            driver.write(0, index, descriptor);
        }
        let mut runs = 0;
        while driver.device.doorbell(0, tail) == Progress::More {
            runs += 1;
            prop_assert!(runs < 10);
        }
        let head = driver.get(0, register::HEAD);
        if driver.get(0, register::STATUS) & register::RUNNING == 0 {
            let (halt, _) = driver.halted(0);
            prop_assert!((Halt::BadRing as u32..=Halt::WriteFault as u32).contains(&halt));
        } else {
            prop_assert_eq!(head, tail);
        }
    }

    /// Whatever is in the registers.
    #[test]
    fn registers_are_memory(
        writes in prop::collection::vec((0..0x40_u32, any::<u32>()), 1..40),
    ) {
        let driver = Driver::new(1);
        driver.guest.attach_nested(Pasid::NONE);
        for (register, value) in writes {
            driver.set(0, register, value);
            let _progress = driver.device.run(0);
        }
        driver.set(0, register::CONTROL, 0);
        prop_assert_eq!(driver.device.run(0), Progress::Idle);
    }
}
