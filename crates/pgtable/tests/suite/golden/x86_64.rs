//! x86-64, as VT-d first stage and as AMD v2: section A.2.

use swiommu_addr::{Iova, PageSizes};
use swiommu_pgtable::fmt::X86_64;
use swiommu_pgtable::{Error, HeapTables, PageTable, Prot};

use super::*;

const SECTION: &str = "A.2";
const PAGE: (u64, u64, u64) = (0x1234_5000, 0xa_bcde_f000, 4 * K);

fn page(prot: Prot) -> Map {
    (PAGE.0, PAGE.1, PAGE.2, prot)
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
    let format = X86_64::four_level();
    check(SECTION, format, page(Prot::RW), &path(0x027, 0xa_bcde_f067));
    for prot in [Prot::READ, Prot::READ | Prot::NOEXEC] {
        check(SECTION, format, page(prot), &path(0x027, 0xa_bcde_f025));
    }
    check(
        SECTION,
        format,
        (0x20_0000, 0x4020_0000, 2 * M, Prot::RW),
        &[
            (ROOT, 0, 0, 0x1_0000_1027),
            (SECOND, 0, 0, 0x1_0000_2027),
            (THIRD, 0x001, 0x001, 0x4020_00e7),
        ],
    );
    check(
        SECTION,
        format,
        (0x4000_0000, 0x8000_0000, G, Prot::RW),
        &[
            (ROOT, 0, 0, 0x1_0000_1027),
            (SECOND, 0x001, 0x001, 0x8000_00e7),
        ],
    );
}

/// What the specification says of permissions that the format has no bit for: they change nothing.
#[test]
fn other_permissions_change_nothing() {
    let format = X86_64::four_level();
    for prot in [
        Prot::WRITE,
        Prot::RW | Prot::CACHE | Prot::MMIO | Prot::PRIV,
    ] {
        check(SECTION, format, page(prot), &path(0x027, 0xa_bcde_f067));
    }
}

#[test]
fn upper_half_and_hole() {
    check(
        SECTION,
        X86_64::four_level(),
        (0xffff_8000_0000_0000, 0x7000, 4 * K, Prot::RW),
        &[
            (ROOT, 0x100, 0x100, 0x1_0000_1027),
            (SECOND, 0, 0, 0x1_0000_2027),
            (THIRD, 0, 0, 0x1_0000_3027),
            (FOURTH, 0, 0, 0x7067),
        ],
    );
    let table = PageTable::new(X86_64::four_level(), HeapTables::new()).unwrap();
    let page = PaRange::from_len(Pa::new(0x7000), 4 * K).unwrap();
    let hole = Iova::new(0x0000_8000_0000_0000);
    let refused = table.map(hole, page, Prot::RW, PageSizes::ALL).unwrap_err();
    assert!(matches!(refused, Error::OutOfRange { range } if range.start() == hole));
}

#[test]
fn tables_seen_by_walkers_that_are_not_coherent_are_marked() {
    let format = X86_64::four_level().with_flush_marks();
    check(SECTION, format, page(Prot::RW), &path(0x227, 0xa_bcde_f067));
}

#[test]
fn five_levels() {
    check(
        SECTION,
        X86_64::five_level(),
        (0x1234_5678_9000, 0xa_bcde_f000, 4 * K, Prot::RW),
        &[
            (ROOT, 0x000, 0x000, 0x1_0000_1027),
            (SECOND, 0x024, 0x024, 0x1_0000_2027),
            (THIRD, 0x0d1, 0x0d1, 0x1_0000_3027),
            (FOURTH, 0x0b3, 0x0b3, 0x1_0000_4027),
            (FIFTH, 0x189, 0x189, 0xa_bcde_f067),
        ],
    );
}

#[test]
fn amd_lower_half() {
    let format = X86_64::four_level().with_lower_half();
    check(
        SECTION,
        format,
        (0x7fff_1234_5000, 0xa_bcde_f000, 4 * K, Prot::RW),
        &[
            (ROOT, 0x0ff, 0x0ff, 0x1_0000_1027),
            (SECOND, 0x1fc, 0x1fc, 0x1_0000_2027),
            (THIRD, 0x091, 0x091, 0x1_0000_3027),
            (FOURTH, 0x145, 0x145, 0xa_bcde_f067),
        ],
    );
    let table = PageTable::new(format, HeapTables::new()).unwrap();
    assert_eq!(table.aperture().last(), Iova::new((1 << 47) - 1));
}

#[test]
fn sizes_on_offer() {
    for format in [X86_64::four_level(), X86_64::five_level()] {
        let table = PageTable::new(format, HeapTables::new()).unwrap();
        assert_eq!(table.page_sizes().bitmap(), 0x4020_1000);
        let table = PageTable::new(format.without_1g_leaves(), HeapTables::new()).unwrap();
        assert_eq!(table.page_sizes().bitmap(), 0x20_1000);
    }
}
