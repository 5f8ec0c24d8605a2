mod structures;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use swiommu_abi::Errno;
use swiommu_abi::hwpt::{IommuHwptDataType, IommuHwptVtdS1};
use swiommu_abi::invalidate::{
    IommuHwptInvalidateDataType, IommuHwptVtdS1Invalidate, IommuHwptVtdS1InvalidateFlags,
};
use swiommu_addr::{Address, Gpa, HvaRange, Iova, IovaRange, PaRange, PageSizes};
use swiommu_mem::{Access as HostAccess, AddressSpace, Config, LocalSpace, PhysicalMemory};

use super::spec::AddressWidth;
use super::*;
use crate::Retention;
use crate::{
    DirtyRead, DirtyTracking, DmaPort, Domain, Endpoint, EntryAddress, Epochs, GroupId, Mapping,
    NestedDomain, NestedRequest, OwnData, OwnRequests, PagingDomain, PagingFlags, PagingRequest,
    Pasid, Prot, Stage, Unit,
};

const PAGE: u64 = 4096;
/// What a guest writes into entries for users that may write.
const USER_TABLE: u64 = 0x67;
const USER_PAGE: u64 = 0x67;

fn data(table: &IommuHwptVtdS1) -> OwnData<'_> {
    OwnData::new(IommuHwptDataType::VTD_S1.0, table)
}

fn one(request: &IommuHwptVtdS1Invalidate) -> OwnRequests<'_> {
    let data_type = IommuHwptInvalidateDataType::VTD_S1.0;
    OwnRequests::new(data_type, std::slice::from_ref(request))
}

/// A guest of 64 pages, which lie in the buffer one behind the other from guest page 16 on, and a device.
struct World {
    space: Arc<LocalSpace>,
    guest: HvaRange,
    unit: Arc<VtdUnit>,
    endpoint: Arc<VtdEndpoint>,
    parent: Arc<dyn PagingDomain>,
}

/// The guest's first page.
const FIRST: u64 = 16;
const PAGES: u64 = 64;

impl World {
    fn new(caches: Retention) -> Self {
        let memory = PhysicalMemory::new(Config::default()).unwrap();
        let space = LocalSpace::new(&memory).unwrap();
        let guest = space.allocate(PAGES * PAGE).unwrap();
        let settings = VtdSettings {
            caches,
            ..VtdSettings::default()
        };
        let unit = VtdUnit::new(&memory, &Epochs::new(), settings);
        let endpoint = VtdEndpoint::new(&unit, SourceId(0x0100), GroupId(1));
        let parent = paging(&unit, &endpoint, PagingFlags::NEST_PARENT);
        let world = Self {
            space,
            guest,
            unit,
            endpoint,
            parent,
        };
        for page in 0..PAGES {
            world.map_stage2(&*world.parent, FIRST + page, page, Prot::RW);
        }
        world
    }

    /// Lets a guest page be a page of the buffer.
    fn map_stage2(&self, domain: &dyn PagingDomain, guest_page: u64, page: u64, prot: Prot) {
        let start = self.guest.start().wrapping_add(page * PAGE);
        let pages = HvaRange::from_len(start, PAGE).unwrap();
        let runs = self.space.resolve(pages, HostAccess::Write).unwrap();
        let memory: Vec<PaRange> = runs.iter().map(|run| run.memory).collect();
        domain
            .map(&Mapping {
                iova: Iova::new(guest_page * PAGE),
                memory: &memory,
                prot,
                leaves: PageSizes::ALL,
            })
            .unwrap();
    }

    /// Writes into the guest's memory, at a guest physical address.
    fn poke(&self, gpa: u64, bytes: &[u8]) {
        let at = self.guest.start().wrapping_add(gpa - FIRST * PAGE);
        self.space.write(at, bytes).unwrap();
    }

    fn peek(&self, gpa: u64) -> u64 {
        let at = self.guest.start().wrapping_add(gpa - FIRST * PAGE);
        let mut word = [0; 8];
        self.space.read(at, &mut word).unwrap();
        u64::from_le_bytes(word)
    }

    /// Makes the guest's page tables: four of them, in the guest's first pages, with one leaf for each of `leaves`: IOVA page
    /// below 512, and its entry.
    fn guest_tables(&self, leaves: &[(u64, u64)]) {
        for level in 0..3 {
            let table = (FIRST + level) * PAGE;
            self.poke(table, &((table + PAGE) | USER_TABLE).to_le_bytes());
        }
        for (page, entry) in leaves {
            self.set_leaf(*page, *entry);
        }
    }

    fn leaf_at(page: u64) -> u64 {
        (FIRST + 3) * PAGE + page * 8
    }

    fn set_leaf(&self, page: u64, entry: u64) {
        self.poke(Self::leaf_at(page), &entry.to_le_bytes());
    }

    fn nested(&self, flags: u64) -> Arc<dyn NestedDomain> {
        self.nested_at(FIRST * PAGE, flags)
    }

    fn nested_at(&self, root: u64, flags: u64) -> Arc<dyn NestedDomain> {
        let table = IommuHwptVtdS1 {
            flags,
            pgtbl_addr: root,
            addr_width: 48,
            __reserved: 0,
        };
        let request = NestedRequest {
            flags: PagingFlags::empty(),
            data: &data(&table),
        };
        self.unit
            .alloc_nested(&*self.endpoint, &self.parent, &request)
            .unwrap()
    }

    fn attach(&self, nested: &Arc<dyn NestedDomain>) -> DmaPort {
        let domain = Domain::Nested(nested.clone());
        self.endpoint.attach(Pasid::NONE, &domain).unwrap();
        self.endpoint.dma_port(Pasid::NONE)
    }
}

fn paging(
    unit: &Arc<VtdUnit>,
    endpoint: &VtdEndpoint,
    flags: PagingFlags,
) -> Arc<dyn PagingDomain> {
    let request = PagingRequest { flags, data: None };
    unit.alloc_paging(endpoint, &request).unwrap()
}

/// A guest physical page as an entry has it.
fn gpa(page: u64) -> u64 {
    (FIRST + page) * PAGE
}

fn invalidate(nested: &Arc<dyn NestedDomain>, addr: u64, npages: u64) -> (u32, Result<(), Errno>) {
    let flags = IommuHwptVtdS1InvalidateFlags::empty();
    invalidate_with(nested, addr, npages, flags)
}

fn invalidate_with(
    nested: &Arc<dyn NestedDomain>,
    addr: u64,
    npages: u64,
    flags: IommuHwptVtdS1InvalidateFlags,
) -> (u32, Result<(), Errno>) {
    let done = nested.invalidate(&one(&IommuHwptVtdS1Invalidate {
        addr,
        npages,
        flags: flags.bits(),
        __reserved: 0,
    }));
    (done.done, done.result.map_err(|error| error.errno))
}

#[test]
fn a_request_goes_through_both_stages() {
    let w = World::new(Retention::LegalMaximum);
    w.guest_tables(&[(5, gpa(20) | USER_PAGE), (6, gpa(30) | USER_PAGE)]);
    let mut port = w.attach(&w.nested(0));
    port.write(Iova::new(5 * PAGE + 4090), b"through both")
        .unwrap();
    assert_eq!(w.peek(gpa(20) + 4088).to_le_bytes()[2..], *b"throug");
    assert_eq!(w.peek(gpa(30)).to_le_bytes()[..6], *b"h both");
    let mut found = [0; 12];
    port.read(Iova::new(5 * PAGE + 4090), &mut found).unwrap();
    assert_eq!(&found, b"through both");
}

#[test]
fn a_changed_entry_is_seen_only_after_its_invalidation() {
    let w = World::new(Retention::LegalMaximum);
    w.guest_tables(&[(5, gpa(20) | USER_PAGE), (6, gpa(20) | USER_PAGE)]);
    w.poke(gpa(20), b"old");
    w.poke(gpa(21), b"new");
    let nested = w.nested(0);
    let mut port = w.attach(&nested);
    let mut read = |page: u64| {
        let mut found = [0; 3];
        port.read(Iova::new(page * PAGE), &mut found).unwrap();
        found
    };
    assert_eq!((read(5), read(6)), (*b"old", *b"old"));
    for page in [5, 6] {
        w.set_leaf(page, gpa(21) | USER_PAGE);
    }
    assert_eq!((read(5), read(6)), (*b"old", *b"old"), "the IOTLB keeps it");
    assert_eq!(invalidate(&nested, 5 * PAGE, 1), (1, Ok(())));
    assert_eq!(
        (read(5), read(6)),
        (*b"new", *b"old"),
        "and no more than asked"
    );
    assert_eq!(invalidate(&nested, 0, u64::MAX), (1, Ok(())));
    assert_eq!((read(5), read(6)), (*b"new", *b"new"));
}

#[test]
fn without_caches_every_change_is_seen() {
    let w = World::new(Retention::Off);
    w.guest_tables(&[(5, gpa(20) | USER_PAGE)]);
    w.poke(gpa(20), b"a");
    w.poke(gpa(21), b"b");
    let mut port = w.attach(&w.nested(0));
    let mut found = [0];
    port.read(Iova::new(5 * PAGE), &mut found).unwrap();
    assert_eq!(found, *b"a");
    w.set_leaf(5, gpa(21) | USER_PAGE);
    port.read(Iova::new(5 * PAGE), &mut found).unwrap();
    assert_eq!(found, *b"b");
}

#[test]
fn an_unmap_of_the_second_stage_reaches_what_is_cached_of_both() {
    let w = World::new(Retention::LegalMaximum);
    w.guest_tables(&[(5, gpa(20) | USER_PAGE)]);
    let mut port = w.attach(&w.nested(0));
    port.read(Iova::new(5 * PAGE), &mut [0]).unwrap();
    let page = IovaRange::from_len(Iova::new(gpa(20)), PAGE).unwrap();
    w.parent.unmap(page);
    let error = port.read(Iova::new(5 * PAGE), &mut [0]).unwrap_err();
    assert!(error.to_string().contains("(0x79)"), "{error}");
}

#[test]
fn a_walk_marks_the_guests_entries() {
    let w = World::new(Retention::LegalMaximum);
    let clean = 0x7;
    w.guest_tables(&[(5, gpa(20) | clean)]);
    let mut port = w.attach(&w.nested(0));
    port.read(Iova::new(5 * PAGE), &mut [0]).unwrap();
    assert_eq!(w.peek(World::leaf_at(5)), gpa(20) | 0x27, "accessed");
    port.write(Iova::new(5 * PAGE), &[0]).unwrap();
    assert_eq!(
        w.peek(World::leaf_at(5)),
        gpa(20) | 0x67,
        "and dirty, although it was cached"
    );
    let marked = w.nested(2);
    let mut port = w.attach(&marked);
    port.read(Iova::new(5 * PAGE), &mut [0]).unwrap();
    assert_eq!(
        w.peek(World::leaf_at(5)),
        gpa(20) | 0x467,
        "extended accessed"
    );
}

#[test]
fn a_trace_has_the_entries_of_both_stages_and_changes_nothing() {
    let w = World::new(Retention::LegalMaximum);
    let clean = 0x7;
    w.guest_tables(&[(5, gpa(20) | clean)]);
    let mut port = w.attach(&w.nested(0));
    let trace = port.trace(Iova::new(5 * PAGE + 8));

    let guests: Vec<_> = trace
        .entries
        .iter()
        .filter(|e| e.stage == Stage::First)
        .collect();
    let levels: Vec<_> = guests.iter().map(|entry| entry.level).collect();
    assert_eq!(levels, [3, 2, 1, 0]);
    let leaf = guests[3];
    assert_eq!(leaf.at, EntryAddress::Guest(Gpa::new(World::leaf_at(5))));
    assert_eq!(leaf.entry, gpa(20) | clean);
    // The way to each of the guest's four tables and to the page: four levels of the second stage.
    assert_eq!(trace.entries.len(), 4 + 5 * 4);
    assert_eq!(w.peek(World::leaf_at(5)), gpa(20) | clean, "not marked");
    assert_eq!(w.unit.shared.caches.tlb.entries(), 0, "not cached");

    let end = trace.end.unwrap();
    assert_eq!(w.parent.iova_to_phys(Iova::new(gpa(20))), Some(end.page));

    w.set_leaf(5, 0x7fff_f000 | clean);
    let refused = port.trace(Iova::new(5 * PAGE)).end.unwrap_err();
    assert!(refused.contains("to the guest"), "{refused}");
    w.endpoint.detach(Pasid::NONE);
    let blocked = port.trace(Iova::new(5 * PAGE));
    assert!(blocked.entries.is_empty() && blocked.end.is_err());
}

/// Whatever bits the guest's root has, it is an address of the guest, and none of the machine.
#[test]
fn a_root_beyond_the_second_stage_leads_nowhere() {
    let w = World::new(Retention::LegalMaximum);
    w.guest_tables(&[(5, gpa(20) | USER_PAGE)]);
    let tables = w.parent.iova_to_phys(Iova::new(FIRST * PAGE)).unwrap();
    for bit in 48..64 {
        let mut port = w.attach(&w.nested_at(1 << bit | tables.get(), 0));
        let error = port.read(Iova::new(5 * PAGE), &mut [0]).unwrap_err();
        assert!(error.to_string().contains("(0x74)"), "{bit}: {error}");
    }
}

#[test]
fn each_fault_has_its_number() {
    let w = World::new(Retention::LegalMaximum);
    let beyond = 1 << 50;
    w.guest_tables(&[
        (1, 0),
        (2, gpa(20) | 0x65),
        (3, gpa(20) | 0x63),
        (4, gpa(20) | 1 << 63 | USER_PAGE),
        (5, 0x7fff_f000 | USER_PAGE),
        (6, beyond | USER_PAGE),
        (7, gpa(20) | USER_PAGE),
    ]);
    let mut port = w.attach(&w.nested(0));
    let read = |port: &mut DmaPort, at: u64| {
        let error = port.read(Iova::new(at), &mut [0]).unwrap_err();
        let text = error.to_string();
        let (_, rest) = text.split_once("(0x").unwrap_or_default();
        u8::from_str_radix(&rest[..2], 16).unwrap()
    };
    assert_eq!(read(&mut port, PAGE), 0x71);
    assert_eq!(read(&mut port, 3 * PAGE), 0x81);
    assert_eq!(read(&mut port, 4 * PAGE), 0x72);
    assert_eq!(read(&mut port, 5 * PAGE), 0x79);
    assert_eq!(read(&mut port, 6 * PAGE), 0x83);
    assert_eq!(read(&mut port, 1 << 47), 0x80);
    assert_eq!(read(&mut port, 1 << 40), 0x71, "no table there");
    let error = port.write(Iova::new(2 * PAGE), &[0]).unwrap_err();
    assert!(error.to_string().contains("(0x85)"), "{error}");
    let mut privileged = w.endpoint.dma_port(Pasid::NONE).privileged();
    assert_eq!(read(&mut privileged, 7 * PAGE), 0x5d);
    port.read(Iova::new(7 * PAGE), &mut [0]).unwrap();
    assert_eq!(
        read(&mut privileged, 7 * PAGE),
        0x5d,
        "also when it is cached"
    );

    // The leaf's table is gone from the second stage.
    let tables = IovaRange::from_len(Iova::new(gpa(3)), PAGE).unwrap();
    w.parent.unmap(tables);
    assert_eq!(read(&mut port, 7 * PAGE), 0x76);
    let root = IovaRange::from_len(Iova::new(gpa(0)), PAGE).unwrap();
    w.parent.unmap(root);
    assert_eq!(read(&mut port, 7 * PAGE), 0x75);
}

#[test]
fn supervisor_requests_are_a_matter_of_the_entry() {
    let w = World::new(Retention::LegalMaximum);
    w.guest_tables(&[(3, gpa(20) | 0x63), (4, gpa(20) | 0x61)]);
    let with_protection = w.nested(1 | 4);
    w.attach(&with_protection);
    let mut port = w.endpoint.dma_port(Pasid::NONE).privileged();
    port.write(Iova::new(3 * PAGE), &[1]).unwrap();
    assert!(port.write(Iova::new(4 * PAGE), &[1]).is_err());
    w.attach(&w.nested(1));
    port.write(Iova::new(4 * PAGE), &[1]).expect("WPE is off");
}

#[test]
fn what_a_guest_asks_for_is_checked_when_it_is_attached() {
    let w = World::new(Retention::LegalMaximum);
    let odd = |addr_width| {
        let table = IommuHwptVtdS1 {
            addr_width,
            ..Default::default()
        };
        let request = NestedRequest {
            flags: PagingFlags::empty(),
            data: &data(&table),
        };
        let nested = w
            .unit
            .alloc_nested(&*w.endpoint, &w.parent, &request)
            .unwrap();
        w.endpoint.attach(Pasid::NONE, &Domain::Nested(nested))
    };
    for width in [0, 39, 57, 64] {
        assert_eq!(odd(width).unwrap_err().errno, Errno::EINVAL, "{width}");
    }
    assert!(odd(48).is_ok());
    let plain = paging(&w.unit, &w.endpoint, PagingFlags::empty());
    let table = IommuHwptVtdS1::default();
    let request = NestedRequest {
        flags: PagingFlags::empty(),
        data: &data(&table),
    };
    let on_plain = w.unit.alloc_nested(&*w.endpoint, &plain, &request);
    assert_eq!(on_plain.unwrap_err().errno, Errno::EINVAL);
}

#[test]
fn invalidations_are_checked() {
    let w = World::new(Retention::LegalMaximum);
    let nested = w.nested(0);
    assert_eq!(invalidate(&nested, 0x800, 1), (0, Err(Errno::EINVAL)));
    assert_eq!(
        invalidate(&nested, 0x1000, u64::MAX),
        (0, Err(Errno::EINVAL))
    );
    let flagged = nested.invalidate(&one(&IommuHwptVtdS1Invalidate {
        flags: 2,
        ..Default::default()
    }));
    assert_eq!(flagged.result.unwrap_err().errno, Errno::EOPNOTSUPP);
}

#[test]
fn paging_domains_translate_by_themselves() {
    let w = World::new(Retention::LegalMaximum);
    for flags in [PagingFlags::empty(), PagingFlags::DIRTY_TRACKING] {
        let domain = paging(&w.unit, &w.endpoint, flags);
        w.map_stage2(&*domain, 100, 7, Prot::RW);
        w.map_stage2(&*domain, 101, 8, Prot::READ);
        w.endpoint
            .attach(Pasid(3), &Domain::Paging(domain.clone()))
            .unwrap();
        let mut port = w.endpoint.dma_port(Pasid(3));
        port.write(Iova::new(100 * PAGE), b"x").unwrap();
        assert_eq!(w.peek(gpa(7)).to_le_bytes()[0], b'x');
        assert!(port.write(Iova::new(101 * PAGE), b"x").is_err());
        port.read(Iova::new(101 * PAGE), &mut [0]).unwrap();
        let page = IovaRange::from_len(Iova::new(100 * PAGE), PAGE).unwrap();
        domain.unmap(page);
        assert!(port.read(Iova::new(100 * PAGE), &mut [0]).is_err());
        w.endpoint.detach(Pasid(3));
        assert!(port.read(Iova::new(101 * PAGE), &mut [0]).is_err());
    }
}

#[test]
fn dirty_pages_are_those_that_were_written() {
    let w = World::new(Retention::LegalMaximum);
    let domain = paging(&w.unit, &w.endpoint, PagingFlags::DIRTY_TRACKING);
    for page in 0..4 {
        w.map_stage2(&*domain, 100 + page, page, Prot::RW);
    }
    w.endpoint
        .attach(Pasid::NONE, &Domain::Paging(domain.clone()))
        .unwrap();
    let mut port = w.endpoint.dma_port(Pasid::NONE);
    let all = IovaRange::from_len(Iova::new(100 * PAGE), 4 * PAGE).unwrap();
    let dirty = |mode| {
        let mut pages = Vec::new();
        let mut report = |leaf: IovaRange| pages.push(leaf.start().get() / PAGE - 100);
        domain.read_dirty(all, mode, &mut report).unwrap();
        pages
    };
    port.write(Iova::new(101 * PAGE), &[1]).unwrap();
    assert_eq!(dirty(DirtyRead::Keep), [0; 0], "nobody tracks yet");
    domain.set_dirty_tracking(DirtyTracking::On).unwrap();
    port.write(Iova::new(101 * PAGE), &[1]).unwrap();
    port.read(Iova::new(102 * PAGE), &mut [0]).unwrap();
    port.write(Iova::new(103 * PAGE), &[1]).unwrap();
    assert_eq!(dirty(DirtyRead::Keep), [1, 3]);
    assert_eq!(dirty(DirtyRead::Clear), [1, 3]);
    assert_eq!(dirty(DirtyRead::Keep), [0; 0]);
    port.write(Iova::new(103 * PAGE), &[1]).unwrap();
    assert_eq!(dirty(DirtyRead::Keep), [3], "it was cached as dirty before");
}

#[test]
fn domains_have_the_limits_of_the_unit() {
    let w = World::new(Retention::Off);
    let plain = paging(&w.unit, &w.endpoint, PagingFlags::empty());
    assert_eq!(plain.aperture().last().get(), (1 << 47) - 1);
    assert_eq!(w.parent.aperture().last().get(), (1 << 48) - 1);
    let read_only = w.parent.map(&Mapping {
        iova: Iova::new(0x100_0000),
        memory: &[PaRange::from_len(swiommu_addr::Pa::new(0x1000), PAGE).unwrap()],
        prot: Prot::READ,
        leaves: PageSizes::ALL,
    });
    assert_eq!(read_only.unwrap_err().errno, Errno::EINVAL);
    assert_eq!(w.unit.settings().width, AddressWidth::Bits48);
}

/// Memory that was unmapped is used for something else at once; a request that still sees it would be one that the unmap did not
/// wait for.
#[test]
fn nothing_is_read_through_what_was_unmapped() {
    const OWN: u8 = 0xaa;
    const FOREIGN: u8 = 0xdd;
    const SHARED: u64 = 16;
    const LEN: usize = 16 * 4096;
    let w = World::new(Retention::LegalMaximum);
    let leaves: Vec<(u64, u64)> = (0..SHARED)
        .map(|page| (5 + page, gpa(20 + page) | USER_PAGE))
        .collect();
    w.guest_tables(&leaves);
    w.attach(&w.nested(0));
    let plain = paging(&w.unit, &w.endpoint, PagingFlags::empty());
    let map = || {
        for page in 0..SHARED {
            w.map_stage2(&*plain, 5 + page, 20 + page, Prot::RW);
        }
    };
    map();
    let domain = Domain::Paging(plain.clone());
    w.endpoint.attach(Pasid(1), &domain).unwrap();
    let fill = |byte| w.poke(gpa(20), &vec![byte; LEN]);
    fill(OWN);
    let stop = AtomicBool::new(false);
    let read = thread::scope(|scope| {
        let readers: Vec<_> = [0, 1, 0, 1]
            .into_iter()
            .map(|pasid| {
                let mut port = w.endpoint.dma_port(Pasid(pasid));
                let stop = &stop;
                scope.spawn(move || {
                    let (mut whole, mut bytes) = (0_u32, vec![0; LEN]);
                    let own = vec![OWN; LEN];
                    while !stop.load(Ordering::Relaxed) {
                        if port.read(Iova::new(5 * PAGE), &mut bytes).is_ok() {
                            assert!(bytes == own, "a foreign byte");
                            whole += 1;
                        }
                    }
                    whole
                })
            })
            .collect();
        let inner = IovaRange::from_len(Iova::new(gpa(20)), SHARED * PAGE).unwrap();
        let own = IovaRange::from_len(Iova::new(5 * PAGE), SHARED * PAGE).unwrap();
        for _ in 0..ROUNDS {
            w.parent.unmap(inner);
            plain.unmap(own);
            fill(FOREIGN);
            // Whoever is still on the way comes to see it.
            for _ in 0..8 {
                thread::yield_now();
            }
            fill(OWN);
            for page in 0..SHARED {
                w.map_stage2(&*w.parent, FIRST + 20 + page, 20 + page, Prot::RW);
            }
            map();
            for _ in 0..8 {
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .sum::<u32>()
    });
    assert!(read > 0, "somebody reads something");
}

/// Enough that the test fails nearly always when an unmap does not wait.
const ROUNDS: u32 = 40;
