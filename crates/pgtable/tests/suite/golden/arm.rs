//! Arm VMSAv8-64, both stages: section A.4, and the stage 2 of the nested set, A.6.

use swiommu_pgtable::fmt::AddressForm::{Bits48, Bits52};
use swiommu_pgtable::fmt::{ArmS1, ArmS2};
use swiommu_pgtable::{DirtyRead, Format, HeapTables, PageTable, Prot};

use super::*;

const SECTION: &str = "A.4";
const CACHED: Prot = Prot::RW.union(Prot::CACHE);

fn page(prot: Prot) -> Map {
    (0x1234_5000, 0xa_bcde_f000, 4 * K, prot)
}

fn path(leaf: u64) -> [Entries; 4] {
    [
        (ROOT, 0x000, 0x000, 0x1_0000_1003),
        (SECOND, 0x000, 0x000, 0x1_0000_2003),
        (THIRD, 0x091, 0x091, 0x1_0000_3003),
        (FOURTH, 0x145, 0x145, leaf),
    ]
}

fn s1<const GRANULE_LOG2: u8>(input: u8, output: u8) -> ArmS1<GRANULE_LOG2> {
    ArmS1::new(Bits48, input, output).unwrap()
}

fn s2<const GRANULE_LOG2: u8>(input: u8, output: u8) -> ArmS2<GRANULE_LOG2> {
    ArmS2::new(Bits48, input, output).unwrap()
}

#[test]
fn stage_1_pages() {
    let format = s1::<12>(48, 44);
    let noexec = Prot::NOEXEC;
    for (prot, leaf) in [
        (CACHED, 0x0000_000a_bcde_ff47),
        (Prot::READ | Prot::CACHE, 0x0000_000a_bcde_ffc7),
        (CACHED | noexec, 0x0060_000a_bcde_ff47),
        (Prot::RW | Prot::MMIO | noexec, 0x0060_000a_bcde_fe4b),
        (Prot::RW, 0x0000_000a_bcde_fe43),
        (CACHED | Prot::PRIV, 0x0000_000a_bcde_ff07),
        // What can be written can be read.
        (Prot::WRITE | Prot::CACHE, 0x0000_000a_bcde_ff47),
    ] {
        check(SECTION, format, page(prot), &path(leaf));
    }
}

#[test]
fn stage_1_blocks() {
    let format = s1::<12>(48, 44);
    let to_second = (ROOT, 0, 0, 0x1_0000_1003);
    check(
        SECTION,
        format,
        (0x20_0000, 0x4020_0000, 2 * M, CACHED),
        &[
            to_second,
            (SECOND, 0, 0, 0x1_0000_2003),
            (THIRD, 1, 1, 0x4020_0f45),
        ],
    );
    check(
        SECTION,
        format,
        (0x4000_0000, 0x8000_0000, G, CACHED),
        &[to_second, (SECOND, 1, 1, 0x8000_0f45)],
    );
}

#[test]
fn stage_1_dirty_state_is_a_cleared_bit() {
    let format = s1::<12>(48, 44).with_dirty_tracking();
    let memory = HeapTables::new();
    let table = PageTable::new(format, &memory).unwrap();
    map(&table, page(CACHED));
    assert_entries(&memory, &path(0x0008_000a_bcde_ff47));
    let mut seen = 0;
    let cleaned = table.read_dirty(table.aperture(), DirtyRead::Clear, |_| seen += 1);
    assert!(cleaned.unwrap().range().is_some());
    assert_eq!(seen, 1);
    assert_entries(&memory, &path(0x0008_000a_bcde_ffc7));
}

const SECOND_16K: u64 = ROOT + 0x4000;
const THIRD_16K: u64 = ROOT + 0x8000;
const FOURTH_16K: u64 = ROOT + 0xc000;

#[test]
fn stage_1_over_16k() {
    let format = s1::<14>(48, 44);
    let to_third = [
        (ROOT, 0, 0, SECOND_16K | 3),
        (SECOND_16K, 0, 0, THIRD_16K | 3),
    ];
    check(
        SECTION,
        format,
        (0x1234_4000, 0xa_bcde_8000, 16 * K, CACHED),
        &[
            &to_third[..],
            &[
                (THIRD_16K, 0x009, 0x009, FOURTH_16K | 3),
                (FOURTH_16K, 0x0d1, 0x0d1, 0xa_bcde_8f47),
            ],
        ]
        .concat(),
    );
    check(
        SECTION,
        format,
        (0x200_0000, 0x4200_0000, 32 * M, CACHED),
        &[&to_third[..], &[(THIRD_16K, 1, 1, 0x4200_0f45)]].concat(),
    );
}

#[test]
fn stage_1_over_64k() {
    let format = s1::<16>(48, 44);
    check(
        SECTION,
        format,
        (0x1234_0000, 0xa_bcde_0000, 64 * K, CACHED),
        &[
            (ROOT, 0, 0, 0x1_0001_0003),
            (0x1_0001_0000, 0, 0, 0x1_0002_0003),
            (0x1_0002_0000, 0x1234, 0x1234, 0xa_bcde_0f47),
        ],
    );
    check(
        SECTION,
        format,
        (0x2000_0000, 0x6000_0000, 512 * M, CACHED),
        &[
            (ROOT, 0, 0, 0x1_0001_0003),
            (0x1_0001_0000, 1, 1, 0x6000_0f45),
        ],
    );
    check(
        SECTION,
        ArmS1::<16>::new(Bits52, 52, 52).unwrap(),
        (0xf_0000_1234_0000, 0xa_5000_cbde_0000, 64 * K, CACHED),
        &[
            (ROOT, 0x3c0, 0x3c0, 0x1_0001_0003),
            (0x1_0001_0000, 0, 0, 0x1_0002_0003),
            (0x1_0002_0000, 0x1234, 0x1234, 0x0000_5000_cbde_af47),
        ],
    );
}

/// Not in the specification's vectors: calculated from its table of address fields. PA 51:50 is in bits 9:8, and there is no SH.
#[test]
fn stage_1_lpa2() {
    check(
        SECTION,
        ArmS1::<12>::new(Bits52, 48, 52).unwrap(),
        (0x1234_5000, 0xe_000a_bcde_f000, 4 * K, CACHED),
        &path(0x0002_000a_bcde_ff47),
    );
    // Five levels: the root is at level -1. A block of 512 GiB.
    check(
        SECTION,
        ArmS1::<12>::new(Bits52, 52, 52).unwrap(),
        (0x3_0080_0000_0000, 0x4_0100_0000_0000, 512 * G, CACHED),
        &[
            (ROOT, 0x3, 0x3, 0x1_0000_1003),
            (SECOND, 0x001, 0x001, 0x0000_0100_0000_0d45),
        ],
    );
}

#[test]
fn contiguous_runs() {
    let path = [
        (ROOT, 0, 0, 0x1_0000_1003),
        (SECOND, 0, 0, 0x1_0000_2003),
        (THIRD, 0, 0, 0x1_0000_3003),
    ];
    let run = |first: usize, entry: u64, step: u64| -> Vec<Entries> {
        (0..16)
            .map(|n| (FOURTH, first + n, first + n, entry + n as u64 * step))
            .collect()
    };
    let format = s1::<12>(48, 44).with_contiguous();
    let what = (0x1e_0000, 0xa_bcde_0000, 64 * K, CACHED);
    let hinted = [&path[..], &run(0x1e0, 0x0010_000a_bcde_0f47, 0x1000)].concat();
    check(SECTION, format, what, &hinted);
    // Whoever does not take the hint comes to the same addresses, page by page.
    let root = Root {
        table: Gpa::new(ROOT),
        levels: 4,
    };
    for (format, size) in [(format, 64 * K), (s1::<12>(48, 44), 4 * K)] {
        let memory = Foreign::default();
        for &(table, index, _, entry) in &hinted {
            memory.put(table + 8 * index as u64, entry);
        }
        let walker = Walker::new(format, &memory, root).unwrap();
        let found = walker.look(Iova::new(0x1e_5678)).unwrap();
        assert_eq!(found.size.bytes(), size);
        assert_eq!(found.resolve(Iova::new(0x1e_5678)), Gpa::new(0xa_bcde_5678));
    }
    // Without the hint, Linux writes sixteen pages.
    let plain = [&path[..], &run(0x1e0, 0xa_bcde_0f47, 0x1000)].concat();
    check(SECTION, s1::<12>(48, 44), what, &plain);
}

#[test]
fn contiguous_sizes() {
    fn sizes<F: Format>(format: F) -> u64 {
        format.leaf_sizes().bitmap()
    }
    // No block is as large as all that the root resolves.
    assert_eq!(sizes(s1::<12>(30, 32)), 4 * K + 2 * M);
    assert_eq!(sizes(s1::<12>(31, 32)), 4 * K + 2 * M + G);
    let runs_and_blocks = [4 * K, 64 * K, 2 * M, 32 * M, G, 16 * G];
    let format = s1::<12>(48, 48).with_contiguous();
    assert_eq!(sizes(format), runs_and_blocks.iter().sum());
    let format = s1::<14>(48, 48).with_contiguous();
    assert_eq!(sizes(format), 16 * K + 2 * M + 32 * M + G);
    let format = s2::<16>(48, 48).with_contiguous();
    assert_eq!(sizes(format), 64 * K + 2 * M + 512 * M + 16 * G);
    // Blocks that take 52-bit addresses, and have no runs.
    let format = ArmS1::<12>::new(Bits52, 52, 52).unwrap().with_contiguous();
    assert_eq!(sizes(format), runs_and_blocks.iter().sum::<u64>() + 512 * G);
    let format = ArmS1::<14>::new(Bits52, 52, 52).unwrap().with_contiguous();
    assert_eq!(sizes(format), 16 * K + 2 * M + 32 * M + G + 64 * G);
    let format = ArmS1::<16>::new(Bits52, 52, 52).unwrap().with_contiguous();
    assert_eq!(sizes(format), 64 * K + 2 * M + 512 * M + 16 * G + 4096 * G);
    let large = |form| {
        let largest = |sizes: PageSizes| sizes.iter().last().unwrap().bytes();
        [
            largest(ArmS1::<12>::new(form, 48, 48).unwrap().leaf_sizes()),
            largest(ArmS1::<14>::new(form, 48, 48).unwrap().leaf_sizes()),
            largest(ArmS1::<16>::new(form, 48, 48).unwrap().leaf_sizes()),
        ]
    };
    assert_eq!(large(Bits48), [G, 32 * M, 512 * M]);
    assert_eq!(large(Bits52), [512 * G, 64 * G, 4096 * G]);
}

#[test]
fn stage_2_pages_and_blocks() {
    let format = s2::<12>(44, 44);
    for (prot, leaf) in [
        (CACHED, 0x0000_000a_bcde_f7ff),
        (Prot::READ | Prot::CACHE, 0x0000_000a_bcde_f77f),
        (Prot::RW | Prot::MMIO, 0x0000_000a_bcde_f6c7),
    ] {
        check(SECTION, format, page(prot), &path(leaf));
    }
    let fwb = format.with_forced_write_back();
    check(SECTION, fwb, page(CACHED), &path(0x0000_000a_bcde_f7db));
    check(
        SECTION,
        format,
        (0x20_0000, 0x4020_0000, 2 * M, CACHED | Prot::NOEXEC),
        &[
            (ROOT, 0, 0, 0x1_0000_1003),
            (SECOND, 0, 0, 0x1_0000_2003),
            (THIRD, 1, 1, 0x0060_0000_4020_07fd),
        ],
    );
}

#[test]
fn stage_2_root_of_two_tables() {
    check(
        SECTION,
        s2::<12>(40, 40),
        (0x80_1234_5000, 0xa_bcde_f000, 4 * K, CACHED),
        &[
            (0x1_0000_1000, 0x000, 0x000, 0x1_0000_2003),
            (0x1_0000_2000, 0x091, 0x091, 0x1_0000_3003),
            (0x1_0000_3000, 0x145, 0x145, 0xa_bcde_f7ff),
        ],
    );
}

/// The input width, which is the output width too; the start level, SL0 and the bytes of the root.
type Sizing = (u8, i8, u8, u64);

fn assert_stage_2_sizing<const GRANULE_LOG2: u8>(sizings: &[Sizing]) {
    for &(bits, start, sl0, bytes) in sizings {
        let form = if bits > 48 { Bits52 } else { Bits48 };
        let format = ArmS2::<GRANULE_LOG2>::new(form, bits, bits).unwrap();
        assert_eq!((format.start_level(), format.sl0()), (start, Some(sl0)));
        assert_eq!(root_bytes(format), bytes, "{format:?}");
    }
}

fn root_bytes<F: Format>(format: F) -> u64 {
    let levels = *format.levels().start();
    8 << (format.input_bits(levels) - F::item_size(levels - 1).log2())
}

#[test]
fn stage_2_sizing() {
    assert_stage_2_sizing::<12>(&[
        (32, 1, 1, 0x20),
        (36, 1, 1, 0x200),
        (40, 1, 1, 0x2000),
        (42, 1, 1, 0x8000),
        (44, 0, 2, 0x100),
        (48, 0, 2, 0x1000),
    ]);
    assert_stage_2_sizing::<14>(&[
        (32, 2, 1, 0x400),
        (36, 2, 1, 0x4000),
        (40, 2, 1, 0x4_0000),
        (42, 1, 2, 0x200),
        (44, 1, 2, 0x800),
        (48, 1, 2, 0x8000),
    ]);
    assert_stage_2_sizing::<16>(&[
        (32, 2, 1, 0x40),
        (36, 2, 1, 0x400),
        (40, 2, 1, 0x4000),
        (42, 2, 1, 0x1_0000),
        (44, 1, 2, 0x20),
        (48, 1, 2, 0x200),
        (52, 1, 2, 0x2000),
    ]);
    // Roots at other levels.
    let two_levels = s2::<12>(32, 32).with_levels(2).unwrap();
    assert_eq!((two_levels.start_level(), two_levels.sl0()), (2, Some(0)));
    assert_eq!(root_bytes(two_levels), 0x4000);
    let one_level = s2::<12>(25, 32).with_levels(1).unwrap();
    assert_eq!((one_level.start_level(), one_level.sl0()), (3, Some(3)));
    let top = ArmS2::<12>::new(Bits52, 52, 52).unwrap();
    assert_eq!((top.start_level(), top.sl0()), (-1, None));
    assert_eq!(top.with_levels(4).unwrap().sl0(), Some(2));
    let top = ArmS2::<14>::new(Bits52, 52, 52).unwrap();
    assert_eq!((top.start_level(), top.sl0()), (0, Some(3)));
}

#[test]
fn stage_1_sizing() {
    for (bits, start, bytes) in [
        (32, 1, 0x20),
        (36, 1, 0x200),
        (40, 0, 0x10),
        (42, 0, 0x40),
        (44, 0, 0x100),
        (48, 0, 0x1000),
    ] {
        let format = s1::<12>(bits, bits);
        assert_eq!((format.start_level(), root_bytes(format)), (start, bytes));
    }
    let format = s1::<14>(48, 48);
    assert_eq!((format.start_level(), root_bytes(format)), (0, 0x10));
    let format = s1::<16>(48, 48);
    assert_eq!((format.start_level(), root_bytes(format)), (1, 0x200));
    let format = ArmS1::<16>::new(Bits52, 52, 52).unwrap();
    assert_eq!((format.start_level(), root_bytes(format)), (1, 0x2000));
}

#[test]
fn widths_that_the_architecture_does_not_have() {
    for (form, input, output) in [
        (Bits48, 24, 48),
        (Bits48, 49, 48),
        (Bits48, 48, 52),
        (Bits52, 53, 52),
        (Bits48, 48, 47),
        (Bits48, 48, 0),
        (Bits52, 48, 255),
        (Bits52, 255, 52),
    ] {
        assert_eq!(ArmS1::<12>::new(form, input, output), None);
        assert_eq!(ArmS2::<14>::new(form, input, output), None);
    }
    assert!(ArmS1::<12>::new(Bits48, 25, 32).is_some());
    assert!(ArmS1::<16>::new(Bits48, 52, 48).is_some());
    assert!(ArmS1::<16>::new(Bits48, 53, 48).is_none());
    assert!(ArmS1::<13>::new(Bits48, 48, 48).is_none());
    // No more than sixteen tables in the root, no level more than it takes, and no root without a level.
    for levels in [0, 1, 2, 5, 255] {
        assert_eq!(s2::<12>(48, 48).with_levels(levels), None, "{levels}");
    }
    let as_they_are = s2::<12>(48, 48);
    assert_eq!(as_they_are.with_levels(4), Some(as_they_are));
    assert!(s2::<12>(43, 48).with_levels(3).is_some());
    assert!(s2::<12>(44, 48).with_levels(3).is_none());
}

#[test]
fn stage_2_of_the_nested_set() {
    const ROOT: u64 = 0x5_0000_0000;
    let memory = HeapTables::starting_at(Pa::new(ROOT));
    let table = PageTable::new(s2::<12>(44, 44), &memory).unwrap();
    nested::map_second_stage(&table, CACHED, nested::ARM);
    assert_entries(
        &memory,
        &[
            (ROOT, 0x000, 0x000, 0x5_0000_1003),
            (ROOT + 0x1000, 0x002, 0x002, 0x5_0000_3003),
            (ROOT + 0x1000, 0x004, 0x004, 0x5_0000_2003),
            (ROOT + 0x1000, 0x02a, 0x02a, 0x5_0000_5003),
            (ROOT + 0x2000, 0x000, 0x000, 0x2_4000_07fd),
            (ROOT + 0x3000, 0x000, 0x000, 0x5_0000_4003),
            (ROOT + 0x4000, 0x000, 0x000, 0x3_6666_67ff),
            (ROOT + 0x5000, 0x1e6, 0x1e6, 0x5_0000_6003),
            (ROOT + 0x6000, 0x1ef, 0x1ef, 0x3_5555_57ff),
        ],
    );
}
