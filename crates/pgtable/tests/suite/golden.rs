//! Entries bit by bit: what the Linux 7.3 page-table code writes for the same calls.
//!
//! Tables are allocated one after the other from `0x1_0000_0000`, the root first.

use crate::formats::{Arm, Sv};
use swiommu_addr::{Iova, IovaRange, Pa, PaRange, PageSize, PageSizes};
use swiommu_pgtable::fmt::{Amdv1, MockAmdv1};
use swiommu_pgtable::{DirtyRead, Format, HeapTables, PageTable, Prot, TableMemory};

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;
const G: u64 = 1 << 30;

/// IOVA, physical address, length, permissions.
type Map = (u64, u64, u64, Prot);
/// The address of a table, the first and the last index, and the entry that they all hold.
type Entries = (u64, usize, usize, u64);

fn entry(memory: &HeapTables, table: u64, index: usize) -> u64 {
    let entries = memory.entries(Pa::new(table), 512).unwrap();
    entries[index].load(std::sync::atomic::Ordering::Relaxed)
}

fn map<F: Format>(table: &PageTable<F, &HeapTables>, (iova, pa, len, prot): Map) {
    let memory = PaRange::from_len(Pa::new(pa), len).unwrap();
    let replaced = table
        .map(Iova::new(iova), memory, prot, PageSizes::ALL)
        .unwrap();
    assert!(replaced.replaced().is_none());
}

#[track_caller]
fn assert_entries(memory: &HeapTables, expected: &[Entries]) {
    for &(table, first, last, value) in expected {
        for index in first..=last {
            let found = entry(memory, table, index);
            assert_eq!(
                found, value,
                "{table:#x}[{index:#x}] = {found:016x}, not {value:016x}"
            );
        }
    }
}

/// One map into a fresh table, and the entries that it leaves.
#[track_caller]
fn check<F: Format>(format: F, what: Map, expected: &[Entries]) {
    let memory = HeapTables::new();
    let table = PageTable::new(format, &memory).unwrap();
    map(&table, what);
    assert_entries(&memory, expected);
    let (mut present, mut tables) = (0, 0);
    while let Some(entries) = memory.entries(Pa::new(0x1_0000_0000 + tables * 4 * K), 512)
        && tables * 4 * K < memory.in_use()
    {
        let nonzero = |slot: &&std::sync::atomic::AtomicU64| {
            slot.load(std::sync::atomic::Ordering::Relaxed) != 0
        };
        present += entries.iter().filter(nonzero).count();
        tables += 1;
    }
    let listed: usize = expected
        .iter()
        .map(|(_, first, last, _)| last - first + 1)
        .sum();
    assert_eq!(present, listed, "entries beyond the expected ones");
}

const ROOT: u64 = 0x1_0000_0000;
const SECOND: u64 = 0x1_0000_1000;
const THIRD: u64 = 0x1_0000_2000;

fn amdv1() -> Amdv1 {
    Amdv1::new().with_force_coherence()
}

#[test]
fn amdv1_leaves_of_every_kind() {
    let to_second = (ROOT, 0, 0, 0x6000_0001_0000_1401);
    let to_third = (SECOND, 0, 0, 0x6000_0001_0000_2201);
    check(
        amdv1(),
        (0x1234_5000, 0xa_bcde_f000, 4 * K, Prot::RW),
        &[
            to_second,
            (SECOND, 0x091, 0x091, 0x6000_0001_0000_2201),
            (THIRD, 0x145, 0x145, 0x7000_000a_bcde_f001),
        ],
    );
    check(
        amdv1(),
        (0x2000, 0x4000_2000, 8 * K, Prot::RW),
        &[
            to_second,
            to_third,
            (THIRD, 0x002, 0x003, 0x7000_0000_4000_2e01),
        ],
    );
    check(
        amdv1(),
        (0x1_0000, 0x4001_0000, 64 * K, Prot::READ),
        &[
            to_second,
            to_third,
            (THIRD, 0x010, 0x01f, 0x3000_0000_4001_7e01),
        ],
    );
    check(
        amdv1(),
        (0x10_0000, 0x4010_0000, M, Prot::RW),
        &[
            to_second,
            to_third,
            (THIRD, 0x100, 0x1ff, 0x7000_0000_4017_fe01),
        ],
    );
    check(
        amdv1(),
        (0x20_0000, 0x4020_0000, 2 * M, Prot::RW),
        &[to_second, (SECOND, 0x001, 0x001, 0x7000_0000_4020_0001)],
    );
    check(
        amdv1(),
        (0x40_0000, 0x4040_0000, 4 * M, Prot::RW),
        &[to_second, (SECOND, 0x002, 0x003, 0x7000_0000_405f_fe01)],
    );
    check(
        amdv1(),
        (0x4000_0000, 0x8000_0000, G, Prot::WRITE),
        &[(ROOT, 0x001, 0x001, 0x5000_0000_8000_0001)],
    );
    check(
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

#[test]
fn mock_leaves_of_every_kind() {
    let to_second = (ROOT, 0, 0, 0x6000_0002_0000_2401);
    let to_third = (SECOND, 0, 0, 0x6000_0002_0000_4201);
    check(
        MockAmdv1::mock(),
        (0x1000, 0x7_f000_0800, 2 * K, Prot::RW),
        &[to_second, to_third, (THIRD, 2, 2, 0x6000_000f_e000_1001)],
    );
    check(
        MockAmdv1::mock(),
        (0x2000, 0x4000_2000, 4 * K, Prot::RW),
        &[to_second, to_third, (THIRD, 4, 5, 0x6000_0000_8000_4e01)],
    );
    check(
        MockAmdv1::mock(),
        (0x1_0000, 0x4001_0000, 64 * K, Prot::READ),
        &[
            to_second,
            to_third,
            (THIRD, 0x20, 0x3f, 0x2000_0000_8002_fe01),
        ],
    );
    check(
        MockAmdv1::mock(),
        (0x10_0000, 0x4010_0000, M, Prot::RW),
        &[to_second, (SECOND, 1, 1, 0x6000_0000_8020_0001)],
    );
    check(
        MockAmdv1::mock(),
        (0x20_0000, 0x4020_0000, 2 * M, Prot::RW),
        &[to_second, (SECOND, 2, 3, 0x6000_0000_805f_fe01)],
    );
}

#[test]
fn mock_geometry_is_that_of_the_selftest() {
    let table = PageTable::new(MockAmdv1::mock(), HeapTables::new()).unwrap();
    assert_eq!(table.page_sizes().bitmap(), 0x1f_ffff_f800);
    assert_eq!(table.aperture().last(), Iova::new((1 << 38) - 1));
    assert_eq!(table.format().output_bits(), 51);
    assert_eq!(MockAmdv1::GRANULE, PageSize::SIZE_2K);
    let huge = PageSizes::NONE
        .with(PageSize::SIZE_4K)
        .with(PageSize::from_log2(20));
    let table = table.with_page_sizes(huge);
    assert_eq!(table.page_sizes(), huge);
}

/// The second stage of the nested set: host tables from `0x5_0000_0000` under the tables and pages of a guest.
#[test]
fn amdv1_second_stage_of_the_nested_set() {
    const ROOT: u64 = 0x5_0000_0000;
    let memory = HeapTables::starting_at(Pa::new(ROOT));
    let table = PageTable::new(amdv1(), &memory).unwrap();
    map(&table, (0x1_0000_0000, 0x2_4000_0000, 2 * M, Prot::RW));
    map(&table, (0xa_bcde_f000, 0x3_5555_5000, 4 * K, Prot::RW));
    map(&table, (0x8000_0000, 0x3_6666_6000, 4 * K, Prot::RW));
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

/// The formats that exist only for the tests are real ones too.
#[test]
fn arm_and_riscv_entries_are_as_their_manuals_have_them() {
    // Arm pages are mapped writable and clean: what Linux has after a dirty read with the HD quirk.
    check(
        Arm::<12>::stage1(48),
        (0x1234_5000, 0xa_bcde_f000, 4 * K, Prot::RW),
        &[
            (ROOT, 0, 0, 0x1_0000_1003),
            (SECOND, 0, 0, 0x1_0000_2003),
            (THIRD, 0x091, 0x091, 0x1_0000_3003),
            (0x1_0000_3000, 0x145, 0x145, 0x0008_000a_bcde_ffc7),
        ],
    );
    let contiguous: Vec<_> = (0..16)
        .map(|n| {
            (
                0x1_0000_3000,
                0x1e0 + n,
                0x1e0 + n,
                0x0010_000a_bcde_0fc7 + n as u64 * 0x1000,
            )
        })
        .collect();
    let path = [
        (ROOT, 0, 0, 0x1_0000_1003),
        (SECOND, 0, 0, 0x1_0000_2003),
        (THIRD, 0, 0, 0x1_0000_3003),
    ];
    check(
        Arm::<12>::stage1(48),
        (0x1e_0000, 0xa_bcde_0000, 64 * K, Prot::READ),
        &[&path[..], &contiguous].concat(),
    );
    let memory = HeapTables::new();
    let table = PageTable::new(Arm::<16>::stage1(52), &memory).unwrap();
    map(
        &table,
        (0xf_0000_1234_0000, 0xa_5000_cbde_0000, 64 * K, Prot::READ),
    );
    let entries = memory.entries(Pa::new(0x1_0002_0000), 8192).unwrap();
    let found = entries[0x1234].load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(found, 0x0000_5000_cbde_afc7);

    let exec = Prot::RW;
    let noexec = Prot::RW | Prot::NOEXEC;
    let to_second = (ROOT, 0, 0, 0x4000_0401);
    check(
        Sv::<false>::new(3),
        (0x1234_5000, 0xa_bcde_f000, 4 * K, exec),
        &[
            to_second,
            (SECOND, 0x091, 0x091, 0x4000_0801),
            (THIRD, 0x145, 0x145, 0x2_af37_bc5f),
        ],
    );
    check(
        Sv::<false>::new(3),
        (0x1_0000, 0x4001_0000, 64 * K, noexec),
        &[
            to_second,
            (SECOND, 0, 0, 0x4000_0801),
            (THIRD, 0x10, 0x1f, 0x8000_0000_1000_6057),
        ],
    );
    check(
        Sv::<false>::new(3),
        (0xffff_ffc0_0000_0000, 0x7000, 4 * K, noexec),
        &[
            (ROOT, 0x100, 0x100, 0x4000_0401),
            (SECOND, 0, 0, 0x4000_0801),
            (THIRD, 0, 0, 0x1c57),
        ],
    );
}
