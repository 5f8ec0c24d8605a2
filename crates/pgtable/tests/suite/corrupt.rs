//! Entries that this crate would not write.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use swiommu_addr::{Iova, IovaRange, Pa, PageSizes};
use swiommu_pgtable::fmt::{Amdv1, MockAmdv1};
use swiommu_pgtable::{DirtyRead, Entry, Error, Format, HeapTables, Malformed, Prot, TableMemory};

use crate::support::*;

const ROOT: u64 = 0x1_0000_0000;
const PRESENT_RW: u64 = 0x6000_0000_0000_0001;

fn poke(tables: &Arc<HeapTables>, table: u64, index: usize, entry: u64) {
    tables.entries(Pa::new(table), 512).unwrap()[index].store(entry, Ordering::Relaxed);
}

/// What a walk through the entry that was put into the root at index 1 says.
fn translate_over(entry: u64) -> Result<Pa, Error> {
    let table = table(Amdv1::new());
    poke(table.memory(), ROOT, 1, entry);
    let at = Iova::new(0x4000_0123);
    table.translate_all([at], |_, found| assert_eq!(found, table.translate(at)));
    table.translate(at).map(|found| found.resolve(at))
}

fn malformed(entry: u64, reason: Malformed) -> Result<Pa, Error> {
    let (iova, at) = (Iova::new(0x4000_0123), Pa::new(ROOT + 8));
    Err(Error::Malformed {
        iova,
        at,
        entry,
        level: 2,
        reason,
    })
}

#[test]
fn a_walk_says_which_rule_an_entry_breaks() {
    // Next Level 3 to 6 in the top table of three levels, or at its own level.
    for next in 3_u8..7 {
        let entry = PRESENT_RW | u64::from(next) << 9 | ROOT;
        assert_eq!(
            translate_over(entry),
            malformed(entry, Malformed::TableLevel(next - 1))
        );
    }
    // Size codes for 8 KiB, 512 MiB, 1 GiB (the default, which has no code) and 512 GiB.
    for size_log2 in [13, 29, 30, 39] {
        let entry = PRESENT_RW | 7 << 9 | ((1 << (size_log2 - 1)) - 1) & !0xfff;
        assert_eq!(
            translate_over(entry),
            malformed(entry, Malformed::LeafSize(size_log2))
        );
    }
    // A table where no table is.
    for nowhere in [0, 0x1000, 0xf_ffff_ffff_f000] {
        let entry = PRESENT_RW | 2 << 9 | nowhere;
        assert_eq!(
            translate_over(entry),
            malformed(entry, Malformed::NoTableMemory)
        );
    }
    assert_eq!(
        translate_over(0x6000_0000_0000_0000),
        Err(Error::NotMapped {
            iova: Iova::new(0x4000_0123),
            level: 2
        })
    );
}

#[test]
fn the_top_level_of_six_holds_no_leaves() {
    let format = Amdv1::new();
    assert_eq!(
        format.decode(PRESENT_RW, 5),
        Entry::Malformed(Malformed::LeafSize(57))
    );
    let sized = PRESENT_RW | 7 << 9 | 0xf_ffff_ffff_f000;
    assert!(matches!(
        format.decode(sized, 5),
        Entry::Malformed(Malformed::LeafSize(_))
    ));
    assert!(matches!(format.decode(PRESENT_RW, 4), Entry::Leaf(leaf) if leaf.size.log2() == 48));
}

#[test]
fn a_table_may_skip_a_level_whose_bits_are_zero() {
    let table = table(Amdv1::new());
    let pages = table
        .memory()
        .alloc(swiommu_addr::PageSize::SIZE_4K)
        .unwrap();
    poke(table.memory(), pages.get(), 0x12, PRESENT_RW | 0x7000);
    let entry = PRESENT_RW | 1 << 9 | pages.get();
    poke(table.memory(), ROOT, 1, entry);
    let at = Iova::new(0x4001_2345);
    assert_eq!(table.translate(at).unwrap().resolve(at), Pa::new(0x7345));
    let iova = Iova::new(0x4021_2345);
    let reason = Malformed::SkippedBits;
    let refused = Error::Malformed {
        iova,
        at: Pa::new(ROOT + 8),
        entry,
        level: 2,
        reason,
    };
    assert_eq!(table.translate(iova), Err(refused));
    // It is not a table of ours: an unmap removes the entry.
    assert_eq!(unmap(&table, 0x4000_0000, 0x1000).1, 0);
    assert!(matches!(
        table.translate(at),
        Err(Error::NotMapped { level: 2, .. })
    ));
}

#[test]
fn permissions_are_those_of_the_whole_path() {
    let table = table(MockAmdv1::mock());
    map(&table, 0x1000, 0x8000, 0x800);
    let prot = || table.translate(Iova::new(0x1000)).unwrap().prot;
    assert_eq!(prot(), Prot::RW);
    let root = table.memory().entries(Pa::new(ROOT), 512).unwrap()[0].load(Ordering::Relaxed);
    poke(table.memory(), ROOT, 0, root & !(1 << 62));
    assert_eq!(prot(), Prot::READ);
    poke(table.memory(), ROOT, 0, root & !(3 << 61));
    assert_eq!(prot(), Prot::empty());
}

#[test]
fn no_operation_stumbles_over_garbage() {
    let format = Amdv1::new();
    let level = |shift: u64| -> u64 { 0x4000_0000 + shift };
    // Every Next Level and the low address bits that make size codes and loops, in a table on every level.
    for table_pa in [ROOT, ROOT + 0x1000, ROOT + 0x2000] {
        for next in 0..8 {
            for address in [
                0,
                ROOT,
                ROOT + 0x1000,
                ROOT + 0x2000,
                0x7f000,
                0x3fff_f000,
                0xf_ffff_ffff_f000,
            ] {
                let table = table(format);
                map(&table, level(0), 0x8000_1000, 0x1000);
                let index = usize::from(table_pa == ROOT);
                poke(
                    table.memory(),
                    table_pa,
                    index,
                    PRESENT_RW | next << 9 | address,
                );
                let all = IovaRange::full();
                let _ = table.translate(Iova::new(level(0)));
                let _ = table.set_dirty(Iova::new(level(0)));
                assert!(table.leaves(all).unwrap().count() <= 512 * 512);
                let _ = table.read_dirty(all, DirtyRead::Clear, |_| {}).unwrap();
                let _ = table.dump().to_string();
                let _ = table.map(
                    Iova::new(level(0x20_0000)),
                    memory(0x1000, 0x1000),
                    Prot::RW,
                    PageSizes::ALL,
                );
                let _ = table.map(
                    Iova::new(level(0)),
                    memory(0, 0x8000_0000),
                    Prot::RW,
                    PageSizes::ALL,
                );
                let detached = table.unmap(iova(level(0), 0x1000)).unwrap();
                assert!(detached.bytes(table.memory()) <= 1 << 39);
                assert_eq!(
                    leaves(&table)
                        .iter()
                        .filter(|leaf| leaf.range().contains(Iova::new(level(0))))
                        .count(),
                    0
                );
            }
        }
    }
}
