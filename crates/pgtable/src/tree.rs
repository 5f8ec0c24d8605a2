//! Going from entry to entry: what all operations on a table share.

use core::ops::Range;

use swiommu_addr::Pa;

use crate::geometry::{item_log2, item_mask, table_entries, table_size};
use crate::slots::{Slots, read};
use crate::{Entry, Format, Leaf, Malformed, TableMemory};

/// How to read a tree of tables, wherever its root is.
#[derive(Debug)]
pub(crate) struct Tree<'a, F, M> {
    pub(crate) format: &'a F,
    pub(crate) memory: &'a M,
}

/// One table of a tree.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) slots: Slots<'a>,
    pub(crate) pa: Pa,
    pub(crate) level: u8,
}

/// What an entry leads to, in a tree that this crate built: tables there never skip levels.
pub(crate) enum Child<'a> {
    Absent,
    Table(Node<'a>),
    Leaf(Leaf),
    Malformed(Malformed),
}

impl<F, M> Clone for Tree<'_, F, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, M> Copy for Tree<'_, F, M> {}

impl Node<'_> {
    /// The index of the entry for an input address.
    #[inline]
    pub(crate) fn index<F: Format>(&self, input: u64) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the mask leaves fewer bits than a usize has"
        )]
        let index = (input >> item_log2::<F>(self.level)) as usize;
        index & (self.slots.0.len() - 1)
    }

    /// The index of the entry for an input address in a root, unless the address is beyond what the root resolves.
    #[inline]
    pub(crate) fn root_index<F: Format>(&self, input: u64) -> Option<usize> {
        let index = usize::try_from(input >> item_log2::<F>(self.level)).ok()?;
        (index < self.slots.0.len()).then_some(index)
    }

    /// The indexes of the entries for `bytes` from an input address.
    #[inline]
    pub(crate) fn slots_of<F: Format>(&self, input: u64, bytes: u64) -> Range<usize> {
        let first = self.index::<F>(input);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a table has fewer entries than a usize can count"
        )]
        let count = (bytes >> item_log2::<F>(self.level)) as usize;
        first..first + count
    }

    /// Where the entry is in memory.
    pub(crate) fn entry_pa(&self, index: usize) -> Pa {
        Pa::new(self.pa.get() + index as u64 * 8)
    }
}

impl<'a, F: Format, M: TableMemory> Tree<'a, F, M> {
    /// The table of `entries` entries at `pa`.
    #[inline]
    pub(crate) fn table(self, pa: Pa, level: u8, entries: usize) -> Option<Node<'a>> {
        let slots = self.memory.entries(pa, entries)?;
        (slots.len() == entries).then_some(Node {
            slots: Slots(slots),
            pa,
            level,
        })
    }

    /// The table below the root at `pa`.
    #[inline]
    pub(crate) fn node(self, pa: Pa, level: u8) -> Option<Node<'a>> {
        self.table(pa, level, table_entries::<F>())
    }

    /// The table that an ordinary table entry points to.
    #[inline]
    pub(crate) fn next_node(self, entry: u64, level: u8) -> Option<Node<'a>> {
        self.node(self.format.next_table(entry, level)?, level - 1)
    }

    /// What an entry of a table of this level leads to.
    #[inline]
    pub(crate) fn child(self, entry: u64, level: u8) -> Child<'a> {
        if let Some(table) = self.format.next_table(entry, level) {
            return self
                .node(table, level - 1)
                .map_or(Child::Malformed(Malformed::NoTableMemory), Child::Table);
        }
        match self.format.decode(entry, level) {
            Entry::Absent => Child::Absent,
            Entry::Leaf(leaf) => Child::Leaf(leaf),
            Entry::Malformed(reason) => Child::Malformed(reason),
            Entry::Table { level: below, .. } => Child::Malformed(Malformed::TableLevel(below)),
        }
    }

    /// Calls `visit` with each table directly below this one.
    fn each_child(self, node: Node<'a>, mut visit: impl FnMut(Node<'a>)) {
        if node.level > 0 {
            for slot in node.slots.0 {
                if let Child::Table(child) = self.child(read(slot), node.level) {
                    visit(child);
                }
            }
        }
    }

    /// Gives the tables below this one back.
    pub(crate) fn free_below(self, node: Node<'a>) {
        // Tables of leaves have none below, and there are by far the most of them.
        if node.level == 1 {
            for slot in node.slots.0 {
                if let Some(table) = self.format.next_table(read(slot), node.level) {
                    self.memory.free(table, table_size::<F>());
                }
            }
            return;
        }
        self.each_child(node, |child| {
            self.free_below(child);
            self.memory.free(child.pa, table_size::<F>());
        });
    }

    /// The bytes that leaves map in and below this table.
    pub(crate) fn mapped_bytes(self, node: Node<'a>) -> u64 {
        let item = F::item_size(node.level).bytes();
        let mut bytes = 0;
        for slot in node.slots.0 {
            match self.child(read(slot), node.level) {
                Child::Leaf(_) => bytes += item,
                Child::Table(child) => bytes += self.mapped_bytes(child),
                Child::Absent | Child::Malformed(_) => {}
            }
        }
        bytes
    }

    /// The first input address at or above `from` that has a leaf in or below this table; malformed entries count as leaves.
    pub(crate) fn first_mapped(self, node: Node<'a>, from: u64) -> Option<u64> {
        let mask = item_mask::<F>(node.level);
        let first = node.index::<F>(from);
        for (distance, slot) in node.slots.0[first..].iter().enumerate() {
            let input = if distance == 0 {
                from
            } else {
                (from & !mask) + distance as u64 * (mask + 1)
            };
            match self.child(read(slot), node.level) {
                Child::Absent => {}
                Child::Leaf(_) | Child::Malformed(_) => return Some(input),
                Child::Table(child) => {
                    if let Some(found) = self.first_mapped(child, input) {
                        return Some(found);
                    }
                }
            }
        }
        None
    }
}
