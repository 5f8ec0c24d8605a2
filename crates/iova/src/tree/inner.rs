//! Inner nodes: the way to the leaves, and a summary of each child.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::array;
use core::mem;

use super::cover::Cover;
use super::holes::Rows;
use super::keys::{self, FANOUT, Keys, UNUSED, rank};
use super::leaf::Leaf;
use super::node::Node;
use crate::steps;

/// What a node knows of a child.
#[derive(Clone, Copy)]
pub(super) struct Summary {
    /// The last address of the last entry.
    pub(super) last: u64,
    pub(super) areas: usize,
    pub(super) cover: Cover,
    /// Bit n is set when the row for the alignment 2^n is out of date.
    pub(super) stale: u64,
}

impl Summary {
    const ALL_STALE: u64 = u64::MAX;

    const UNUSED: Self = Self {
        last: 0,
        areas: 0,
        cover: Cover::EMPTY,
        stale: Self::ALL_STALE,
    };

    fn of<V>(node: &Node<V>) -> Self {
        Self {
            last: node.last(),
            areas: node.areas(),
            cover: node.cover(),
            stale: Self::ALL_STALE,
        }
    }
}

/// The order of the fields is that of use: a look-up reads the starts and one node.
#[repr(C)]
pub(super) struct Inner<V> {
    /// The start of the first entry of each child.
    starts: Keys,
    pub(super) nodes: [Option<Node<V>>; FANOUT],
    len: usize,
    /// The number of inner nodes on the way to a leaf, this one included.
    height: u32,
    areas: usize,
    cover: Cover,
    pub(super) summaries: [Summary; FANOUT],
    pub(super) rows: Vec<Rows>,
}

impl<V> Inner<V> {
    fn new(height: u32) -> Self {
        Self {
            starts: [UNUSED; FANOUT],
            nodes: array::from_fn(|_| None),
            len: 0,
            height,
            areas: 0,
            cover: Cover::EMPTY,
            summaries: [Summary::UNUSED; FANOUT],
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
        self.len
    }

    pub(super) fn height(&self) -> u32 {
        self.height
    }

    pub(super) fn areas(&self) -> usize {
        self.areas
    }

    pub(super) fn cover(&self) -> Cover {
        self.cover
    }

    pub(super) fn starts(&self) -> &[u64] {
        &self.starts[..self.len]
    }

    /// The last address of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.summaries[self.len - 1].last
    }

    pub(super) fn summaries(&self) -> &[Summary] {
        &self.summaries[..self.len]
    }

    pub(super) fn child(&self, slot: usize) -> &Node<V> {
        self.nodes[slot].as_ref().expect(NO_HOLE)
    }

    pub(super) fn child_mut(&mut self, slot: usize) -> &mut Node<V> {
        self.nodes[slot].as_mut().expect(NO_HOLE)
    }

    /// The slot of the child where an entry that starts at `addr` is or belongs.
    pub(super) fn route(&self, addr: u64) -> usize {
        rank(&self.starts, self.len, addr).saturating_sub(1)
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
        let result = match self.child_mut(slot) {
            Node::Leaf(leaf) => change(leaf, after),
            Node::Inner(inner) => inner.edit(addr, after, change),
        }?;
        let size = self.child(slot).len();
        let capacity = self.child(slot).capacity();
        if size == capacity || size < capacity/4 { self.settle(slot, addr);}
        Ok(result)
    }

    /// Takes note of a change at `addr` below the child in `slot`, and splits or joins that child if its size demands it.
    fn settle(&mut self, slot: usize, addr: u64) {
        self.renew(slot);
        let size = self.child(slot).len();
        let capacity = self.child(slot).capacity();
        if size == capacity {
            let right = self.child_mut(slot).split_off(addr);
            self.renew(slot);
            self.insert(slot + 1, right);
        } else if size < capacity / 4 {
            let left = slot.min(self.len - 2);
            let right = self.remove(left + 1);
            let rest = self.child_mut(left).join(right);
            self.renew(left);
            if let Some(right) = rest {
                self.insert(left + 1, right);
            }
        }
    }

    /// Brings what is known of the child in `slot` up to date.
    fn renew(&mut self, slot: usize) {
        let node = self.child(slot);
        let (start, new) = (node.start(), Summary::of(node));
        let old = mem::replace(&mut self.summaries[slot], new);
        self.starts[slot] = start;
        self.areas = self.areas + new.areas - old.areas;
        if new.cover != old.cover {
            self.cover = self.sum_covers();
        }
    }

    fn sum_covers(&self) -> Cover {
        let mut cover = Cover::EMPTY;
        for (slot, child) in self.summaries().iter().enumerate() {
            if slot > 0 {
                cover.push_gap();
            }
            cover.push(child.cover);
        }
        cover
    }

    fn insert(&mut self, slot: usize, node: Node<V>) {
        keys::insert(&mut self.starts, self.len, slot, node.start());
        keys::insert(&mut self.summaries, self.len, slot, Summary::of(&node));
        keys::insert(&mut self.nodes, self.len, slot, Some(node));
        self.len += 1;
        self.moved(slot);
    }

    fn remove(&mut self, slot: usize) -> Node<V> {
        keys::remove(&mut self.starts, self.len, slot, UNUSED);
        keys::remove(&mut self.summaries, self.len, slot, Summary::UNUSED);
        let node = keys::remove(&mut self.nodes, self.len, slot, None);
        self.len -= 1;
        self.moved(slot);
        node.expect(NO_HOLE)
    }

    /// The child of a node that has no other.
    pub(super) fn take_only_child(&mut self) -> Option<Node<V>> {
        (self.len == 1).then(|| self.remove(0))
    }

    /// Takes note that children came and went from slot `first` on: those there now are not where their rows are.
    fn moved(&mut self, first: usize) {
        for child in &mut self.summaries[first..] {
            child.stale = Summary::ALL_STALE;
        }
        self.areas = self.summaries().iter().map(|child| child.areas).sum();
        self.cover = self.sum_covers();
    }

    /// Moves the children from slot `keep` on to a node of their own.
    pub(super) fn split_off(&mut self, keep: usize) -> Box<Self> {
        let mut right = Box::new(Self::new(self.height));
        right.take(self, keep);
        right
    }

    /// Appends all children of `right`, which fit.
    pub(super) fn append(&mut self, mut right: Self) {
        self.take(&mut right, 0);
    }

    /// Appends the children of `from` from slot `first` on.
    fn take(&mut self, from: &mut Self, first: usize) {
        let begin = self.len;
        for slot in first..from.len {
            self.starts[self.len] = mem::replace(&mut from.starts[slot], UNUSED);
            self.summaries[self.len] = mem::replace(&mut from.summaries[slot], Summary::UNUSED);
            self.nodes[self.len] = from.nodes[slot].take();
            self.len += 1;
        }
        from.len = first;
        from.moved(first);
        self.moved(begin);
    }

    /// Moves children between neighbours until both have about the same number.
    pub(super) fn even_out(&mut self, right: &mut Self) {
        let half = usize::midpoint(self.len, right.len);
        while self.len < half {
            self.insert(self.len, right.remove(0));
        }
        while self.len > half {
            right.insert(0, self.remove(self.len - 1));
        }
    }
}

const NO_HOLE: &str = "a node has a child in each of its slots";
