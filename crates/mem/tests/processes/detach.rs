//! A process gives memory back that is pinned.

use std::sync::atomic::{AtomicUsize, Ordering};

use swiommu_addr::{HvaRange, Pa};
use swiommu_mem::{
    Access, AddressSpace, Config, Content, DetachCause, Finding, PhysicalMemory, Processes,
};

use crate::area::Area;
use crate::child::Child;
use crate::{Machine, memory_of, pinned};

/// A child that replaces the middle page of an area when told to.
fn replacing(area: &Area) -> Child {
    let child = Child::spawn(|line| {
        area.write(0x1000, b"old page");
        line.tell();
        line.wait();
        area.replace(0x1000, 0x1000);
        area.write(0x1000, b"new page");
        line.tell();
    });
    child.line().wait();
    child
}

#[test]
fn dma_goes_on_to_the_old_page() {
    let _alone = crate::alone();
    let area = Area::private(0x3000);
    let child = replacing(&area);
    let machine = Machine::new();
    let process = machine.process(&child);
    let middle = area.part(0x1000, 0x1000);
    let (pages, memory) = pinned(&process, area.range());
    let old = memory_of(&*process, middle);

    process.detach(middle, DetachCause::MapFixed);
    child.line().tell();
    child.line().wait();
    assert_eq!(&machine.bytes::<8>(old), b"old page");
    machine.memory.write(old.start(), b"DMA").unwrap();
    assert_eq!(&machine.bytes::<8>(old), b"DMA page");
    let mut seen = [0; 8];
    process.read(middle.start(), &mut seen).unwrap();
    assert_eq!(&seen, b"new page", "the new page is not the device's");

    // What the process has there now is other memory; its neighbours are what they were.
    let new = memory_of(&*process, middle);
    assert_ne!(new, old);
    assert_eq!(
        new.start().get() & 0x3fff_ffff,
        old.start().get() & 0x3fff_ffff
    );
    assert_eq!(&machine.bytes::<8>(new), b"new page");
    assert_eq!(
        memory_of(&*process, area.part(0, 0x1000)).start(),
        memory.start()
    );
    assert_eq!(
        process.resolve(area.range(), Access::Read).unwrap().len(),
        3
    );

    let findings = machine.memory.take_findings();
    let expected = Finding::Detached {
        space: process.id(),
        hva: middle,
        memory: old,
        cause: DetachCause::MapFixed,
        content: Content::Kept,
    };
    assert_eq!(findings, [expected]);

    // A second generation is pinned and given back as well.
    let (again, second) = pinned(&process, middle);
    assert_eq!(second, new);
    process.detach(area.range(), DetachCause::Munmap);
    assert_eq!(&machine.bytes::<8>(new), b"new page");
    assert_eq!(&machine.bytes::<8>(old), b"DMA page");
    assert_eq!(
        machine.memory.take_findings().len(),
        3,
        "the page and its two neighbours"
    );

    drop((pages, again));
    assert_eq!(machine.memory.pinned_pages(), 0);
    assert_eq!(
        memory_of(&*process, middle),
        old,
        "the address is free again"
    );
    assert_eq!(&machine.bytes::<8>(old), b"new page");
}

#[test]
fn what_is_not_pinned_is_not_kept() {
    let _alone = crate::alone();
    let area = Area::private(0x3000);
    let child = replacing(&area);
    let machine = Machine::new();
    let process = machine.process(&child);
    let middle = area.part(0x1000, 0x1000);
    let before = memory_of(&*process, middle);
    let (_pages, _) = pinned(&process, area.part(0, 0x1000));
    process.detach(middle, DetachCause::Munmap);
    child.line().tell();
    child.line().wait();
    assert_eq!(memory_of(&*process, middle), before);
    assert_eq!(&machine.bytes::<8>(before), b"new page");
    assert!(machine.memory.take_findings().is_empty());
}

#[test]
fn the_last_mapping_of_shared_memory_is_kept_and_others_need_not_be() {
    let _alone = crate::alone();
    for with_other in [false, true] {
        let area = Area::shared(0x2000);
        let child = Child::spawn(|line| {
            line.wait();
            area.unmap(0, 0x2000);
            line.tell();
        });
        let machine = Machine::new();
        let process = machine.process(&child);
        let id = crate::sharing::file_of(&child, &area);
        machine.memory.leave_closed(id);
        let (_pages, memory) = pinned(&process, area.range());
        area.write(0, b"shared");
        let other = with_other.then(Child::idle);
        drop(area);
        process.detach(HvaRange::full(), DetachCause::Munmap);
        child.line().tell();
        child.line().wait();
        assert_eq!(&machine.bytes::<6>(memory), b"shared");
        let findings = machine.memory.take_findings();
        assert_eq!(findings.len(), usize::from(!with_other), "{findings:?}");
        drop(other);
    }
}

#[test]
fn madvise_takes_private_memory_only() {
    let _alone = crate::alone();
    let area = Area::shared(0x1000);
    let child = Child::idle();
    let machine = Machine::new();
    let process = machine.process(&child);
    machine
        .memory
        .leave_closed(crate::sharing::file_of(&child, &area));
    let (_pages, _) = pinned(&process, area.range());
    let range = area.range();
    drop(area);
    process.detach(range, DetachCause::Madvise);
    assert!(machine.memory.take_findings().is_empty());
    process.detach(range, DetachCause::Munmap);
    assert_eq!(machine.memory.take_findings().len(), 1);
}

#[test]
fn too_much_content_is_lost_but_never_replaced_by_strangers() {
    let _alone = crate::alone();
    let area = Area::private(0x3000);
    let child = replacing(&area);
    let memory = PhysicalMemory::new(Config {
        kept: 0x800,
        ..Config::default()
    });
    let memory = memory.unwrap();
    let processes = Processes::new(&memory);
    let machine = Machine { memory, processes };
    let process = machine.process(&child);
    let middle = area.part(0x1000, 0x1000);
    let (_pages, old) = pinned(&process, middle);
    process.detach(middle, DetachCause::Munmap);
    child.line().tell();
    child.line().wait();
    assert_eq!(machine.bytes::<8>(old), [0; 8]);
    let findings = machine.memory.take_findings();
    assert!(matches!(
        findings[..],
        [Finding::Detached {
            content: Content::Lost,
            ..
        }]
    ));
    assert!(processes_are_quiet(&machine));
}

#[test]
fn dma_in_flight_is_neither_lost_nor_in_the_new_pages() {
    const LEN: usize = 0x10000;
    let _alone = crate::alone();
    let area = Area::private(LEN);
    let child = Child::spawn(|line| {
        loop {
            line.tell();
            line.wait();
            area.replace(0, LEN);
        }
    });
    let machine = Machine::new();
    child.line().wait();
    let process = machine.process(&child);
    for _ in 0..10 {
        let (_pages, memory) = pinned(&process, area.range());
        let number = |n: usize| (n as u64 + 1).to_le_bytes();
        let at = |n: usize| Pa::new(memory.start().get() + n as u64 * 8);
        let written = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..LEN / 8 {
                    machine.memory.write(at(n), &number(n)).unwrap();
                    written.store(n, Ordering::Relaxed);
                }
            });
            while written.load(Ordering::Relaxed) < LEN / 32 {
                std::thread::yield_now();
            }
            process.detach(area.range(), DetachCause::MapFixed);
            child.line().tell();
            child.line().wait();
        });
        let old = machine.bytes::<LEN>(memory);
        let lost = (0..LEN / 8).find(|&n| old[n * 8..n * 8 + 8] != number(n));
        assert_eq!(lost, None, "a write that was lost");
        let mut new = vec![1; LEN];
        process.read(area.range().start(), &mut new).unwrap();
        assert!(new.iter().all(|&byte| byte == 0), "a write to a new page");
    }
}

#[test]
fn a_long_write_over_a_page_that_goes_is_whole() {
    let _alone = crate::alone();
    let area = Area::private(0x4000);
    let child = Child::spawn(|line| {
        loop {
            line.tell();
            line.wait();
            area.replace(0x2000, 0x1000);
        }
    });
    let machine = Machine::new();
    child.line().wait();
    let process = machine.process(&child);
    for _ in 0..100 {
        let (_pages, memory) = pinned(&process, area.range());
        let parts = process.resolve(area.range(), Access::Read).unwrap();
        let stop = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..=u8::MAX {
                    machine.memory.write(memory.start(), &[n; 0x4000]).unwrap();
                    if stop.fetch_or(2, Ordering::Relaxed) & 1 != 0 {
                        break;
                    }
                }
            });
            while stop.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            stop.fetch_or(1, Ordering::Relaxed);
            process.detach(area.part(0x2000, 0x1000), DetachCause::Munmap);
        });
        child.line().tell();
        child.line().wait();
        assert_eq!(parts.len(), 1);
        let written = machine.bytes::<0x4000>(memory);
        let mixed = written.iter().find(|&&byte| byte != written[0]);
        assert_eq!(mixed, None, "the end of a write, of {}", written[0]);
    }
}

fn processes_are_quiet(machine: &Machine) -> bool {
    machine.processes.live().len() == 1
}
