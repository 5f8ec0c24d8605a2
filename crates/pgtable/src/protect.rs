//! Changing what leaves permit, where they are.

use swiommu_addr::IovaRange;

use crate::geometry::item_mask;
use crate::table::Span;
use crate::tree::{Child, Node};
use crate::{Error, Format, PageTable, Prot, TableMemory};

/// The leaves that a change of permissions has changed.
///
/// Until they are invalidated, caches go on permitting what the leaves permitted, and refusing what they refused.
#[must_use = "caches may still hold the former permissions"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protected {
    range: Option<IovaRange>,
}

impl Protected {
    /// What to invalidate: from the first leaf that is different now to the last, or `None` where all were so already.
    pub fn range(&self) -> Option<IovaRange> {
        self.range
    }
}

impl<F: Format, M: TableMemory> PageTable<F, M> {
    /// Gives every leaf of `range` these permissions and this memory type, as a map would, in place of its own. Addresses and
    /// sizes stay as they are. No memory is needed.
    ///
    /// ```
    /// # use swiommu_addr::*; use swiommu_pgtable::*; use swiommu_pgtable::fmt::Amdv1;
    /// # let table = PageTable::new(Amdv1::new(), HeapTables::new())?;
    /// # let memory = PaRange::from_len(Pa::new(0x4040_0000), 0x3000).unwrap();
    /// # assert!(table.map(Iova::new(0x1000), memory, Prot::RW, PageSizes::ALL)?.replaced().is_none());
    /// let two = IovaRange::from_len(Iova::new(0x2000), 0x2000).unwrap();
    /// let protected = table.protect(two, Prot::READ)?;
    /// // … invalidate the IOTLB for `protected.range()` …
    /// assert_eq!(protected.range(), Some(two));
    /// assert_eq!(table.translate(Iova::new(0x1000))?.prot, Prot::RW);
    /// assert_eq!(table.translate(Iova::new(0x2000))?.prot, Prot::READ);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// Each entry changes by compare-and-exchange, so that a device may go on meanwhile, and no mark of its is lost: a leaf
    /// that is dirty, also since a moment ago, is so afterwards, until it is read and made clean. (Where the hardware has no
    /// dirty leaves that cannot be written, on Arm, a bit that is free for software says it.) A leaf that can be written and
    /// is clean stays clean. One that becomes writable is as a new one: dirty in the formats that make new leaves so.
    ///
    /// Readers, and devices, see the leaves change one by one.
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::Inexpressible`]; [`Error::NotMapped`] for the first address that no leaf translates;
    /// [`Error::LeafCut`] where an end of the range is inside of a leaf; [`Error::Malformed`]. Nothing has changed then.
    pub fn protect(&self, range: IovaRange, prot: Prot) -> Result<Protected, Error> {
        let span = self.span(range)?;
        let attributes = self.format.attributes(prot);
        let attributes = attributes.ok_or(Error::Inexpressible { prot })?;
        let Some((root, reached)) = self.within_reach(span) else {
            return Err(self.hole(span.first));
        };
        let node = self.narrow(root, reached);
        self.check_leaves(node, reached)?;
        if reached.last < span.last {
            return Err(self.hole(reached.last + 1));
        }
        let mut changed = None;
        self.change_leaves(node, span, attributes, &mut changed);
        Ok(Protected {
            range: changed.and_then(|changed| self.iova_range(changed)),
        })
    }

    /// Nothing is mapped there, because it is beyond what the root resolves now.
    fn hole(&self, input: u64) -> Error {
        Error::NotMapped {
            iova: self.iova(input),
            level: self.root().levels - 1,
        }
    }

    /// Checks that the span, which `node` translates, is made of whole leaves.
    fn check_leaves(&self, node: Node<'_>, span: Span) -> Result<(), Error> {
        let mut input = span.first;
        loop {
            let index = node.index::<F>(input);
            let iova = self.iova(input);
            let mut last = span.last.min(input | item_mask::<F>(node.level));
            match self.tree().child(node.slots.get(index), node.level) {
                Child::Leaf(leaf) => {
                    let first = input & !leaf.size.mask();
                    last = input | leaf.size.mask();
                    if first < span.first || last > span.last {
                        let leaf = self.iova_range(Span { first, last });
                        let leaf = leaf.unwrap_or(IovaRange::full());
                        return Err(Error::LeafCut { leaf });
                    }
                }
                Child::Table(child) => self.check_leaves(child, Span { first: input, last })?,
                Child::Absent => {
                    let level = node.level;
                    return Err(Error::NotMapped { iova, level });
                }
                Child::Malformed(reason) => {
                    return Err(self.malformed(node, index, input, reason));
                }
            }
            if last == span.last {
                return Ok(());
            }
            input = last + 1;
        }
    }

    fn change_leaves(
        &self,
        node: Node<'_>,
        span: Span,
        attributes: u64,
        changed: &mut Option<Span>,
    ) {
        let mut first = span.first;
        for index in node.index::<F>(span.first)..=node.index::<F>(span.last) {
            let last = span.last.min(first | item_mask::<F>(node.level));
            let here = Span { first, last };
            if let Some(child) = self.tree().next_node(node.slots.get(index), node.level) {
                self.change_leaves(child, here, attributes, changed);
            } else if self.change_slot(node, index, attributes) {
                let first = changed.map_or(here.first, |changed| changed.first);
                *changed = Some(Span { first, last });
            }
            first = last.wrapping_add(1);
        }
    }

    /// Changes one slot of a leaf; whether it was different.
    fn change_slot(&self, node: Node<'_>, index: usize, attributes: u64) -> bool {
        let mut entry = node.slots.get(index);
        while let Child::Leaf(leaf) = self.tree().child(entry, node.level) {
            let mut new = self.format.with_attributes(entry, attributes);
            let was_clean = leaf.prot.contains(Prot::WRITE) && !leaf.dirty;
            if was_clean && self.format.is_dirty(new) {
                new = self.format.cleaned(new);
            }
            if new == entry {
                return false;
            }
            match node.slots.replace(index, entry, new) {
                Ok(()) => return true,
                Err(now) => entry = now,
            }
        }
        false
    }
}
