//! What is told of requests that are not translated, and to whom.

use swiommu_addr::Iova;

use super::world::{
    CDS, DATA, PAGE, RO, RW, TABLE, TABLES, VSID, World, gpa, linux_cd, linux_ste, read, write,
};
use crate::{Pasid, Prot};

const SID: u64 = (VSID as u64) << 32;
const RNW: u64 = 1 << 35;
const INPUT: u64 = 2 << 40;

/// A guest with a page, and a descriptor that `change` has changed.
fn world(change: impl FnOnce(&mut [u64; 8])) -> World {
    let w = World::new();
    w.tables(&[(5, gpa(DATA) | RW)]);
    let mut cd = linux_cd();
    change(&mut cd);
    w.poke_all(gpa(CDS), &cd);
    w
}

/// The record of a read that fails, and what the device is told.
fn failing(w: &World, iova: u64) -> (Vec<[u64; 4]>, String) {
    let error = read(&mut w.port(), iova).unwrap_err();
    (w.records.take(), error)
}

/// A fault that stays with the host.
fn hidden(w: &World, iova: u64, name: &str) {
    let (records, error) = failing(w, iova);
    assert!(error.contains(name), "{error}");
    assert!(records.is_empty(), "{records:x?}");
}

#[test]
fn faults_of_the_guests_tables_are_told_to_the_guest() {
    let w = world(|_| {});
    w.poke_all(
        gpa(TABLES + 3) + 8,
        &[
            // 1: absent. 2: wider than IPS. 3: not accessed. 4: read-only. 5: as it was. 6: reserved in the lowest level.
            0,
            1 << 44 | RW,
            gpa(DATA) | RW & !(1 << 10),
            gpa(DATA) | RO,
            gpa(DATA) | RW,
            gpa(DATA) | RW & !2,
        ],
    );
    w.attach(linux_ste());
    let told = |iova| failing(&w, iova).0;
    assert_eq!(
        told(PAGE + 0x123),
        [[SID | 0x10, RNW | INPUT, PAGE + 0x123, 0]]
    );
    assert_eq!(told(2 * PAGE), [[SID | 0x11, RNW | INPUT, 2 * PAGE, 0]]);
    assert_eq!(told(3 * PAGE), [[SID | 0x12, RNW | INPUT, 3 * PAGE, 0]]);
    assert_eq!(told(6 * PAGE), [[SID | 0x10, RNW | INPUT, 6 * PAGE, 0]]);
    assert_eq!(
        told(1 << 40),
        [[SID | 0x10, RNW | INPUT, 1 << 40, 0]],
        "no table"
    );
    assert_eq!(
        told(1 << 48),
        [[SID | 0x10, RNW | INPUT, 1 << 48, 0]],
        "no half"
    );
    assert_eq!(
        told(u64::MAX),
        [[SID | 0x10, RNW | INPUT, u64::MAX, 0]],
        "EPD1"
    );
    write(&mut w.port(), 4 * PAGE, 1).unwrap_err();
    assert_eq!(w.records.take(), [[SID | 0x13, INPUT, 4 * PAGE, 0]]);
    let mut privileged = w.port().privileged();
    write(&mut privileged, 4 * PAGE, 1).unwrap_err();
    assert_eq!(
        w.records.take(),
        [[SID | 0x13, INPUT | 1 << 33, 4 * PAGE, 0]]
    );
}

#[test]
fn a_table_that_is_too_wide_is_an_address_size_fault() {
    let w = world(|_| {});
    w.poke_all(gpa(TABLES), &[1 << 44 | TABLE]);
    w.attach(linux_ste());
    assert_eq!(
        failing(&w, 5 * PAGE).0,
        [[SID | 0x11, RNW | INPUT, 5 * PAGE, 0]]
    );
}

#[test]
fn faults_of_the_second_stage_stay_with_the_host() {
    let w = world(|_| {});
    w.attach(linux_ste());
    w.unmap_guest_page(DATA);
    hidden(&w, 5 * PAGE, "F_TRANSLATION (0x10): stage 2");
    w.map_guest_page(DATA, DATA, Prot::READ);
    let error = write(&mut w.port(), 5 * PAGE, 1).unwrap_err();
    assert!(error.contains("F_PERMISSION (0x13): stage 2"), "{error}");
    // A table of the guest that the second stage does not have, or not for reading.
    w.unmap_guest_page(TABLES + 2);
    hidden(&w, 5 * PAGE, "F_TRANSLATION (0x10): stage 2");
    w.map_guest_page(TABLES + 2, TABLES + 2, Prot::WRITE);
    hidden(&w, 5 * PAGE, "F_PERMISSION (0x13): stage 2");
    // A pointer beyond what the second stage translates.
    w.poke_all(gpa(TABLES), &[gpa(TABLES + 1) | TABLE]);
    assert!(w.records.take().is_empty());
}

#[test]
fn a_descriptor_that_is_not_there() {
    let w = world(|_| {});
    w.attach([gpa(500) | 0xb, 0xd6]);
    hidden(&w, 5 * PAGE, "F_TRANSLATION (0x10): stage 2");
    w.attach([1 << 48 | 0xb, 0xd6]);
    let (records, error) = failing(&w, 5 * PAGE);
    assert_eq!(records, [[SID | 0x04, 0, 0, 0]], "{error}");
    // The second stage leads to a page that is no memory.
    let nowhere = swiommu_addr::PaRange::from_len(swiommu_addr::Pa::new(0x7000), PAGE).unwrap();
    w.unmap_guest_page(CDS);
    w.map_memory(gpa(CDS), nowhere);
    w.attach(linux_ste());
    hidden(&w, 5 * PAGE, "F_CD_FETCH (0x09)");
    w.unmap_guest_page(CDS);
    w.map_guest_page(CDS, CDS, Prot::RW);
    w.unmap_guest_page(TABLES);
    w.map_memory(gpa(TABLES), nowhere);
    hidden(&w, 5 * PAGE, "F_WALK_EABT (0x0b)");
}

#[test]
fn a_descriptor_that_is_not_legal() {
    for change in [
        |cd: &mut [u64; 8]| cd[0] &= !(1 << 31),
        |cd: &mut [u64; 8]| cd[0] |= 1 << 44,
        |cd: &mut [u64; 8]| cd[0] &= !(1 << 46),
        |cd: &mut [u64; 8]| cd[0] &= !(1 << 41),
        |cd: &mut [u64; 8]| cd[0] |= 1 << 15,
        |cd: &mut [u64; 8]| cd[0] |= 1 << 43,
        |cd: &mut [u64; 8]| cd[0] |= 0x3f,
        |cd: &mut [u64; 8]| cd[0] |= 3 << 6,
        |cd: &mut [u64; 8]| cd[1] = 1 << 44,
    ] {
        let w = world(change);
        w.attach(linux_ste());
        assert_eq!(failing(&w, 5 * PAGE).0, [[SID | 0x0a, 0, 0, 0]]);
    }
}

#[test]
fn an_entry_that_is_not_legal() {
    let w = world(|_| {});
    let [word0, word1] = linux_ste();
    for ste in [
        [word0, word1 | 1 << 27],
        [word0 | 21 << 59, word1],
        [1 << 48 | 0xb, word1],
    ] {
        w.attach(ste);
        for pasid in [0, 5] {
            read(&mut w.endpoint.dma_port(Pasid(pasid)), 5 * PAGE).unwrap_err();
            let substream = u64::from(pasid) << 12 | u64::from(pasid != 0) << 11;
            assert_eq!(
                w.records.take(),
                [[SID | substream | 0x04, 0, 0, 0]],
                "{ste:x?}"
            );
        }
    }
}

#[test]
fn what_the_descriptor_says_is_not_recorded_is_not() {
    // R is 0.
    let w = world(|cd| cd[0] &= !(1 << 45));
    w.attach(linux_ste());
    hidden(&w, 6 * PAGE, "F_TRANSLATION");
    // Events of the configuration are recorded all the same.
    read(&mut w.endpoint.dma_port(Pasid(5)), 5 * PAGE).unwrap_err();
    assert_eq!(w.records.take(), [[SID | 0x08 | 5 << 12, 0, 0, 0]]);
}

/// Of several things that are wrong, the first in the order of the walk is told.
#[test]
fn the_first_fault_is_told() {
    let w = world(|cd| cd[0] &= !(1 << 31));
    let [word0, word1] = linux_ste();
    // The entry before the substream, that before the descriptor, that before the walk.
    w.attach([word0 | 21 << 59, word1]);
    let told = |pasid| {
        read(&mut w.endpoint.dma_port(Pasid(pasid)), 6 * PAGE).unwrap_err();
        w.records.take()[0][0] & 0xff
    };
    assert_eq!(told(9), 0x04);
    w.attach([word0, word1]);
    assert_eq!(told(9), 0x08);
    assert_eq!(told(0), 0x0a);
    // Address size before access flag, that before permission; a fault of stage 1 before those of stage 2.
    let w = world(|_| {});
    w.attach(linux_ste());
    let mut port = w.port();
    let told = |port: &mut crate::DmaPort, leaf| {
        w.poke_all(World::leaf_at(6), &[leaf]);
        write(port, 6 * PAGE, 1).unwrap_err();
        let records = w.records.take();
        records.first().map_or(0, |record| record[0] & 0xff)
    };
    let no_access = RO & !(1 << 10);
    assert_eq!(told(&mut port, 1 << 44 | no_access), 0x11);
    assert_eq!(told(&mut port, gpa(500) | no_access), 0x12);
    assert_eq!(told(&mut port, gpa(500) | RO), 0x13);
    assert_eq!(told(&mut port, gpa(500) | RW), 0, "the second stage's");
}

#[test]
fn a_request_for_execution_says_so() {
    let w = world(|_| {});
    let never = 3 << 53;
    w.poke_all(World::leaf_at(6), &[gpa(DATA) | RO | never]);
    w.attach(linux_ste());
    let mut port = w.port();
    let execute = swiommu_pgtable::Access::EXECUTE;
    port.access(Iova::new(6 * PAGE), 4, execute, |_| ())
        .unwrap_err();
    assert_eq!(
        w.records.take(),
        [[SID | 0x13, RNW | INPUT | 1 << 34, 6 * PAGE, 0]]
    );
    w.poke_all(World::leaf_at(7), &[gpa(DATA) | RO]);
    port.access(Iova::new(7 * PAGE), 4, execute, |_| ())
        .unwrap();
}

/// A guest's tables may say anything: a request ends, and with an event of the walk.
#[test]
fn hostile_tables_end_in_a_fault() {
    let w = world(|_| {});
    w.attach(linux_ste());
    // A table that points to itself, at every level: it is its own leaf in the end.
    w.poke_all(gpa(TABLES), &[gpa(TABLES) | RW | TABLE]);
    assert!(read(&mut w.port(), 0).is_ok());
    assert!(read(&mut w.port(), 8 * PAGE).is_err());
    let wild = [
        0x0000_ffff_ffff_f003,
        u64::MAX,
        0xffff_0000_0000_0003,
        gpa(10_000) | TABLE,
        1,
        2,
        0x7ff_ffff_f001,
    ];
    for level in 0..4 {
        for entry in wild {
            w.tables(&[(5, gpa(DATA) | RW)]);
            let at = gpa(TABLES + level) + if level == 3 { 5 * 8 } else { 0 };
            w.poke_all(at, &[entry]);
            w.command(0x30, 0);
            let error = write(&mut w.port(), 5 * PAGE, 1).unwrap_err();
            assert!(error.contains("F_"), "{error}");
        }
    }
}
