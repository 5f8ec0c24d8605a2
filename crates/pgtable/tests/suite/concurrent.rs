//! Several threads on one table.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use swiommu_addr::{Iova, PageSize, PageSizes};
use swiommu_pgtable::{Error, Format, Prot};

use crate::support::*;

const PA: u64 = 1 << 46;
const ROUNDS: u64 = 12;

/// Threads map and unmap pieces that interleave in the same tables, from an empty table on. No piece ever sees another.
pub(crate) fn neighbours_map_and_unmap_in_parallel<F: Format>(format: F) {
    const THREADS: u64 = 4;
    const PIECES: u64 = 6;
    let granule = F::GRANULE.bytes();
    let table = table(format);
    // Pieces of three quarters of a table: their ends share tables, their middles sometimes cover one.
    let piece = 3 * F::item_size(1).bytes() / 4;
    thread::scope(|scope| {
        for me in 0..THREADS {
            let table = &table;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let mine = (0..PIECES).map(|n| (n * THREADS + me) * piece);
                    for start in mine.clone() {
                        map(table, start, PA + start + (round % 2) * granule, piece);
                    }
                    for start in mine {
                        for at in [start, start + piece / 2, start + piece - 1].map(Iova::new) {
                            let pa = PA + at.get() + (round % 2) * granule;
                            assert_eq!(table.translate(at).unwrap().resolve(at).get(), pa);
                        }
                        let unmapped = table.unmap(iova(start, piece)).unwrap();
                        assert_eq!(unmapped.bytes(table.memory()), piece);
                        assert_eq!(unmapped.range(), iova(start, piece));
                        // Nobody else walks these addresses, so nobody is inside.
                        unmapped.flushed().free(table.memory());
                    }
                }
            });
        }
    });
    assert_eq!(leaves(&table), []);
    let tables = table.memory().clone();
    drop(table);
    assert_eq!(tables.in_use(), 0, "a table was lost");
}

/// Says that it is over when it goes, also by a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Readers translate while a writer maps and unmaps: what they see is the mapping of one round, or none.
pub(crate) fn readers_see_a_mapping_or_none<F: Format>(format: F) {
    let granule = F::GRANULE.bytes();
    let table = table(format);
    let start = F::item_size(1).bytes();
    let len = 2 * start;
    let done = AtomicBool::new(false);
    // Makes the root grow, where it can, while readers walk.
    let far = halves(&format)[0].last().get() - granule + 1;
    let detached = thread::scope(|scope| {
        for reader in 0..2 {
            let (table, done) = (&table, &done);
            scope.spawn(move || {
                let mut offset = reader * granule;
                while !done.load(Ordering::Relaxed) {
                    offset = (offset + 7 * granule + 1) % len;
                    let at = Iova::new(start + offset);
                    match table.translate(at) {
                        Ok(found) => {
                            let shift = found.resolve(at).get() - PA - offset;
                            assert!(shift == 0 || shift == granule, "{found:?}");
                        }
                        Err(error) => {
                            assert!(matches!(error, Error::NotMapped { iova, .. } if iova == at));
                        }
                    }
                }
            });
        }
        let _over = Over(&done);
        let mut detached = Vec::new();
        for round in 0..ROUNDS {
            let pa = PA + (round % 2) * granule;
            let run = memory(pa, len);
            let sizes = PageSizes::between(F::GRANULE, PageSize::from_log2(40));
            let mapped = table.map(Iova::new(start), run, Prot::RW, sizes).unwrap();
            detached.extend(mapped.replaced().map(swiommu_pgtable::Unmapped::flushed));
            if round == ROUNDS / 2 {
                map(&table, far, PA, granule);
            }
            detached.push(table.unmap(iova(start, len)).unwrap().flushed());
        }
        // The scope ends when the readers have left.
        detached
    });
    for tables in detached {
        tables.free(table.memory());
    }
    assert_eq!(leaves(&table).len(), 1);
}
