//! What may be pinned, and what process memory says about itself.

use std::os::fd::AsFd;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, MprotectFlags};
use rustix::process::{Resource, getrlimit, getuid};
use swiommu_addr::{Hva, HvaRange, PageSize};
use swiommu_mem::{
    Access, Accounting, AddressSpace, Fault, FileKind, FileOffset, FileRange, MemFile, Pages, Uid,
};

use crate::area::Area;
use crate::child::Child;
use crate::{Machine, whole};

#[test]
fn only_mapped_and_allowed_memory_is_found() {
    let _alone = crate::alone();
    let area = Area::private(0x5000);
    area.protect(0x1000, 0x1000, MprotectFlags::READ);
    area.protect(0x2000, 0x1000, MprotectFlags::empty());
    let child = Child::spawn(|line| {
        area.unmap(0x4000, 0x1000);
        line.tell();
    });
    child.line().wait();
    let machine = Machine::new();
    let process = machine.process(&child);
    let page = |n: usize| area.part(n * 0x1000, 0x1000);
    let denied = |n: usize, access| {
        let at = page(n).start();
        Err(Fault::Denied { at, access })
    };
    assert!(process.resolve(page(0), Access::Write).is_ok());
    assert!(process.resolve(page(1), Access::Read).is_ok());
    assert_eq!(
        process.resolve(page(1), Access::Write),
        denied(1, Access::Write)
    );
    assert_eq!(
        process.resolve(page(2), Access::Read),
        denied(2, Access::Read)
    );
    assert_eq!(
        process.resolve(area.part(0, 0x2000), Access::Write),
        denied(1, Access::Write)
    );
    let unmapped = Err(Fault::Unmapped(page(4).start()));
    assert_eq!(process.resolve(page(4), Access::Read), unmapped);
    assert_eq!(
        process.resolve(area.part(0x3000, 0x2000), Access::Write),
        unmapped
    );
    let top = HvaRange::new(Hva::new(!0xfff), Hva::new(u64::MAX)).unwrap();
    assert!(matches!(
        process.resolve(top, Access::Read),
        Err(Fault::Unmapped(_) | Fault::Special { .. })
    ));

    let mut bytes = [0; 0x2000];
    assert_eq!(
        process.read(page(4).start(), &mut bytes[..1]),
        Err(Fault::Unmapped(page(4).start()))
    );
    assert_eq!(
        process.write(page(1).start(), &[1]).map_err(|_| ()),
        Err(())
    );
    assert_eq!(
        process.read(page(3).start(), &mut bytes),
        Err(Fault::Unmapped(page(4).start()))
    );
    assert_eq!(process.read(page(0).start(), &mut bytes), Ok(()));
}

#[test]
fn beyond_the_end_of_a_file_is_a_fault_though_it_is_mapped() {
    let _alone = crate::alone();
    for flags in [MapFlags::SHARED, MapFlags::PRIVATE] {
        let file = memfd_create("short", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, 0x1800).unwrap();
        let area = Area::of_file(file.as_fd(), 0x3000, 0, flags);
        let child = Child::idle();
        let machine = Machine::new();
        let process = machine.process(&child);
        assert!(process.resolve(area.part(0, 0x2000), Access::Write).is_ok());
        let error = process.resolve(area.range(), Access::Write).unwrap_err();
        assert!(
            matches!(error, Fault::Special { at, .. } if at == area.part(0x2000, 1).start()),
            "{error}"
        );
    }
}

#[test]
fn a_file_on_disk_is_pinned_for_reading_only_when_it_is_shared() {
    let _alone = crate::alone();
    let Ok(file) = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")) else {
        println!("skipped: the target directory cannot be written");
        return;
    };
    file.set_len(0x2000).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"on disk", 0).unwrap();
    if MemFile::new(file.try_clone().unwrap().into())
        .unwrap()
        .kind()
        != FileKind::Other
    {
        println!("skipped: the target directory is memory");
        return;
    }
    let shared = Area::of_file(file.as_fd(), 0x2000, 0, MapFlags::SHARED);
    let private = Area::of_file(file.as_fd(), 0x2000, 0, MapFlags::PRIVATE);
    let child = Child::idle();
    let machine = Machine::new();
    let process = machine.process(&child);
    let error = process.resolve(shared.range(), Access::Write).unwrap_err();
    assert!(matches!(error, Fault::Special { .. }), "{error}");
    let runs = process.resolve(shared.range(), Access::Read).unwrap();
    assert_eq!(&machine.bytes::<7>(runs[0].memory), b"on disk");
    assert!(process.resolve(private.range(), Access::Write).is_ok());
}

#[test]
fn the_kernels_own_pages_cannot_be_pinned() {
    let _alone = crate::alone();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let Some(line) = maps.lines().find(|line| line.ends_with("[vvar]")) else {
        println!("skipped: no [vvar]");
        return;
    };
    let start = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
    let child = Child::idle();
    let machine = Machine::new();
    let page = HvaRange::from_len(Hva::new(start), 0x1000).unwrap();
    let error = machine
        .process(&child)
        .resolve(page, Access::Read)
        .unwrap_err();
    assert!(matches!(error, Fault::Special { .. }), "{error}");
}

#[test]
fn hugetlb_files_are_known_by_their_page_size() {
    let _alone = crate::alone();
    let flags = MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB | MemfdFlags::CLOEXEC;
    let Ok(file) = memfd_create("huge", flags) else {
        println!("skipped: no hugetlbfs");
        return;
    };
    let child = Child::idle();
    let machine = Machine::new();
    let mem_file = MemFile::new(file.try_clone().unwrap()).unwrap();
    assert_eq!(mem_file.kind(), FileKind::Hugetlb(PageSize::SIZE_2M));
    ftruncate(&file, 4 << 20).unwrap();
    let owner: std::sync::Arc<dyn AddressSpace> = machine.process(&child);
    // A single small page of a huge one.
    let range = FileRange::from_len(FileOffset::new(0x20_3000), 0x1000).unwrap();
    let pages = Pages::from_file(&owner, mem_file, range, Access::Write, Accounting::None);
    let runs = pages.pin(whole(&pages)).unwrap();
    assert_eq!(runs[0].page, PageSize::SIZE_2M);
    assert_eq!(
        runs[0].memory.start().get() & PageSize::SIZE_2M.mask(),
        0x3000
    );
    let after = MemFile::new(file).unwrap();
    assert_eq!(
        after.size().unwrap(),
        4 << 20,
        "mapping the file here did not change it"
    );
}

#[test]
fn hugetlb_memory_keeps_its_alignment() {
    let _alone = crate::alone();
    let flags = MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB | MemfdFlags::CLOEXEC;
    let free = std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    let free: u64 = free
        .ok()
        .and_then(|free| free.trim().parse().ok())
        .unwrap_or(0);
    let Ok(file) = memfd_create("huge", flags)
        .map_err(drop)
        .and_then(|file| if free < 2 { Err(()) } else { Ok(file) })
    else {
        println!("skipped: no free huge pages");
        return;
    };
    ftruncate(&file, 4 << 20).unwrap();
    let area = Area::of_file(file.as_fd(), 4 << 20, 0, MapFlags::SHARED);
    area.write(0x20_0000, b"huge");
    let child = Child::idle();
    let machine = Machine::new();
    let runs = machine
        .process(&child)
        .resolve(area.range(), Access::Write)
        .unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].page, PageSize::SIZE_2M);
    assert_eq!(runs[0].memory.start().get() & PageSize::SIZE_2M.mask(), 0);
    let second = swiommu_addr::PaRange::new(
        swiommu_addr::Pa::new(runs[0].memory.start().get() + 0x20_0000),
        runs[0].memory.last(),
    );
    assert_eq!(&machine.bytes::<4>(second.unwrap()), b"huge");
}

#[test]
fn user_and_limit_are_those_of_the_process() {
    let _alone = crate::alone();
    let child = Child::idle();
    let machine = Machine::new();
    let process = machine.process(&child);
    assert_eq!(process.user(), Uid(getuid().as_raw()));
    assert_eq!(
        process.memlock_limit(),
        getrlimit(Resource::Memlock).current
    );
    assert_eq!(process.pid(), child.pid());
    assert_eq!(
        machine.processes.get(child.pid()).unwrap().id(),
        process.id()
    );
    assert!(machine.processes.get(i32::MAX).is_err());
}
