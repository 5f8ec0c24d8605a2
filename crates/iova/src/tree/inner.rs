//! Inner nodes: the way to the leaves, with a summary of each child.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::cover::Cover;
use super::holes::Rows;
use super::keys::{FANOUT, Keys, LEAST, UNUSED, rank};
use super::leaf::Leaf;
use super::node::Node;
use crate::steps;

/// A subtree and what its parent knows of it.
pub(super) struct Child<V> {
    pub(super) node: Node<V>,
    /// The last address of the last entry.
    pub(super) last: u64,
    pub(super) areas: usize,
    pub(super) cover: Cover,
    /// Bit n is set when the row for the alignment 2^n is out of date.
    pub(super) stale: u64,
}

const ALL_STALE: u64 = u64::MAX;

impl<V> Child<V> {
    fn new(node: Node<V>) -> Self {
        Self {
            last: node.last(),
            areas: node.areas(),
            cover: node.cover(),
            stale: ALL_STALE,
            node,
        }
    }
}

pub(super) struct Inner<V> {
    /// The start of the first entry of each child.
    pub(super) starts: Keys,
    pub(super) children: Vec<Child<V>>,
    /// The number of inner nodes on the way to a leaf, this one included.
    pub(super) height: u32,
    pub(super) areas: usize,
    pub(super) cover: Cover,
    pub(super) rows: Vec<Rows>,
}

impl<V> Inner<V> {
    fn new(height: u32) -> Self {
        Self {
            starts: [UNUSED; FANOUT],
            children: Vec::with_capacity(FANOUT),
            height,
            areas: 0,
            cover: Cover::EMPTY,
            rows: Vec::new(),
        }
    }

    /// The parent of two nodes of equal height.
    pub(super) fn above(left: Node<V>, right: Node<V>) -> Self {
        let mut inner = Self::new(left.height() + 1);
        inner.insert(0, left);
        inner.insert(1, right);
        inner
    }

    pub(super) fn len(&self) -> usize {
        self.children.len()
    }

    pub(super) fn starts(&self) -> &[u64] {
        &self.starts[..self.len()]
    }

    pub(super) fn last(&self) -> u64 {
        self.children[self.len() - 1].last
    }

    /// The slot of the child where an entry that starts at `addr` is or belongs.
    pub(super) fn route(&self, addr: u64) -> usize {
        rank(&self.starts, self.len(), addr).saturating_sub(1)
    }

    /// Calls `change` with the leaf where an entry that starts at `addr` is or belongs, and with the start of the entry
    /// after that leaf; then makes everything on the way fit the changed leaf. An error means that nothing was changed.
    pub(super) fn edit<T, E>(
        &mut self,
        addr: u64,
        after: Option<u64>,
        change: impl FnOnce(&mut Leaf<V>, Option<u64>) -> Result<T, E>,
    ) -> Result<T, E> {
        steps::add(1);
        let slot = self.route(addr);
        let after = self.starts().get(slot + 1).copied().or(after);
        let result = match &mut self.children[slot].node {
            Node::Leaf(leaf) => change(leaf, after),
            Node::Inner(inner) => inner.edit(addr, after, change),
        }?;
        self.settle(slot, addr);
        Ok(result)
    }

    /// Takes note of a change at `addr` below the child in `slot`, and splits or joins that child if its size demands it.
    fn settle(&mut self, slot: usize, addr: u64) {
        self.renew(slot);
        let size = self.children[slot].node.len();
        if size == FANOUT {
            let right = self.children[slot].node.split_off(addr);
            self.renew(slot);
            self.insert(slot + 1, right);
        } else if size < LEAST {
            let left = slot.min(self.len() - 2);
            let right = self.remove(left + 1);
            let rest = self.children[left].node.join(right);
            self.renew(left);
            if let Some(right) = rest {
                self.insert(left + 1, right);
            }
        }
    }

    /// Brings what is known of the child in `slot` up to date.
    fn renew(&mut self, slot: usize) {
        let child = &mut self.children[slot];
        let (areas, cover) = (child.node.areas(), child.node.cover());
        self.starts[slot] = child.node.start();
        child.last = child.node.last();
        child.stale = ALL_STALE;
        self.areas = self.areas + areas - child.areas;
        child.areas = areas;
        if child.cover != cover {
            child.cover = cover;
            self.cover = self.sum_covers();
        }
    }

    fn sum_covers(&self) -> Cover {
        let mut cover = Cover::EMPTY;
        for (slot, child) in self.children.iter().enumerate() {
            if slot > 0 {
                cover.push_gap();
            }
            cover.push(child.cover);
        }
        cover
    }

    fn insert(&mut self, slot: usize, node: Node<V>) {
        let len = self.len();
        self.starts.copy_within(slot..len, slot + 1);
        self.starts[slot] = node.start();
        self.children.insert(slot, Child::new(node));
        self.moved(slot);
    }

    fn remove(&mut self, slot: usize) -> Node<V> {
        let len = self.len();
        self.starts.copy_within(slot + 1..len, slot);
        self.starts[len - 1] = UNUSED;
        let child = self.children.remove(slot);
        self.moved(slot);
        child.node
    }

    /// Takes note that the children from slot `first` on are not where their rows are.
    fn moved(&mut self, first: usize) {
        for child in &mut self.children[first..] {
            child.stale = ALL_STALE;
        }
        self.areas = self.children.iter().map(|child| child.areas).sum();
        self.cover = self.sum_covers();
    }

    pub(super) fn split_off(&mut self, keep: usize) -> Box<Self> {
        let mut right = Box::new(Self::new(self.height));
        right.extend(self.children.split_off(keep));
        self.starts[keep..].fill(UNUSED);
        self.moved(keep);
        right
    }

    pub(super) fn append(&mut self, right: Self) {
        self.extend(right.children);
    }

    fn extend(&mut self, children: Vec<Child<V>>) {
        let first = self.len();
        for child in children {
            self.starts[self.children.len()] = child.node.start();
            self.children.push(child);
        }
        self.moved(first);
    }

    /// Moves children between neighbours until both have about the same number.
    pub(super) fn even_out(&mut self, right: &mut Self) {
        let half = usize::midpoint(self.len(), right.len());
        while self.len() < half {
            let node = right.remove(0);
            self.insert(self.len(), node);
        }
        while self.len() > half {
            let node = self.remove(self.len() - 1);
            right.insert(0, node);
        }
    }
}
