//! The short cut of operations on one address: down by ordinary table entries, to the first entry that is something else.
//!
//! Nearly every walk of a real table is of this kind. The compiler gets one walk per number of levels to unroll, in which
//! all shifts are constants; whatever does not fit ends the short cut, and the general code looks again from the root.

use crate::table::Root;
use crate::tree::Node;
use crate::{Format, PageTable, TableMemory};

/// The first entry of a walk that is no ordinary table entry, or limits what is below.
pub(crate) struct Landing<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) index: usize,
    pub(crate) entry: u64,
}

impl<F: Format, M: TableMemory> PageTable<F, M> {
    /// Goes down to where `input` is decided. `None` says nothing.
    #[expect(
        clippy::inline_always,
        reason = "what a caller does not use costs a third of the walk"
    )]
    #[inline(always)]
    pub(crate) fn land(&self, input: u64) -> Option<Landing<'_>> {
        let root = self.root();
        // As wide as the word that it comes from, so that nothing is converted.
        match u64::from(root.levels) {
            3 => self.land_in::<3>(root, input),
            4 => self.land_in::<4>(root, input),
            5 => self.land_in::<5>(root, input),
            _ => None,
        }
    }

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn land_in<const LEVELS: u8>(&self, root: Root, input: u64) -> Option<Landing<'_>> {
        let mut node = self.root_node(Root {
            table: root.table,
            levels: LEVELS,
        })?;
        let mut index = node.root_index::<F>(input)?;
        for level in (1..LEVELS).rev() {
            let entry = node.slots.get(index);
            let table = self.format.open_table(entry, level);
            let Some(below) = table.and_then(|table| self.tree().node(table, level - 1)) else {
                return Some(Landing { node, index, entry });
            };
            node = below;
            index = node.index::<F>(input);
        }
        let entry = node.slots.get(index);
        Some(Landing { node, index, entry })
    }
}
