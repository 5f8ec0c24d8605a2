//! Growing a root upwards, in formats that allow it.

use alloc::vec::Vec;

use crate::geometry::levels_for;
use crate::reserve::Reserve;
use crate::table::Root;
use crate::{Error, Format, PageTable, TableMemory};

impl<F: Format, M: TableMemory> PageTable<F, M> {
    /// The root, after levels were added above the old one if it takes them to resolve `last`.
    ///
    /// The new tables are finished before the root word changes, and the old root becomes their entry 0. So a walk that
    /// began at the old root ends as it would have, whoever sees the new one sees the same translations, and of two
    /// threads that grow the root one wins and the other starts over with what it found.
    #[inline]
    pub(crate) fn grow(&self, last: u64) -> Result<Root, Error> {
        let root = self.root();
        if last <= self.reach(root) {
            return Ok(root);
        }
        self.grow_from(root, last)
    }

    #[cold]
    fn grow_from(&self, mut root: Root, last: u64) -> Result<Root, Error> {
        let levels = levels_for(&self.format, last).unwrap_or(root.levels);
        while root.levels < levels {
            let mut reserve = Reserve::new(self.tree(), usize::from(levels - root.levels))?;
            let mut added = Vec::new();
            let mut new = root;
            while new.levels < levels {
                let node = reserve.take(new.levels)?;
                node.slots.clear_all();
                let down = self.format.table(new.levels) | self.format.address(new.table);
                node.slots.publish(0, down);
                added.push(node);
                new = Root {
                    table: node.pa,
                    levels: new.levels + 1,
                };
            }
            root = match self.replace_root(root, new) {
                Ok(()) => new,
                Err(now) => {
                    for node in added {
                        reserve.put_back(node);
                    }
                    now
                }
            };
        }
        Ok(root)
    }
}
