//! Want of memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use swiommu_addr::{Iova, Pa, PageSize, PageSizes};
use swiommu_pgtable::fmt::X86_64;
use swiommu_pgtable::{Error, Format, HeapTables, OutOfMemory, PageTable, Prot, TableMemory};

use crate::support::*;

const PA: u64 = 1 << 47;

/// Runs a map with 0, 1, 2 … tables to be had, until it succeeds; each time before, everything is as it was.
pub(crate) fn want_of_memory_at_any_step_changes_nothing<F: Format>(format: F) {
    let granule = F::GRANULE.bytes();
    let span = F::item_size(1).bytes();
    let top = halves(&format).last().unwrap().last().get() - granule + 1;
    for (start, pa, len) in [
        // One page, in a path of its own; at the top of the addresses, where a root has to grow.
        (5 * span + granule, PA, granule),
        (top, PA, granule),
        // Pages in parts of two tables and in all of the one between; beside a page that exists.
        (span - granule, PA, span + 2 * granule),
        // A large leaf with pages before and after.
        (span - granule, PA + span - granule, span + 2 * granule),
    ] {
        let table = PageTable::new(format, Limited::unlimited()).unwrap();
        map(&table, span - 2 * granule, PA, granule);
        let before = leaves(&table);
        let mut had = 0;
        loop {
            let in_use = table.memory().tables.in_use();
            let levels = table.root().levels;
            table.memory().limit(had);
            let result = table.map(Iova::new(start), memory(pa, len), Prot::RW, PageSizes::ALL);
            table.memory().limit(usize::MAX);
            let Err(error) = result else { break };
            assert_eq!(error, Error::OutOfMemory(OutOfMemory));
            assert_eq!(leaves(&table), before);
            let grown = u64::from(table.root().levels - levels);
            assert_eq!(
                table.memory().tables.in_use(),
                in_use + grown * table_size::<F>().bytes()
            );
            had += 1;
            assert!(had < 20, "more tables than this map can need");
        }
        assert_eq!(
            table
                .translate(Iova::new(start))
                .unwrap()
                .resolve(Iova::new(start))
                .get(),
            pa
        );
        let mapped: u64 = leaves(&table).iter().map(|leaf| leaf.size.bytes()).sum();
        assert_eq!(mapped, len + granule);
        // Nothing was allocated that was not needed.
        let needed = table.memory().tables.in_use();
        drop(table);
        let fresh = PageTable::new(format, Limited::unlimited()).unwrap();
        map(&fresh, span - 2 * granule, PA, granule);
        map(&fresh, start, pa, len);
        assert_eq!(fresh.memory().tables.in_use(), needed);
    }
    let memory = Limited::unlimited();
    memory.limit(0);
    assert_eq!(PageTable::new(format, &memory).err(), Some(OutOfMemory));
    assert_eq!(memory.tables.in_use(), 0);
}

/// Table memory that gives out addresses at which it then has nothing.
#[derive(Default)]
struct Hollow {
    tables: HeapTables,
    is_hollow: AtomicBool,
}

impl TableMemory for Hollow {
    fn alloc(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
        self.tables.alloc(size)
    }

    fn free(&self, table: Pa, size: PageSize) {
        self.tables.free(table, size);
    }

    fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]> {
        let is_root = table == Pa::new(0x1_0000_0000);
        let has_it = is_root || !self.is_hollow.load(Ordering::Relaxed);
        self.tables.entries(table, count).filter(|_| has_it)
    }
}

#[test]
fn memory_without_entries_is_no_memory() {
    let table = PageTable::new(X86_64::four_level(), Hollow::default()).unwrap();
    table.memory().is_hollow.store(true, Ordering::Relaxed);
    let request = || table.map(Iova::new(0), memory(PA, 0x1000), Prot::RW, PageSizes::ALL);
    assert_eq!(request().unwrap_err(), Error::OutOfMemory(OutOfMemory));
    // What it gave out, it has back.
    assert_eq!(table.memory().tables.in_use(), 0x1000);
    table.memory().is_hollow.store(false, Ordering::Relaxed);
    assert!(request().unwrap().replaced().is_none());
}

#[test]
fn borrowed_memory_has_its_tables_back() {
    let memory = HeapTables::new();
    drop(PageTable::new(X86_64::four_level(), &memory).unwrap());
    assert_eq!(memory.in_use(), 0);
}
