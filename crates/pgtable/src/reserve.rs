//! Tables set aside before a map changes anything, so that it cannot run out of memory half-way.

use swiommu_addr::Pa;

use crate::geometry::table_size;
use crate::tree::{Node, Tree};
use crate::{Format, OutOfMemory, TableMemory};

/// Tables that nobody can see yet, in the order in which they were allocated. Each holds the address of the next in its
/// first entry, so that keeping them takes no memory. What is left over goes back on drop.
pub(crate) struct Reserve<'a, F: Format, M: TableMemory> {
    tree: Tree<'a, F, M>,
    next: Option<Pa>,
}

impl<'a, F: Format, M: TableMemory> Reserve<'a, F, M> {
    /// What the last table holds in place of an address; tables are aligned, so it is none.
    const END: u64 = 1;

    /// Sets `count` tables aside.
    pub(crate) fn new(tree: Tree<'a, F, M>, count: usize) -> Result<Self, OutOfMemory> {
        let mut reserve = Self { tree, next: None };
        let mut last: Option<Node<'_>> = None;
        for _ in 0..count {
            let node = Self::alloc(tree, 0)?;
            node.slots.publish(0, Self::END);
            match last {
                Some(last) => last.slots.publish(0, node.pa.get()),
                None => reserve.next = Some(node.pa),
            }
            last = Some(node);
        }
        Ok(reserve)
    }

    /// The next table, which becomes one of `level`. Its content is not specified.
    ///
    /// There are as many as were counted, so that it fails only if another thread broke the rule about disjoint ranges.
    #[inline]
    pub(crate) fn take(&mut self, level: u8) -> Result<Node<'a>, OutOfMemory> {
        let Some(pa) = self.next else {
            return Self::alloc(self.tree, level);
        };
        let node = self.tree.node(pa, level).ok_or(OutOfMemory)?;
        let next = node.slots.get(0);
        self.next = (next != Self::END).then_some(Pa::new(next));
        Ok(node)
    }

    /// Takes back a table that was not needed.
    pub(crate) fn put_back(&mut self, node: Node<'a>) {
        node.slots.publish(0, self.next.map_or(Self::END, Pa::get));
        self.next = Some(node.pa);
    }

    fn alloc(tree: Tree<'a, F, M>, level: u8) -> Result<Node<'a>, OutOfMemory> {
        let pa = tree.memory.alloc(table_size::<F>())?;
        tree.node(pa, level).ok_or_else(|| {
            tree.memory.free(pa, table_size::<F>());
            OutOfMemory
        })
    }
}

impl<F: Format, M: TableMemory> Drop for Reserve<'_, F, M> {
    fn drop(&mut self) {
        while self.next.is_some()
            && let Ok(node) = self.take(0)
        {
            self.tree.memory.free(node.pa, table_size::<F>());
        }
    }
}
