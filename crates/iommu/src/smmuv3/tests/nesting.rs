//! Walks of a guest's tables in front of a second stage.

use swiommu_pgtable::HardwareUpdate;

use super::super::spec::AddressSize;
use super::super::*;
use super::world::{
    CDS, DATA, PAGE, RO, RW, TABLE, TABLES, UPPER_TABLES, World, gpa, linux_cd, linux_ste, read,
    write,
};
use crate::{Pasid, Prot, Retention};

#[test]
fn a_request_goes_through_both_stages() {
    let w = World::new();
    w.tables(&[(5, gpa(DATA) | RW), (6, gpa(DATA + 9) | RW)]);
    let mut port = w.attached();
    port.write(swiommu_addr::Iova::new(5 * PAGE + 4090), b"through both")
        .unwrap();
    assert_eq!(w.peek(gpa(DATA) + 4088).to_le_bytes()[2..], *b"throug");
    assert_eq!(w.peek(gpa(DATA + 9)).to_le_bytes()[..6], *b"h both");
    assert_eq!(read(&mut port, 6 * PAGE), Ok(b'h'));
    assert!(w.records.take().is_empty());
}

/// hw-formats.md A.6, with the tables of A.4.
#[test]
fn the_golden_nested_walk() {
    let settings = SmmuSettings {
        output: AddressSize::Bits44,
        ..SmmuSettings::default()
    };
    let w = World::with(settings, DeviceFeatures::empty());
    for table in 0..4 {
        w.map(
            &*w.parent,
            0x1_0000_0000 + table * PAGE,
            DATA + table,
            Prot::RW,
        );
    }
    w.map(&*w.parent, 0x8000_0000, DATA + 4, Prot::RW);
    w.map(&*w.parent, 0xa_bcde_f000, DATA + 5, Prot::RW);
    let entries = [
        (0x000, 0x1_0000_1003),
        (0x000, 0x1_0000_2003),
        (0x091, 0x1_0000_3003),
        (0x145, 0x000a_bcde_ff47),
    ];
    for (table, (index, entry)) in (0..).zip(entries) {
        w.poke_all(gpa(DATA + table) + index * 8, &[entry]);
    }
    let mut cd = linux_cd();
    cd[1] = 0x1_0000_0000;
    w.poke_all(gpa(DATA + 4), &cd);
    w.poke(gpa(DATA + 5) + 0x678, &[0x5a]);
    w.attach([0x8000_000b, 0xd6]);
    assert_eq!(read(&mut w.port(), 0x1234_5678), Ok(0x5a));
}

#[test]
fn units_of_every_width_nest() {
    // Of narrower addresses, the machine has no memory.
    let sizes = AddressSize::ALL.into_iter();
    for output in sizes.filter(|size| *size >= AddressSize::Bits40) {
        let settings = SmmuSettings {
            output,
            ..SmmuSettings::default()
        };
        let w = World::with(settings, DeviceFeatures::empty());
        w.tables(&[(5, gpa(DATA) | RW), (6, 1 << output.bits() | RW)]);
        w.poke(gpa(DATA), &[1]);
        let mut port = w.attached();
        assert_eq!(read(&mut port, 5 * PAGE), Ok(1), "{output:?}");
        let error = read(&mut port, 6 * PAGE).unwrap_err();
        let expected = if output == AddressSize::Bits48 {
            // The bit is none of an address.
            "F_TRANSLATION"
        } else {
            "F_ADDR_SIZE"
        };
        assert!(error.contains(expected), "{output:?}: {error}");
        let last = w.parent.aperture().last().get();
        assert_eq!(last, (1 << output.bits()) - 1);
    }
}

#[test]
fn the_upper_half_has_tables_of_its_own() {
    let w = World::new();
    w.tables(&[(5, gpa(DATA) | RW)]);
    w.tables_at(UPPER_TABLES, &[(5, gpa(DATA + 1) | RW)]);
    w.poke(gpa(DATA), &[1]);
    w.poke(gpa(DATA + 1), &[2]);
    let mut cd = linux_cd();
    // T1SZ 16, TG1 4 KiB, and EPD1 off; TBI of the upper half.
    cd[0] = cd[0] & !(1 << 30) | 16 << 16 | 2 << 22 | 1 << 39;
    cd[2] = gpa(UPPER_TABLES);
    w.poke_all(gpa(CDS), &cd);
    let mut port = w.attached();
    assert_eq!(read(&mut port, 5 * PAGE), Ok(1));
    let upper = 0xffff_0000_0000_0000 + 5 * PAGE;
    assert_eq!(read(&mut port, upper), Ok(2));
    assert_eq!(
        read(&mut port, upper & !(0xab << 56)),
        Ok(2),
        "the top byte says nothing"
    );
    let error = read(&mut port, (0xab << 56) | (5 * PAGE)).unwrap_err();
    assert!(error.contains("F_TRANSLATION"), "{error}");
}

#[test]
fn granules_of_16_and_64_kib() {
    for (tg0, granule_log2, page_log2, levels) in [(2, 14, 14, 4), (1, 16, 16, 3)] {
        let w = World::new();
        let pages = 1 << (granule_log2 - 12);
        // Tables are aligned to their size; so is the page.
        let first = (gpa(16) + (1 << granule_log2) - 1) >> granule_log2 << granule_log2;
        let table = |n: u64| first + n * (pages * PAGE);
        for n in 0..levels - 1 {
            w.poke_all(table(n), &[table(n + 1) | TABLE]);
        }
        let data = table(levels);
        w.poke_all(table(levels - 1) + 3 * 8, &[data | RW]);
        w.poke(data + 0x1234, &[7]);
        let mut cd = linux_cd();
        cd[0] |= tg0 << 6;
        cd[1] = table(0);
        w.poke_all(gpa(CDS), &cd);
        let mut port = w.attached();
        assert_eq!(read(&mut port, (3 << page_log2) + 0x1234), Ok(7), "{tg0}");
        assert!(read(&mut port, 2 << page_log2).is_err());
    }
}

#[test]
fn a_block_of_the_guest_is_where_the_second_stage_has_it() {
    let w = World::new();
    w.tables(&[]);
    // A block of 2 MiB at address 0 of the guest; of its pages, the second stage has the guest's.
    w.poke_all(gpa(TABLES + 2), &[RW & !2]);
    w.poke(gpa(DATA), &[1]);
    w.poke(gpa(DATA + 1), &[2]);
    let mut port = w.attached();
    assert_eq!(read(&mut port, gpa(DATA)), Ok(1));
    assert_eq!(read(&mut port, gpa(DATA + 1)), Ok(2));
    w.unmap_guest_page(DATA);
    assert!(read(&mut port, gpa(DATA)).is_err());
}

#[test]
fn both_stages_must_permit_it() {
    let w = World::new();
    w.unmap_guest_page(DATA + 1);
    w.map_guest_page(DATA + 1, DATA + 1, Prot::READ);
    let user = 1 << 6;
    w.tables(&[
        (1, gpa(DATA) | RO),
        (2, gpa(DATA + 1) | RW),
        (3, gpa(DATA) | RW & !user),
        (4, gpa(DATA) | RW),
    ]);
    let mut port = w.attached();
    let mut privileged = w.port().privileged();
    assert_eq!(read(&mut port, PAGE), Ok(0));
    let error = write(&mut port, PAGE, 1).unwrap_err();
    assert!(
        error.contains("F_PERMISSION") && !error.contains("stage 2"),
        "{error}"
    );
    assert_eq!(read(&mut port, 2 * PAGE), Ok(0));
    let error = write(&mut port, 2 * PAGE, 1).unwrap_err();
    assert!(
        error.contains("F_PERMISSION") && error.contains("stage 2"),
        "{error}"
    );
    assert!(read(&mut port, 3 * PAGE).is_err(), "not for users");
    write(&mut privileged, 3 * PAGE, 1).unwrap();
    write(&mut privileged, 4 * PAGE, 2).unwrap();
}

#[test]
fn what_the_descriptor_says_about_permissions() {
    let change = |bits: u64, had: u64| {
        let w = World::new();
        w.tables(&[(4, gpa(DATA) | RW)]);
        // The guest's second table forbids everything below to users, and writes (APTable).
        w.poke_all(gpa(TABLES + 1), &[gpa(TABLES + 2) | TABLE | 3 << 61]);
        let mut cd = linux_cd();
        cd[0] |= bits;
        cd[1] |= had;
        w.poke_all(gpa(CDS), &cd);
        let mut port = w.attached();
        let mut privileged = w.port().privileged();
        (
            write(&mut port, 4 * PAGE, 1).is_ok(),
            read(&mut privileged, 4 * PAGE).is_ok(),
            write(&mut privileged, 4 * PAGE, 1).is_ok(),
        )
    };
    assert_eq!(change(0, 0), (false, true, false), "the table's");
    assert_eq!(change(0, 2), (true, true, true), "HAD");
    assert_eq!(change(1 << 40, 2), (true, false, false), "PAN");
}

#[test]
fn what_can_be_written_is_never_executed_where_the_descriptor_says_so() {
    let executes = |bits: u64, leaf: u64| {
        let w = World::new();
        w.tables(&[(4, gpa(DATA) | leaf)]);
        let mut cd = linux_cd();
        cd[0] |= bits;
        w.poke_all(gpa(CDS), &cd);
        let execute = swiommu_pgtable::Access::EXECUTE;
        let at = swiommu_addr::Iova::new(4 * PAGE);
        w.attached().access(at, 4, execute, |_| ()).is_ok()
    };
    let wxn = 1 << 36;
    assert!(executes(0, RW) && executes(0, RO));
    assert!(!executes(wxn, RW) && executes(wxn, RO));
}

#[test]
fn the_access_flag_is_kept_where_the_guest_wants_it() {
    let clean = RW & !(1 << 10);
    let found = |updates, bits: u64| {
        let settings = SmmuSettings {
            updates,
            ..SmmuSettings::default()
        };
        let w = World::with(settings, DeviceFeatures::empty());
        w.tables(&[(5, gpa(DATA) | clean)]);
        let mut cd = linux_cd();
        cd[0] |= bits;
        w.poke_all(gpa(CDS), &cd);
        let done = read(&mut w.attached(), 5 * PAGE);
        (
            done.map_err(|error| error.contains("F_ACCESS")),
            w.peek(World::leaf_at(5)),
        )
    };
    let (ha, affd) = (1 << 43, 1 << 35);
    let (none, accessed) = (HardwareUpdate::None, HardwareUpdate::Accessed);
    assert_eq!(found(none, 0), (Err(true), gpa(DATA) | clean));
    assert_eq!(found(none, affd), (Ok(0), gpa(DATA) | clean));
    assert_eq!(found(accessed, ha), (Ok(0), gpa(DATA) | RW));
    assert_eq!(found(accessed, 0), (Err(true), gpa(DATA) | clean));
}

#[test]
fn writes_are_marked_where_the_guest_wants_it() {
    let settings = SmmuSettings {
        updates: HardwareUpdate::AccessedAndDirty,
        ..SmmuSettings::default()
    };
    let w = World::with(settings, DeviceFeatures::empty());
    let clean = RO | 1 << 51;
    w.tables(&[(5, gpa(DATA) | clean), (6, gpa(DATA) | RO)]);
    let mut cd = linux_cd();
    cd[0] |= 3 << 42;
    w.poke_all(gpa(CDS), &cd);
    let mut port = w.attached();
    assert_eq!(read(&mut port, 5 * PAGE), Ok(0));
    assert_eq!(
        w.peek(World::leaf_at(5)),
        gpa(DATA) | clean,
        "a read is not marked"
    );
    write(&mut port, 5 * PAGE, 1).unwrap();
    let dirty = RW | 1 << 51;
    assert_eq!(
        w.peek(World::leaf_at(5)),
        gpa(DATA) | dirty,
        "although it was cached"
    );
    let error = write(&mut port, 6 * PAGE, 1).unwrap_err();
    assert!(error.contains("F_PERMISSION"), "{error}");
    // What is dirty is cached as such: it is not marked again until the guest invalidates it.
    w.poke_all(World::leaf_at(5), &[gpa(DATA) | clean]);
    write(&mut port, 5 * PAGE, 2).unwrap();
    assert_eq!(w.peek(World::leaf_at(5)), gpa(DATA) | clean);
    w.command(0x30, 0);
    write(&mut port, 5 * PAGE, 3).unwrap();
    assert_eq!(w.peek(World::leaf_at(5)), gpa(DATA) | dirty);
}

/// Marking an entry is a write, which the second stage must permit; reading it is none.
#[test]
fn tables_that_the_guest_may_only_read_cannot_be_marked() {
    let settings = SmmuSettings {
        updates: HardwareUpdate::AccessedAndDirty,
        ..SmmuSettings::default()
    };
    let w = World::with(settings, DeviceFeatures::empty());
    let clean = RO | 1 << 51;
    w.tables(&[(5, gpa(DATA) | clean)]);
    let mut cd = linux_cd();
    cd[0] |= 3 << 42;
    w.poke_all(gpa(CDS), &cd);
    w.unmap_guest_page(TABLES + 3);
    w.map_guest_page(TABLES + 3, TABLES + 3, Prot::READ);
    let mut port = w.attached();
    assert_eq!(read(&mut port, 5 * PAGE), Ok(0));
    let error = write(&mut port, 5 * PAGE, 1).unwrap_err();
    assert!(error.contains("F_PERMISSION (0x13): stage 2"), "{error}");
    assert_eq!(w.peek(World::leaf_at(5)), gpa(DATA) | clean);
    assert!(w.records.take().is_empty(), "it is the host's");
}

#[test]
fn a_guest_without_a_stage_1_has_the_second() {
    let w = World::new();
    w.poke(gpa(DATA), &[3]);
    w.attach([0x9, 0]);
    assert_eq!(read(&mut w.port(), gpa(DATA)), Ok(3));
    let error = read(&mut w.endpoint.dma_port(Pasid(1)), gpa(DATA)).unwrap_err();
    assert!(error.contains("C_BAD_SUBSTREAMID"), "{error}");
    assert_eq!(w.records.take().len(), 1);
    for aborting in [[0x1, 0], [0, 0], [gpa(CDS) | 0xa, 0xd6]] {
        w.attach(aborting);
        assert!(read(&mut w.port(), gpa(DATA)).is_err());
        assert!(w.records.take().is_empty(), "nobody is told");
    }
}

#[test]
fn without_caches_every_change_is_seen() {
    let settings = SmmuSettings {
        caches: Retention::Off,
        ..SmmuSettings::default()
    };
    let w = World::with(settings, DeviceFeatures::ATS);
    w.tables(&[(5, gpa(DATA) | RW)]);
    w.tables_at(UPPER_TABLES, &[(5, gpa(DATA + 2) | RW)]);
    for (page, byte) in [(DATA, 1), (DATA + 1, 2), (DATA + 2, 3)] {
        w.poke(gpa(page), &[byte]);
    }
    let [word0, word1] = linux_ste();
    w.attach([word0, word1 | 1 << 28]);
    let mut port = w.port();
    assert_eq!(read(&mut port, 5 * PAGE), Ok(1));
    w.poke_all(World::leaf_at(5), &[gpa(DATA + 1) | RW]);
    assert_eq!(read(&mut port, 5 * PAGE), Ok(2));
    w.poke_all(gpa(CDS) + 8, &[gpa(UPPER_TABLES)]);
    assert_eq!(read(&mut port, 5 * PAGE), Ok(3));
}
