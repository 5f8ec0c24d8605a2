//! Page tables in the machine's physical memory.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use swiommu_addr::{Pa, PageSize};
use swiommu_injection::{Step, step};
use swiommu_mem::PhysicalMemory;
use swiommu_pgtable::{OutOfMemory, TableMemory};

/// The memory of page tables: the table windows of a [`PhysicalMemory`].
#[derive(Clone, Debug)]
pub struct Tables(Arc<PhysicalMemory>);

impl Tables {
    /// Tables in this memory.
    pub fn new(memory: &Arc<PhysicalMemory>) -> Self {
        Self(memory.clone())
    }
}

impl TableMemory for Tables {
    fn alloc(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
        step(Step::Table).map_err(|_| OutOfMemory)?;
        self.0.alloc_table(size).map_err(|_| OutOfMemory)
    }

    fn free(&self, table: Pa, size: PageSize) {
        self.0.free_table(table, size);
    }

    #[inline]
    fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]> {
        self.0.words(table, PageSize::from_bytes(count as u64 * 8)?)
    }
}
