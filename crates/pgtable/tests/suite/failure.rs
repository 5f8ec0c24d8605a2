//! Want of memory.

use swiommu_addr::{Iova, PageSizes};
use swiommu_pgtable::{Error, Format, OutOfMemory, PageTable, Prot};

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
