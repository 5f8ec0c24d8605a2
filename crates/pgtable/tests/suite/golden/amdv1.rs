//! AMD v1: section A.1, and the second stage of the nested set, A.6.

use std::panic::catch_unwind;

use swiommu_addr::{Iova, IovaRange, Pa, PaRange, PageSizes};
use swiommu_pgtable::fmt::Amdv1;
use swiommu_pgtable::{Access, DirtyRead, Format, HeapTables, PageTable, Prot, Walker};

use super::*;

fn amdv1() -> Amdv1 {
    Amdv1::new().with_force_coherence()
}

#[test]
fn amdv1_leaves_of_every_kind() {
    let to_second = (ROOT, 0, 0, 0x6000_0001_0000_1401);
    let to_third = (SECOND, 0, 0, 0x6000_0001_0000_2201);
    check(
        "A.1",
        amdv1(),
        (0x1234_5000, 0xa_bcde_f000, 4 * K, Prot::RW),
        &[
            to_second,
            (SECOND, 0x091, 0x091, 0x6000_0001_0000_2201),
            (THIRD, 0x145, 0x145, 0x7000_000a_bcde_f001),
        ],
    );
    check(
        "A.1",
        amdv1(),
        (0x2000, 0x4000_2000, 8 * K, Prot::RW),
        &[
            to_second,
            to_third,
            (THIRD, 0x002, 0x003, 0x7000_0000_4000_2e01),
        ],
    );
    check(
        "A.1",
        amdv1(),
        (0x1_0000, 0x4001_0000, 64 * K, Prot::READ),
        &[
            to_second,
            to_third,
            (THIRD, 0x010, 0x01f, 0x3000_0000_4001_7e01),
        ],
    );
    check(
        "A.1",
        amdv1(),
        (0x10_0000, 0x4010_0000, M, Prot::RW),
        &[
            to_second,
            to_third,
            (THIRD, 0x100, 0x1ff, 0x7000_0000_4017_fe01),
        ],
    );
    check(
        "A.1",
        amdv1(),
        (0x20_0000, 0x4020_0000, 2 * M, Prot::RW),
        &[to_second, (SECOND, 0x001, 0x001, 0x7000_0000_4020_0001)],
    );
    check(
        "A.1",
        amdv1(),
        (0x40_0000, 0x4040_0000, 4 * M, Prot::RW),
        &[to_second, (SECOND, 0x002, 0x003, 0x7000_0000_405f_fe01)],
    );
    check(
        "A.1",
        amdv1(),
        (0x4000_0000, 0x8000_0000, G, Prot::WRITE),
        &[(ROOT, 0x001, 0x001, 0x5000_0000_8000_0001)],
    );
    check(
        "A.1",
        amdv1(),
        (0x1_0000_0000, 0x3_0000_0000, 4 * G, Prot::RW),
        &[(ROOT, 0x004, 0x007, 0x7000_0003_7fff_fe01)],
    );
}

#[test]
fn amdv1_root_grows_to_six_levels() {
    let memory = HeapTables::new();
    let table = PageTable::new(amdv1(), &memory).unwrap();
    map(&table, (0xffff_ffff_ffff_f000, 0x5000, 4 * K, Prot::RW));
    assert_eq!(
        (table.root().table, table.root().levels),
        (Pa::new(0x1_0000_3000), 6)
    );
    assert_entries(
        &memory,
        &[
            (0x1_0000_3000, 0x000, 0x000, 0x6000_0001_0000_2a01),
            (0x1_0000_2000, 0x000, 0x000, 0x6000_0001_0000_1801),
            (0x1_0000_1000, 0x000, 0x000, 0x6000_0001_0000_0601),
            (0x1_0000_3000, 0x07f, 0x07f, 0x6000_0001_0000_4a01),
            (0x1_0000_4000, 0x1ff, 0x1ff, 0x6000_0001_0000_5801),
            (0x1_0000_5000, 0x1ff, 0x1ff, 0x6000_0001_0000_6601),
            (0x1_0000_6000, 0x1ff, 0x1ff, 0x6000_0001_0000_7401),
            (0x1_0000_7000, 0x1ff, 0x1ff, 0x6000_0001_0000_8201),
            (0x1_0000_8000, 0x1ff, 0x1ff, 0x7000_0000_0000_5001),
        ],
    );
}

#[test]
fn amdv1_root_grows_to_four_levels() {
    let memory = HeapTables::new();
    let table = PageTable::new(amdv1(), &memory).unwrap();
    map(&table, (0x80_0000_0000, 0x6000, 4 * K, Prot::RW));
    assert_eq!(
        (table.root().table, table.root().levels),
        (Pa::new(0x1_0000_1000), 4)
    );
    assert_entries(
        &memory,
        &[
            (0x1_0000_1000, 0x000, 0x000, 0x6000_0001_0000_0601),
            (0x1_0000_1000, 0x001, 0x001, 0x6000_0001_0000_2601),
            (0x1_0000_2000, 0x000, 0x000, 0x6000_0001_0000_3401),
            (0x1_0000_3000, 0x000, 0x000, 0x6000_0001_0000_4201),
            (0x1_0000_4000, 0x000, 0x000, 0x7000_0000_0000_6001),
        ],
    );
}

#[test]
fn amdv1_dirty_leaf_is_read_once_and_cleaned_everywhere() {
    let memory = HeapTables::new();
    let table = PageTable::new(amdv1(), &memory).unwrap();
    map(&table, (0x1_0000, 0x4001_0000, 64 * K, Prot::RW));
    table.set_dirty(Iova::new(0x1_3abc)).unwrap();
    assert_entries(
        &memory,
        &[
            (THIRD, 0x010, 0x012, 0x7000_0000_4001_7e01),
            (THIRD, 0x013, 0x013, 0x7000_0000_4001_7e41),
            (THIRD, 0x014, 0x01f, 0x7000_0000_4001_7e01),
        ],
    );
    let mut dirty = Vec::new();
    let all = IovaRange::from_len(Iova::new(0), M).unwrap();
    let cleaned = table
        .read_dirty(all, DirtyRead::Clear, |leaf| dirty.push(leaf))
        .unwrap();
    let leaf = IovaRange::from_len(Iova::new(0x1_0000), 64 * K).unwrap();
    assert_eq!(dirty, [leaf]);
    assert_eq!(cleaned.range(), Some(leaf));
    assert_entries(&memory, &[(THIRD, 0x010, 0x01f, 0x7000_0000_4001_7e01)]);
}

/// 2^48 bytes are within reach of four levels, whose tables hold no such leaf; with five they do.
#[test]
fn amdv1_leaf_is_smaller_than_what_the_root_resolves() {
    let table = PageTable::new(amdv1(), HeapTables::new()).unwrap();
    let run = PaRange::from_len(Pa::new(0), 1 << 48).unwrap();
    let all = PageSizes::ALL;
    // The old root, empty, is below the new one, and gives way to a leaf.
    let replaced = table
        .map(Iova::new(0), run, Prot::RW, all)
        .unwrap()
        .replaced();
    assert!(!replaced.unwrap().flushed().is_empty());
    let size_log2 = |iova| table.translate(Iova::new(iova)).unwrap().size.log2();
    assert_eq!((table.root().levels, size_log2(0)), (4, 47));
    let replaced = table
        .map(Iova::new(1 << 48), run, Prot::RW, all)
        .unwrap()
        .replaced();
    assert!(replaced.is_none());
    assert_eq!((table.root().levels, size_log2(1 << 48)), (5, 48));
}

#[test]
fn amdv1_offers_every_power_of_two_but_one() {
    let table = PageTable::new(Amdv1::new(), HeapTables::new()).unwrap();
    assert_eq!(table.page_sizes().bitmap(), 0x000f_ff7f_ffff_f000);
    assert_eq!(table.aperture(), IovaRange::full());
    let small = PageTable::new(Amdv1::new().with_most_levels(4), HeapTables::new()).unwrap();
    assert_eq!(small.page_sizes().bitmap(), 0x0000_7f7f_ffff_f000);
    assert_eq!(small.aperture().last(), Iova::new((1 << 48) - 1));
}

/// The second stage of the nested set: host tables from `0x5_0000_0000` under the tables and pages of a guest.
#[test]
fn amdv1_second_stage_of_the_nested_set() {
    const ROOT: u64 = 0x5_0000_0000;
    let memory = HeapTables::starting_at(Pa::new(ROOT));
    let table = PageTable::new(amdv1(), &memory).unwrap();
    nested::map_second_stage(&table, Prot::RW, nested::VTD_AND_AMD);
    assert_entries(
        &memory,
        &[
            (ROOT, 0x002, 0x002, 0x6000_0005_0000_4401),
            (ROOT, 0x004, 0x004, 0x6000_0005_0000_1401),
            (ROOT, 0x02a, 0x02a, 0x6000_0005_0000_2401),
            (ROOT + 0x1000, 0x000, 0x000, 0x7000_0002_4000_0001),
            (ROOT + 0x2000, 0x1e6, 0x1e6, 0x6000_0005_0000_3201),
            (ROOT + 0x3000, 0x1ef, 0x1ef, 0x7000_0003_5555_5001),
            (ROOT + 0x4000, 0x000, 0x000, 0x6000_0005_0000_5201),
            (ROOT + 0x5000, 0x000, 0x000, 0x7000_0003_6666_6001),
        ],
    );
    let iova = Iova::new(0xa_bcde_f678);
    assert_eq!(
        table.translate(iova).unwrap().resolve(iova),
        Pa::new(0x3_5555_5678)
    );
}

/// DTE.Mode 1 and 2 (A.1): what an owner can begin with, and what a reader of somebody else's table can meet.
#[test]
fn amdv1_tables_of_one_and_two_levels() {
    let memory = HeapTables::new();
    let table = PageTable::new(amdv1().with_fewest_levels(1), &memory).unwrap();
    assert_eq!(table.root().levels, 1);
    map(&table, (0x5000, 0x7000, 4 * K, Prot::RW));
    assert_entries(&memory, &[(ROOT, 5, 5, 0x7000_0000_0000_7001)]);
    map(&table, (0x20_0000, 0x4020_0000, 2 * M, Prot::RW));
    let grown = [
        (SECOND, 0, 0, 0x6000_0001_0000_0201),
        (SECOND, 1, 1, 0x7000_0000_4020_0001),
    ];
    assert_entries(&memory, &grown);
    assert_eq!(table.root().levels, 2);
    for iova in [Iova::new(0x5abc), Iova::new(0x20_0abc)] {
        let ours = table.translate(iova).unwrap().resolve(iova);
        let walked = table.walker().walk(iova, Access::READ).unwrap();
        assert_eq!(walked.resolve(iova), ours);
    }
    assert!(Walker::new(Amdv1::new(), table.walker().memory(), table.root()).is_none());
}

#[test]
fn amdv1_roots_of_other_heights_are_mistakes_of_the_program() {
    let fewest = |levels| catch_unwind(|| Amdv1::new().with_fewest_levels(levels));
    let most = |levels| catch_unwind(|| Amdv1::new().with_most_levels(levels));
    for refused in [fewest(0), fewest(4), most(2), most(7)] {
        assert!(refused.is_err());
    }
    for (fewest, most) in [(fewest(1), most(3)), (fewest(3), most(6))] {
        let (fewest, most) = (fewest.unwrap().levels(), most.unwrap().levels());
        assert_eq!((*fewest.end(), *most.start()), (6, 3));
    }
    assert_eq!(Amdv1::default(), Amdv1::new());
}
