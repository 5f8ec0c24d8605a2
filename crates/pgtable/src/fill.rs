//! The second half of a map: tables are added and leaves written. It cannot fail.

use swiommu_addr::{Pa, PageSize};

use crate::geometry::{item_log2, item_mask, leaf_level};
use crate::layout::{From, Layout};
use crate::reserve::Reserve;
use crate::slots::{read, write_series};
use crate::tree::Node;
use crate::{DetachedTables, Format, LeafSlots, OutOfMemory, PageTable, TableMemory};

/// A map in progress.
pub(crate) struct Fill<'a, 'r, F: Format, M: TableMemory> {
    table: &'a PageTable<F, M>,
    layout: Layout<'r>,
    attributes: u64,
    reserve: Reserve<'a, F, M>,
    /// Some leaf takes the place of empty tables.
    replaces: bool,
    replaced: DetachedTables<F>,
}

impl<'a, 'r, F: Format, M: TableMemory> Fill<'a, 'r, F, M> {
    pub(crate) fn new(
        table: &'a PageTable<F, M>,
        layout: Layout<'r>,
        attributes: u64,
        reserve: Reserve<'a, F, M>,
        replaces: bool,
    ) -> Self {
        Self {
            table,
            layout,
            attributes,
            reserve,
            replaces,
            replaced: DetachedTables::new(),
        }
    }

    /// The empty tables whose place was taken.
    pub(crate) fn replaced(self) -> DetachedTables<F> {
        self.replaced
    }

    /// Maps from the position of the layout to `last`, all of which `node` translates, a table that is part of the tree.
    pub(crate) fn visible(&mut self, node: Node<'_>, last: u64) -> Result<(), OutOfMemory> {
        while self.layout.input() != last.wrapping_add(1) {
            let input = self.layout.input();
            let size = self.layout.size();
            if leaf_level::<F>(size) == node.level {
                if self.replaces {
                    self.detach_tables(node, size, last);
                }
                self.leaves(node, size, last);
                continue;
            }
            let index = node.index::<F>(input);
            let child_last = last.min(input | item_mask::<F>(node.level));
            let entry = node.slots.get(index);
            if let Some(child) = self.table.tree().next_node(entry, node.level) {
                self.visible(child, child_last)?;
            } else if child_last - input == item_mask::<F>(node.level) {
                let child = self.new_table(node.level - 1, child_last)?;
                node.slots.publish(index, self.entry_for(child));
            } else {
                let child = self.install(node, index, entry)?;
                self.visible(child, child_last)?;
            }
        }
        Ok(())
    }

    /// A new table, filled with everything that the layout has from its position to `last`: all that the table translates.
    /// Nobody sees it yet, so each of its entries is written once, and none is read.
    fn new_table(&mut self, level: u8, last: u64) -> Result<Node<'a>, OutOfMemory> {
        let node = self.reserve.take(level)?;
        while self.layout.input() != last.wrapping_add(1) {
            let input = self.layout.input();
            let size = self.layout.size();
            if leaf_level::<F>(size) == level {
                self.leaves(node, size, last);
            } else {
                let child = self.new_table(level - 1, input | item_mask::<F>(level))?;
                node.slots
                    .publish(node.index::<F>(input), self.entry_for(child));
            }
        }
        Ok(node)
    }

    /// Puts an empty table into an entry, unless another map of neighbouring addresses comes first: then that table.
    fn install(
        &mut self,
        node: Node<'_>,
        index: usize,
        mut entry: u64,
    ) -> Result<Node<'a>, OutOfMemory> {
        let child = self.reserve.take(node.level - 1)?;
        child.slots.clear_all();
        while let Err(now) = node.slots.replace(index, entry, self.entry_for(child)) {
            if let Some(other) = self.table.tree().next_node(now, node.level) {
                self.reserve.put_back(child);
                return Ok(other);
            }
            entry = now;
        }
        Ok(child)
    }

    fn entry_for(&self, child: Node<'_>) -> u64 {
        let format = self.table.format();
        format.table(child.level + 1) | format.address(child.pa)
    }

    /// Takes the tables out in whose place leaves are about to be written.
    fn detach_tables(&mut self, node: Node<'_>, size: PageSize, last: u64) {
        let bytes = self.layout.piece(size, last).bytes();
        for slot in &node.slots.0[node.slots_of::<F>(self.layout.input(), bytes)] {
            if let Some(child) = self.table.tree().next_node(read(slot), node.level) {
                self.replaced.push(self.table.format(), child);
            }
        }
    }

    /// Writes leaves of this size, until the layout has another one or up to `last`, and moves on.
    #[inline]
    fn leaves(&mut self, node: Node<'_>, size: PageSize, last: u64) {
        let format = self.table.format();
        let piece = self.layout.piece(size, last);
        let slots = &node.slots.0[node.slots_of::<F>(self.layout.input(), piece.bytes())];
        let slots_per_leaf = 1 << (u32::from(size.log2()) - item_log2::<F>(node.level));
        let own_addresses = slots_per_leaf == 1 || F::SLOTS == LeafSlots::OwnAddress;
        let step = if own_addresses {
            1 << item_log2::<F>(node.level)
        } else {
            0
        };
        let bits = format.leaf(size, node.level, self.attributes);
        // They have no bit in common. A sum tells the compiler that the entries of a linear format form a series.
        let entry = move |pa| bits.wrapping_add(format.address(Pa::new(pa)));
        if own_addresses && piece.from == From::OneRange {
            write_series(slots, self.layout.pa(), step, entry);
            self.layout.skip(piece);
        } else {
            for leaf in slots.chunks_exact(slots_per_leaf) {
                write_series(leaf, self.layout.pa(), step, entry);
                self.layout.advance(size.bytes());
            }
        }
    }
}
