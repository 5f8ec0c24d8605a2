use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use swiommu_abi::Errno;
use swiommu_addr::{Hva, HvaRange, Pa, PaRange};

use super::*;
use crate::{Config, Fault, FileOffset, LocalSpace, MemlockPolicy, PhysicalMemory, Protection};

struct Machine {
    memory: Arc<PhysicalMemory>,
    space: Arc<LocalSpace>,
}

impl Machine {
    fn new() -> Self {
        Self::with(MemlockPolicy::Enforce)
    }

    fn with(memlock: MemlockPolicy) -> Self {
        let config = Config {
            memlock,
            ..Config::default()
        };
        let memory = PhysicalMemory::new(config).unwrap();
        let space = LocalSpace::new(&memory).unwrap();
        Self { memory, space }
    }

    fn owner(&self) -> Arc<dyn AddressSpace> {
        self.space.clone()
    }

    fn pages(&self, range: HvaRange, accounting: Accounting) -> Pages {
        Pages::from_space(&self.owner(), range, Access::Write, accounting)
    }

    fn file(&self, size: u64, range: FileRange, accounting: Accounting) -> Pages {
        let file = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, size).unwrap();
        let file = MemFile::new(file).unwrap();
        Pages::from_file(&self.owner(), file, range, Access::Write, accounting)
    }

    /// Pages objects that pin each page of a buffer.
    fn counts(&self, range: HvaRange) -> Vec<u32> {
        let runs = self
            .space
            .resolve(range.align_out(PAGE), Access::Read)
            .unwrap();
        let counts = runs
            .iter()
            .flat_map(|run| self.memory.pin_counts(run.memory));
        let pages = |count: &crate::PinCount| (count.memory.len().unwrap() / 4096) as usize;
        counts
            .flat_map(|count| vec![count.objects; pages(&count)])
            .collect()
    }
}

fn bytes(start: u64, len: u64) -> OffsetRange {
    OffsetRange::from_len(Offset::new(start), len).unwrap()
}

fn file_range(start: u64, len: u64) -> FileRange {
    FileRange::from_len(FileOffset::new(start), len).unwrap()
}

fn part(range: HvaRange, start: u64, len: u64) -> HvaRange {
    HvaRange::from_len(Hva::new(range.start().get() + start), len).unwrap()
}

#[test]
fn a_page_is_pinned_and_charged_once_for_all_its_users() {
    let machine = Machine::new();
    let buffer = machine.space.allocate(0x4000).unwrap();
    let pages = machine.pages(buffer, Accounting::User);
    let accounts = machine.memory.accounts();
    pages.pin(bytes(0, 0x2000)).unwrap();
    pages.pin(bytes(0x1000, 0x2000)).unwrap();
    assert_eq!(machine.counts(buffer), [1, 1, 1, 0]);
    assert_eq!(accounts.charged(Uid(0)), 0x3000);
    assert_eq!(machine.space.locked().pinned(), 3);
    assert_eq!(machine.space.locked().locked(), 0);
    assert_eq!(machine.memory.pinned_pages(), 3);

    let second = machine.pages(buffer, Accounting::User);
    second.pin(bytes(0, 0x4000)).unwrap();
    assert_eq!(machine.counts(buffer), [2, 2, 2, 1]);
    assert_eq!(accounts.charged(Uid(0)), 0x7000);

    pages.unpin(bytes(0, 0x2000));
    assert_eq!(machine.counts(buffer), [1, 2, 2, 1]);
    drop(second);
    pages.unpin(bytes(0x1000, 0x2000));
    assert_eq!(machine.counts(buffer), [0; 4]);
    assert_eq!(accounts.charged(Uid(0)), 0);
    assert_eq!(machine.space.locked().pinned(), 0);
    assert_eq!(accounts.high_water(), 0x7000);
}

#[test]
fn runs_are_exactly_the_bytes_and_whole_pages_are_pinned() {
    let machine = Machine::new();
    let buffer = machine.space.allocate(0x4000).unwrap();
    let inner = part(buffer, 0x801, 0x1900);
    let pages = machine.pages(inner, Accounting::None);
    assert_eq!(pages.page_offset(), 0x801);
    assert_eq!(pages.len().get(), 0x1900);
    let whole = machine.space.resolve(buffer, Access::Read).unwrap()[0]
        .memory
        .start();
    let runs = pages.pin(bytes(0x7ff, 0x800)).unwrap();
    let expected = PaRange::from_len(Pa::new(whole.get() + 0x1000), 0x800).unwrap();
    assert_eq!(
        runs[..],
        [Run {
            memory: expected,
            page: PAGE
        }]
    );
    assert_eq!(machine.counts(buffer), [0, 1, 0, 0]);
    assert_eq!(pages.runs(bytes(0x7ff, 0x800)), Some(runs));
    assert_eq!(pages.runs(bytes(0x7fe, 0x800)), None);
    assert_eq!(
        pages.runs(bytes(0x7ff, 0x1000)).unwrap()[0].memory.len(),
        Some(0x1000)
    );
    assert_eq!(pages.runs(bytes(0x7ff, 0x1001)), None);
    assert_eq!(pages.pin(bytes(0x1000, 0x901)), Err(PinError::OutOfRange));
    assert_eq!(pages.pinned(), 1);
}

#[test]
fn a_failed_pin_changes_nothing() {
    let machine = Machine::new();
    let buffer = machine.space.allocate(0x4000).unwrap();
    let pages = machine.pages(buffer, Accounting::User);
    pages.pin(bytes(0x1000, 0x1000)).unwrap();
    machine.space.unmap(part(buffer, 0x3000, 0x1000));
    let hole = part(buffer, 0x3000, 1).start();
    let error = pages.pin(bytes(0, 0x4000)).unwrap_err();
    assert_eq!(error, PinError::Fault(Fault::Unmapped(hole)));
    assert_eq!(error.errno(), Errno::EFAULT);

    machine.space.set_memlock_limit(Some(0x2fff));
    let error = pages.pin(bytes(0, 0x3000)).unwrap_err();
    assert_eq!(error.errno(), Errno::ENOMEM);
    let PinError::OverLimit { needed, limit } = error else {
        panic!("{error}");
    };
    assert_eq!((needed, limit), (0x3000, 0x2fff));
    assert_eq!(machine.counts(part(buffer, 0, 0x3000)), [0, 1, 0]);
    assert_eq!(machine.memory.accounts().charged(Uid(0)), 0x1000);
    assert_eq!(machine.space.locked().pinned(), 1);
    assert!(pages.pin(bytes(0, 0x2000)).is_ok());
}

#[test]
fn the_limit_counts_all_processes_of_a_user_but_only_one_mm() {
    let machine = Machine::new();
    let other = LocalSpace::new(&machine.memory).unwrap();
    machine.space.set_user(Uid(7));
    other.set_user(Uid(7));
    machine.space.set_memlock_limit(Some(0x3000));
    other.set_memlock_limit(Some(0x3000));
    let pin = |space: &Arc<LocalSpace>, accounting| {
        let range = space.allocate(0x2000).unwrap();
        let owner: Arc<dyn AddressSpace> = space.clone();
        let pages = Pages::from_space(&owner, range, Access::Write, accounting);
        pages.pin(bytes(0, 0x2000)).map(|_| pages)
    };
    let first = pin(&machine.space, Accounting::User).unwrap();
    assert_eq!(
        pin(&other, Accounting::User).unwrap_err().errno(),
        Errno::ENOMEM
    );
    let second = pin(&other, Accounting::Mm).unwrap();
    assert_eq!(other.locked().locked(), 2);
    assert_eq!(
        pin(&other, Accounting::Mm).unwrap_err().errno(),
        Errno::ENOMEM
    );
    let free = pin(&other, Accounting::None).unwrap();
    assert_eq!(other.locked().pinned(), 4, "counted in every mode");
    drop((first, second, free));
    assert_eq!(machine.memory.accounts().charged(Uid(7)), 0);
    assert_eq!((other.locked().pinned(), other.locked().locked()), (0, 0));
}

#[test]
fn the_limit_can_be_reported_instead_of_enforced() {
    let machine = Machine::with(MemlockPolicy::Report);
    machine.space.set_memlock_limit(Some(0x1000));
    let buffer = machine.space.allocate(0x5000).unwrap();
    let pages = machine.pages(buffer, Accounting::User);
    pages.pin(bytes(0, 0x5000)).unwrap();
    pages.unpin(bytes(0, 0x5000));
    assert_eq!(machine.memory.accounts().high_water(), 0x5000);
}

#[test]
fn an_owner_that_is_gone_keeps_its_pins_and_gets_no_new_ones() {
    let machine = Machine::new();
    let buffer = machine.space.allocate(0x2000).unwrap();
    machine.space.write(buffer.start(), b"before").unwrap();
    let pages = machine.pages(buffer, Accounting::Mm);
    let runs = pages.pin(bytes(0, 0x1000)).unwrap();
    machine.space.exit();
    assert_eq!(pages.pin(bytes(0, 0x1000)).unwrap(), runs);
    assert_eq!(
        pages.pin(bytes(0, 0x2000)).unwrap_err(),
        PinError::Fault(Fault::Gone)
    );
    let mut content = [0; 6];
    pages
        .read(Offset::new(0), &mut content, CopyBy::Foreign)
        .unwrap();
    assert_eq!(&content, b"before");
    let beyond = pages.read(Offset::new(0xffd), &mut content, CopyBy::Foreign);
    assert_eq!(beyond.unwrap_err().errno(), Errno::EFAULT);
    pages.unpin(bytes(0, 0x1000));
    pages.unpin(bytes(0, 0x1000));
    assert_eq!(machine.memory.pinned_pages(), 0);

    let file = machine.file(0x1000, file_range(0, 0x1000), Accounting::Mm);
    assert_eq!(file.pin(bytes(0, 1)).unwrap_err(), PinError::OwnerGone);
}

#[test]
fn copies_take_the_path_that_the_kernel_takes() {
    let machine = Machine::new();
    let buffer = machine.space.allocate(0x3000).unwrap();
    let fresh = machine.space.allocate(0x3000).unwrap();
    machine.space.write(buffer.start(), &[1; 0x3000]).unwrap();
    machine.space.write(fresh.start(), &[2; 0x3000]).unwrap();
    let pages = machine.pages(buffer, Accounting::None);
    pages.pin(bytes(0, 0x2000)).unwrap();
    // Other memory at the same addresses: pinned pages keep the old.
    machine
        .space
        .map_shared(buffer.start(), &machine.space, fresh)
        .unwrap();

    let read = |by, start, len| {
        let mut content = vec![0; len];
        pages
            .read(Offset::new(start), &mut content, by)
            .map(|()| content)
    };
    let own = CopyBy::Caller(&*machine.space);
    assert_eq!(
        read(own, 0, 0x3000).unwrap(),
        [2; 0x3000],
        "the mapping process sees what it has now"
    );
    assert_eq!(
        read(CopyBy::Foreign, 0xff0, 16).unwrap(),
        [2; 16],
        "and so does a short copy by others"
    );
    let mixed = read(CopyBy::Foreign, 0xff0, 0x2010).unwrap();
    assert!(
        mixed[..0x1010].iter().all(|&byte| byte == 1),
        "a long copy uses the pinned pages"
    );
    assert!(
        mixed[0x1010..].iter().all(|&byte| byte == 2),
        "and what is there now for the others"
    );
    let stranger = LocalSpace::new(&machine.memory).unwrap();
    assert_eq!(
        read(CopyBy::Caller(&*stranger), 0xff0, 32).unwrap(),
        [1; 32]
    );

    pages
        .write(Offset::new(0xff0), &[3; 32], CopyBy::Foreign)
        .unwrap();
    assert_eq!(read(CopyBy::Foreign, 0xff0, 32).unwrap(), [3; 32]);
    assert_eq!(read(own, 0xff0, 32).unwrap(), [2; 32]);
    assert_eq!(machine.memory.pinned_pages(), 2, "copies leave no pins");

    machine.space.protect(buffer, Protection::Read);
    assert!(pages.write(Offset::new(0), &[4], own).is_err());
    assert!(pages.write(Offset::new(0), &[4], CopyBy::Foreign).is_err());
    assert!(read(own, 0, 0).unwrap().is_empty());
    assert_eq!(read(own, 0x2fff, 2), Err(PinError::OutOfRange));
}

#[test]
fn file_pages_are_judged_when_they_are_pinned() {
    let machine = Machine::new();
    let odd = machine.file(0x2800, file_range(0x1000, 0x1800), Accounting::User);
    assert_eq!(odd.kind(), PagesKind::File);
    assert!(odd.pin(bytes(0, 0x1000)).is_ok());
    let error = odd.pin(bytes(0, 0x1001)).unwrap_err();
    assert_eq!(error, PinError::BeyondEnd { size: 0x2800 });
    assert_eq!(error.errno(), Errno::EINVAL);
    odd.write(Offset::new(0), b"file", CopyBy::Foreign).unwrap();
    let mut content = [0; 4];
    odd.read(
        Offset::new(0),
        &mut content,
        CopyBy::Caller(&*machine.space),
    )
    .unwrap();
    assert_eq!(&content, b"file");

    let other = MemFile::new(std::fs::File::open("/proc/self/maps").unwrap().into()).unwrap();
    let pages = Pages::from_file(
        &machine.owner(),
        other,
        file_range(0, 1),
        Access::Read,
        Accounting::None,
    );
    let error = pages.pin(bytes(0, 1)).unwrap_err();
    assert_eq!(
        (error.errno(), &error),
        (Errno::EINVAL, &PinError::NotMemory)
    );
}

#[test]
fn a_read_only_file_descriptor_pins_for_writing() {
    let machine = Machine::new();
    let file = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, 0x1000).unwrap();
    let read_only =
        crate::file::reopen(std::os::fd::AsFd::as_fd(&file), rustix::fs::OFlags::RDONLY).unwrap();
    let pages = Pages::from_file(
        &machine.owner(),
        MemFile::new(read_only).unwrap(),
        file_range(0, 0x1000),
        Access::Write,
        Accounting::None,
    );
    let runs = pages.pin(bytes(0, 0x1000)).unwrap();
    machine
        .memory
        .write(runs[0].memory.start(), b"DMA")
        .unwrap();
    let mut content = [0; 3];
    rustix::io::pread(&file, &mut content, 0).unwrap();
    assert_eq!(&content, b"DMA");
}

#[test]
fn ownership_moves_for_all_objects_or_for_none() {
    let machine = Machine::new();
    let next = LocalSpace::new(&machine.memory).unwrap();
    next.set_user(Uid(5));
    let one = machine.file(0x2000, file_range(0, 0x2000), Accounting::User);
    let two = machine.file(0x1000, file_range(0, 0x1000), Accounting::Mm);
    let three = machine.file(0x1000, file_range(0, 0x1000), Accounting::User);
    one.pin(bytes(0, 0x2000)).unwrap();
    two.pin(bytes(0, 0x1000)).unwrap();
    let all = [&one, &two, &one, &three];
    let next_owner: Arc<dyn AddressSpace> = next.clone();

    next.set_memlock_limit(Some(0x1000));
    assert_eq!(
        change_owner(&all, &next_owner).unwrap_err().errno(),
        Errno::ENOMEM
    );
    let accounts = machine.memory.accounts();
    assert_eq!(
        (accounts.charged(Uid(0)), accounts.charged(Uid(5))),
        (0x2000, 0)
    );
    assert_eq!(
        (machine.space.locked().pinned(), next.locked().pinned()),
        (3, 0)
    );

    next.set_memlock_limit(Some(0x2000));
    change_owner(&all, &next_owner).unwrap();
    assert_eq!(
        (accounts.charged(Uid(0)), accounts.charged(Uid(5))),
        (0, 0x2000)
    );
    assert_eq!(
        (machine.space.locked().pinned(), next.locked().pinned()),
        (0, 3)
    );
    assert_eq!(
        (machine.space.locked().locked(), next.locked().locked()),
        (0, 1)
    );
    assert_eq!(one.owner().id(), next.id());
    // Nothing moves when nothing changes, even at the limit.
    change_owner(&all, &next_owner).unwrap();
    drop((one, two, three));
    assert_eq!((next.locked().pinned(), accounts.charged(Uid(5))), (0, 0));
    assert_eq!(change_owner(&[], &next_owner), Ok(()));
}

#[test]
fn concurrent_users_leave_nothing_behind() {
    let machine = Machine::new();
    let buffer = machine.space.allocate(64 * 4096).unwrap();
    let objects = [
        machine.pages(buffer, Accounting::User),
        machine.pages(buffer, Accounting::Mm),
    ];
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let objects = &objects;
            scope.spawn(move || {
                for round in 0..300_u64 {
                    let start = (thread * 7 + round * 3) % 60;
                    let range = bytes(start * 4096, 4 * 4096);
                    let pages = &objects[(round % 2) as usize];
                    let runs = pages.pin(range).unwrap();
                    assert_eq!(pages.runs(range).unwrap(), runs);
                    pages.unpin(range);
                }
            });
        }
    });
    assert_eq!(machine.memory.pinned_pages(), 0);
    assert_eq!(machine.memory.accounts().charged(Uid(0)), 0);
    assert_eq!(machine.space.locked().pinned(), 0);
    assert_eq!(machine.space.locked().locked(), 0);
}

#[test]
fn windows_are_never_closed_under_a_pin() {
    let machine = Machine::new();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                machine.memory.close_idle();
            }
        });
        for n in 0..200_u64 {
            let pages = machine.file(0x2000, file_range(0, 0x2000), Accounting::User);
            let runs = pages.pin(bytes(0, 0x2000)).unwrap();
            let start = runs[0].memory.start();
            machine.memory.write(start, &n.to_le_bytes()).unwrap();
            let mut seen = [0; 8];
            pages
                .read(Offset::new(0), &mut seen, CopyBy::Foreign)
                .unwrap();
            assert_eq!(seen, n.to_le_bytes());
            assert!(machine.memory.slice(runs[0].memory).is_some());
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(machine.memory.pinned_pages(), 0);
}

const PAGES: usize = 24;

#[derive(Clone, Debug)]
enum Step {
    Pin(usize, u64, u64),
    Unpin(usize, usize),
    Unmap(usize),
    Remap(usize),
    Limit(Option<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    let len = PAGES as u64 * 4096 - 0x1000;
    prop_oneof![
        6 => (0..2_usize, 0..len, 1..=len).prop_map(move |(object, start, size)| {
            let size = (size % (len - start) + 1).min(if start % 3 == 0 { 0x6000 } else { len });
            Step::Pin(object, start, size)
        }),
        5 => (0..2_usize, any::<usize>()).prop_map(|(object, which)| Step::Unpin(object, which)),
        1 => (0..PAGES).prop_map(Step::Unmap),
        1 => (0..PAGES).prop_map(Step::Remap),
        1 => prop_oneof![Just(None), (0..40_u64).prop_map(Some)].prop_map(Step::Limit),
    ]
}

/// One pages object as an array of pages, in the simplest way.
#[derive(Default)]
struct Naive {
    /// Users and address of each page of the buffer.
    held: [Option<(u32, Pa)>; PAGES],
    pins: Vec<(u64, u64)>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Two objects over the same buffer: the first starts in the middle of page 0, the second at page 1.
    #[test]
    fn pages_behave_as_arrays_of_pages(steps in vec(step(), 1..60)) {
        let machine = Machine::new();
        let buffer = machine.space.allocate(PAGES as u64 * 4096).unwrap();
        let page = |n: usize| part(buffer, n as u64 * 4096, 4096);
        let starts = [0x800_u64, 0x1000];
        let len = PAGES as u64 * 4096 - 0x1000;
        let objects = starts.map(|start| machine.pages(part(buffer, start, len), Accounting::User));
        let mut naive = [Naive::default(), Naive::default()];
        let place = |n: usize| machine.space.resolve(page(n), Access::Write).ok().map(|runs| runs[0].memory.start());
        let mut places: Vec<Option<Pa>> = (0..PAGES).map(place).collect();
        let mut limit = None::<u64>;

        for step in steps {
            match step {
                Step::Pin(object, start, size) => {
                    let touched = touched(starts[object] + start, size);
                    let model = &naive[object];
                    let new: Vec<usize> = touched.clone().filter(|&n| model.held[n].is_none()).collect();
                    let charged: u64 = naive.iter().map(|model| model.held.iter().flatten().count() as u64).sum();
                    let mapped = new.iter().all(|&n| places[n].is_some());
                    let affordable = new.is_empty() || limit.is_none_or(|limit| charged + new.len() as u64 <= limit);
                    let result = objects[object].pin(bytes(start, size));
                    match (mapped, affordable) {
                        (true, true) => {
                            let runs = result.unwrap();
                            let model = &mut naive[object];
                            for n in touched.clone() {
                                let known = model.held[n].unwrap_or_else(|| (0, places[n].unwrap()));
                                model.held[n] = Some((known.0 + 1, known.1));
                            }
                            model.pins.push((start, size));
                            let expected = model.addresses(starts[object] + start, size);
                            let seen: Vec<Pa> = runs.iter().flat_map(|run| page_addresses(run.memory)).collect();
                            prop_assert_eq!(seen, expected);
                            let total: u64 = runs.iter().map(|run| run.memory.len().unwrap()).sum();
                            prop_assert_eq!(total, size);
                        }
                        (false, _) => prop_assert_eq!(result.unwrap_err().errno(), Errno::EFAULT),
                        (true, false) => prop_assert_eq!(result.unwrap_err().errno(), Errno::ENOMEM),
                    }
                }
                Step::Unpin(object, which) => {
                    let model = &mut naive[object];
                    if !model.pins.is_empty() {
                        let (start, size) = model.pins.swap_remove(which % model.pins.len());
                        objects[object].unpin(bytes(start, size));
                        for n in touched(starts[object] + start, size) {
                            let (users, pa) = model.held[n].unwrap();
                            model.held[n] = (users > 1).then_some((users - 1, pa));
                        }
                    }
                }
                Step::Unmap(n) => {
                    machine.space.unmap(page(n));
                    places[n] = None;
                }
                Step::Remap(n) => {
                    let other = machine.space.allocate(4096).unwrap();
                    machine.space.map_shared(page(n).start(), &machine.space, other).unwrap();
                    places[n] = place(n);
                }
                Step::Limit(pages) => {
                    limit = pages;
                    machine.space.set_memlock_limit(pages.map(|pages| pages * 4096));
                }
            }
            let mut charged = 0;
            for (model, object) in naive.iter().zip(&objects) {
                let held = model.held.iter().flatten().count() as u64;
                prop_assert_eq!(object.pinned(), held);
                charged += held;
            }
            prop_assert_eq!(machine.memory.accounts().charged(Uid(0)), charged * 4096);
            prop_assert_eq!(machine.memory.pinned_pages(), charged);
            for (_, pa) in naive.iter().flat_map(|model| model.held.iter().flatten()) {
                let pinned_by = naive.iter().filter(|model| model.held.iter().flatten().any(|held| held.1 == *pa));
                let count = machine.memory.pin_counts(PaRange::from_len(*pa, 4096).unwrap());
                prop_assert_eq!(count.len(), 1);
                prop_assert_eq!(count[0].objects as usize, pinned_by.count());
            }
        }
        drop(objects);
        prop_assert_eq!(machine.memory.pinned_pages(), 0);
    }
}

/// The pages that bytes of the buffer touch.
fn touched(start: u64, size: u64) -> RangeInclusive<usize> {
    (start / 4096) as usize..=((start + size - 1) / 4096) as usize
}

/// The physical addresses of the first byte in each page of a range.
fn page_addresses(memory: PaRange) -> Vec<Pa> {
    let (first, last) = (memory.start().get(), memory.last().get());
    let pages = (first / 4096 + 1..=last / 4096).map(|page| Pa::new(page * 4096));
    std::iter::once(memory.start()).chain(pages).collect()
}

impl Naive {
    /// The same, of bytes of the buffer.
    fn addresses(&self, start: u64, size: u64) -> Vec<Pa> {
        let pages = touched(start, size).map(|n| self.held[n].unwrap().1);
        let mut addresses: Vec<Pa> = pages.collect();
        addresses[0] = Pa::new(addresses[0].get() + start % 4096);
        addresses
    }
}

/// Every area has one of these, and mostly nothing else beside its place in the IOAS: a pages object with its reference
/// counts is 88 bytes, what a chunk of 96 holds.
#[test]
fn an_object_is_small() {
    assert_eq!(size_of::<Held>(), 16);
    assert_eq!(size_of::<Pages>(), 72);
}
