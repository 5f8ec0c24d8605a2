//! RISC-V: section A.5, and the guest stage of the nested set, A.6.

use swiommu_addr::{Iova, PageSizes};
use swiommu_pgtable::fmt::Riscv;
use swiommu_pgtable::{Error, Format, HeapTables, PageTable, Prot};

use super::*;

const SECTION: &str = "A.5";
const NOEXEC_RW: Prot = Prot::RW.union(Prot::NOEXEC);

/// Entries that point to the second, third … table.
const TO_SECOND: u64 = 0x4000_0401;
const TO_THIRD: u64 = 0x4000_0801;
const TO_FOURTH: u64 = 0x4000_0c01;
const TO_FIFTH: u64 = 0x4000_1001;

fn page(prot: Prot) -> Map {
    (0x1234_5000, 0xa_bcde_f000, 4 * K, prot)
}

fn path(leaf: u64) -> [Entries; 3] {
    [
        (ROOT, 0x000, 0x000, TO_SECOND),
        (SECOND, 0x091, 0x091, TO_THIRD),
        (THIRD, 0x145, 0x145, leaf),
    ]
}

#[test]
fn leaves_of_every_kind() {
    let sv39 = Riscv::sv39().with_napot();
    check(SECTION, sv39, page(Prot::RW), &path(0x2_af37_bcdf));
    check(SECTION, sv39, page(NOEXEC_RW), &path(0x2_af37_bcd7));
    let read = Prot::READ | Prot::NOEXEC;
    check(SECTION, sv39, page(read), &path(0x2_af37_bc53));
    check(
        SECTION,
        sv39,
        (0x1_0000, 0x4001_0000, 64 * K, NOEXEC_RW),
        &[
            (ROOT, 0, 0, TO_SECOND),
            (SECOND, 0, 0, TO_THIRD),
            (THIRD, 0x10, 0x1f, 0x8000_0000_1000_60d7),
        ],
    );
    check(
        SECTION,
        sv39,
        (0x20_0000, 0x4020_0000, 2 * M, NOEXEC_RW),
        &[(ROOT, 0, 0, TO_SECOND), (SECOND, 0x001, 0x001, 0x1008_00d7)],
    );
    check(
        SECTION,
        sv39,
        (0x4000_0000, 0x8000_0000, G, NOEXEC_RW),
        &[(ROOT, 0x001, 0x001, 0x2000_00d7)],
    );
    check(
        SECTION,
        sv39,
        (0xffff_ffc0_0000_0000, 0x7000, 4 * K, NOEXEC_RW),
        &[
            (ROOT, 0x100, 0x100, TO_SECOND),
            (SECOND, 0, 0, TO_THIRD),
            (THIRD, 0, 0, 0x1cd7),
        ],
    );
}

/// W without R is reserved, so a request for writing alone gives both.
#[test]
fn what_can_be_written_can_be_read() {
    check(
        SECTION,
        Riscv::sv39(),
        page(Prot::WRITE),
        &path(0x2_af37_bcdf),
    );
}

#[test]
fn four_and_five_levels() {
    check(
        SECTION,
        Riscv::sv48(),
        (0x7f00_1234_5000, 0xa_bcde_f000, 4 * K, Prot::RW),
        &[
            (ROOT, 0x0fe, 0x0fe, TO_SECOND),
            (SECOND, 0x000, 0x000, TO_THIRD),
            (THIRD, 0x091, 0x091, TO_FOURTH),
            (FOURTH, 0x145, 0x145, 0x2_af37_bcdf),
        ],
    );
    check(
        SECTION,
        Riscv::sv57(),
        (0x1234_5678_9000, 0xa_bcde_f000, 4 * K, Prot::RW),
        &[
            (ROOT, 0x000, 0x000, TO_SECOND),
            (SECOND, 0x024, 0x024, TO_THIRD),
            (THIRD, 0x0d1, 0x0d1, TO_FOURTH),
            (FOURTH, 0x0b3, 0x0b3, TO_FIFTH),
            (FIFTH, 0x189, 0x189, 0x2_af37_bcdf),
        ],
    );
}

#[test]
fn memory_types() {
    let format = Riscv::sv39().with_memory_types();
    let mmio = NOEXEC_RW | Prot::MMIO;
    let cached = NOEXEC_RW | Prot::CACHE;
    check(
        SECTION,
        format,
        page(NOEXEC_RW),
        &path(0x2000_0002_af37_bcd7),
    );
    check(SECTION, format, page(mmio), &path(0x4000_0002_af37_bcd7));
    check(SECTION, format, page(cached), &path(0x2_af37_bcd7));
    // Without the extension none is written.
    check(SECTION, Riscv::sv39(), page(mmio), &path(0x2_af37_bcd7));
}

#[test]
fn addresses_are_sign_extended_and_those_of_guests_are_not() {
    let hole = |format: Riscv, iova| {
        let table = PageTable::new(format, HeapTables::new()).unwrap();
        let run = PaRange::from_len(Pa::new(0x7000), 4 * K).unwrap();
        let result = table.map(Iova::new(iova), run, Prot::RW, PageSizes::ALL);
        matches!(result, Err(Error::OutOfRange { .. }))
    };
    for (first, guest) in [
        (Riscv::sv39(), Riscv::sv39x4()),
        (Riscv::sv48(), Riscv::sv48x4()),
        (Riscv::sv57(), Riscv::sv57x4()),
    ] {
        let bits = first.input_bits(*first.levels().start());
        assert_eq!(guest.input_bits(*guest.levels().start()), bits + 2);
        for (iova, first_has, guest_has) in [
            (1 << (bits - 1), false, true),
            (!0 << (bits - 1), true, false),
            (1 << (bits + 1), false, true),
            (1 << (bits + 2), false, false),
        ] {
            assert_eq!(
                (hole(first, iova), hole(guest, iova)),
                (!first_has, !guest_has)
            );
        }
    }
}

#[test]
fn sizes_on_offer() {
    let sizes = |format: Riscv| {
        let table = PageTable::new(format, HeapTables::new()).unwrap();
        table.page_sizes().bitmap()
    };
    assert_eq!(sizes(Riscv::sv39()), 0x4020_1000);
    assert_eq!(sizes(Riscv::sv39().with_napot()), 0x4021_1000);
    assert_eq!(sizes(Riscv::sv48()), 0x80_4020_1000);
    assert_eq!(sizes(Riscv::sv57x4()), 0x1_0080_4020_1000);
}

#[test]
fn guest_stage_of_the_nested_set() {
    const ROOT: u64 = 0x5_0000_0000;
    let memory = HeapTables::starting_at(Pa::new(ROOT));
    let table = PageTable::new(Riscv::sv39x4(), &memory).unwrap();
    nested::map_second_stage(&table, NOEXEC_RW, nested::RISCV);
    // The root is 16 KiB.
    assert_entries(
        &memory,
        &[
            (ROOT, 0x004, 0x004, 0x1_4000_1001),
            (ROOT, 0x02a, 0x02a, 0x1_4000_1401),
            (ROOT + 0x4000, 0x000, 0x000, 0x9000_00d7),
            (ROOT + 0x5000, 0x1e6, 0x1e6, 0x1_4000_1801),
            (ROOT + 0x6000, 0x1ef, 0x1ef, 0xd555_54d7),
        ],
    );
}
