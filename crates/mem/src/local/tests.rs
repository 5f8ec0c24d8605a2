use super::*;
use crate::Config;

fn space() -> (Arc<PhysicalMemory>, Arc<LocalSpace>) {
    let memory = PhysicalMemory::new(Config::default()).unwrap();
    let space = LocalSpace::new(&memory).unwrap();
    (memory, space)
}

#[test]
fn memory_is_reached_by_virtual_and_physical_address() {
    let (memory, space) = space();
    let buffer = space.allocate(0x3000).unwrap();
    assert_eq!(buffer.len(), Some(0x3000));
    let at = Hva::new(buffer.start().get() + 0xffd);
    space.write(at, b"across pages").unwrap();

    let runs = space.resolve(buffer, Access::Write).unwrap();
    assert_eq!(runs.len(), 1, "fresh memory is one run");
    assert_eq!(runs[0].memory.len(), Some(0x3000));
    let mut bytes = [0; 12];
    let pa = Pa::new(runs[0].memory.start().get() + 0xffd);
    memory.read(pa, &mut bytes).unwrap();
    assert_eq!(&bytes, b"across pages");
    memory.write(pa, b"A").unwrap();
    space.read(at, &mut bytes).unwrap();
    assert_eq!(&bytes, b"Across pages");
}

#[test]
fn the_same_calls_give_the_same_addresses() {
    let run = || {
        let (_, space) = space();
        let small = space.allocate(1).unwrap();
        let large = space.allocate(5 << 20).unwrap();
        let runs = space.resolve(large, Access::Read).unwrap();
        (small, large, runs)
    };
    let (first, second) = (run(), run());
    assert_eq!(first, second);
    let large = first.2[0].memory.start();
    assert!(
        large.is_aligned(PageSize::SIZE_2M),
        "{large} allows large leaves"
    );
    assert!(first.1.start().is_aligned(PageSize::SIZE_2M));
}

#[test]
fn pages_can_look_huge() {
    let (_, space) = space();
    space.allocate(0x1000).unwrap();
    let huge = space.allocate_pages(4 << 20, PageSize::SIZE_2M).unwrap();
    let runs = space.resolve(huge, Access::Write).unwrap();
    assert_eq!(runs[0].page, PageSize::SIZE_2M);
    assert!(runs[0].memory.start().is_aligned(PageSize::SIZE_2M));
}

#[test]
fn what_is_not_mapped_or_not_allowed_is_refused_where_it_begins() {
    let (_, space) = space();
    let buffer = space.allocate(0x4000).unwrap();
    let page =
        |n: u64| HvaRange::from_len(Hva::new(buffer.start().get() + n * 0x1000), 0x1000).unwrap();
    space.unmap(page(1));
    space.protect(page(2), Protection::Read);
    space.protect(page(3), Protection::None);

    let from = |n| HvaRange::new(page(n).start(), buffer.last()).unwrap();
    assert_eq!(
        space.resolve(from(0), Access::Read),
        Err(Fault::Unmapped(page(1).start()))
    );
    let denied = |n, access| {
        Err(Fault::Denied {
            at: page(n).start(),
            access,
        })
    };
    assert_eq!(
        space.resolve(from(2), Access::Write),
        denied(2, Access::Write)
    );
    assert_eq!(
        space.resolve(from(2), Access::Read),
        denied(3, Access::Read)
    );
    assert!(space.resolve(page(2), Access::Read).is_ok());
    assert_eq!(
        space.write(page(2).start(), &[1]),
        Err(Fault::Denied {
            at: page(2).start(),
            access: Access::Write
        })
    );
    assert!(space.read(page(2).start(), &mut [0; 8]).is_ok());
    assert!(space.read(page(2).start(), &mut [0; 0x1001]).is_err());
    let end = HvaRange::from_len(Hva::new(u64::MAX), 1).unwrap();
    assert!(space.resolve(end, Access::Read).is_err());
}

#[test]
fn shared_memory_is_the_same_memory() {
    let memory = PhysicalMemory::new(Config::default()).unwrap();
    let one = LocalSpace::new(&memory).unwrap();
    let other = LocalSpace::new(&memory).unwrap();
    assert_ne!(one.id(), other.id());
    let source = one.allocate(0x2000).unwrap();
    let at = Hva::new(0x1_0000);
    other.map_shared(at, &one, source).unwrap();
    let there = HvaRange::from_len(at, 0x2000).unwrap();
    assert_eq!(
        other.resolve(there, Access::Write).unwrap(),
        one.resolve(source, Access::Write).unwrap()
    );
    one.exit();
    assert!(!one.is_alive());
    assert_eq!(one.resolve(source, Access::Read), Err(Fault::Gone));
    drop(one);
    other.write(at, b"still there").unwrap();
    assert!(other.map_shared(Hva::new(1), &other, there).is_err());
}
