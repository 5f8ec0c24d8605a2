//! Which leaves were written through.

use swiommu_addr::{Iova, IovaRange};

use crate::geometry::{item_log2, item_mask};
use crate::slots::{position, position_sifted};
use crate::table::Span;
use crate::tree::{Child, Node};
use crate::walk::Found;
use crate::{Error, Format, PageTable, TableMemory};

/// What a dirty read does to the leaves that it finds dirty.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DirtyRead {
    /// Makes them clean.
    Clear,
    /// Leaves them dirty (`IOMMU_DIRTY_NO_CLEAR`).
    Keep,
}

/// The leaves that a dirty read made clean.
///
/// A cache that still holds such a leaf as dirty will not set its bit again: until the range is invalidated, writes through
/// it go unseen.
#[must_use = "caches may still hold the leaves as dirty"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cleaned {
    range: Option<IovaRange>,
}

impl Cleaned {
    /// What to invalidate: from the first such leaf to the last, or `None` when nothing was made clean.
    pub fn range(&self) -> Option<IovaRange> {
        self.range
    }
}

/// A dirty read in progress.
struct Harvest<V> {
    mode: DirtyRead,
    visit: V,
    cleaned: Option<Span>,
}

impl<F: Format, M: TableMemory> PageTable<F, M> {
    /// Calls `visit` with the IOVAs of every dirty leaf that has an address in `range`, in ascending order, each once.
    ///
    /// A leaf is dirty when any of its slots is, and is reported and made clean whole, also where it reaches beyond the
    /// range. Each slot is made clean by an atomic operation: a write that the hardware records at the same time is reported
    /// now or next time.
    ///
    /// ```
    /// # use swiommu_addr::*; use swiommu_pgtable::*; use swiommu_pgtable::fmt::VtdSs;
    /// let table = PageTable::new(VtdSs::four_level().with_accessed_dirty(), HeapTables::new())?;
    /// let run = PaRange::from_len(Pa::new(0x9000_0000), 0x4000).unwrap();
    /// assert!(table.map(Iova::new(0x1000), run, Prot::RW, PageSizes::ALL)?.replaced().is_none());
    /// // What hardware does on a write:
    /// table.set_dirty(Iova::new(0x2345))?;
    ///
    /// let mut written = Vec::new();
    /// let all = IovaRange::from_len(Iova::new(0), 0x10_0000).unwrap();
    /// let cleaned = table.read_dirty(all, DirtyRead::Clear, |leaf| written.push(leaf))?;
    /// let page = IovaRange::from_len(Iova::new(0x2000), 0x1000).unwrap();
    /// assert_eq!((written, cleaned.range()), (vec![page], Some(page)));
    ///
    /// let cleaned = table.read_dirty(all, DirtyRead::Clear, |leaf| panic!("{leaf} was written again"))?;
    /// assert_eq!(cleaned.range(), None);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfRange`], with nothing visited.
    pub fn read_dirty(
        &self,
        range: IovaRange,
        mode: DirtyRead,
        visit: impl FnMut(IovaRange),
    ) -> Result<Cleaned, Error> {
        let span = self.span(range)?;
        let mut harvest = Harvest {
            mode,
            visit,
            cleaned: None,
        };
        if let Some((node, span)) = self.within_reach(span) {
            self.harvest(node, span, &mut harvest);
        }
        Ok(Cleaned {
            range: harvest.cleaned.and_then(|span| self.iova_range(span)),
        })
    }

    /// Does what the hardware does on a write to `iova` with dirty tracking on: it marks the one slot that it walked.
    /// Whether the leaf permits writing is not asked.
    ///
    /// # Errors
    /// As [`translate`](Self::translate).
    pub fn set_dirty(&self, iova: Iova) -> Result<(), Error> {
        let one = IovaRange::new(iova, iova).unwrap_or(IovaRange::full());
        let Span { first: input, .. } = self.span(one)?;
        loop {
            let Found {
                node, index, entry, ..
            } = self.find(iova, input)?;
            if node
                .slots
                .replace(index, entry, self.format.dirtied(entry))
                .is_ok()
            {
                return Ok(());
            }
        }
    }

    fn harvest(&self, node: Node<'_>, span: Span, harvest: &mut Harvest<impl FnMut(IovaRange)>) {
        let Span { first, last } = self.whole_leaves(node, span);
        let indexes = node.index::<F>(first)..node.index::<F>(last) + 1;
        let mut index = indexes.start;
        while index < indexes.end {
            let here = &node.slots.0[index..indexes.end];
            let format = self.format();
            // In a table of leaves only dirty ones need a closer look; further up, tables do too.
            let skip = if node.level == 0 {
                position_sifted(
                    here,
                    |entry| format.dirty_bits(entry),
                    |entry| format.is_dirty(entry),
                )
            } else {
                position(here, |entry| !format.is_absent(entry))
            };
            let Some(skip) = skip else { return };
            index += skip;
            let offset = ((index - indexes.start) as u64) << item_log2::<F>(node.level);
            let input = (first & !item_mask::<F>(node.level)) + offset;
            let entry = node.slots.get(index);
            match self.tree().child(entry, node.level) {
                Child::Leaf(leaf) if self.format.is_dirty(entry) => {
                    let slots = 1 << (u32::from(leaf.size.log2()) - item_log2::<F>(node.level));
                    let leaf_first = input & !leaf.size.mask();
                    let leaf_span = Span {
                        first: leaf_first,
                        last: leaf_first | leaf.size.mask(),
                    };
                    if harvest.mode == DirtyRead::Clear {
                        self.clean(node, index & !(slots - 1), slots);
                        let from = harvest.cleaned.map_or(leaf_span.first, |span| span.first);
                        harvest.cleaned = Some(Span {
                            first: from,
                            last: leaf_span.last,
                        });
                    }
                    if let Some(range) = self.iova_range(leaf_span) {
                        (harvest.visit)(range);
                    }
                    index = (index & !(slots - 1)) + slots;
                }
                Child::Table(child) => {
                    let from = input.max(first);
                    let to = last.min(input | item_mask::<F>(node.level));
                    self.harvest(
                        child,
                        Span {
                            first: from,
                            last: to,
                        },
                        harvest,
                    );
                    index += 1;
                }
                _ => index += 1,
            }
        }
    }

    /// Makes the slots of one leaf clean.
    fn clean(&self, node: Node<'_>, first: usize, slots: usize) {
        for index in first..first + slots {
            let mut entry = node.slots.get(index);
            while self.format.is_dirty(entry) {
                match node.slots.replace(index, entry, self.format.cleaned(entry)) {
                    Ok(()) => break,
                    Err(now) => entry = now,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
