//! Memory for a few tables of two entries.

use core::array;
use core::sync::atomic::{AtomicBool, AtomicUsize};

use swiommu_addr::{Pa, PageSize};

use super::tiny::FOREIGN;
use crate::sync::{AtomicU64, Ordering};
use crate::{OutOfMemory, TableMemory};

/// Each table is given out once, and belongs to others before and after: whoever sees what they have in it was too early or
/// too late.
///
/// Who has which table is not known to loom, so that giving tables out and taking them back puts nothing in order.
pub(super) struct Tables {
    entries: [AtomicU64; 2 * COUNT],
    given: AtomicUsize,
    is_out: [AtomicBool; COUNT],
}

const SIZE: PageSize = PageSize::from_log2(4);
const COUNT: usize = 8;
const FIRST: u64 = 0x1000;

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            entries: array::from_fn(|_| AtomicU64::new(FOREIGN)),
            given: AtomicUsize::new(0),
            is_out: [const { AtomicBool::new(false) }; COUNT],
        }
    }

    /// How many tables are out.
    pub(super) fn out(&self) -> usize {
        let is_out = |table: &&AtomicBool| table.load(Ordering::Relaxed);
        self.is_out.iter().filter(is_out).count()
    }
}

fn number(table: Pa) -> Option<usize> {
    usize::try_from(table.get().checked_sub(FIRST)? / SIZE.bytes()).ok()
}

impl TableMemory for Tables {
    fn alloc(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
        assert_eq!(size, SIZE);
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        self.is_out[number].store(true, Ordering::Relaxed);
        Ok(Pa::new(FIRST + number as u64 * SIZE.bytes()))
    }

    fn free(&self, table: Pa, _: PageSize) {
        let was_out = self.is_out[number(table).unwrap()].swap(false, Ordering::Relaxed);
        assert!(was_out, "freed twice");
        for entry in self.entries(table, 2).unwrap() {
            entry.store(FOREIGN, Ordering::Relaxed);
        }
    }

    fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]> {
        let first = 2 * number(table)?;
        self.entries.get(first..first + count)
    }
}
