//! VT-d second stage: section A.3.

use swiommu_addr::{Iova, PageSizes};
use swiommu_pgtable::fmt::VtdSs;
use swiommu_pgtable::{DirtyRead, Error, HeapTables, PageTable, Prot};

use super::*;

const SECTION: &str = "A.3";

fn page(prot: Prot) -> Map {
    (0x1234_5000, 0xa_bcde_f000, 4 * K, prot)
}

/// The path to that page, of entries with these low bits.
fn path(table_bits: u64, leaf: u64) -> [Entries; 4] {
    [
        (ROOT, 0x000, 0x000, SECOND | table_bits),
        (SECOND, 0x000, 0x000, THIRD | table_bits),
        (THIRD, 0x091, 0x091, FOURTH | table_bits),
        (FOURTH, 0x145, 0x145, leaf),
    ]
}

#[test]
fn leaves_of_every_kind() {
    let format = VtdSs::four_level();
    check(SECTION, format, page(Prot::RW), &path(3, 0xa_bcde_f003));
    check(SECTION, format, page(Prot::READ), &path(3, 0xa_bcde_f001));
    check(
        SECTION,
        format,
        (0x20_0000, 0x4020_0000, 2 * M, Prot::RW),
        &[
            (ROOT, 0, 0, 0x1_0000_1003),
            (SECOND, 0, 0, 0x1_0000_2003),
            (THIRD, 0x001, 0x001, 0x4020_0083),
        ],
    );
    check(
        SECTION,
        format,
        (0x4000_0000, 0x8000_0000, G, Prot::WRITE),
        &[
            (ROOT, 0, 0, 0x1_0000_1003),
            (SECOND, 0x001, 0x001, 0x8000_0082),
        ],
    );
}

#[test]
fn coherence_is_in_the_leaves_and_flush_marks_in_the_tables() {
    let format = VtdSs::four_level().with_force_coherence();
    check(SECTION, format, page(Prot::RW), &path(3, 0xa_bcde_f803));
    let format = VtdSs::four_level().with_flush_marks();
    check(SECTION, format, page(Prot::RW), &path(0x403, 0xa_bcde_f003));
}

#[test]
fn three_and_five_levels() {
    check(
        SECTION,
        VtdSs::three_level(),
        (0x7f_c020_0000, 0x4020_0000, 2 * M, Prot::RW),
        &[
            (ROOT, 0x1ff, 0x1ff, 0x1_0000_1003),
            (SECOND, 0x001, 0x001, 0x4020_0083),
        ],
    );
    check(
        SECTION,
        VtdSs::five_level(),
        (0x1234_5678_9000, 0xa_bcde_f000, 4 * K, Prot::RW),
        &[
            (ROOT, 0x000, 0x000, 0x1_0000_1003),
            (SECOND, 0x024, 0x024, 0x1_0000_2003),
            (THIRD, 0x0d1, 0x0d1, 0x1_0000_3003),
            (FOURTH, 0x0b3, 0x0b3, 0x1_0000_4003),
            (FIFTH, 0x189, 0x189, 0xa_bcde_f003),
        ],
    );
}

#[test]
fn dirty_leaf_is_read_and_cleaned() {
    let memory = HeapTables::new();
    let table = PageTable::new(VtdSs::four_level(), &memory).unwrap();
    map(&table, page(Prot::RW));
    table.set_dirty(Iova::new(0x1234_5678)).unwrap();
    assert_entries(&memory, &path(3, 0xa_bcde_f203));
    let all = table.aperture();
    let mut seen = 0;
    let cleaned = table.read_dirty(all, DirtyRead::Clear, |_| seen += 1);
    assert!(cleaned.unwrap().range().is_some());
    assert_eq!(seen, 1);
    assert_entries(&memory, &path(3, 0xa_bcde_f003));
}

#[test]
fn a_nesting_parent_maps_nothing_read_only() {
    let format = VtdSs::four_level().with_force_writable();
    check(SECTION, format, page(Prot::RW), &path(3, 0xa_bcde_f003));
    let table = PageTable::new(format, HeapTables::new()).unwrap();
    let run = PaRange::from_len(Pa::new(0x1000), 4 * K).unwrap();
    let refused = table.map(Iova::new(0), run, Prot::READ, PageSizes::ALL);
    let prot = Prot::READ;
    assert_eq!(refused.unwrap_err(), Error::Inexpressible { prot });
}

#[test]
fn widths_and_sizes_on_offer() {
    let widths = [
        (VtdSs::three_level(), 39, 0x4020_1000),
        (VtdSs::four_level(), 48, 0x4020_1000),
        (VtdSs::five_level(), 57, 0x4020_1000),
    ];
    for (format, bits, sizes) in widths {
        let table = PageTable::new(format, HeapTables::new()).unwrap();
        assert_eq!(table.aperture().last(), Iova::new((1 << bits) - 1));
        assert_eq!(table.page_sizes().bitmap(), sizes);
        let only_4k = format.with_leaf_sizes(PageSizes::from_bitmap(0x1000));
        let table = PageTable::new(only_4k, HeapTables::new()).unwrap();
        assert_eq!(table.page_sizes().bitmap(), 0x1000);
    }
}
