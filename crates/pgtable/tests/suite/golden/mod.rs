//! Entries bit by bit: what the Linux 7.3 page-table code writes for the same calls.
//!
//! The vectors are those of `docs/spec/hw-formats.md`; each names its section there. `docs/pgtable-vectors.md` lists what they
//! cover. Tables are allocated one after the other from `0x1_0000_0000`, the root first.

mod amdv1;
mod arm;
mod mock;
mod nested;
mod riscv;
mod vtdss;
mod x86_64;

use swiommu_addr::{Gpa, Iova, Pa, PaRange, PageSizes};
use swiommu_pgtable::{HardwareWalk, HeapTables, PageTable, Prot, Root, TableMemory, Walker};

use crate::foreign::Foreign;

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;
const G: u64 = 1 << 30;

/// IOVA, physical address, length, permissions.
type Map = (u64, u64, u64, Prot);
/// The address of a table, the first and the last index, and the entry that they all hold.
type Entries = (u64, usize, usize, u64);

const ROOT: u64 = 0x1_0000_0000;
const SECOND: u64 = 0x1_0000_1000;
const THIRD: u64 = 0x1_0000_2000;
const FOURTH: u64 = 0x1_0000_3000;
const FIFTH: u64 = 0x1_0000_4000;

fn entry(memory: &HeapTables, table: u64, index: usize) -> u64 {
    let at = Pa::new(table + 8 * index as u64);
    memory.entries(at, 1).unwrap()[0].load(std::sync::atomic::Ordering::Relaxed)
}

fn map<F: HardwareWalk>(table: &PageTable<F, &HeapTables>, (iova, pa, len, prot): Map) {
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

/// One map into a fresh table leaves these entries and no others; and whoever walks these entries comes to what was mapped.
#[track_caller]
fn check<F: HardwareWalk>(section: &str, format: F, what: Map, expected: &[Entries]) {
    let memory = HeapTables::new();
    let table = PageTable::new(format, &memory).unwrap();
    map(&table, what);
    assert_entries(&memory, expected);
    let words = usize::try_from(memory.in_use() / 8).unwrap();
    let present = (0..words).filter(|&word| entry(&memory, ROOT, word) != 0);
    let listed = expected.iter().map(|(_, first, last, _)| last - first + 1);
    assert_eq!(
        present.count(),
        listed.sum(),
        "{section}: entries beyond the expected ones"
    );
    assert_walks(section, format, table.root().levels, what, expected);
}

/// Somebody else's table of these entries translates as if we had made it.
#[track_caller]
fn assert_walks<F: HardwareWalk>(
    section: &str,
    format: F,
    levels: u8,
    (iova, pa, len, _): Map,
    entries: &[Entries],
) {
    let memory = Foreign::default();
    for &(table, first, last, value) in entries {
        for index in first..=last {
            memory.put(table + 8 * index as u64, value);
        }
    }
    let root = Root {
        table: Gpa::new(ROOT),
        levels,
    };
    let walker = Walker::new(format, &memory, root).unwrap();
    for offset in [0, 1, len / 2 + 0x123, len - 1] {
        let at = Iova::new(iova + offset);
        let found = walker.look(at).unwrap();
        assert_eq!(found.resolve(at), Gpa::new(pa + offset), "{section}: {at}");
        assert!(memory.reads().len() <= usize::from(levels));
    }
}
