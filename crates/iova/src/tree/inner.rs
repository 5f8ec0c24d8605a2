//! Inner nodes: the way to the leaves, and a summary of each child.

use alloc::vec::Vec;

use smallvec::SmallVec;

use super::cover::Cover;
use super::holes::Rows;
use super::node::{Children, Owned, Shared, Unique};
use super::starts::Starts;
use super::{FANOUT, LEAST};
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
    fn of<V>(node: &Shared<'_, V>) -> Self {
        Self {
            last: node.last(),
            areas: node.areas(),
            cover: node.cover(),
            stale: u64::MAX,
        }
    }
}

/// The order of the fields is that of use: a look-up reads starts and one child.
#[repr(C)]
pub(super) struct Inner<V> {
    /// The start of the first entry of each child.
    pub(super) starts: Starts,
    pub(super) children: Children<V>,
    /// The number of inner nodes on the way to a leaf, this one included.
    height: u32,
    cover: Cover,
    pub(super) summaries: SmallVec<[Summary; FANOUT]>,
    pub(super) rows: Vec<Rows>,
}

impl<V> Inner<V> {
    fn new(height: u32) -> Self {
        Self {
            starts: Starts::new(),
            children: Children::new(height - 1),
            height,
            cover: Cover::EMPTY,
            summaries: SmallVec::new(),
            rows: Vec::new(),
        }
    }

    /// The parent of two nodes of equal height.
    pub(super) fn above(left: Owned<V>, right: Owned<V>) -> Self {
        let mut inner = Self::new(left.as_ref().height() + 1);
        inner.insert(0, left);
        inner.insert(1, right);
        inner
    }

    pub(super) fn height(&self) -> u32 {
        self.height
    }

    pub(super) fn cover(&self) -> Cover {
        self.cover
    }

    pub(super) fn starts(&self) -> &[u64] {
        &self.starts
    }

    pub(super) fn child(&self, slot: usize) -> Shared<'_, V> {
        self.children.get(slot)
    }

    pub(super) fn child_mut(&mut self, slot: usize) -> Unique<'_, V> {
        self.children.get_mut(slot)
    }

    /// The slot of the child where an entry that starts at `addr` is or belongs.
    pub(super) fn route(&self, addr: u64) -> usize {
        self.starts.rank(addr).saturating_sub(1)
    }

    /// Takes note of a change in the leaf where `addr` belongs: brings what is known of the nodes on the way there up to date, and
    /// splits or joins those whose size demands it.
    pub(super) fn settle(&mut self, addr: u64) {
        steps::add(1);
        let slot = self.route(addr);
        if let Unique::Inner(inner) = self.child_mut(slot) {
            inner.settle(addr);
        }
        self.renew(slot);
        let size = self.child(slot).len();
        if size == FANOUT {
            let right = self.child_mut(slot).split_off(addr);
            self.renew(slot);
            self.insert(slot + 1, right);
        } else if size < LEAST {
            let left = slot.min(self.starts.len() - 2);
            let right = self.remove(left + 1);
            let rest = self.child_mut(left).join(right);
            self.renew(left);
            if let Some(right) = rest {
                self.insert(left + 1, right);
            }
        }
    }

    /// Takes note of where the leaf begins and ends in which `addr` belongs. Returns where this node does.
    pub(super) fn note_ends(&mut self, addr: u64) -> (u64, u64) {
        steps::add(1);
        let slot = self.route(addr);
        let (start, last) = match self.child_mut(slot) {
            Unique::Leaf(leaf) => leaf.ends(),
            Unique::Inner(inner) => inner.note_ends(addr),
        };
        self.starts.replace(slot, start);
        self.summaries[slot].last = last;
        (self.starts[0], self.summaries[self.starts.len() - 1].last)
    }

    /// Brings what is known of the child in `slot` up to date.
    fn renew(&mut self, slot: usize) {
        let node = self.children.get(slot);
        let old = self.summaries[slot].cover;
        self.starts.replace(slot, node.start());
        self.summaries[slot] = Summary::of(&node);
        if self.summaries[slot].cover != old {
            self.cover = self.sum_covers();
        }
    }

    fn sum_covers(&self) -> Cover {
        let mut cover = Cover::EMPTY;
        for (slot, child) in self.summaries.iter().enumerate() {
            if slot > 0 {
                cover.push_gap();
            }
            cover.push(child.cover);
        }
        cover
    }

    fn insert(&mut self, slot: usize, node: Owned<V>) {
        let shared = node.as_ref();
        self.starts.insert(slot, shared.start());
        self.summaries.insert(slot, Summary::of(&shared));
        self.children.insert(slot, node);
        self.moved(slot);
    }

    fn remove(&mut self, slot: usize) -> Owned<V> {
        self.starts.remove(slot);
        self.summaries.remove(slot);
        self.moved(slot);
        self.children.remove(slot)
    }

    /// The child of a node that has no other.
    pub(super) fn take_only_child(&mut self) -> Option<Owned<V>> {
        (self.starts.len() == 1).then(|| self.remove(0))
    }

    /// Takes note that the children from slot `first` on are not where their rows are.
    fn moved(&mut self, first: usize) {
        for child in &mut self.summaries[first..] {
            child.stale = u64::MAX;
        }
        self.cover = self.sum_covers();
    }

    /// Moves the children from slot `keep` on to a node of their own.
    pub(super) fn split_off(&mut self, keep: usize) -> Self {
        let mut right = Self::new(self.height);
        while self.starts.len() > keep {
            let node = self.remove(self.starts.len() - 1);
            right.insert(0, node);
        }
        right
    }

    /// Appends all children of `right`, which fit.
    pub(super) fn append(&mut self, mut right: Self) {
        while !right.starts.is_empty() {
            let node = right.remove(0);
            self.insert(self.starts.len(), node);
        }
    }

    /// Moves children between neighbours until both have about the same number.
    pub(super) fn even_out(&mut self, right: &mut Self) {
        let half = usize::midpoint(self.starts.len(), right.starts.len());
        while self.starts.len() < half {
            let node = right.remove(0);
            self.insert(self.starts.len(), node);
        }
        while self.starts.len() > half {
            let node = self.remove(self.starts.len() - 1);
            right.insert(0, node);
        }
    }
}
