//! Another writer at every step: each time an operation looks at a table, a second one runs to its end in between.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use swiommu_addr::{Iova, Pa, PageSize};
use swiommu_pgtable::{Error, Format, HeapTables, OutOfMemory, PageTable, Prot, TableMemory};

use crate::support::*;

const PA: u64 = 1 << 46;

/// Table memory that does something once, when it is asked for entries for the n-th time.
#[derive(Default)]
struct Interfering {
    tables: HeapTables,
    looks_left: AtomicUsize,
    deed: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl TableMemory for Interfering {
    fn alloc(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
        self.tables.alloc(size)
    }

    fn free(&self, table: Pa, size: PageSize) {
        self.tables.free(table, size);
    }

    fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]> {
        let left = self.looks_left.load(Ordering::Relaxed);
        self.looks_left
            .store(left.wrapping_sub(1), Ordering::Relaxed);
        if left == 0
            && let Some(deed) = self.deed.lock().unwrap().take()
        {
            deed();
        }
        self.tables.entries(table, count)
    }
}

type Shared<F> = Arc<PageTable<F, Arc<Interfering>>>;

#[derive(Clone, Copy, Debug)]
enum Deed {
    Map,
    Unmap,
    Protect,
}

/// An operation on a range of its own.
#[derive(Clone, Copy, Debug)]
struct Step {
    deed: Deed,
    start: u64,
    len: u64,
}

impl Step {
    fn prepare<F: Format>(self, table: &Shared<F>) {
        if matches!(self.deed, Deed::Unmap | Deed::Protect) {
            map(table, self.start, PA + self.start % (1 << 40), self.len);
        }
    }

    fn run<F: Format>(self, table: &Shared<F>) {
        match self.deed {
            Deed::Map => map(table, self.start, PA + self.start % (1 << 40), self.len),
            Deed::Unmap => assert_eq!(unmap(table, self.start, self.len).1, self.len),
            Deed::Protect => {
                let range = iova(self.start, self.len);
                let protected = table.protect(range, Prot::READ).unwrap();
                assert_eq!(protected.range(), Some(range));
            }
        }
    }

    fn check<F: Format>(self, table: &Shared<F>) {
        for at in [self.start, self.start + (self.len - 1)].map(Iova::new) {
            let translation = table.translate(at);
            let found = translation.map(|found| found.resolve(at).get() - PA);
            match self.deed {
                Deed::Map => assert_eq!(found, Ok(at.get() % (1 << 40)), "{self:?}"),
                Deed::Unmap => assert!(matches!(found, Err(Error::NotMapped { .. })), "{self:?}"),
                Deed::Protect => {
                    assert_eq!(found, Ok(at.get() % (1 << 40)), "{self:?}");
                    assert!(translation.is_ok_and(|found| !found.prot.contains(Prot::WRITE)));
                }
            }
        }
    }
}

pub(crate) fn a_neighbour_at_any_step_changes_nothing<F: Format>(format: F) {
    let granule = F::GRANULE.bytes();
    let span = F::item_size(1).bytes();
    let top = halves(&format)[0].last().get() - granule + 1;
    // They meet in the middle of a table, which is missing or not; and where both have to make the root grow.
    let outer = [
        (span + span / 2, granule),
        (span / 2, span),
        (span / 2, 3 * span),
        (top - granule, granule),
    ];
    let inner = [(span / 2 - granule, granule), (0, span / 2), (top, granule)];
    let deeds = [
        (Deed::Map, Deed::Map),
        (Deed::Map, Deed::Unmap),
        (Deed::Unmap, Deed::Map),
        (Deed::Protect, Deed::Map),
        (Deed::Map, Deed::Protect),
    ];
    for (outer, inner) in outer
        .iter()
        .flat_map(|outer| inner.map(|inner| (*outer, inner)))
    {
        for deeds in deeds {
            let outer = Step {
                deed: deeds.0,
                start: outer.0,
                len: outer.1,
            };
            let inner = Step {
                deed: deeds.1,
                start: inner.0,
                len: inner.1,
            };
            for step in 0.. {
                if !interfere(format, outer, inner, step) {
                    break;
                }
                assert!(step < 10_000, "an operation without an end");
            }
        }
    }
}

/// Whether the outer operation took so many looks that the inner one could interfere.
fn interfere<F: Format>(format: F, outer: Step, inner: Step, step: usize) -> bool {
    let memory = Arc::new(Interfering::default());
    memory.looks_left.store(usize::MAX, Ordering::Relaxed);
    let table = Arc::new(PageTable::new(format, memory.clone()).unwrap());
    outer.prepare(&table);
    inner.prepare(&table);
    let other = table.clone();
    *memory.deed.lock().unwrap() = Some(Box::new(move || inner.run(&other)));
    memory.looks_left.store(step, Ordering::Relaxed);
    outer.run(&table);
    memory.looks_left.store(usize::MAX, Ordering::Relaxed);
    let interfered = memory.deed.lock().unwrap().take().is_none();
    outer.check(&table);
    if interfered {
        inner.check(&table);
    }
    drop(Arc::into_inner(table).expect("the other operation is over"));
    assert_eq!(
        memory.tables.in_use(),
        0,
        "a table was lost: {outer:?}, {inner:?}, step {step}"
    );
    interfered
}

/// Table memory with a reader in it each time that it is asked for entries. New tables are full of leaves that once were.
struct Watched {
    tables: HeapTables,
    left_behind: u64,
    reader: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl TableMemory for Watched {
    fn alloc(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
        let table = self.tables.alloc(size)?;
        let entries = usize::try_from(size.bytes() / 8).unwrap();
        for entry in self.tables.entries(table, entries).unwrap() {
            entry.store(self.left_behind.to_le(), Ordering::Relaxed);
        }
        Ok(table)
    }

    fn free(&self, table: Pa, size: PageSize) {
        self.tables.free(table, size);
    }

    fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]> {
        let reader = self.reader.lock().unwrap().take();
        if let Some(reader) = reader {
            reader();
            *self.reader.lock().unwrap() = Some(reader);
        }
        self.tables.entries(table, count)
    }
}

pub(crate) fn a_reader_at_any_step_sees_a_mapping_or_none<F: Format>(format: F) {
    let granule = F::GRANULE.bytes();
    let large = F::item_size(1).bytes();
    let huge = F::item_size(2).bytes();
    let top = halves(&format)[0].last().get() - granule + 1;
    // Pages that fill tables, in part and whole; tables that fill tables, where that takes no time; large leaves.
    let many = huge / granule <= 1 << 18 && huge <= top / 2;
    let len = if many { huge } else { 2 * large };
    for (start, pa, len) in [
        (large / 2, PA + granule, 3 * large),
        (len, PA + granule, len),
        (large, PA, large),
    ] {
        let memory = Watched {
            tables: HeapTables::new(),
            left_behind: format.leaf(F::GRANULE, 0, format.attributes(Prot::RW).unwrap()),
            reader: Mutex::default(),
        };
        let table = Arc::new(PageTable::new(format, Arc::new(memory)).unwrap());
        let seen = table.clone();
        let reader = move || {
            for at in [0, len / 2, len - granule].map(|offset| Iova::new(start + offset)) {
                match seen.translate(at) {
                    Ok(found) => assert_eq!(found.resolve(at).get(), pa + (at.get() - start)),
                    Err(error) => assert!(matches!(error, Error::NotMapped { .. }), "{error}"),
                }
            }
            for beside in [start - granule, start + len, top - granule].map(Iova::new) {
                let nothing = seen.translate(beside);
                assert!(
                    matches!(nothing, Err(Error::NotMapped { .. })),
                    "{nothing:?}"
                );
            }
        };
        *table.memory().reader.lock().unwrap() = Some(Box::new(reader));
        map(&*table, start, pa, len);
        map(&*table, top, PA, granule);
        assert_eq!(unmap(&*table, start, len), (iova(start, len), len));
        *table.memory().reader.lock().unwrap() = None;
        assert_eq!(leaves(&*table).len(), 1);
    }
}
