//! Where tables are kept.

use alloc::sync::Arc;

use swiommu_addr::{Pa, PageSize};

use crate::sync::AtomicU64;

/// There is no memory for another table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no memory for a page table")]
pub struct OutOfMemory;

/// Memory for page tables, addressed as the hardware addresses it.
///
/// It can be real physical memory behind a direct map, a pool that a hypervisor shares with a model, or the heap
/// ([`HeapTables`](crate::HeapTables)). Three promises are asked of it:
///
/// - Memory once given out stays readable as long as `self`: [`free`](Self::free) lets it be given out again, it does not
///   take it away. So a reader that is late sees old or foreign entries, never a fault.
/// - The words are the entries as the hardware reads them: little-endian. This crate converts.
/// - Two tables that are out at the same time do not overlap.
pub trait TableMemory {
    /// Memory for a table of `size` bytes, aligned to its size. Its content is *not* specified: whoever asked for the table
    /// writes every entry before it publishes the table, so that no entry of a filled table is written twice.
    ///
    /// # Errors
    /// [`OutOfMemory`], with nothing changed.
    fn alloc(&self, size: PageSize) -> Result<Pa, OutOfMemory>;

    /// Takes a table of `size` bytes back. No reader may be in it any more.
    fn free(&self, table: Pa, size: PageSize);

    /// The `count` entries from `table` on, or `None` where that is not table memory (an entry was overwritten by something
    /// else than this crate). `table` is the address of a table, or of an entry inside.
    fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]>;
}

impl<M: TableMemory + ?Sized> TableMemory for &M {
    fn alloc(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
        (**self).alloc(size)
    }

    fn free(&self, table: Pa, size: PageSize) {
        (**self).free(table, size);
    }

    #[inline]
    fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]> {
        (**self).entries(table, count)
    }
}

impl<M: TableMemory + ?Sized> TableMemory for Arc<M> {
    fn alloc(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
        (**self).alloc(size)
    }

    fn free(&self, table: Pa, size: PageSize) {
        (**self).free(table, size);
    }

    #[inline]
    fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]> {
        (**self).entries(table, count)
    }
}
