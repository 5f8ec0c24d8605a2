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
///
/// A pool of pages at a physical address of its own, for formats of which no table takes more than one:
///
/// ```
/// use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
///
/// use swiommu_addr::{Pa, PageSize};
/// use swiommu_pgtable::{OutOfMemory, PageTable, TableMemory, fmt::X86_64};
///
/// const BASE: u64 = 0x8_0000_0000;
///
/// struct Pool {
///     words: Vec<AtomicU64>,
///     given_out: AtomicUsize,
/// }
///
/// impl TableMemory for Pool {
///     fn alloc(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
///         let page = self.given_out.fetch_add(1, Ordering::Relaxed);
///         let exists = size == PageSize::SIZE_4K && page < self.words.len() / 512;
///         exists.then_some(Pa::new(BASE + page as u64 * 4096)).ok_or(OutOfMemory)
///     }
///
///     // It could keep a list; this one gives no page out twice.
///     fn free(&self, _: Pa, _: PageSize) {}
///
///     fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]> {
///         let first = usize::try_from(table.get().checked_sub(BASE)? / 8).ok()?;
///         self.words.get(first..first.checked_add(count)?)
///     }
/// }
///
/// let words = (0..512).map(|_| AtomicU64::new(0)).collect();
/// let pool = Pool { words, given_out: AtomicUsize::new(0) };
/// let table = PageTable::new(X86_64::four_level(), &pool)?;
/// assert_eq!(table.root().table, Pa::new(BASE));
/// // The root was the only page.
/// assert_eq!(PageTable::new(X86_64::four_level(), &pool).err(), Some(OutOfMemory));
/// # Ok::<(), OutOfMemory>(())
/// ```
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
