//! Each bit of an entry that is well-formed, set by itself: those that are reserved are reported, and no others.

use std::sync::atomic::Ordering;

use swiommu_addr::{Gpa, Iova, IovaRange, Pa, PaRange, PageSizes};
use swiommu_pgtable::fmt::AddressForm::{Bits48, Bits52};
use swiommu_pgtable::fmt::{Amdv1, ArmS1, ArmS2, MockAmdv1, Riscv, VtdSs, X86_64};
use swiommu_pgtable::{
    Access, Entry, Error, Format, HardwareWalk, HeapTables, Leaf, Malformed, PageTable, Prot,
    Refusal, Root, TableMemory, WalkFault, Walker,
};

use crate::foreign::Foreign;

use Bit::{Breaks, Changes, Other, Reserved};

const ROOT: u64 = 0x1_0000_0000;

/// What a bit does, when it is not as it should be.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Bit {
    /// Reserved, and reported as such.
    Reserved,
    /// Another rule is broken.
    Breaks(Malformed),
    /// The entry is of another kind, or leads elsewhere.
    Changes,
    /// It is part of a field with rules of its own.
    Other,
}

/// Bits `first..=last`.
const fn bits(first: u8, last: u8) -> u64 {
    u64::MAX >> (63 - last) & !0 << first
}

/// Sets each bit in an entry of this level that has it clear. `rules` say which bits do what; others are of no consequence for
/// where the entry leads.
#[track_caller]
fn check<F: HardwareWalk>(format: F, level: u8, entry: u64, rules: &[(u64, Bit)]) {
    let good = format.decode(entry, level);
    assert!(
        matches!(good, Entry::Table { .. } | Entry::Leaf(_)),
        "{good:?}"
    );
    agrees(format, level, 0);
    agrees(format, level, entry);
    for bit in 0..64 {
        agrees(format, level, entry & !(1 << bit));
        let changed = entry | 1 << bit;
        agrees(format, level, changed);
        if changed == entry {
            continue;
        }
        let rule = rules.iter().find(|(mask, _)| mask >> bit & 1 == 1);
        let decoded = format.decode(changed, level);
        match rule {
            Some((_, Reserved)) => {
                let reserved = Malformed::ReservedBits(1 << bit);
                assert_eq!(decoded, Entry::Malformed(reserved), "bit {bit}");
                reported(format, level, changed, reserved);
            }
            Some((_, Breaks(rule))) => {
                assert_eq!(decoded, Entry::Malformed(*rule), "bit {bit}");
                reported(format, level, changed, *rule);
            }
            Some((_, Other)) => {}
            Some((_, Changes)) => assert_ne!(target(decoded), target(good), "bit {bit}"),
            None => assert_eq!(target(decoded), target(good), "bit {bit}"),
        }
    }
}

/// What a format says about an entry in short is what decoding it says.
#[track_caller]
fn agrees<F: HardwareWalk>(format: F, level: u8, entry: u64) {
    let decoded = format.decode(entry, level);
    let shown = format!("{entry:#x} at level {level}");
    let absent = decoded == Entry::Absent;
    assert_eq!(format.is_absent(entry), absent, "{shown}");
    let next = match decoded {
        Entry::Table {
            table,
            level: below,
        } if below + 1 == level => Some(table),
        _ => None,
    };
    assert_eq!(format.next_table(entry, level), next, "{shown}");
    if let Entry::Leaf(leaf) = decoded {
        assert_eq!(format.is_dirty(entry), leaf.dirty, "{shown}");
    }
    assert!(
        !format.is_dirty(entry) || format.dirty_bits(entry) != 0,
        "{shown}"
    );
    // The short cuts may say nothing; what they say is so.
    if let Some(page) = format.page(entry) {
        assert_eq!(format.decode(entry, 0), Entry::Leaf(page), "{shown}");
        assert_eq!(page.size, F::GRANULE, "{shown}");
    }
    if let Some(table) = format.open_table(entry, level) {
        assert_eq!(
            (Some(table), Prot::RW),
            (next, format.limit(entry)),
            "{shown}"
        );
    }
    for path in [Access::all(), Access::READ, Access::empty()] {
        for wanted in [
            Access::USER_READ,
            Access::USER_WRITE,
            Access::PRIVILEGED_WRITE,
        ] {
            let Some((pa, access)) = format.plain_leaf(entry, path, wanted) else {
                continue;
            };
            let Entry::Leaf(leaf) = format.decode(entry, 0) else {
                panic!("{shown} is no leaf");
            };
            assert_eq!((leaf.pa, leaf.size), (pa, F::GRANULE), "{shown}");
            let permitted = format.path_access(path & format.leaf_access(entry));
            assert_eq!(access, permitted, "{shown}");
            let marked = format.walked_leaf(entry, wanted);
            assert_eq!(marked, Some(entry), "{shown}");
        }
    }
}

/// The short cuts are there for what this crate writes.
#[test]
fn short_cuts_are_taken_by_what_is_written() {
    fn takes<F: HardwareWalk>(format: F) {
        let pa = Pa::new(0xa_bcde_0000);
        for prot in [Prot::READ, Prot::RW, Prot::RW | Prot::NOEXEC] {
            let attributes = format.attributes(prot | Prot::CACHE).unwrap();
            let leaf = format.leaf(F::GRANULE, 0, attributes) | format.address(pa);
            let page = format.page(leaf).unwrap();
            assert_eq!((page.pa, page.size), (pa, F::GRANULE));
            assert_eq!(Entry::Leaf(page), format.decode(leaf, 0));
        }
        for (prot, wanted) in [
            (Prot::READ, Access::USER_READ),
            (Prot::RW, Access::USER_WRITE),
        ] {
            let attributes = format.attributes(prot).unwrap();
            let leaf = format.leaf(F::GRANULE, 0, attributes) | format.address(pa);
            let marked = format.walked_leaf(leaf, wanted).unwrap();
            let plain = format.plain_leaf(marked, Access::all(), wanted);
            assert!(plain.is_some_and(|(to, access)| to == pa && access.contains(wanted)));
        }
        for level in 1..*format.levels().end() {
            let table = format.table(level) | format.address(pa);
            assert_eq!(format.open_table(table, level), Some(pa));
            assert_eq!(format.next_table(table, level), Some(pa));
        }
        let bottom = format.table(1) | format.address(pa);
        assert_eq!(format.open_table(bottom, 0), None);
        assert_eq!(format.next_table(bottom, 0), None);
    }
    takes(Amdv1::new().with_force_coherence());
    takes(MockAmdv1::mock());
    takes(X86_64::five_level().with_output_bits(46));
    takes(
        X86_64::four_level()
            .with_execute_disable()
            .with_flush_marks(),
    );
    takes(VtdSs::five_level().with_output_bits(46));
    takes(VtdSs::four_level().with_force_coherence());
    takes(ArmS1::<12>::new(Bits48, 48, 44).unwrap());
    takes(ArmS1::<14>::new(Bits52, 52, 52).unwrap());
    takes(
        ArmS1::<16>::new(Bits52, 52, 48)
            .unwrap()
            .with_dirty_tracking(),
    );
    takes(ArmS2::<12>::new(Bits48, 48, 44).unwrap());
    takes(
        ArmS2::<16>::new(Bits52, 52, 52)
            .unwrap()
            .with_dirty_tracking(),
    );
    // Limits that are ignored are none.
    let ignores = ArmS1::<12>::new(Bits48, 48, 44)
        .unwrap()
        .with_hierarchy_ignored();
    takes(ignores);
    let limited = 0x1f << 59 | 0xa_bcde_f003;
    assert_eq!(ignores.open_table(limited, 1), Some(Pa::new(0xa_bcde_f000)));
    takes(Riscv::sv39().with_napot());
    takes(Riscv::sv57x4().with_memory_types());
}

/// Where an entry leads, whatever it permits.
fn target(entry: Entry) -> Entry {
    match entry {
        Entry::Leaf(leaf) => Entry::Leaf(Leaf {
            prot: Prot::empty(),
            dirty: false,
            ..leaf
        }),
        other => other,
    }
}

/// A walk that meets the entry at this level says so; and so does the owner of a table in which it is found.
#[track_caller]
fn reported<F: HardwareWalk>(format: F, level: u8, entry: u64, reason: Malformed) {
    let levels = *format.levels().end();
    let table = 8 << F::INDEX_BITS;
    let memory = Foreign::default();
    let mut at = ROOT;
    for above in (level + 1..levels).rev() {
        let below = Pa::new(at + table);
        memory.put(at, format.table(above) | format.address(below));
        at += table;
    }
    memory.put(at, entry);
    let root = Root {
        table: Gpa::new(ROOT),
        levels,
    };
    let walker = Walker::new(format, &memory, root).unwrap();
    let expected = WalkFault::Refused {
        iova: Iova::new(0),
        at: Gpa::new(at),
        level,
        entry,
        reason: Refusal::Malformed(reason),
    };
    assert_eq!(walker.walk(Iova::new(0), Access::USER_READ), Err(expected));
    assert_eq!(walker.look(Iova::new(0)), Err(expected));
    owner_reports(format, level, entry, reason);
}

#[track_caller]
fn owner_reports<F: HardwareWalk>(format: F, level: u8, entry: u64, reason: Malformed) {
    let tables = HeapTables::new();
    let table = PageTable::new(format, &tables).unwrap();
    let page = PaRange::from_len(Pa::new(0), F::GRANULE.bytes());
    let sizes = PageSizes::ALL;
    let mapped = table.map(Iova::new(0), page.unwrap(), Prot::RW, sizes);
    assert!(mapped.unwrap().replaced().is_none());
    let root = table.root();
    if level >= root.levels {
        return;
    }
    let mut at = root.table;
    for above in (level + 1..root.levels).rev() {
        let found = tables.entries(at, 1).unwrap()[0].load(Ordering::Relaxed);
        at = format.next_table(found, above).unwrap();
    }
    tables.entries(at, 1).unwrap()[0].store(entry, Ordering::Relaxed);
    let expected = Error::Malformed {
        iova: Iova::new(0),
        at,
        entry,
        level,
        reason,
    };
    assert_eq!(table.translate(Iova::new(0)), Err(expected));
    let range = IovaRange::from_len(Iova::new(0), F::GRANULE.bytes()).unwrap();
    assert_eq!(table.leaves(range).unwrap().next(), None);
    let over = table.map(Iova::new(0), page.unwrap(), Prot::RW, sizes);
    assert_eq!(over.unwrap_err(), expected);
}

#[test]
fn x86_64() {
    let format = X86_64::five_level().with_output_bits(46);
    let wide = (bits(46, 51), Reserved);
    let xd = (bits(63, 63), Reserved);
    let address = |from| (bits(from, 45), Changes);
    check(format, 0, 0x27, &[wide, xd, address(12)]);
    for (level, size) in [(1, 21), (2, 30)] {
        // Bit 12 is PAT.
        let low = (bits(13, size - 1), Reserved);
        check(format, level, 0xa7, &[wide, xd, low, address(size)]);
    }
    for level in 1..5 {
        let large = match level {
            1 | 2 => Changes,
            _ => Breaks(Malformed::LeafSize(12 + 9 * level)),
        };
        let large = (bits(7, 7), large);
        check(format, level, 0x27, &[wide, xd, large, address(12)]);
    }
    // Without leaves of 1 GiB.
    let no_1g = (bits(7, 7), Breaks(Malformed::LeafSize(30)));
    check(
        format.without_1g_leaves(),
        2,
        0x27,
        &[wide, xd, no_1g, address(12)],
    );
    // With XD, and all 52 address bits.
    let format = X86_64::four_level().with_execute_disable();
    check(format, 0, 0x27, &[(bits(12, 51), Changes)]);
    // Accessed, written, or both; where a processor has more rules.
    for format in [
        format,
        format.with_write_protect(),
        format.with_smep(),
        format.with_extended_accessed_flag(),
    ] {
        for leaf in [0x25, 0x27, 0x45, 0x65, 0x67] {
            check(format, 0, leaf, &[(bits(12, 51), Changes)]);
        }
    }
}

#[test]
fn vtd_second_stage() {
    let format = VtdSs::five_level().with_output_bits(46);
    let wide = (bits(46, 51), Reserved);
    let snoop = (bits(11, 11), Reserved);
    let address = |from| (bits(from, 45), Changes);
    check(format, 0, 0x3, &[wide, snoop, address(12)]);
    for (level, size) in [(1, 21), (2, 30)] {
        let low = (bits(12, size - 1), Reserved);
        check(format, level, 0x83, &[wide, snoop, low, address(size)]);
        let with_snoop = format.with_snoop_control();
        check(with_snoop, level, 0x83, &[wide, low, address(size)]);
    }
    for level in 1..5 {
        let large = match level {
            1 | 2 => Changes,
            _ => Breaks(Malformed::LeafSize(12 + 9 * level)),
        };
        let large = (bits(7, 7), large);
        for format in [format, format.with_snoop_control()] {
            check(format, level, 0x3, &[wide, snoop, large, address(12)]);
        }
    }
}

#[test]
fn amdv1() {
    const PERMIT: u64 = 3 << 61;
    let format = Amdv1::new();
    // Next Level has rules of its own.
    let next_level = (bits(9, 11), Other);
    for level in 0..5 {
        let reserved = (bits(52, 58), Reserved);
        let leaf = PERMIT | 1;
        let size = 12 + 9 * level;
        let address = (bits(size, 51), Changes);
        check(format, level, leaf, &[next_level, reserved, address]);
    }
    for level in 1..6 {
        let reserved = (bits(52, 60), Reserved);
        let table = PERMIT | u64::from(level) << 9 | 1;
        let address = (bits(12, 51), Changes);
        check(format, level, table, &[next_level, reserved, address]);
    }
    // A leaf of 64 KiB, whose size is in 14:12 with a zero above.
    let sized = PERMIT | 7 << 9 | 0x7001;
    let (code, reserved) = ((bits(15, 15), Changes), (bits(52, 58), Reserved));
    let address = (bits(16, 51), Changes);
    check(format, 0, sized, &[next_level, code, reserved, address]);
    // The mock's address field is one bit to the left.
    let reserved = (bits(52, 58), Reserved);
    let address = (bits(12, 51), Changes);
    check(
        MockAmdv1::mock(),
        0,
        PERMIT | 1,
        &[next_level, reserved, address],
    );
}

#[test]
fn arm() {
    // Only addresses beyond the output width are faults; the Contiguous bit is a hint.
    let wide = Breaks(Malformed::AddressSize);
    let s1 = ArmS1::<12>::new(Bits48, 48, 44).unwrap();
    let s2 = ArmS2::<12>::new(Bits48, 48, 44).unwrap();
    let rules = |from: u8| [(bits(44, 47), wide), (bits(from, 43), Changes)];
    check(s1, 0, 0xf43, &rules(12));
    check(s2, 0, 0x7ff, &rules(12));
    for (level, size) in [(1, 21), (2, 30)] {
        let [high, address] = rules(size);
        let table = (bits(1, 1), Changes);
        check(s1, level, 0xf41, &[high, address, table]);
        check(s2, level, 0x7fd, &[high, address, table]);
    }
    for level in 1..4 {
        check(s1, level, 3, &rules(12));
        check(s2, level, 3, &rules(12));
    }
    // Blocks at the top, and what is no page at the bottom, are invalid.
    for (level, entry, size) in [(3, 1, 39), (0, 1, 12)] {
        let invalid = Malformed::LeafSize(size);
        assert_eq!(s1.decode(entry, level), Entry::Malformed(invalid));
        assert_eq!(s2.decode(entry | 1 << 47, level), Entry::Malformed(invalid));
        reported(s1, level, entry, invalid);
    }
    // Addresses in two pieces: those of 64 KiB granules, with 48 output bits, and of LPA2 with 48.
    let lpa = ArmS1::<16>::new(Bits52, 52, 48).unwrap();
    check(lpa, 0, 3, &[(bits(12, 15), wide), (bits(16, 47), Changes)]);
    let lpa2 = ArmS1::<12>::new(Bits52, 52, 48).unwrap();
    let high = (bits(48, 49) | bits(8, 9), wide);
    check(lpa2, 0, 3, &[high, (bits(12, 47), Changes)]);
    check(lpa2, 4, 3, &[high, (bits(12, 47), Changes)]);
    let lpa2 = ArmS1::<14>::new(Bits52, 52, 52).unwrap();
    check(lpa2, 0, 3, &[(bits(14, 49) | bits(8, 9), Changes)]);
}

#[test]
fn riscv() {
    let reserved = (bits(54, 60), Reserved);
    let memory_type = (bits(61, 62), Reserved);
    let napot = (bits(63, 63), Reserved);
    let address = |from: u8| (bits(from - 2, 53), Changes);
    for format in [Riscv::sv57(), Riscv::sv57x4()] {
        for level in 0..5 {
            let size = 12 + 9 * level;
            // Page number bits below the size, in a leaf of the default size.
            let low = match level {
                0 => (0, Reserved),
                _ => (bits(10, size - 3), Reserved),
            };
            check(
                format,
                level,
                0xd7,
                &[reserved, memory_type, napot, low, address(size)],
            );
        }
        for level in 1..5 {
            // R or X make a leaf of it, W alone is no permission; U, A and D are for leaves only.
            let leaf = (bits(1, 1) | bits(3, 3), Changes);
            let write = (bits(2, 2), Breaks(Malformed::Permissions));
            let marks = (bits(4, 4) | bits(6, 7), Reserved);
            let rules = [
                reserved,
                memory_type,
                napot,
                leaf,
                write,
                marks,
                address(12),
            ];
            check(format, level, 0x1, &rules);
        }
    }
    // At the bottom there is nothing to point to.
    let format = Riscv::sv39();
    reported(format, 0, 0x1, Malformed::TableLevel(0));
    reported(format, 0, 0xd5, Malformed::Permissions);
    // Memory types: one of the four is reserved.
    let typed = format.with_memory_types();
    check(typed, 0, 0xd7, &[reserved, napot, address(12)]);
    check(
        typed,
        1,
        0x2000_0000_0000_00d7,
        &[
            reserved,
            napot,
            (bits(62, 62), Breaks(Malformed::ReservedBits(bits(61, 62)))),
            (bits(10, 18), Reserved),
            address(21),
        ],
    );
    check(
        typed,
        1,
        0x1,
        &[
            reserved,
            memory_type,
            napot,
            (bits(1, 1) | bits(3, 3), Changes),
            (bits(2, 2), Breaks(Malformed::Permissions)),
            (bits(4, 4) | bits(6, 7), Reserved),
            address(12),
        ],
    );
    // Leaves of 64 KiB: only with the page number's low bits 1000, and only at the bottom.
    let napot = format.with_napot();
    for low in 0..16 {
        let leaf = 1 << 63 | low << 10 | 0xd7;
        let well_formed =
            matches!(napot.decode(leaf, 0), Entry::Leaf(found) if found.size.log2() == 16);
        assert_eq!(well_formed, low == 8);
        if low != 8 {
            let bits = leaf & (1 << 63 | 0xf << 10);
            reported(napot, 0, leaf, Malformed::ReservedBits(bits));
        }
        let bits = leaf & (1 << 63 | 0xf << 10);
        reported(napot, 1, leaf, Malformed::ReservedBits(bits));
    }
}

/// All size codes of AMD v1: for each size, the one that the format offers; for each code that a level has no leaf for, a
/// report.
#[test]
fn amdv1_size_codes() {
    let format = Amdv1::new();
    for level in 0_u8..6 {
        for log2 in 13_u8..=52 {
            // Bits 12 to log2 - 2 are ones, and bit log2 - 1 is a zero.
            let ones = (1_u64 << (log2 - 1)) - 0x1000;
            let entry = 3 << 61 | 7 << 9 | 1 | ones;
            let default = 12 + 9 * level;
            let fits = log2 > default && log2 < default + 9 && level < 5;
            let decoded = format.decode(entry, level);
            if !fits {
                assert_eq!(decoded, Entry::Malformed(Malformed::LeafSize(log2)));
                reported(format, level, entry, Malformed::LeafSize(log2));
                continue;
            }
            let Entry::Leaf(leaf) = decoded else {
                panic!("{decoded:?}");
            };
            assert_eq!((leaf.size.log2(), leaf.pa.get()), (log2, 0));
            let attributes = format.attributes(Prot::RW).unwrap();
            assert_eq!(format.leaf(leaf.size, level, attributes), entry);
            // The address above the code.
            if log2 < 51 {
                let Entry::Leaf(high) = format.decode(entry | 1 << log2, level) else {
                    panic!("no leaf");
                };
                assert_eq!((high.size, high.pa.get()), (leaf.size, 1 << log2));
            }
        }
    }
    let offered = format.leaf_sizes().bitmap();
    assert_eq!(offered, 0x000f_ff7f_ffff_f000);
}
