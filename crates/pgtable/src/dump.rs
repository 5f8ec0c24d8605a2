//! A page table for people to read.

use core::fmt;

use crate::slots::read;
use crate::tree::{Child, Node};
use crate::{Format, PageTable, TableMemory};

/// A page table as text: see [`PageTable::dump`].
#[derive(Debug)]
pub struct Dump<'a, F: Format, M: TableMemory>(&'a PageTable<F, M>);

impl<F: Format, M: TableMemory> PageTable<F, M> {
    /// All entries that are not absent, in the order of their addresses, one line each; slots of one leaf share a line. An
    /// entry is followed by the table that it points to.
    ///
    /// ```
    /// # use swiommu_addr::*; use swiommu_pgtable::*; use swiommu_pgtable::fmt::Amdv1;
    /// let table = PageTable::new(Amdv1::new(), HeapTables::new())?;
    /// let page = PaRange::from_len(Pa::new(0xabcdef000), 0x1000).unwrap();
    /// let mapped = table.map(Iova::new(0x1234_5000), page, Prot::RW, PageSizes::ALL)?;
    /// assert!(mapped.replaced().is_none());
    /// assert_eq!(table.dump().to_string(), "\
    /// root 0x100000000, 3 levels
    ///   0x100000000[0x000] = 6000000100001401 table
    ///     0x100001000[0x091] = 6000000100002201 table
    ///       0x100002000[0x145] = 6000000abcdef001 0x12345000 -> 0xabcdef000 4K RW----
    /// ");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn dump(&self) -> Dump<'_, F, M> {
        Dump(self)
    }
}

impl<F: Format, M: TableMemory> fmt::Display for Dump<'_, F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.0.root();
        writeln!(f, "root {}, {} levels", root.table, root.levels)?;
        match self.0.root_node(root) {
            Some(node) => self.table(f, node, 0, usize::from(root.levels)),
            None => Ok(()),
        }
    }
}

impl<F: Format, M: TableMemory> Dump<'_, F, M> {
    fn table(
        &self,
        f: &mut fmt::Formatter<'_>,
        node: Node<'_>,
        base: u64,
        levels: usize,
    ) -> fmt::Result {
        let item = F::item_size(node.level);
        let indent = 2 * (levels - usize::from(node.level));
        let mut index = 0;
        while let Some(slot) = node.slots.0.get(index) {
            let input = base + ((index as u64) << item.log2());
            let entry = read(slot);
            let child = self.0.tree().child(entry, node.level);
            let slots = match child {
                Child::Absent => {
                    index += 1;
                    continue;
                }
                // Slots with an address each differ.
                Child::Leaf(leaf) => {
                    let slots = 1 << (leaf.size.log2() - item.log2());
                    let same = node.slots.0[index..].iter().take(slots - index % slots);
                    same.take_while(|slot| read(slot) == entry).count()
                }
                _ => 1,
            };
            write!(f, "{:indent$}{}[{index:#05x}", "", node.pa)?;
            if slots > 1 {
                write!(f, "..={:#05x}", index + slots - 1)?;
            }
            write!(f, "] = {entry:016x} ")?;
            match child {
                Child::Absent => {}
                Child::Table(child) => {
                    writeln!(f, "table")?;
                    self.table(f, child, input, levels)?;
                }
                Child::Leaf(leaf) => {
                    let iova = self.0.iova(input & !leaf.size.mask());
                    let dirty = if leaf.dirty { " dirty" } else { "" };
                    writeln!(
                        f,
                        "{iova} -> {} {} {}{dirty}",
                        leaf.pa, leaf.size, leaf.prot
                    )?;
                }
                Child::Malformed(reason) => writeln!(f, "malformed: {reason}")?,
            }
            index += slots;
        }
        Ok(())
    }
}
