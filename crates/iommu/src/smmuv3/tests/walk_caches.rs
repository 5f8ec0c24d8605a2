//! Tables on the way to leaves are kept until they are invalidated, too.

use swiommu_addr::{Iova, IovaRange, Pa, PaRange};

use super::super::*;
use super::world::{
    CDS, DATA, PAGE, RW, TABLE, TABLES, UPPER_TABLES, World, gpa, linux_cd, map_memory, paging,
    read,
};
use crate::{DmaPort, Domain, Endpoint, PagingFlags, Pasid, Prot};

const OLD: u8 = 1;
const NEW: u8 = 2;

/// The lowest table of what replaces the guest's.
const OTHER_LEAVES: u64 = UPPER_TABLES + 3;

/// A guest of which page 5 is cached, and the tables that lead there, and which then lets another table take the place of the lowest.
/// In that, page 6 is new.
fn replaced() -> (World, DmaPort) {
    let w = World::new();
    w.poke(gpa(DATA), &[OLD]);
    w.poke(gpa(DATA + 1), &[NEW]);
    w.tables(&[(5, gpa(DATA) | RW), (6, gpa(DATA) | RW)]);
    w.poke_all(gpa(OTHER_LEAVES) + 6 * 8, &[gpa(DATA + 1) | RW]);
    let mut port = w.attached();
    assert_eq!(read(&mut port, 5 * PAGE), Ok(OLD));
    w.poke_all(gpa(TABLES + 2), &[gpa(OTHER_LEAVES) | TABLE]);
    (w, port)
}

fn after(word0: u64, word1: u64) -> u8 {
    let (w, mut port) = replaced();
    w.command(word0, word1);
    read(&mut port, 6 * PAGE).unwrap()
}

const ASID: u64 = 0x42 << 48;
const OTHER_ASID: u64 = 0x43 << 48;

#[test]
fn a_table_that_is_known_is_begun_at() {
    let (_w, mut port) = replaced();
    assert_eq!(read(&mut port, 6 * PAGE), Ok(OLD));
}

#[test]
fn a_command_that_is_not_for_leaves_alone_covers_the_tables_on_the_way() {
    let any_leaf = 6 * PAGE;
    assert_eq!(after(0x12 | ASID, any_leaf | 1), OLD, "Leaf");
    assert_eq!(after(0x12 | ASID, any_leaf), NEW);
    assert_eq!(after(0x12 | OTHER_ASID, any_leaf), OLD);
    assert_eq!(after(0x13, any_leaf | 1), OLD, "Leaf");
    assert_eq!(after(0x13, any_leaf), NEW);
    // The table is on the way to these, too; to what lies beyond it, it is not.
    assert_eq!(after(0x12 | ASID, 511 * PAGE), NEW);
    assert_eq!(after(0x12 | ASID, 512 * PAGE), OLD);
    assert_eq!(after(0x11 | ASID, 0), NEW);
    assert_eq!(after(0x11 | OTHER_ASID, 0), OLD);
    assert_eq!(after(0x10, 0), NEW);
    assert_eq!(after(0x30, 0), NEW);
}

#[test]
fn the_halves_have_ways_of_their_own() {
    let w = World::new();
    w.poke(gpa(DATA), &[OLD]);
    w.poke(gpa(DATA + 1), &[NEW]);
    w.tables(&[(5, gpa(DATA) | RW), (6, gpa(DATA) | RW)]);
    w.tables_at(
        UPPER_TABLES,
        &[(5, gpa(DATA + 1) | RW), (6, gpa(DATA + 1) | RW)],
    );
    let mut cd = linux_cd();
    cd[0] = cd[0] & !(1 << 30) | 16 << 16 | 2 << 22;
    cd[2] = gpa(UPPER_TABLES);
    w.poke_all(gpa(CDS), &cd);
    let mut port = w.attached();
    let upper = 0xffff_0000_0000_0000;
    assert_eq!(read(&mut port, 5 * PAGE), Ok(OLD));
    assert_eq!(read(&mut port, upper + 5 * PAGE), Ok(NEW));
    assert_eq!(read(&mut port, upper + 6 * PAGE), Ok(NEW));
    assert_eq!(read(&mut port, 6 * PAGE), Ok(OLD));
}

/// A table of 16 KiB that the second stage has in pieces.
#[test]
fn a_table_may_be_in_several_places() {
    let w = World::new();
    let first = (gpa(16) + 0x3fff) & !0x3fff;
    let table = |n: u64| first + n * 0x4000;
    for n in 0..3 {
        w.poke_all(table(n), &[table(n + 1) | TABLE]);
    }
    let data = table(4);
    // Entries 600 and 601 are in the second page of the lowest table, which comes to lie elsewhere.
    let piece = (table(3) + PAGE - gpa(0)) / PAGE;
    let elsewhere = 100;
    w.unmap_guest_page(piece);
    w.map_guest_page(piece, elsewhere, Prot::RW);
    w.poke_all(gpa(elsewhere) + (600 - 512) * 8, &[data | RW, data | RW]);
    w.poke(data, &[OLD]);
    let mut cd = linux_cd();
    cd[0] |= 2 << 6;
    cd[1] = table(0);
    w.poke_all(gpa(CDS), &cd);
    let mut port = w.attached();
    assert_eq!(read(&mut port, 600 << 14), Ok(OLD));
    assert_eq!(
        read(&mut port, 601 << 14),
        Ok(OLD),
        "by the table that is known"
    );
}

/// A table of ours that is empty gives way to a larger leaf, and is known no more.
#[test]
fn a_table_that_is_replaced_is_forgotten() {
    const LARGE: u64 = 2 << 20;
    let w = World::new();
    let own = paging(&w.unit, &w.endpoint, PagingFlags::empty()).unwrap();
    for domain in [own, w.parent.clone()] {
        let attached = Domain::Paging(domain.clone());
        w.endpoint.attach(Pasid::NONE, &attached).unwrap();
        let mut port = w.port();
        let at = 1 << 30;
        w.map(&*domain, at, DATA, Prot::RW);
        assert_eq!(read(&mut port, at), Ok(0));
        domain.unmap(IovaRange::from_len(Iova::new(at), PAGE).unwrap());
        let error = read(&mut port, at).unwrap_err();
        assert!(error.contains("F_TRANSLATION"), "{error}");
        let nowhere = PaRange::from_len(Pa::new(LARGE), LARGE).unwrap();
        map_memory(&*domain, at, &[nowhere], Prot::RW);
        let error = read(&mut port, at).unwrap_err();
        assert!(error.contains("no memory"), "{error}");
    }
}

#[test]
fn without_caches_every_table_is_read() {
    let settings = SmmuSettings {
        caches: crate::Retention::Off,
        ..SmmuSettings::default()
    };
    let w = World::with(settings, DeviceFeatures::empty());
    w.poke(gpa(DATA), &[OLD]);
    w.poke(gpa(DATA + 1), &[NEW]);
    w.tables(&[(5, gpa(DATA) | RW)]);
    w.poke_all(gpa(OTHER_LEAVES) + 5 * 8, &[gpa(DATA + 1) | RW]);
    let mut port = w.attached();
    assert_eq!(read(&mut port, 5 * PAGE), Ok(OLD));
    w.poke_all(gpa(TABLES + 2), &[gpa(OTHER_LEAVES) | TABLE]);
    assert_eq!(read(&mut port, 5 * PAGE), Ok(NEW));
}
