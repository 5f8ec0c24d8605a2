//! The first half of a map: what is in the way, and what it takes. It changes nothing.

use core::ops::Range;

use crate::geometry::{item_log2, item_mask, leaf_level};
use crate::layout::Layout;
use crate::slots::position;
use crate::tree::{Child, Node};
use crate::{Error, Format, Malformed, PageTable, TableMemory};

/// What a map needs.
#[derive(Default)]
pub(crate) struct Needs {
    /// New tables.
    pub(crate) tables: usize,
    /// Some leaf takes the place of empty tables.
    pub(crate) replaces: bool,
}

impl<F: Format, M: TableMemory> PageTable<F, M> {
    /// Checks that nothing is mapped from the position of `layout` to `last`, and counts the tables to be added. `node` is
    /// the table of `level` there, if it exists.
    pub(crate) fn plan(
        &self,
        node: Option<Node<'_>>,
        level: u8,
        last: u64,
        layout: &mut Layout<'_>,
        needs: &mut Needs,
    ) -> Result<(), Error> {
        while layout.input() != last.wrapping_add(1) {
            let input = layout.input();
            let size = layout.size();
            if leaf_level::<F>(size) == level {
                let piece = layout.piece(size, last);
                if let Some(node) = node {
                    let slots = node.slots_of::<F>(input, piece.bytes());
                    self.check_absent(node, slots, input, needs)?;
                }
                layout.skip(piece);
            } else {
                let child = match node {
                    Some(node) => self.table_at(node, node.index::<F>(input), input)?,
                    None => None,
                };
                needs.tables += usize::from(child.is_none());
                let child_last = last.min(input | item_mask::<F>(level));
                self.plan(child, level - 1, child_last, layout, needs)?;
            }
        }
        Ok(())
    }

    /// Checks that nothing is mapped where leaves are to be written, from `input` on.
    fn check_absent(
        &self,
        node: Node<'_>,
        slots: Range<usize>,
        input: u64,
        needs: &mut Needs,
    ) -> Result<(), Error> {
        let format = self.format();
        let mut index = slots.start;
        let present = |entry| !format.is_absent(entry);
        while let Some(passed) = position(&node.slots.0[index..slots.end], present) {
            index += passed;
            let offset = ((index - slots.start) as u64) << item_log2::<F>(node.level);
            self.check_empty(node, index, input + offset)?;
            needs.replaces = true;
            index += 1;
        }
        Ok(())
    }

    /// Checks that an entry in the way of a leaf is only an empty table.
    #[cold]
    fn check_empty(&self, node: Node<'_>, index: usize, input: u64) -> Result<(), Error> {
        let mapped = self
            .table_at(node, index, input)?
            .and_then(|child| self.tree().first_mapped(child, input));
        match mapped {
            Some(mapped) => Err(Error::AlreadyMapped {
                iova: self.iova(mapped),
            }),
            None => Ok(()),
        }
    }

    /// The table that an entry points to, for a mapping that continues below it.
    fn table_at<'a>(
        &'a self,
        node: Node<'a>,
        index: usize,
        input: u64,
    ) -> Result<Option<Node<'a>>, Error> {
        match self.tree().child(node.slots.get(index), node.level) {
            Child::Absent => Ok(None),
            Child::Table(child) => Ok(Some(child)),
            Child::Leaf(_) => Err(Error::AlreadyMapped {
                iova: self.iova(input),
            }),
            Child::Malformed(reason) => Err(self.malformed(node, index, input, reason)),
        }
    }

    /// What is wrong with the entry that decides about `input`.
    #[cold]
    pub(crate) fn malformed(
        &self,
        node: Node<'_>,
        index: usize,
        input: u64,
        reason: Malformed,
    ) -> Error {
        Error::Malformed {
            iova: self.iova(input),
            at: node.entry_pa(index),
            entry: node.slots.get(index),
            level: node.level,
            reason,
        }
    }
}
