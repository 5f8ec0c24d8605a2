//! What is shown to people.

use std::sync::atomic::Ordering;

use swiommu_addr::{Iova, Pa, PageSizes};
use swiommu_pgtable::fmt::{Amdv1, X86_64};
use swiommu_pgtable::{HeapTables, PageTable, Prot, TableMemory};

use crate::support::*;

#[test]
fn a_dump_has_a_line_for_each_leaf_and_each_table() {
    let table = table(X86_64::four_level());
    map(&table, 0x1234_5000, 0xa_bcde_f000, 0x1000);
    map(&table, 0xffff_ffff_4000_0000, 0x8000_0000, 0x4000_0000);
    let broken = &table.memory().entries(Pa::new(0x1_0000_2fb8), 1).unwrap()[0];
    broken.store(0x20e1, Ordering::Relaxed);
    assert_eq!(
        table.dump().to_string(),
        "\
root 0x100000000, 4 levels
  0x100000000[0x000] = 0000000100001027 table
    0x100001000[0x000] = 0000000100002027 table
      0x100002000[0x091] = 0000000100003027 table
        0x100003000[0x145] = 0000000abcdef067 0x12345000 -> 0xabcdef000 4K RW---- dirty
      0x100002000[0x1f7] = 00000000000020e1 malformed: reserved bits 0x2000 are set
  0x100000000[0x1ff] = 0000000100004027 table
    0x100004000[0x1fd] = 00000000800000e7 0xffffffff40000000 -> 0x80000000 1G RW---- dirty
"
    );
}

#[test]
fn slots_of_one_leaf_share_a_line_while_they_are_the_same() {
    let table = table(Amdv1::new());
    map(&table, 0x1_0000, 0x4001_0000, 0x1_0000);
    map(&table, 0x2_0000, 0x4001_0000, 0x1_0000);
    map(&table, 0x40_0000, 0xc000_0000, 0x40_0000);
    table.set_dirty(Iova::new(0x1_3000)).unwrap();
    assert_eq!(
        table.dump().to_string(),
        "\
root 0x100000000, 3 levels
  0x100000000[0x000] = 6000000100001401 table
    0x100001000[0x000] = 6000000100002201 table
      0x100002000[0x010..=0x012] = 6000000040017e01 0x10000 -> 0x40010000 64K RW----
      0x100002000[0x013] = 6000000040017e41 0x10000 -> 0x40010000 64K RW---- dirty
      0x100002000[0x014..=0x01f] = 6000000040017e01 0x10000 -> 0x40010000 64K RW----
      0x100002000[0x020..=0x02f] = 6000000040017e01 0x20000 -> 0x40010000 64K RW----
    0x100001000[0x002..=0x003] = 60000000c01ffe01 0x400000 -> 0xc0000000 4M RW----
"
    );
}

#[test]
fn debug_output_says_what_is_owed() {
    let table = PageTable::new(Amdv1::new(), HeapTables::new()).unwrap();
    let shown = format!("{table:?}");
    for part in ["PageTable", "Pa(0x100000000), levels: 3", "aperture"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert_eq!(
        format!("{:?}", table.memory()),
        "HeapTables { in_use: 4096, .. }"
    );
    let run = memory(0x1000, 0x20_0000);
    let mapped = table
        .map(Iova::new(0), run, Prot::RW, PageSizes::ALL)
        .unwrap();
    assert_eq!(format!("{mapped:?}"), "Mapped { replaced: None }");
    let unmapped = table.unmap(iova(0, 0x20_1000)).unwrap();
    let shown = format!("{unmapped:?}");
    for part in ["Unmapped", "0x0)..=0x200fff", "0x100002000"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert!(format!("{:?}", unmapped.flushed()).contains("0x100002000"));
}
