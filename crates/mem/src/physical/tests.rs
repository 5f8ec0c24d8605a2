use std::os::fd::AsFd;

use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use swiommu_addr::Hva;

use super::*;
use crate::{AddressSpace, FileOffset, FileRange, LocalSpace, Runs};

fn machine() -> Arc<PhysicalMemory> {
    PhysicalMemory::new(Config::default()).unwrap()
}

/// A memfd and what is asked of it.
struct File {
    file: std::os::fd::OwnedFd,
    id: FileId,
}

impl File {
    fn new(size: u64) -> Self {
        let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, size).unwrap();
        let id = FileId::from(&fstat(&file).unwrap());
        Self { file, id }
    }

    fn resolve(&self, memory: &PhysicalMemory, offset: u64, len: u64) -> Runs {
        let size = u64::try_from(fstat(&self.file).unwrap().st_size).unwrap();
        let wanted = Wanted {
            id: self.id,
            page: PAGE,
            range: FileRange::from_len(FileOffset::new(offset), len).unwrap(),
            expected_size: size,
        };
        let open = || self.file.as_fd().try_clone_to_owned().ok();
        memory.resolve_file(&wanted, None, open).unwrap()
    }
}

#[test]
fn tables_are_zeroed_aligned_and_at_fixed_addresses() {
    let memory = machine();
    let first = memory.alloc_table(PageSize::SIZE_4K).unwrap();
    assert_eq!(first, Pa::new(0x4000_0000));
    let small = memory.alloc_table(PageSize::SIZE_2K).unwrap();
    let large = memory.alloc_table(PageSize::from_log2(16)).unwrap();
    assert_eq!(small, Pa::new(0x4000_1000));
    assert_eq!(large, Pa::new(0x4001_0000));
    // What the alignment of the large one left over serves smaller ones.
    assert_eq!(
        memory.alloc_table(PageSize::SIZE_2K).unwrap(),
        Pa::new(0x4000_1800)
    );

    let words = memory.words(first, PageSize::SIZE_4K).unwrap();
    assert_eq!(words.len(), 512);
    words[511].store(7, Ordering::Relaxed);
    memory.free_table(first, PageSize::SIZE_4K);
    assert_eq!(
        words[511].load(Ordering::Relaxed),
        7,
        "a late reader may still look"
    );
    assert_eq!(memory.alloc_table(PageSize::SIZE_4K).unwrap(), first);
    assert_eq!(words[511].load(Ordering::Relaxed), 0);
}

#[test]
fn tables_have_sizes_and_stay_in_their_memory() {
    let memory = machine();
    assert_eq!(memory.alloc_table(PageSize::from_log2(5)), Err(OutOfMemory));
    assert_eq!(
        memory.alloc_table(PageSize::from_log2(22)),
        Err(OutOfMemory)
    );
    let table = memory.alloc_table(PageSize::SIZE_4K).unwrap();
    assert!(memory.words(Pa::new(0), PageSize::SIZE_4K).is_none());
    assert!(
        memory
            .words(Pa::new(table.get() + 4), PageSize::SIZE_4K)
            .is_none()
    );
    assert!(
        memory
            .words(Pa::new(u64::MAX - 7), PageSize::SIZE_4K)
            .is_none()
    );
    // More than one piece of table memory.
    let mut tables: Vec<_> = (0..100)
        .map(|_| memory.alloc_table(PageSize::SIZE_2M).unwrap())
        .collect();
    tables.sort_unstable();
    tables.dedup();
    assert_eq!(tables.len(), 100);
    for table in tables {
        let words = memory.words(table, PageSize::SIZE_2M).unwrap();
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }
}

#[test]
fn tables_are_read_but_not_written_by_physical_address() {
    let memory = machine();
    let table = memory.alloc_table(PageSize::SIZE_4K).unwrap();
    memory.words(table, PageSize::SIZE_4K).unwrap()[1]
        .store(0x1122_3344_5566_7788, Ordering::Relaxed);
    let mut bytes = [0; 10];
    memory.read(Pa::new(table.get() + 7), &mut bytes).unwrap();
    assert_eq!(bytes[1..9], 0x1122_3344_5566_7788_u64.to_le_bytes());
    assert_eq!(memory.write(table, &[1]), Err(AccessError::Table(table)));
    let range = PaRange::from_len(table, 8).unwrap();
    assert!(memory.slice(range).is_none());
}

#[test]
fn where_nothing_is_nothing_is_read() {
    let memory = machine();
    for pa in [
        0,
        0xfff,
        0x3fff_ffff,
        0x20_0000_0000,
        0xfff_ffff_ffff,
        1 << 44,
        u64::MAX,
    ] {
        let at = Pa::new(pa);
        assert_eq!(
            memory.read(at, &mut [0; 4]),
            Err(AccessError::NoMemory(at)),
            "{at}"
        );
        assert_eq!(
            memory.write(at, &[0; 4]),
            Err(AccessError::NoMemory(at)),
            "{at}"
        );
    }
    assert_eq!(memory.read(Pa::new(0), &mut []), Ok(()));
}

#[test]
fn a_file_keeps_its_addresses_while_it_grows() {
    let memory = machine();
    let file = File::new(0x3000);
    let first = file.resolve(&memory, 0, 0x3000);
    assert_eq!(first.len(), 1);
    assert!(first[0].memory.start().is_aligned(PageSize::SIZE_1G));
    assert_eq!(
        first[0].memory.start(),
        Pa::new(
            file.resolve(&memory, 0x1000, 0x1000)[0]
                .memory
                .start()
                .get()
                - 0x1000
        )
    );

    ftruncate(&file.file, 3 << 30).unwrap();
    let grown = file.resolve(&memory, 0, 3 << 30);
    assert_eq!(
        grown.len(),
        1,
        "the next segment follows the first: {grown:?}"
    );
    assert_eq!(grown[0].memory.start(), first[0].memory.start());
    let last = Pa::new(grown[0].memory.last().get() - 3);
    memory.write(last, &[1, 2, 3, 4]).unwrap();
    let mut bytes = [0; 4];
    rustix::io::pread(&file.file, &mut bytes, (3 << 30) - 4).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4]);
}

#[test]
fn a_sparse_file_gets_addresses_where_it_is_used() {
    let memory = machine();
    let file = File::new(9 << 40);
    let far = file.resolve(&memory, (7 << 40) + 0x5000, 0x1000);
    let near = file.resolve(&memory, 0x5000, 0x1000);
    assert_eq!(far[0].memory.start().offset_in(PageSize::SIZE_1G), 0x5000);
    memory.write(far[0].memory.start(), b"far").unwrap();
    memory.write(near[0].memory.start(), b"near").unwrap();
    let mut bytes = [0; 3];
    rustix::io::pread(&file.file, &mut bytes, (7 << 40) + 0x5000).unwrap();
    assert_eq!(&bytes, b"far");
}

#[test]
fn a_large_file_is_aligned_for_large_leaves() {
    let memory = machine();
    let small = File::new(0x1000).resolve(&memory, 0, 0x1000);
    let large = File::new(16 << 30).resolve(&memory, 0, 16 << 30);
    assert_eq!(large.len(), 1);
    assert!(large[0].memory.start().is_aligned(PageSize::from_log2(34)));
    assert!(small[0].memory.last() < large[0].memory.start());
    assert!(large[0].memory.last().get() < 1 << 44);
}

#[test]
fn beyond_the_end_of_a_file_is_no_memory() {
    let memory = machine();
    let file = File::new(0x2000);
    let runs = file.resolve(&memory, 0, 0x2000);
    let beyond = Pa::new(runs[0].memory.last().get() + 1);
    assert!(memory.read(beyond, &mut [0; 1]).is_err());
    assert!(
        memory
            .slice(PaRange::from_len(runs[0].memory.start(), 0x2001).unwrap())
            .is_none()
    );
    assert!(memory.slice(runs[0].memory).is_some());
}

#[test]
fn a_sealed_file_is_read_without_being_mapped() {
    let memory = machine();
    let file = File::new(0x2000);
    rustix::io::pwrite(&file.file, b"sealed", 0x1000).unwrap();
    rustix::fs::fcntl_add_seals(&file.file, rustix::fs::SealFlags::WRITE).unwrap();
    let runs = file.resolve(&memory, 0x1000, 0x1000);
    let mut bytes = [0; 6];
    memory.read(runs[0].memory.start(), &mut bytes).unwrap();
    assert_eq!(&bytes, b"sealed");
    assert!(memory.slice(runs[0].memory).is_none());
    assert!(memory.write(runs[0].memory.start(), b"x").is_err());
}

#[test]
fn unused_windows_are_closed_and_pinned_ones_stay() {
    let memory = machine();
    let (used, unused) = (File::new(0x1000), File::new(0x1000));
    let kept = used.resolve(&memory, 0, 0x1000);
    let closed = unused.resolve(&memory, 0, 0x1000);
    memory.pin([kept[0].memory].into_iter());
    memory.close_idle();
    assert!(memory.slice(kept[0].memory).is_some());
    assert!(memory.slice(closed[0].memory).is_none());
    assert!(memory.read(closed[0].memory.start(), &mut [0]).is_err());
    // The place is free for the next file.
    assert_eq!(File::new(0x1000).resolve(&memory, 0, 0x1000), closed);
    memory.unpin(&[kept[0].memory]);
    memory.close_idle();
    assert!(memory.slice(kept[0].memory).is_none());
}

#[test]
fn a_local_space_keeps_its_window() {
    let memory = machine();
    let space = LocalSpace::new(&memory).unwrap();
    let buffer = space.allocate(0x1000).unwrap();
    memory.close_idle();
    space.write(buffer.start(), b"kept").unwrap();
    let runs = space.resolve(buffer, crate::Access::Read).unwrap();
    assert!(memory.slice(runs[0].memory).is_some());
    drop(space);
    assert!(memory.slice(runs[0].memory).is_none());
    assert!(Hva::new(0) < buffer.start());
}

#[test]
fn threads_allocate_tables_without_sharing_them() {
    let memory = machine();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..200_u64 {
                    let table = memory.alloc_table(PageSize::SIZE_4K).unwrap();
                    let words = memory.words(table, PageSize::SIZE_4K).unwrap();
                    let mine = round + 1;
                    for word in words {
                        assert_eq!(word.swap(mine, Ordering::Relaxed), 0);
                    }
                    assert!(
                        words
                            .iter()
                            .all(|word| word.load(Ordering::Relaxed) == mine)
                    );
                    memory.free_table(table, PageSize::SIZE_4K);
                }
            });
        }
    });
}

#[test]
fn a_host_may_give_less() {
    let memory = PhysicalMemory::with_bits(Config::default(), 36).unwrap();
    let space = LocalSpace::new(&memory).unwrap();
    let buffer = space.allocate(0x1000).unwrap();
    let runs = space.resolve(buffer, crate::Access::Write).unwrap();
    memory.write(runs[0].memory.start(), b"small").unwrap();
    assert!(runs[0].memory.last().get() < 1 << 36);
    let table = memory.alloc_table(PageSize::SIZE_4K).unwrap();
    assert!(memory.words(table, PageSize::SIZE_4K).is_some());
}

#[test]
fn files_that_do_not_fit_are_refused_without_loss() {
    let memory = PhysicalMemory::with_bits(Config::default(), 36).unwrap();
    let large = File::new(1 << 36);
    let wanted = |len| Wanted {
        id: large.id,
        page: PAGE,
        range: FileRange::from_len(FileOffset::new(0), len).unwrap(),
        expected_size: len,
    };
    let open = || large.file.as_fd().try_clone_to_owned().ok();
    assert_eq!(
        memory.resolve_file(&wanted(1 << 36), None, open),
        Err(Exhausted)
    );
    assert!(memory.resolve_file(&wanted(4 << 30), None, open).is_ok());
}
