//! What a change leaves to be done.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use swiommu_addr::{IovaRange, Pa, PageSize};

use crate::geometry::table_size;
use crate::tree::{Node, Tree};
use crate::{Format, TableMemory};

/// What was taken out of a page table, and may still be in use.
///
/// The entries are gone from memory, but caches may hold translations of [`range`](Self::range) and walks in progress may
/// be inside tables that were taken out. So, in this order: invalidate the range, wait until every walk and access that
/// began before has ended, then give the tables back.
///
/// ```
/// # use swiommu_addr::*; use swiommu_pgtable::*; use swiommu_pgtable::fmt::Amdv1;
/// # let memory = HeapTables::new();
/// # let table = PageTable::new(Amdv1::new(), &memory)?;
/// # let range = IovaRange::from_len(Iova::new(0x20_0000), 0x20_0000).unwrap();
/// let unmapped = table.unmap(range)?;
/// // … invalidate the IOTLB for `unmapped.range()`, wait for the readers …
/// unmapped.flushed().free(&memory);
/// # Ok::<(), Error>(())
/// ```
#[must_use = "caches may still hold the translations, and tables wait to be freed"]
pub struct Unmapped<F> {
    range: IovaRange,
    cleared: u64,
    tables: DetachedTables<F>,
}

/// What a map leaves to be done: mostly nothing.
///
/// Where leaves took the place of empty tables, which unmaps smaller than a table leave behind, caches may still know those
/// tables: they are owed for like anything unmapped.
#[must_use = "empty tables that gave way to a leaf may wait to be freed"]
pub struct Mapped<F> {
    replaced: Option<Unmapped<F>>,
}

impl<F> Mapped<F> {
    pub(crate) fn new(replaced: Option<Unmapped<F>>) -> Self {
        Self { replaced }
    }

    /// The tables whose place was taken, if any.
    #[must_use = "caches may still hold the tables, and they wait to be freed"]
    pub fn replaced(self) -> Option<Unmapped<F>> {
        self.replaced
    }
}

/// Tables that no entry points to any more.
///
/// Dropping it keeps their memory out of use for ever, which is safe and a leak.
#[must_use = "the tables wait to be freed"]
pub struct DetachedTables<F> {
    /// `None` is for none. Mostly there are none, and then there is little to hand around.
    some: Option<Box<Detached<F>>>,
}

struct Detached<F> {
    format: F,
    /// Each with everything below it.
    roots: Vec<(Pa, u8)>,
}

impl<F: Format> Unmapped<F> {
    pub(crate) fn new(range: IovaRange, cleared: u64, tables: DetachedTables<F>) -> Self {
        Self {
            range,
            cleared,
            tables,
        }
    }

    /// One leaf, and no table.
    #[inline]
    pub(crate) fn leaf(range: IovaRange, size: PageSize) -> Self {
        Self::new(range, size.bytes(), DetachedTables::new())
    }

    /// Every IOVA whose translation may have gone: what to invalidate. It is the range that was asked for, and at its ends
    /// the rest of leaves that were cut.
    pub fn range(&self) -> IovaRange {
        self.range
    }

    /// How many bytes were mapped in the range.
    ///
    /// Tables that were taken out whole are read only now, so this takes time in proportion to them; `memory` is that of
    /// the page table.
    pub fn bytes<M: TableMemory>(&self, memory: &M) -> u64 {
        let Some(tables) = &self.tables.some else {
            return self.cleared;
        };
        let tree = tables.tree(memory);
        let nodes = tables.nodes(tree);
        self.cleared + nodes.map(|node| tree.mapped_bytes(node)).sum::<u64>()
    }

    /// The invalidation is done: what remains are the tables, which walks in progress may still be in.
    #[inline]
    pub fn flushed(self) -> DetachedTables<F> {
        self.tables
    }
}

impl<F: Format> DetachedTables<F> {
    #[inline]
    pub(crate) fn new() -> Self {
        Self { some: None }
    }

    pub(crate) fn push(&mut self, format: F, node: Node<'_>) {
        let nothing = || {
            Box::new(Detached {
                format,
                roots: Vec::new(),
            })
        };
        let tables = self.some.get_or_insert_with(nothing);
        tables.roots.push((node.pa, node.level));
    }

    /// Whether there is nothing to free, and so nothing to wait for.
    pub fn is_empty(&self) -> bool {
        self.some.is_none()
    }

    /// Adds the tables of another unmap of the same page table, to wait for the readers once.
    pub fn append(&mut self, other: Self) {
        match (&mut self.some, other.some) {
            (Some(tables), Some(mut other)) => tables.roots.append(&mut other.roots),
            (_, None) => {}
            (none, other) => *none = other,
        }
    }

    /// Gives the tables back to `memory`, the one that they came from. Every walk that began before they were taken out must
    /// have ended; and since a former [`root`](crate::PageTable::root) can be among them, walks that begin later must
    /// begin at the current one.
    #[inline]
    pub fn free<M: TableMemory>(self, memory: &M) {
        if let Some(tables) = self.some {
            tables.free(memory);
        }
    }
}

impl<F: Format> Detached<F> {
    #[inline(never)]
    fn free<M: TableMemory>(&self, memory: &M) {
        let tree = self.tree(memory);
        for node in self.nodes(tree) {
            tree.free_below(node);
            memory.free(node.pa, table_size::<F>());
        }
    }

    fn tree<'a, M>(&'a self, memory: &'a M) -> Tree<'a, F, M> {
        Tree {
            format: &self.format,
            memory,
        }
    }

    fn nodes<'a, M: TableMemory>(&'a self, tree: Tree<'a, F, M>) -> impl Iterator<Item = Node<'a>> {
        self.roots
            .iter()
            .filter_map(move |&(pa, level)| tree.node(pa, level))
    }
}

impl<F> fmt::Debug for Unmapped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unmapped")
            .field("range", &self.range)
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for Mapped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped")
            .field("replaced", &self.replaced)
            .finish()
    }
}

impl<F> fmt::Debug for DetachedTables<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots = self.some.iter().flat_map(|tables| &tables.roots);
        f.debug_set().entries(roots).finish()
    }
}
