//! What is cached stays until the guest invalidates it, and each command covers what it says and no more.

use super::super::*;
use super::world::{
    CDS, Commands, DATA, PAGE, RO, RW, TABLES, UPPER_TABLES, VSID, World, cd_of_asid, gpa,
    linux_cd, linux_ste, outcome, paging, read, viommu_on, write,
};
use crate::{DmaPort, PagingFlags, Pasid, Prot, Retention};

/// A leaf for all ASIDs.
const GLOBAL: u64 = RW & !(1 << 11);

/// Substream n has ASID 0x40 + n and the same tables: pages 5 and 6, and page 7 for all ASIDs.
struct Guest {
    w: World,
    ports: [DmaPort; 2],
}

/// What each substream reads of the pages 5, 6 and 7: old or new.
type Seen = [[u8; 3]; 2];
const OLD: u8 = 1;
const NEW: u8 = 2;
const ALL_OLD: Seen = [[OLD; 3]; 2];

impl Guest {
    /// All is cached, and the tables have been changed.
    fn stale(settings: SmmuSettings) -> Self {
        let w = World::with(settings, DeviceFeatures::empty());
        w.poke(gpa(DATA), &[OLD]);
        w.poke(gpa(DATA + 1), &[NEW]);
        for n in 0..2 {
            w.poke_all(gpa(CDS) + n * 64, &cd_of_asid(0x40 + n));
        }
        let leaves = |data: u64, last: u64| [(5, data | RW), (6, data | RW), (7, data | last)];
        w.tables(&leaves(gpa(DATA), GLOBAL));
        w.attach([gpa(CDS) | 0xb | 1 << 59, 0xd6]);
        let ports = [0, 1].map(|pasid| w.endpoint.dma_port(Pasid(pasid)));
        let mut guest = Self { w, ports };
        assert_eq!(guest.seen(), ALL_OLD);
        // What is cached for all ASIDs is found also where the tables would have it for one by now.
        guest.w.tables(&leaves(gpa(DATA + 1), RW));
        assert_eq!(guest.seen(), ALL_OLD, "the TLB keeps it");
        guest
    }

    fn seen(&mut self) -> Seen {
        let of = |port: &mut DmaPort| [5, 6, 7].map(|page| read(port, page * PAGE).unwrap());
        let [first, second] = &mut self.ports;
        [of(first), of(second)]
    }

    /// What is seen after a command.
    fn after(settings: SmmuSettings, word0: u64, word1: u64) -> Seen {
        let mut guest = Self::stale(settings);
        guest.w.command(word0, word1);
        guest.seen()
    }
}

fn after(word0: u64, word1: u64) -> Seen {
    Guest::after(SmmuSettings::default(), word0, word1)
}

fn asid(n: u64) -> u64 {
    (0x40 + n) << 48
}

/// A leaf of 4 KiB, by its granule and level.
const PAGE_LEAF: u64 = 0x701;

#[test]
fn everything() {
    let all = [[NEW; 3]; 2];
    assert_eq!(after(0x10, 0), all);
    assert_eq!(after(0x30, 0), all);
    // The guest's VMID is not the host's.
    assert_eq!(after(0x10 | 77 << 32, 0), all);
}

#[test]
fn an_asid_without_what_is_global() {
    assert_eq!(after(0x11 | asid(0), 0), [[NEW, NEW, OLD], [OLD; 3]]);
    assert_eq!(after(0x11 | asid(1), 0), [[OLD; 3], [NEW, NEW, OLD]]);
    assert_eq!(after(0x11 | asid(2), 0), ALL_OLD);
}

#[test]
fn an_address_of_an_asid() {
    let five = [[NEW, OLD, OLD], [OLD; 3]];
    assert_eq!(after(0x12 | asid(0), (5 * PAGE) | PAGE_LEAF), five);
    assert_eq!(
        after(0x12 | asid(0), 5 * PAGE),
        five,
        "without granule and level"
    );
    assert_eq!(after(0x12 | asid(1), 6 * PAGE), [[OLD; 3], [OLD, NEW, OLD]]);
    let global = [[OLD, OLD, NEW]; 2];
    assert_eq!(after(0x12 | asid(0), 7 * PAGE), global, "for all ASIDs");
    assert_eq!(after(0x12 | asid(9), 7 * PAGE), global, "by whichever");
    assert_eq!(after(0x12 | asid(0), 8 * PAGE), ALL_OLD);
    // Two pages, from 4 and from 5 on.
    let two = 1 << 12;
    assert_eq!(after(0x12 | asid(0) | two, (4 * PAGE) | PAGE_LEAF), five);
    let both = [[NEW, NEW, OLD], [OLD; 3]];
    assert_eq!(after(0x12 | asid(0) | two, (5 * PAGE) | PAGE_LEAF), both);
    // Four, aligned or not: the command says where they start.
    let four = 1 << 20 | 1 << 12;
    assert_eq!(after(0x12 | asid(0) | four, (2 * PAGE) | PAGE_LEAF), five);
}

#[test]
fn an_address_of_all_asids() {
    assert_eq!(after(0x13, (5 * PAGE) | PAGE_LEAF), [[NEW, OLD, OLD]; 2]);
    assert_eq!(after(0x13, 7 * PAGE), [[OLD, OLD, NEW]; 2]);
    let three = 2 << 12;
    assert_eq!(after(0x13 | three, (5 * PAGE) | PAGE_LEAF), [[NEW; 3]; 2]);
}

#[test]
fn an_address_of_another_granule_or_level() {
    for hint in [2 << 10 | 3 << 8, 3 << 10 | 3 << 8, 1 << 10 | 2 << 8] {
        let range = 1 << 12;
        assert_eq!(
            after(0x12 | asid(0) | range, (5 * PAGE) | hint),
            ALL_OLD,
            "{hint:#x}"
        );
    }
    // A granule without a level concerns all of its levels.
    let range = 1 << 12;
    let granule = after(0x12 | asid(0) | range, (5 * PAGE) | 1 << 10);
    assert_eq!(granule, [[NEW, NEW, OLD], [OLD; 3]]);
}

#[test]
fn without_ranges() {
    let mut settings = SmmuSettings::default();
    settings.features.remove(SmmuFeatures::RANGE_INVALIDATION);
    let seen = Guest::after(settings, 0x12 | asid(0), (5 * PAGE) | 1);
    assert_eq!(seen, [[NEW, OLD, OLD], [OLD; 3]]);
}

#[test]
fn what_concerns_descriptors_leaves_translations() {
    let vsid = u64::from(VSID) << 32;
    assert_eq!(after(0x05 | vsid, 1), ALL_OLD);
    assert_eq!(after(0x06 | vsid, 0), ALL_OLD);
    assert_eq!(after(0x40 | vsid, 0x34), ALL_OLD, "the device has no cache");
}

#[test]
fn a_small_cache_loses_what_it_has_no_room_for() {
    let w = World::with(
        SmmuSettings {
            caches: Retention::Small(1.try_into().unwrap()),
            ..SmmuSettings::default()
        },
        DeviceFeatures::empty(),
    );
    w.tables(&[(5, gpa(DATA) | RW), (6, gpa(DATA) | RW)]);
    w.poke(gpa(DATA + 1), &[NEW]);
    let mut port = w.attached();
    read(&mut port, 5 * PAGE).unwrap();
    w.poke_all(World::leaf_at(5), &[gpa(DATA + 1) | RW]);
    assert_eq!(read(&mut port, 5 * PAGE), Ok(0));
    read(&mut port, 6 * PAGE).unwrap();
    assert_eq!(read(&mut port, 5 * PAGE), Ok(NEW));
}

/// A block of the guest that the second stage has in pages is cached in pages. One address of it invalidates them all, as it
/// invalidates the block where it is cached whole.
#[test]
fn an_address_of_a_block_invalidates_all_of_it() {
    let block = |base: u64| base | RW & !2;
    for command in [
        (0x12 | 0x42 << 48, 0),
        (0x13, PAGE),
        (0x12 | 0x42 << 48, 1 << 10 | 2 << 8),
    ] {
        let w = World::new();
        w.tables(&[]);
        w.poke_all(gpa(TABLES + 2), &[block(0)]);
        let mut port = w.attached();
        let pages = [DATA, DATA + 1, DATA + 2].map(gpa);
        for at in pages {
            assert_eq!(read(&mut port, at), Ok(0));
        }
        w.poke_all(gpa(TABLES + 2), &[0]);
        assert!(
            pages.iter().all(|at| read(&mut port, *at).is_ok()),
            "the TLB keeps it"
        );
        w.command(command.0, command.1);
        assert!(
            pages.iter().all(|at| read(&mut port, *at).is_err()),
            "{command:x?}"
        );
    }
    // But not an address of pages.
    let w = World::new();
    w.tables(&[]);
    w.poke_all(gpa(TABLES + 2), &[block(0)]);
    let mut port = w.attached();
    read(&mut port, gpa(DATA)).unwrap();
    w.poke_all(gpa(TABLES + 2), &[0]);
    w.command(0x12 | 0x42 << 48, PAGE_LEAF);
    assert!(read(&mut port, gpa(DATA)).is_ok());
}

#[test]
fn a_permission_is_what_is_cached() {
    let w = World::new();
    w.tables(&[(5, gpa(DATA) | RO)]);
    let mut port = w.attached();
    read(&mut port, 5 * PAGE).unwrap();
    w.poke_all(World::leaf_at(5), &[gpa(DATA) | RW]);
    let error = write(&mut port, 5 * PAGE, 1).unwrap_err();
    assert!(error.contains("F_PERMISSION"), "{error}");
    assert_eq!(w.records.take()[0][0] & 0xff, 0x13);
    w.command(0x12 | 0x42 << 48, (5 * PAGE) | PAGE_LEAF);
    write(&mut port, 5 * PAGE, 1).unwrap();
    // The other way round, it is still permitted.
    w.poke_all(World::leaf_at(5), &[gpa(DATA) | RO]);
    write(&mut port, 5 * PAGE, 2).unwrap();
    w.command(0x12 | 0x42 << 48, (5 * PAGE) | PAGE_LEAF);
    write(&mut port, 5 * PAGE, 3).unwrap_err();
}

#[test]
fn faults_are_not_cached() {
    let w = World::new();
    w.tables(&[]);
    let mut port = w.attached();
    read(&mut port, 5 * PAGE).unwrap_err();
    w.poke_all(World::leaf_at(5), &[gpa(DATA) | RW]);
    read(&mut port, 5 * PAGE).unwrap();
}

#[test]
fn the_tables_of_a_descriptor_are_changed_by_its_asid() {
    let w = World::new();
    w.tables(&[(5, gpa(DATA) | RW)]);
    w.tables_at(UPPER_TABLES, &[(5, gpa(DATA + 1) | RW)]);
    w.poke(gpa(DATA), &[OLD]);
    w.poke(gpa(DATA + 1), &[NEW]);
    let mut port = w.attached();
    assert_eq!(read(&mut port, 5 * PAGE), Ok(OLD));
    let mut cd = linux_cd();
    cd[1] = gpa(UPPER_TABLES);
    w.poke_all(gpa(CDS), &cd);
    w.command(0x05 | u64::from(VSID) << 32, 1);
    assert_eq!(read(&mut port, 5 * PAGE), Ok(OLD), "its ASID is the same");
    w.command(0x11 | 0x42 << 48, 0);
    assert_eq!(read(&mut port, 5 * PAGE), Ok(NEW));
}

#[test]
fn what_a_guest_has_cached_outlives_its_entry() {
    let w = World::new();
    w.tables(&[(5, gpa(DATA) | RW)]);
    w.poke(gpa(DATA), &[OLD]);
    w.poke(gpa(DATA + 1), &[NEW]);
    let mut port = w.attached();
    assert_eq!(read(&mut port, 5 * PAGE), Ok(OLD));
    w.poke_all(World::leaf_at(5), &[gpa(DATA + 1) | RW]);
    w.attach([0x1, 0]);
    read(&mut port, 5 * PAGE).unwrap_err();
    w.attach(linux_ste());
    assert_eq!(read(&mut port, 5 * PAGE), Ok(OLD), "the VMID is the same");
    w.command(0x10, 0);
    assert_eq!(read(&mut port, 5 * PAGE), Ok(NEW));
}

#[test]
fn an_unmap_of_the_second_stage_reaches_what_is_cached_of_both() {
    let w = World::new();
    w.tables(&[(5, gpa(DATA) | RW), (6, gpa(DATA + 1) | GLOBAL)]);
    let mut port = w.attached();
    read(&mut port, 5 * PAGE).unwrap();
    read(&mut port, 6 * PAGE).unwrap();
    w.unmap_guest_page(DATA);
    w.unmap_guest_page(DATA + 1);
    for page in [5, 6] {
        let error = read(&mut port, page * PAGE).unwrap_err();
        assert!(error.contains("stage 2"), "{error}");
    }
    w.map_guest_page(DATA, DATA + 2, Prot::RW);
    w.poke(gpa(DATA + 2), &[NEW]);
    assert_eq!(read(&mut port, 5 * PAGE), Ok(NEW));
}

#[test]
fn a_guest_invalidates_nothing_of_another() {
    let w = World::new();
    w.tables(&[(5, gpa(DATA) | RW)]);
    w.poke(gpa(DATA), &[OLD]);
    let mut port = w.attached();
    assert_eq!(read(&mut port, 5 * PAGE), Ok(OLD));
    // Another guest of the unit, and a table of our own, with the same addresses.
    let other = paging(&w.unit, &w.endpoint, PagingFlags::NEST_PARENT).unwrap();
    let stranger = viommu_on(&w.unit, &w.endpoint, &other).unwrap();
    w.poke_all(World::leaf_at(5), &[gpa(DATA + 1) | RW]);
    let all = Commands {
        data_type: 1,
        entry_len: 16,
        words: vec![
            [0x30, 0],
            [0x10, 0],
            [0x11 | 0x42 << 48, 0],
            [0x13, 5 * PAGE],
        ],
    };
    let done = outcome(stranger.invalidate(&all));
    assert_eq!(done, (4, Ok(())));
    assert_eq!(read(&mut port, 5 * PAGE), Ok(OLD));
}
