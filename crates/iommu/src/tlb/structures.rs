//! A cache of the tables on the way to leaves.

use std::fmt;

use swiommu_addr::{Address, Iova, Pa};
use swiommu_pgtable::{
    Access, Arrival, Destination, EntryMemory, HardwareWalk, PhysicalEntries, Reached, TableMemory,
    WalkFault, Walker,
};
use swiommu_sabotage::Fault;

use super::{Marks, Retention, Scope, Tag, Tlb, Walk};
use crate::Translated;

/// Paging-structure caches, of all levels together: which table translates an address, and what the way there permits.
///
/// They are asked when an address is not in the IOTLB. The walk then begins at the deepest table that is known, whatever has become of
/// the entries above it since. An invalidation that covers an address forgets all tables on the way there; one of which software says
/// that only leaves have changed is none of theirs.
///
/// To a cache, a table is to all that it translates what a page is to its bytes. So this is a [`Tlb`], and everything that is
/// promised of one holds.
pub struct Structures {
    tables: Tlb,
}

impl Structures {
    /// Without entries.
    pub fn new(retention: Retention) -> Self {
        Self {
            tables: Tlb::new(retention),
        }
    }

    /// Where an IOVA leads, if its table of smallest leaves is known, and there is nothing to mark and nothing to refuse. `None` says nothing;
    /// this is the short cut past [`Ways::walk`]. `memory` reads tables by where the machine has them.
    #[expect(
        clippy::inline_always,
        reason = "a walk that is two such looks costs a tenth less"
    )]
    #[inline(always)]
    pub fn leaf<F: HardwareWalk, M: EntryMemory>(
        &self,
        tag: Tag,
        format: &F,
        memory: &M,
        iova: Iova,
        wanted: Access,
    ) -> Option<Arrival<M::Address>> {
        let known = self.tables.lookup(tag, iova)?.translated;
        let table = Reached {
            table: M::Address::new(known.page.get()),
            span: known.size,
            access: known.access,
        };
        table.leaf(format, memory, iova, wanted)
    }

    /// Begins a walk of the tables of this tag: before the first read of what may be changed and then invalidated.
    pub fn begin_walk(&self, tag: impl Into<Tag>) -> Ways<'_> {
        Ways {
            tables: &self.tables,
            tag: tag.into(),
            walk: self.tables.begin_walk(),
        }
    }

    /// Forgets the tables on the way to what `scope` covers, and no others. Returns how many those were. As [`Tlb::invalidate`].
    pub fn invalidate(&self, scope: &Scope) -> usize {
        if Fault::KeepTables.is_on() {
            return 0;
        }
        self.tables.invalidate(scope)
    }

    #[cfg(all(loom, test))]
    pub(super) fn tables(&self) -> &Tlb {
        &self.tables
    }

    /// How many tables are known.
    pub fn entries(&self) -> usize {
        self.tables.entries()
    }
}

impl fmt::Debug for Structures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Structures")
            .field("retention", &self.tables.retention())
            .field("entries", &self.entries())
            .finish_non_exhaustive()
    }
}

/// Tables that can be found again by where the machine has them.
pub trait Locate: EntryMemory {
    /// Where the machine has a table; `None` if it cannot be kept.
    fn locate(&self, table: Self::Address) -> Option<Pa>;

    /// The address by which a table is read whose place in the machine is known.
    fn located(&self, table: Pa) -> Self::Address;
}

impl<M: TableMemory> Locate for PhysicalEntries<M> {
    #[inline]
    fn locate(&self, table: Pa) -> Option<Pa> {
        Some(table)
    }

    #[inline]
    fn located(&self, table: Pa) -> Pa {
        table
    }
}

/// What a walk found, or why it ended.
type Outcome<T, M> = Result<T, WalkFault<<M as EntryMemory>::Address, <M as EntryMemory>::Fault>>;

/// What is known of the ways to leaves, for one walk.
#[derive(Clone, Copy, Debug)]
#[must_use = "the walk is done through it"]
pub struct Ways<'a> {
    tables: &'a Tlb,
    tag: Tag,
    walk: Walk<'a>,
}

impl Ways<'_> {
    /// The same walk, once it is known of which tag its tables are.
    pub fn tagged(self, tag: impl Into<Tag>) -> Self {
        let tag = tag.into();
        Self { tag, ..self }
    }

    /// [`Walker::walk`] from the deepest table that is known. Those on the rest of the way are known from then on.
    ///
    /// A table to which the way was too narrow for `wanted` is not begun at: it may have been widened since, of which software need
    /// not tell.
    ///
    /// # Errors
    /// Those of the walk.
    pub fn walk<F: HardwareWalk, M: Locate>(
        &self,
        walker: &Walker<F, M>,
        iova: Iova,
        wanted: Access,
    ) -> Outcome<Destination<M::Address>, M> {
        let found = self.walk_for(iova, walker, iova, wanted);
        found.map(|arrival| arrival.destination)
    }

    /// The same with the entry of the leaf, and for `iova`, where the tables may have another address for it: `input`. What is known is
    /// known, and invalidated, by the former.
    ///
    /// # Errors
    /// Those of the walk.
    #[inline]
    pub fn walk_for<F: HardwareWalk, M: Locate>(
        &self,
        iova: Iova,
        walker: &Walker<F, M>,
        input: Iova,
        wanted: Access,
    ) -> Outcome<Arrival<M::Address>, M> {
        let known = self.tables.lookup(self.tag, iova);
        let known = known.filter(|known| known.translated.access.contains(wanted));
        let from = known.map(|known| Reached {
            table: walker.memory().located(known.translated.page),
            span: known.translated.size,
            access: known.translated.access,
        });
        if let Some(table) = &from
            && let Some(found) = table.leaf(&walker.format(), walker.memory(), input, wanted)
        {
            return Ok(found);
        }
        let found = walker.walk_from(from, input, wanted, |reached| {
            self.keep(walker.memory(), iova, &reached);
        });
        found.map(Arrival::from)
    }

    fn keep<M: Locate>(&self, memory: &M, iova: Iova, reached: &Reached<M::Address>) {
        if self.tables.retention() == Retention::Off {
            return;
        }
        if let Some(table) = memory.locate(reached.table) {
            let table = Translated {
                page: table,
                size: reached.span,
                access: reached.access,
            };
            self.walk.insert(self.tag, iova, &table, Marks::NONE);
        }
    }
}
