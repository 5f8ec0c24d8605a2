//! What the paging-structure caches keep, and until when.

use swiommu_addr::{Pa, PageSize};

use super::*;

/// A guest whose IOVA pages lead to "old" by one table of leaves, and to "new" by another.
struct Change {
    w: World,
    nested: Arc<dyn NestedDomain>,
    port: DmaPort,
}

const LEAF: IommuHwptVtdS1InvalidateFlags = IommuHwptVtdS1InvalidateFlags::LEAF;
const ALL_LEVELS: IommuHwptVtdS1InvalidateFlags = IommuHwptVtdS1InvalidateFlags::empty();

/// The guest's other table of leaves, and where it has what.
const OTHER: u64 = 8;
const OLD: u64 = 20;
const NEW: u64 = 21;

/// IOVA pages of one table of leaves.
const PAGES: [u64; 5] = [5, 6, 7, 300, 511];
/// An IOVA page that has only the root in common with them, or the root's table as well.
const FAR: u64 = 1 << 27;
const FAR_BY_1G: u64 = 1 << 18;

impl Change {
    fn new(caches: Retention) -> Self {
        let w = World::new(caches);
        w.guest_tables(&PAGES.map(|page| (page, gpa(OLD) | USER_PAGE)));
        for page in PAGES {
            let at = gpa(OTHER) + page * 8;
            w.poke(at, &(gpa(NEW) | USER_PAGE).to_le_bytes());
        }
        w.poke(gpa(OLD), b"old");
        w.poke(gpa(NEW), b"new");
        let nested = w.nested(0);
        let port = w.attach(&nested);
        Self { w, nested, port }
    }

    /// Writes the entry that points to the table of leaves.
    fn set_table(&self, table: u64, bits: u64) {
        self.w.poke(gpa(2), &(gpa(table) | bits).to_le_bytes());
    }

    fn table_entry(&self) -> u64 {
        self.w.peek(gpa(2))
    }

    fn read(&mut self, page: u64) -> [u8; 3] {
        let mut found = [0; 3];
        self.port.read(Iova::new(page * PAGE), &mut found).unwrap();
        found
    }

    fn write(&mut self, page: u64) -> Result<(), String> {
        let written = self.port.write(Iova::new(page * PAGE), b"old");
        written.map_err(|error| error.to_string())
    }

    fn invalidate(&self, page: u64, flags: IommuHwptVtdS1InvalidateFlags) {
        let done = invalidate_with(&self.nested, page * PAGE, 1, flags);
        assert_eq!(done, (1, Ok(())));
    }
}

#[test]
fn a_walk_begins_at_a_table_that_is_known() {
    let mut change = Change::new(Retention::LegalMaximum);
    assert_eq!(change.read(5), *b"old");
    change.set_table(OTHER, USER_TABLE);
    assert_eq!(change.read(6), *b"old", "its translation was never cached");
    for page in [5, 6] {
        change.invalidate(page, LEAF);
        assert_eq!(change.read(page), *b"old", "not only a leaf has changed");
    }
    for far in [FAR, FAR_BY_1G] {
        change.invalidate(far, ALL_LEVELS);
        assert_eq!(change.read(300), *b"old", "that is none of its way");
        change.invalidate(300, LEAF);
    }
    change.invalidate(511, ALL_LEVELS);
    assert_eq!(
        change.read(7),
        *b"new",
        "the way to its neighbour is its own"
    );
    assert_eq!(change.read(5), *b"old", "its translation is still cached");
    change.invalidate(5, LEAF);
    assert_eq!(change.read(5), *b"new");
}

#[test]
fn the_way_to_a_fault_is_known() {
    let mut change = Change::new(Retention::LegalMaximum);
    let absent = Iova::new(100 * PAGE);
    assert!(change.port.read(absent, &mut [0]).is_err());
    change.set_table(OTHER, USER_TABLE);
    assert_eq!(change.read(5), *b"old");
}

#[test]
fn an_invalidation_of_everything_has_no_hint() {
    for flags in [LEAF, ALL_LEVELS] {
        let mut change = Change::new(Retention::LegalMaximum);
        assert_eq!(change.read(5), *b"old");
        change.set_table(OTHER, USER_TABLE);
        let all = invalidate_with(&change.nested, 0, u64::MAX, flags);
        assert_eq!(all, (1, Ok(())));
        assert_eq!((change.read(5), change.read(6)), (*b"new", *b"new"));
    }
}

#[test]
fn nothing_is_known_to_who_is_attached_again() {
    for stays_elsewhere in [false, true] {
        let mut change = Change::new(Retention::LegalMaximum);
        let domain = Domain::Nested(change.nested.clone());
        if stays_elsewhere {
            change.w.endpoint.attach(Pasid(1), &domain).unwrap();
        }
        assert_eq!(change.read(5), *b"old");
        change.w.endpoint.detach(Pasid::NONE);
        change.set_table(OTHER, USER_TABLE);
        change.w.endpoint.attach(Pasid::NONE, &domain).unwrap();
        assert_eq!((change.read(5), change.read(6)), (*b"new", *b"new"));
    }
}

#[test]
fn without_caches_a_walk_begins_at_the_root() {
    let mut change = Change::new(Retention::Off);
    assert_eq!(change.read(5), *b"old");
    change.set_table(OTHER, USER_TABLE);
    assert_eq!((change.read(5), change.read(6)), (*b"new", *b"new"));
}

#[test]
fn a_small_cache_forgets_the_way() {
    let mut change = Change::new("small=1".parse().unwrap());
    assert_eq!(change.read(5), *b"old");
    change.set_table(OTHER, USER_TABLE);
    // The root's table is reached once more, and takes the only place.
    assert!(
        change
            .port
            .read(Iova::new(FAR_BY_1G * PAGE), &mut [0])
            .is_err()
    );
    assert_eq!(change.read(6), *b"new");
}

#[test]
fn what_the_way_permits_is_known_with_it() {
    const READ_ONLY: u64 = 0x25;
    let mut change = Change::new(Retention::LegalMaximum);
    change.set_table(3, READ_ONLY);
    assert!(change.write(5).unwrap_err().contains("(0x85)"));
    assert_eq!(change.read(5), *b"old");
    for page in [5, 6] {
        assert!(change.write(page).unwrap_err().contains("(0x85)"));
    }
    change.set_table(3, USER_TABLE);
    change.write(6).expect("whoever permits more need not tell");
    change
        .write(7)
        .expect("and the way is known to permit it now");
    change.set_table(3, READ_ONLY);
    change.write(300).expect("who permits less must");
    change.invalidate(300, ALL_LEVELS);
    assert!(change.write(511).unwrap_err().contains("(0x85)"));
}

#[test]
fn a_table_is_known_only_once_its_entry_is_marked() {
    const UNMARKED: u64 = 0x7;
    let mut change = Change::new(Retention::LegalMaximum);
    change.set_table(3, UNMARKED);
    assert_eq!(change.read(5), *b"old");
    assert_eq!(change.table_entry(), gpa(3) | UNMARKED | 0x20, "accessed");
    change.set_table(3, UNMARKED);
    assert_eq!(change.read(6), *b"old");
    assert_eq!(
        change.table_entry(),
        gpa(3) | UNMARKED | 0x20,
        "walked through again"
    );
    assert_eq!(change.read(7), *b"old");
    change.set_table(3, UNMARKED);
    assert_eq!(change.read(300), *b"old");
    assert_eq!(change.table_entry(), gpa(3) | UNMARKED, "walked past");
}

#[test]
fn a_leaf_is_marked_also_at_the_end_of_a_known_way() {
    const CLEAN: u64 = 0x7;
    let mut change = Change::new(Retention::LegalMaximum);
    change.w.set_leaf(6, gpa(OLD) | CLEAN);
    assert_eq!(change.read(5), *b"old");
    change.write(6).unwrap();
    assert_eq!(change.w.peek(World::leaf_at(6)), gpa(OLD) | CLEAN | 0x60);
}

#[test]
fn a_way_ends_with_the_second_stage() {
    let mut change = Change::new(Retention::LegalMaximum);
    assert_eq!(change.read(5), *b"old");
    let table = IovaRange::from_len(Iova::new(gpa(3)), PAGE).unwrap();
    change.w.parent.unmap(table);
    let error = change.port.read(Iova::new(6 * PAGE), &mut [0]).unwrap_err();
    assert!(error.to_string().contains("(0x76)"), "{error}");
    // The guest has the other table there now.
    change
        .w
        .map_stage2(&*change.w.parent, FIRST + 3, OTHER, Prot::RW);
    assert_eq!(change.read(6), *b"new");
}

/// A table of ours that gives way to a large leaf is used for something else.
#[test]
fn a_way_ends_with_a_table_of_ours() {
    for flags in [PagingFlags::empty(), PagingFlags::DIRTY_TRACKING] {
        let w = World::new(Retention::LegalMaximum);
        let domain = paging(&w.unit, &w.endpoint, flags);
        let attached = Domain::Paging(domain.clone());
        w.endpoint.attach(Pasid::NONE, &attached).unwrap();
        let mut port = w.endpoint.dma_port(Pasid::NONE);
        w.map_stage2(&*domain, 5, 0, Prot::RW);
        port.read(Iova::new(5 * PAGE), &mut [0]).unwrap();
        domain.unmap(IovaRange::from_len(Iova::new(5 * PAGE), PAGE).unwrap());
        assert!(port.read(Iova::new(5 * PAGE), &mut [0]).is_err());

        let large = PageSize::SIZE_2M;
        let place = w.space.allocate(large.bytes()).unwrap();
        let runs = w.space.resolve(place, HostAccess::Write).unwrap();
        let memory: Vec<PaRange> = runs.iter().map(|run| run.memory).collect();
        assert!(memory[0].is_aligned(large), "for one leaf");
        let (iova, prot) = (Iova::new(0), Prot::RW);
        let leaves = PageSizes::ALL;
        let mapping = Mapping {
            iova,
            memory: &memory,
            prot,
            leaves,
        };
        domain.map(&mapping).unwrap();
        assert_eq!(
            domain.iova_to_phys(iova),
            Some(Pa::new(memory[0].start().get()))
        );
        port.read(Iova::new(5 * PAGE), &mut [0]).unwrap();
    }
}
