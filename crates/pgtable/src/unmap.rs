//! Unmapping: entries cleared one by one at the ends of a range, whole tables taken out in its middle.

use swiommu_addr::{IovaRange, PageSize};

use crate::geometry::{item_log2, item_mask};
use crate::slots::{clear, clear_present, read};
use crate::straight::Landing;
use crate::table::Span;
use crate::tree::{Child, Node};
use crate::{DetachedTables, Entry, Error, Format, PageTable, TableMemory, Unmapped};

/// What an unmap has done so far.
struct Progress<F> {
    /// Grows where a leaf reaches beyond the range that was asked for.
    gone: Span,
    cleared: u64,
    tables: DetachedTables<F>,
}

impl<F: Format, M: TableMemory> PageTable<F, M> {
    /// Removes every leaf that has an address in `range`; a leaf that is cut by an end of the range goes whole, and
    /// [`Unmapped::range`] covers it. Where nothing is mapped, nothing happens.
    ///
    /// Tables whose addresses all lie in the range are taken out unread, at the cost of one store. Tables that are covered
    /// in part stay for later use, even when they are empty now. No memory is needed.
    ///
    /// ```
    /// # use swiommu_addr::*; use swiommu_pgtable::*; use swiommu_pgtable::fmt::X86_64;
    /// # let memory = HeapTables::new();
    /// # let table = PageTable::new(X86_64::four_level(), &memory)?;
    /// let run = PaRange::from_len(Pa::new(0x8020_0000), 0x20_0000).unwrap();
    /// assert!(table.map(Iova::new(0x20_0000), run, Prot::RW, PageSizes::ALL)?.replaced().is_none());
    ///
    /// // A page of a leaf of 2 MiB: all of it goes.
    /// let page = IovaRange::from_len(Iova::new(0x20_5000), 0x1000).unwrap();
    /// let unmapped = table.unmap(page)?;
    /// assert_eq!(unmapped.range(), IovaRange::from_len(Iova::new(0x20_0000), 0x20_0000).unwrap());
    /// assert_eq!(unmapped.bytes(&memory), 0x20_0000);
    /// // … invalidate `unmapped.range()`, wait for walks in progress …
    /// unmapped.flushed().free(&memory);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfRange`], with nothing changed.
    #[inline]
    pub fn unmap(&self, range: IovaRange) -> Result<Unmapped<F>, Error> {
        if self.unmap_page(range) {
            return Ok(Unmapped::leaf(range, F::GRANULE));
        }
        self.unmap_any(range)
    }

    /// Does the smallest unmap: one ordinary page that is all of the range. `false` says only that it is not one.
    #[inline]
    fn unmap_page(&self, range: IovaRange) -> bool {
        let page = F::GRANULE.mask();
        let (first, last) = (range.start().get(), range.last().get());
        if last - first != page || first & page != 0 || !self.is_plain(range) {
            return false;
        }
        let Some(Landing { node, index, entry }) = self.land(first) else {
            return false;
        };
        let mapped = node.level == 0 && self.format.page(entry).is_some();
        if mapped {
            node.slots.publish(index, 0);
        }
        mapped
    }

    /// The same for a leaf of any level that takes one entry.
    fn unmap_one_leaf(&self, span: Span) -> Option<PageSize> {
        let Landing { node, index, entry } = self.land(span.first)?;
        let size = F::item_size(node.level);
        let fits = span.last - span.first == size.mask() && span.first & size.mask() == 0;
        match self.format.decode(entry, node.level) {
            Entry::Leaf(leaf) if fits && leaf.size == size => {
                node.slots.publish(index, 0);
                Some(size)
            }
            _ => None,
        }
    }

    #[inline(never)]
    fn unmap_any(&self, range: IovaRange) -> Result<Unmapped<F>, Error> {
        let span = self.span(range)?;
        if let Some(size) = self.unmap_one_leaf(span) {
            return Ok(Unmapped::leaf(range, size));
        }
        let mut progress = Progress {
            gone: span,
            cleared: 0,
            tables: DetachedTables::new(),
        };
        if let Some((root, span)) = self.within_reach(span) {
            self.clear(self.narrow(root, span), span, &mut progress);
        }
        let range = self.iova_range(progress.gone).unwrap_or(range);
        Ok(Unmapped::new(range, progress.cleared, progress.tables))
    }

    /// The lowest table on the way down from `node` in which all of `span` is translated.
    #[inline]
    pub(crate) fn narrow<'a>(&'a self, mut node: Node<'a>, span: Span) -> Node<'a> {
        while node.level > 0 && (span.first ^ span.last) & !item_mask::<F>(node.level) == 0 {
            let covers_slot = (span.last - span.first) == item_mask::<F>(node.level);
            let entry = node.slots.get(node.index::<F>(span.first));
            match self.tree().next_node(entry, node.level) {
                Some(child) if !covers_slot => node = child,
                _ => break,
            }
        }
        node
    }

    fn clear(&self, node: Node<'_>, span: Span, progress: &mut Progress<F>) {
        let Span { first, last } = self.whole_leaves(node, span);
        progress.gone.first = progress.gone.first.min(first);
        progress.gone.last = progress.gone.last.max(last);
        let slots = &node.slots.0[node.index::<F>(first)..=node.index::<F>(last)];
        let item = 1 << item_log2::<F>(node.level);
        if node.level == 0 {
            let format = self.format();
            progress.cleared += clear_present(slots, |entry| format.is_absent(entry)) * item;
            return;
        }
        let mut input = first;
        for slot in slots {
            let slot_last = input | item_mask::<F>(node.level);
            match self.tree().child(read(slot), node.level) {
                Child::Absent => {}
                Child::Leaf(_) => {
                    clear(slot);
                    progress.cleared += item;
                }
                Child::Malformed(_) => clear(slot),
                Child::Table(child) => {
                    let here = Span {
                        first: input,
                        last: slot_last.min(last),
                    };
                    if here.last - here.first == item_mask::<F>(node.level) {
                        clear(slot);
                        progress.tables.push(self.format, child);
                    } else {
                        self.clear(child, here, progress);
                    }
                }
            }
            input = slot_last.wrapping_add(1);
        }
    }

    /// The span with the rest of the leaves in this table that its ends cut.
    pub(crate) fn whole_leaves(&self, node: Node<'_>, span: Span) -> Span {
        let leaf_mask = |input| match self
            .tree()
            .child(node.slots.get(node.index::<F>(input)), node.level)
        {
            Child::Leaf(leaf) => leaf.size.mask(),
            _ => 0,
        };
        Span {
            first: span.first & !leaf_mask(span.first),
            last: span.last | leaf_mask(span.last),
        }
    }
}
