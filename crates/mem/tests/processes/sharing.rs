//! The same memory has the same physical addresses, whoever maps it and however it is reached.

use std::os::fd::AsFd;

use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::mm::MapFlags;
use swiommu_addr::{Address, PageSize};
use swiommu_mem::{
    Access, Accounting, AddressSpace, FileId, FileOffset, FileRange, MemFile, Pages,
};

use crate::area::Area;
use crate::child::Child;
use crate::{Machine, memory_of, pinned, whole};

fn memfd(len: u64) -> std::os::fd::OwnedFd {
    let file = memfd_create("shared", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, len).unwrap();
    file
}

#[test]
fn anonymous_shared_memory_is_the_same_in_all_processes() {
    let _alone = crate::alone();
    let area = Area::shared(0x4000);
    let (one, other) = (
        Child::idle(),
        Child::spawn(|line| {
            area.write(0x1000, b"from a child");
            line.tell();
        }),
    );
    other.line().wait();
    let machine = Machine::new();
    let (first, second) = (machine.process(&one), machine.process(&other));
    assert_ne!(first.id(), second.id());
    let memory = memory_of(&*first, area.range());
    assert_eq!(memory_of(&*second, area.range()), memory);
    let part = memory_of(&*second, area.part(0x1000, 0x1000));
    assert_eq!(part.start().get() - memory.start().get(), 0x1000);
    assert_eq!(&machine.bytes::<12>(part), b"from a child");
    machine.memory.write(part.start(), b"DMA").unwrap();
    assert_eq!(&area.read::<3>(0x1000), b"DMA");
}

#[test]
fn private_memory_is_another_in_each_process() {
    let _alone = crate::alone();
    let area = Area::private(0x8000);
    area.write(0x5000, b"same");
    let one = Child::spawn(|line| {
        area.write(0x5000, b"mine");
        line.tell();
    });
    let other = Child::idle();
    one.line().wait();
    let machine = Machine::new();
    let (first, second) = (machine.process(&one), machine.process(&other));
    let memory = memory_of(&*first, area.range());
    assert!(!memory_of(&*second, area.range()).overlaps(memory));
    // Large leaves need equal offsets; so does hugetlb memory.
    let page = PageSize::SIZE_1G;
    assert_eq!(
        memory.start().offset_in(page),
        area.range().start().offset_in(page)
    );
    let part = memory_of(&*first, area.part(0x5000, 0x1000));
    assert_eq!(part.start().get() - memory.start().get(), 0x5000);
    assert_eq!(&machine.bytes::<4>(part), b"mine");
    assert_eq!(
        &machine.bytes::<4>(memory_of(&*second, area.part(0x5000, 0x1000))),
        b"same"
    );
    machine.memory.write(part.start(), b"DMA!").unwrap();
    let mut seen = [0; 4];
    first.read(area.part(0x5000, 1).start(), &mut seen).unwrap();
    assert_eq!(&seen, b"DMA!");
    assert!(machine.memory.slice(memory).is_none());
}

#[test]
fn a_private_copy_of_shared_memory_is_private() {
    let _alone = crate::alone();
    let file = memfd(0x2000);
    let area = Area::of_file(file.as_fd(), 0x2000, 0, MapFlags::PRIVATE);
    let child = Child::spawn(|line| {
        area.write(0, b"copied on write");
        line.tell();
    });
    child.line().wait();
    let machine = Machine::new();
    let process = machine.process(&child);
    let memory = memory_of(&*process, area.range());
    assert_eq!(&machine.bytes::<6>(memory), b"copied");
    machine.memory.write(memory.start(), b"DMA").unwrap();
    let mut in_file = [1; 3];
    rustix::io::pread(&file, &mut in_file, 0).unwrap();
    assert_eq!(in_file, [0; 3]);
}

#[test]
fn a_memfd_is_mapped_here_and_the_same_by_address_and_by_file() {
    let _alone = crate::alone();
    let file = memfd(0x6000);
    // Mapped from page 2 on, so addresses and file offsets differ.
    let area = Area::of_file(file.as_fd(), 0x4000, 0x2000, MapFlags::SHARED);
    let child = Child::idle();
    let machine = Machine::new();
    let process = machine.process(&child);
    let by_address = memory_of(&*process, area.part(0x1000, 0x2000));
    assert!(
        machine.memory.slice(by_address).is_some(),
        "reached without system calls"
    );

    let owner: std::sync::Arc<dyn AddressSpace> = process;
    let pages = Pages::from_file(
        &owner,
        MemFile::new(file.as_fd().try_clone_to_owned().unwrap()).unwrap(),
        FileRange::from_len(FileOffset::new(0x3000), 0x2000).unwrap(),
        Access::Write,
        Accounting::None,
    );
    let by_file = pages.pin(whole(&pages)).unwrap();
    assert_eq!(by_file[0].memory, by_address);
    machine.memory.write(by_address.start(), b"DMA").unwrap();
    assert_eq!(&area.read::<3>(0x1000), b"DMA");
}

#[test]
fn memory_that_must_not_be_opened_is_reached_through_its_processes() {
    let _alone = crate::alone();
    let file = memfd(0x3000);
    let id = FileId::from(&fstat(&file).unwrap());
    let area = Area::of_file(file.as_fd(), 0x3000, 0, MapFlags::SHARED);
    let child = Child::idle();
    let machine = Machine::new();
    machine.memory.leave_closed(id);
    let memory = memory_of(&*machine.process(&child), area.range());
    assert!(machine.memory.slice(memory).is_none());
    area.write(0xffe, b"across");
    let mut seen = [0; 6];
    let at = swiommu_addr::Pa::new(memory.start().get() + 0xffe);
    machine.memory.read(at, &mut seen).unwrap();
    assert_eq!(&seen, b"across");
    machine.memory.write(at, b"ACROSS").unwrap();
    assert_eq!(&area.read::<6>(0xffe), b"ACROSS");
}

#[test]
fn another_process_takes_over_when_the_mapper_has_exited() {
    let _alone = crate::alone();
    for closed in [false, true] {
        let area = Area::shared(0x2000);
        let mut mapper = Child::idle();
        let other = Child::idle();
        let machine = Machine::new();
        let process = machine.process(&mapper);
        if closed {
            // Reached by system calls only, as anonymous shared memory is for an unprivileged user.
            machine.memory.leave_closed(file_of(&mapper, &area));
        }
        let (pages, memory) = pinned(&process, area.range());
        area.write(0, b"alive");
        mapper.kill();
        machine.processes.exited(mapper.pid());
        assert!(!process.is_alive());
        assert_eq!(&machine.bytes::<5>(memory), b"alive");
        area.write(0, b"later");
        assert_eq!(&machine.bytes::<5>(memory), b"later");
        machine.memory.write(memory.start(), b"DMA").unwrap();
        assert_eq!(&area.read::<3>(0), b"DMA");
        // The other child has never made a call, and is found all the same.
        assert_eq!(memory_of(&*machine.process(&other), area.range()), memory);
        drop(pages);
        assert_eq!(machine.memory.pinned_pages(), 0);
    }
}

#[test]
fn an_address_that_means_something_else_by_now_is_not_used() {
    let _alone = crate::alone();
    let file = memfd(0x1000);
    let id = FileId::from(&fstat(&file).unwrap());
    let map = || Area::of_file(file.as_fd(), 0x1000, 0, MapFlags::SHARED);
    let (first, second) = (map(), map());
    let child = Child::spawn(|line| {
        line.wait();
        first.replace(0, 0x1000);
        line.tell();
    });
    let machine = Machine::new();
    machine.memory.leave_closed(id);
    let process = machine.process(&child);
    let (_pages, memory) = pinned(&process, first.range());
    machine.memory.write(memory.start(), b"old").unwrap();
    child.line().tell();
    child.line().wait();
    machine.memory.write(memory.start(), b"new").unwrap();
    assert_eq!(&second.read::<3>(0), b"new");
    let mut seen = [1; 3];
    process.read(first.range().start(), &mut seen).unwrap();
    assert_eq!(seen, [0; 3], "what the process has mapped there since");
}

/// Which file the kernel keeps an area of anonymous shared memory in.
pub(crate) fn file_of(child: &Child, area: &Area) -> FileId {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.pid())).unwrap();
    let start = format!("{:x}-", area.range().start().get());
    let line = maps.lines().find(|line| line.starts_with(&start)).unwrap();
    let inode = line.split_whitespace().nth(4).unwrap().parse().unwrap();
    let memfd = memfd(0);
    FileId {
        device: fstat(&memfd).unwrap().st_dev,
        inode,
    }
}

#[test]
fn contiguous_areas_are_contiguous_memory() {
    let _alone = crate::alone();
    let area = Area::private(0x6000);
    // Two areas for the kernel, because their protections differ.
    area.protect(0x2000, 0x2000, rustix::mm::MprotectFlags::READ);
    let child = Child::idle();
    let machine = Machine::new();
    let process = machine.process(&child);
    let runs = process.resolve(area.range(), Access::Read).unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
}

#[test]
fn processes_that_share_all_memory_are_one_space_until_one_executes() {
    let _alone = crate::alone();
    let control = Area::shared(0x1000);
    let go = Area::shared(0x1000);
    let stack = Area::private(0x10000);
    let mut child = Child::spawn(|line| {
        let sibling = crate::child::share_memory(&stack, &go);
        control.write(0, &sibling.to_ne_bytes());
        line.tell();
    });
    child.line().wait();
    let sibling = i32::from_ne_bytes(control.read(0));
    assert!(sibling > 0);
    let machine = Machine::new();
    let shared = machine.process(&child);
    let get = |pid| machine.processes.get(pid).unwrap();
    assert_eq!(get(sibling).id(), shared.id());
    assert_eq!(machine.processes.live().len(), 1);
    let (_pages, memory) = pinned(&shared, stack.part(0, 0x1000));

    // An exec that does not happen changes nothing.
    machine.processes.execing(sibling);
    assert_eq!(get(sibling).id(), shared.id());
    machine.processes.execing(sibling);
    go.write(0, &[1]);
    let mut after = get(sibling);
    for _ in 0..2000 {
        if after.id() != shared.id() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
        after = get(sibling);
    }
    assert_ne!(after.id(), shared.id());
    assert_eq!(
        get(child.pid()).id(),
        shared.id(),
        "the other one has not executed"
    );
    machine.memory.write(memory.start(), b"DMA").unwrap();
    let mut seen = [0; 3];
    shared.read(stack.range().start(), &mut seen).unwrap();
    assert_eq!(&seen, b"DMA");
    child.kill();
    assert!(!shared.is_alive());
}
