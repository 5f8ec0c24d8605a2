//! A file is truncated while devices access it.

use std::os::fd::AsFd;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::MapFlags;
use swiommu_addr::{Pa, PaRange};
use swiommu_mem::{Finding, install_sigbus_handler};

use crate::area::Area;
use crate::child::Child;
use crate::{Machine, memory_of, pinned};

#[test]
fn a_truncated_file_is_survived_and_comes_back_when_it_grows() {
    let _alone = crate::alone();
    install_sigbus_handler().unwrap();
    install_sigbus_handler().unwrap();
    let file = memfd_create("truncated", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, 0x4000).unwrap();
    let area = Area::of_file(file.as_fd(), 0x4000, 0, MapFlags::SHARED);
    area.write(0, b"kept");
    area.write(0x3000, b"lost");
    let child = Child::idle();
    let machine = Machine::new();
    let process = machine.process(&child);
    let (pages, memory) = pinned(&process, area.range());
    assert!(machine.memory.slice(memory).is_some());
    let last = PaRange::from_len(Pa::new(memory.start().get() + 0x3000), 0x1000).unwrap();

    ftruncate(&file, 0x2000).unwrap();
    assert_eq!(machine.bytes::<4>(last), [0; 4]);
    assert_eq!(
        machine.memory.take_findings(),
        [Finding::Truncated { memory: last }]
    );
    // The device goes on with its page, long copies with the string instructions too.
    machine.memory.write(last.start(), &[7; 0x1000]).unwrap();
    let seen = machine.bytes::<0x1000>(last);
    assert!(seen.iter().all(|&byte| byte == 7));
    assert_eq!(machine.bytes::<0x3000>(memory)[..4], *b"kept");
    assert_eq!(machine.memory.take_findings().len(), 1, "the page between");

    // While it is pinned it stays the device's page; afterwards the file's is found again.
    ftruncate(&file, 0x4000).unwrap();
    area.write(0x3000, b"back");
    assert_eq!(memory_of(&*process, area.range()), memory);
    assert_eq!(machine.bytes::<1>(last), [7]);
    drop(pages);
    assert_eq!(memory_of(&*process, area.range()), memory);
    assert_eq!(&machine.bytes::<4>(last), b"back");
    machine.memory.write(last.start(), b"DMA").unwrap();
    assert_eq!(&area.read::<4>(0x3000), b"DMAk");
    assert!(machine.memory.take_findings().is_empty());
}
