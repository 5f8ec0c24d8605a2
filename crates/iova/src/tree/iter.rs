//! Areas in ascending order.

use super::inner::Inner;
use super::leaf::Leaf;
use super::node::Node;
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
            while let Some(start) = self.leaf.next(self.slot) {
                if start > self.last {
                    return None;
                }
                let area = self.leaf.area(self.slot);
                self.slot += 1;
                if area.is_some() {
                    return area;
                }
            }
            let seen = self.leaf.start(self.leaf.len().checked_sub(1)?);
            self.leaf = self.tree.root.leaf_after(seen)?;
            self.slot = 0;
        }
    }
}

impl<V> Node<V> {
    /// The first leaf with areas after the one where `addr` belongs.
    fn leaf_after(&self, addr: u64) -> Option<&Leaf<V>> {
        match self {
            Self::Leaf(_) => None,
            Self::Inner(inner) => inner.leaf_after(addr),
        }
    }

    /// The first leaf with areas; there are areas.
    fn first_leaf(&self) -> Option<&Leaf<V>> {
        let mut node = self;
        loop {
            steps::add(1);
            match node {
                Self::Leaf(leaf) => return Some(leaf),
                Self::Inner(inner) => node = inner.child(inner.next_with_areas(0)?),
            }
        }
    }
}

impl<V> Inner<V> {
    fn leaf_after(&self, addr: u64) -> Option<&Leaf<V>> {
        steps::add(1);
        let slot = self.route(addr);
        let below = self.child(slot).leaf_after(addr);
        below.or_else(|| self.child(self.next_with_areas(slot + 1)?).first_leaf())
    }

    /// The first slot from `slot` on with areas.
    fn next_with_areas(&self, slot: usize) -> Option<usize> {
        let later = self.summaries()[slot..].iter();
        Some(slot + later.take_while(|child| child.areas == 0).count()).filter(|&s| s < self.len())
    }
}
