//! The memory that all contenders make their tables in.

// UNSAFETY: a physical address becomes a pointer, as it does with the memory of the models and as it does for the peers. Were it
// made an index and an index a pointer, our walks would wait for that arithmetic and theirs would not.
#![expect(unsafe_code, reason = "see above")]

use std::cell::RefCell;
use std::sync::atomic::AtomicU64;
use std::{ptr, slice};

use anyhow::anyhow;
use swiommu_addr::{Pa, PageSize};
use swiommu_pgtable::{OutOfMemory, TableMemory};
use zerocopy::FromZeros;

const TABLE: u64 = 0x1000;
const ENTRIES: usize = 512;

/// Tables of 4 KiB at physical addresses that are also virtual ones of this process. What came back last is given out first.
///
/// It belongs to one thread and has no lock: nobody's tables pay for one.
pub(crate) struct Pool {
    /// Where the words begin.
    first: usize,
    /// How far after it the last table's worth of words begins.
    reach: usize,
    free: RefCell<Vec<u64>>,
    tables: usize,
}

impl Pool {
    /// A pool that lasts as long as the process.
    pub(crate) fn leak(tables: usize) -> anyhow::Result<&'static Self> {
        // One more than asked for, because tables are aligned.
        let words = <[AtomicU64]>::new_box_zeroed_with_elems((tables + 1) * ENTRIES)
            .map_err(|_| anyhow!("no memory for {tables} page tables"))?;
        let first = Box::leak(words).as_ptr().expose_provenance();
        let table = |index: u64| (first as u64).next_multiple_of(TABLE) + index * TABLE;
        Ok(Box::leak(Box::new(Self {
            first,
            reach: tables * TABLE as usize,
            free: RefCell::new((0..tables as u64).rev().map(table).collect()),
            tables,
        })))
    }

    /// A table with unspecified content.
    #[inline]
    pub(crate) fn take(&self) -> Option<u64> {
        self.free.borrow_mut().pop()
    }

    #[inline]
    pub(crate) fn put(&self, table: u64) {
        self.free.borrow_mut().push(table);
    }

    /// Makes the next contender begin with the same tables as this one did, which has put back all.
    pub(crate) fn rewind(&self) {
        let mut free = self.free.borrow_mut();
        assert_eq!(free.len(), self.tables, "tables were lost");
        free.sort_unstable_by(|a, b| b.cmp(a));
    }
}

/// The pool as our tables see it: with its bounds at hand, not behind a pointer that every step of a walk would have to follow.
#[derive(Clone, Copy)]
pub(crate) struct PoolTables {
    first: usize,
    reach: usize,
    pool: &'static Pool,
}

impl PoolTables {
    pub(crate) fn new(pool: &'static Pool) -> Self {
        Self {
            first: pool.first,
            reach: pool.reach,
            pool,
        }
    }
}

impl TableMemory for PoolTables {
    #[inline]
    fn alloc(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
        if size.bytes() != TABLE {
            return Err(OutOfMemory);
        }
        self.pool.take().map(Pa::new).ok_or(OutOfMemory)
    }

    #[inline]
    fn free(&self, table: Pa, _: PageSize) {
        self.pool.put(table.get());
    }

    #[inline]
    fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]> {
        let address = table.get() as usize;
        let offset = address.wrapping_sub(self.first);
        if offset > self.reach || count > ENTRIES || !address.is_multiple_of(size_of::<u64>()) {
            return None;
        }
        let first = ptr::with_exposed_provenance(address);
        // SAFETY: A table's worth of words begins there, among those that `leak` exposed and nobody frees.
        Some(unsafe { slice::from_raw_parts(first, count) })
    }
}
