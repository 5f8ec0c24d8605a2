use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use swiommu_addr::{Address, HvaRange, Iova, IovaRange, Pa, PageSize};
use swiommu_mem::{Access as HostAccess, AddressSpace, Config, LocalSpace, PhysicalMemory};
use swiommu_pgtable::Access;

use super::*;
use crate::{Epochs, Pasid, Trace};

/// Pages by IOVA, each with what requests may do.
#[derive(Debug, Default)]
struct Map {
    pages: Mutex<Vec<(u64, Pa, Access)>>,
}

const PAGE: PageSize = PageSize::SIZE_4K;

impl Translate for Map {
    fn walk(&self, iova: Iova, wanted: Access) -> Result<Translated, Fault> {
        let number = iova.get() >> PAGE.log2();
        let pages = self.pages.lock().unwrap();
        let found = pages.iter().find(|(page, ..)| *page == number);
        let (_, page, access) = found.ok_or_else(|| Fault::requestable("not there"))?;
        if !access.contains(wanted) {
            return Err(Fault::abort(format!("{access} permits no {wanted}")));
        }
        Ok(Translated {
            page: *page,
            size: PAGE,
            access: *access,
        })
    }

    fn trace(&self, _iova: Iova) -> Trace {
        Trace::without_walk(Err("there are no entries".to_owned()))
    }
}

struct World {
    memory: Arc<PhysicalMemory>,
    space: Arc<LocalSpace>,
    buffer: HvaRange,
    attachments: Arc<Attachments>,
    map: Arc<Map>,
}

impl World {
    fn new() -> Self {
        let memory = PhysicalMemory::new(Config::default()).unwrap();
        let space = LocalSpace::new(&memory).unwrap();
        let buffer = space.allocate(8 * PAGE.bytes()).unwrap();
        let attachments = Arc::new(Attachments::new(&Epochs::new()));
        let map = Arc::new(Map::default());
        attachments.set(Pasid::NONE, Some(map.clone()));
        Self {
            memory,
            space,
            buffer,
            attachments,
            map,
        }
    }

    fn port(&self) -> DmaPort {
        DmaPort::new(&self.memory, &self.attachments, Pasid::NONE, "a test")
    }

    /// Where a page of the buffer is.
    fn page(&self, number: u64) -> Pa {
        let start = self.buffer.start().wrapping_add(number * PAGE.bytes());
        let page = HvaRange::from_len(start, PAGE.bytes()).unwrap();
        let runs = self.space.resolve(page, HostAccess::Write).unwrap();
        runs[0].memory.start()
    }

    fn map(&self, iova_page: u64, buffer_page: u64, access: Access) {
        let entry = (iova_page, self.page(buffer_page), access);
        self.map.pages.lock().unwrap().push(entry);
    }
}

fn at(page: u64, offset: u64) -> Iova {
    Iova::new(page * PAGE.bytes() + offset)
}

#[test]
fn bytes_go_where_pages_lead() {
    let w = World::new();
    let both = Access::READ | Access::WRITE;
    w.map(16, 3, both);
    w.map(17, 1, both);
    let mut port = w.port();
    let text: Vec<u8> = (0..=255).cycle().take(6000).collect();
    port.write(at(16, 100), &text).unwrap();
    let mut found = vec![0; 6000];
    port.read(at(16, 100), &mut found).unwrap();
    assert_eq!(found, text);
    let mut direct = vec![0; 3996];
    w.memory
        .read(w.page(3).wrapping_add(100), &mut direct)
        .unwrap();
    assert_eq!(
        direct,
        text[..3996],
        "the first page is the buffer's fourth"
    );
    let mut direct = vec![0; 2004];
    w.memory.read(w.page(1), &mut direct).unwrap();
    assert_eq!(direct, text[3996..], "and the next its second");
}

#[test]
fn what_comes_before_a_fault_is_transferred() {
    let w = World::new();
    w.map(16, 0, Access::READ | Access::WRITE);
    w.map(17, 1, Access::READ);
    let mut port = w.port();
    let error = port.write(at(16, 4090), b"123456789").unwrap_err();
    assert!(
        matches!(error, DmaError::Fault { iova, .. } if iova == at(17, 0)),
        "{error}"
    );
    let mut found = [0; 9];
    port.read(at(16, 4090), &mut found).unwrap();
    assert_eq!(&found, b"123456\0\0\0");
    let nothing = port.read(at(18, 0), &mut [0]).unwrap_err();
    assert_eq!(nothing.to_string(), "r--/--- of 0x12000: not there");
    port.read(at(18, 0), &mut []).expect("no bytes, no fault");
    let beyond = port.read(Iova::new(u64::MAX), &mut [0; 2]).unwrap_err();
    assert!(matches!(beyond, DmaError::Overflow { .. }));
}

#[test]
fn a_privileged_port_asks_as_one() {
    let w = World::new();
    w.map(16, 0, Access::PRIVILEGED_READ);
    assert!(w.port().read(at(16, 0), &mut [0]).is_err());
    assert!(w.port().privileged().read(at(16, 0), &mut [0]).is_ok());
    assert!(w.port().privileged().write(at(16, 0), &[0]).is_err());
}

#[test]
fn atomics_change_a_value_in_one_step() {
    let w = World::new();
    w.map(16, 0, Access::READ | Access::WRITE);
    w.map(17, 1, Access::READ);
    let mut port = w.port();
    port.write(at(16, 0), &7_u64.to_le_bytes()).unwrap();
    assert_eq!(port.fetch_add(at(16, 0), 5_u64).unwrap(), 7);
    assert_eq!(port.compare_exchange(at(16, 0), 12_u64, 1).unwrap(), 12);
    assert_eq!(port.compare_exchange(at(16, 0), 12_u64, 2).unwrap(), 1);
    assert_eq!(port.swap(at(16, 1), 0x80_u8).unwrap(), 0);
    assert_eq!(port.fetch_add(at(16, 0), 0xff_u16).unwrap(), 0x8001);
    assert_eq!(port.swap(at(16, 0), u32::MAX).unwrap(), 0x8100);
    let unaligned = port.fetch_add(at(16, 2), 1_u32).unwrap_err();
    assert!(matches!(unaligned, DmaError::Unaligned { size: 4, .. }));
    let denied = port.fetch_add(at(17, 0), 0_u8).unwrap_err();
    assert!(matches!(denied, DmaError::Fault { .. }), "it is a write");
}

#[test]
fn ports_that_count_together_lose_nothing() {
    let w = World::new();
    w.map(16, 0, Access::READ | Access::WRITE);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut port = w.port();
            scope.spawn(move || {
                for _ in 0..1000 {
                    port.fetch_add(at(16, 8), 1_u32).unwrap();
                }
            });
        }
    });
    assert_eq!(w.port().swap(at(16, 8), 0_u32).unwrap(), 4000);
}

#[test]
fn scattered_pieces_are_one_stream() {
    let w = World::new();
    for page in 0..4 {
        w.map(16 + page, page, Access::READ | Access::WRITE);
    }
    let piece = |start, len| IovaRange::from_len(start, len).unwrap();
    let pieces = [
        piece(at(19, 1), 3),
        piece(at(16, 4095), 2),
        piece(at(18, 0), 4),
    ];
    let mut port = w.port();
    port.scatter(&pieces, b"abcdefgh").unwrap();
    let mut found = [0; 8];
    port.gather(&pieces, &mut found).unwrap();
    assert_eq!(&found, b"abcdefgh");
    port.read(at(17, 0), &mut found[..1]).unwrap();
    assert_eq!(found[0], b'e');
    port.read(at(18, 0), &mut found[..4]).unwrap();
    assert_eq!(&found[..4], b"fgh\0");
}

#[test]
fn a_port_asks_for_a_page_and_goes_on() {
    let w = World::new();
    w.map(16, 0, Access::READ);
    let (map, page) = (w.map.clone(), w.page(1));
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let mut port = w.port().asking(Box::new(move |iova, wanted| {
        assert_eq!((iova, wanted), (at(17, 0), Access::USER_READ));
        count.fetch_add(1, Ordering::Relaxed);
        map.pages.lock().unwrap().push((17, page, Access::READ));
        true
    }));
    port.read(at(16, 4000), &mut [0; 200]).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let denied = port.write(at(16, 0), &[0]).unwrap_err();
    assert!(
        matches!(denied, DmaError::Fault { .. }),
        "nobody is asked for rights"
    );
}

#[test]
fn a_port_that_gets_no_page_gives_up() {
    let w = World::new();
    let mut port = w.port().asking(Box::new(|_, _| true));
    assert!(port.read(at(16, 0), &mut [0]).is_err());
    let mut port = w.port().asking(Box::new(|_, _| false));
    assert!(port.read(at(16, 0), &mut [0]).is_err());
}

#[test]
fn what_is_detached_is_blocked_at_once() {
    let w = World::new();
    w.map(16, 0, Access::READ);
    let mut port = w.port();
    port.read(at(16, 0), &mut [0]).unwrap();
    w.attachments.set(Pasid::NONE, None);
    let blocked = port.read(at(16, 0), &mut [0]).unwrap_err();
    assert!(blocked.to_string().contains("blocked"), "{blocked}");
    w.attachments.set(Pasid(5), Some(w.map.clone()));
    assert!(
        port.read(at(16, 0), &mut [0]).is_err(),
        "a PASID is another requester"
    );
    let mut tagged = DmaPort::new(&w.memory, &w.attachments, Pasid(5), "tagged");
    tagged.read(at(16, 0), &mut [0]).unwrap();
}

#[test]
fn mapped_memory_is_handed_out_in_place() {
    let w = World::new();
    w.map(16, 2, Access::READ | Access::WRITE);
    let mut port = w.port();
    let mut lengths = Vec::new();
    port.access(at(16, 4), 8, Access::WRITE, |slice| {
        lengths.push(slice.len());
        slice.write(0, b"12345678");
    })
    .unwrap();
    assert_eq!(lengths, [8]);
    let mut found = [0; 8];
    port.read(at(16, 4), &mut found).unwrap();
    assert_eq!(&found, b"12345678");
}
