//! Exit and exec.

use swiommu_abi::Errno;
use swiommu_mem::{Access, Accounting, AddressSpace, CopyBy, Fault, Offset, Pages};

use crate::area::Area;
use crate::child::{self, Child};
use crate::{Machine, pinned, whole};

#[test]
fn a_process_that_exits_is_gone_at_once() {
    let _alone = crate::alone();
    let area = Area::shared(0x2000);
    let mut child = Child::idle();
    let machine = Machine::new();
    let process = machine.process(&child);
    assert!(process.is_alive());
    let owner: std::sync::Arc<dyn AddressSpace> = process.clone();
    let pages = Pages::from_space(&owner, area.range(), Access::Write, Accounting::None);
    child.kill();
    assert!(!process.is_alive());
    // Our own mapping of the same memory is no help to what was never pinned.
    let error = pages.pin(whole(&pages)).unwrap_err();
    assert_eq!(error.errno(), Errno::EFAULT);
    assert_eq!(
        process.resolve(area.range(), Access::Read),
        Err(Fault::Gone)
    );
    assert_eq!(
        process.read(area.range().start(), &mut [0]),
        Err(Fault::Gone)
    );
    let copied = pages.read(Offset::new(0), &mut [0; 4], CopyBy::Foreign);
    assert_eq!(copied.unwrap_err().errno(), Errno::EFAULT);
    assert!(machine.processes.get(child.pid()).is_err());
    assert!(machine.processes.live().is_empty());
}

#[test]
fn pinned_private_memory_outlives_an_announced_exit() {
    let _alone = crate::alone();
    let area = Area::private(0x3000);
    let mut child = Child::spawn(|line| {
        area.write(0x1000, b"first");
        line.tell();
        line.wait();
        area.write(0x1000, b"other");
        line.tell();
        line.wait();
        child::exit();
    });
    child.line().wait();
    let machine = Machine::new();
    let (pages, memory) = pinned(&machine.process(&child), area.part(0x1000, 0x1000));
    machine.processes.exiting(child.pid());
    // It still lives, so its memory is what counts.
    child.line().tell();
    child.line().wait();
    assert_eq!(&machine.bytes::<5>(memory), b"other");
    machine.processes.exiting(child.pid());
    child.line().tell();
    child.join();
    machine.processes.exited(child.pid());
    assert_eq!(&machine.bytes::<5>(memory), b"other");
    machine.memory.write(memory.start(), b"DMA").unwrap();
    assert_eq!(&machine.bytes::<5>(memory), b"DMAer");
    drop(pages);
    assert!(machine.memory.read(memory.start(), &mut [0]).is_err());
    assert!(
        machine.memory.take_findings().is_empty(),
        "an exit is no mistake"
    );
}

#[test]
fn private_memory_is_gone_with_a_process_that_was_killed() {
    let _alone = crate::alone();
    let area = Area::private(0x1000);
    let mut child = Child::idle();
    let machine = Machine::new();
    let (pages, memory) = pinned(&machine.process(&child), area.range());
    child.kill();
    assert!(machine.memory.read(memory.start(), &mut [0]).is_err());
    drop(pages);
    assert_eq!(machine.memory.pinned_pages(), 0);
}

#[test]
fn an_exec_makes_another_space_and_a_failed_one_does_not() {
    let _alone = crate::alone();
    let area = Area::private(0x1000);
    let child = Child::spawn(|line| {
        area.write(0, b"old program");
        line.tell();
        line.wait();
        child::exec(c"/nonexistent");
        line.tell();
        line.wait();
        child::exec(c"/bin/sleep");
    });
    child.line().wait();
    let machine = Machine::new();
    let before = machine.process(&child);
    let (_pages, memory) = pinned(&before, area.range());

    machine.processes.execing(child.pid());
    child.line().tell();
    child.line().wait();
    assert_eq!(machine.process(&child).id(), before.id());
    assert_eq!(&machine.bytes::<11>(memory), b"old program");

    machine.processes.execing(child.pid());
    child.line().tell();
    // The old memory ends with the exec; until then the answer is the old one.
    let mut after = machine.process(&child);
    for _ in 0..2000 {
        if after.id() != before.id() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
        after = machine.process(&child);
    }
    assert_ne!(after.id(), before.id());
    assert!(after.is_alive() && !before.is_alive());
    assert_eq!(&machine.bytes::<11>(memory), b"old program");
}
