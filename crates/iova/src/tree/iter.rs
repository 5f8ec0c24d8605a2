//! Areas in ascending order.

use super::inner::Inner;
use super::leaf::Leaf;
use super::node::Shared;
use super::{Area, Tree};
use crate::steps;

/// The areas that share an address with a range, ascending.
pub(crate) struct Overlapping<'a, V> {
    tree: &'a Tree<V>,
    leaf: &'a Leaf<V>,
    slot: usize,
    last: u64,
}

impl<V> Tree<V> {
    /// The areas that share an address with `start..=last`, ascending.
    pub(crate) fn overlapping(&self, start: u64, last: u64) -> Overlapping<'_, V> {
        let leaf = self.leaf(start);
        let rank = leaf.rank(start);
        Overlapping {
            tree: self,
            leaf,
            slot: leaf.area_at(rank, start).unwrap_or(rank),
            last,
        }
    }
}

impl<'a, V> Iterator for Overlapping<'a, V> {
    type Item = Area<'a, V>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some(&start) = self.leaf.starts().get(self.slot) {
                if start > self.last {
                    return None;
                }
                self.slot += 1;
                if let Some(area) = self.leaf.area(self.slot - 1) {
                    return Some(area);
                }
            }
            let &seen = self.leaf.starts().last()?;
            self.leaf = self.tree.root.as_ref().leaf_after(seen)?;
            self.slot = 0;
        }
    }
}

impl<'a, V> Shared<'a, V> {
    /// The first leaf with areas after the one where `addr` belongs.
    fn leaf_after(self, addr: u64) -> Option<&'a Leaf<V>> {
        steps::add(1);
        let Self::Inner(inner) = self else {
            return None;
        };
        let slot = inner.route(addr);
        let below = inner.child(slot).leaf_after(addr);
        below.or_else(|| inner.child(inner.next_with_areas(slot + 1)?).first_leaf())
    }

    /// The first leaf with areas.
    fn first_leaf(mut self) -> Option<&'a Leaf<V>> {
        loop {
            steps::add(1);
            match self {
                Self::Leaf(leaf) => return Some(leaf),
                Self::Inner(inner) => self = inner.child(inner.next_with_areas(0)?),
            }
        }
    }
}

impl<V> Inner<V> {
    /// The first slot from `slot` on with areas.
    fn next_with_areas(&self, slot: usize) -> Option<usize> {
        (slot..self.summaries.len()).find(|&slot| self.summaries[slot].areas > 0)
    }
}
