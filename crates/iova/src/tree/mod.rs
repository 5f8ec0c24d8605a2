//! An ordered tree of everything that takes up I/O virtual addresses.
//!
//! It holds *areas*, which are disjoint and have a value each, and *cover*: the number of reserved intervals over each
//! address, which may overlap each other but not areas. An interval is not stored as such. It adds 1 to the cover at its start and
//! takes 1 away after its end, so adding or removing one costs the same however many others it overlaps.
//!
//! An [entry](leaf::Entry) is an address where an area starts or the cover changes. Entries have distinct addresses, and no
//! entry lies inside an area. The addresses between two entries form a gap, which is free if its cover is 0: so gaps come from areas
//! and reserved intervals alike, in one order.
//!
//! The tree is a B+-tree with wide nodes of parallel arrays: at a million areas it is four levels high and only the last one
//! is outside the processor's caches. Inner nodes keep, per child, the number of areas (for the n-th area, and to pass by
//! entries without one), the cover, and what the search for [holes] needs.

#[cfg(test)]
mod check;
mod cover;
mod holes;
mod inner;
mod iter;
mod keys;
mod leaf;
mod node;

use alloc::boxed::Box;
use core::mem;

use inner::Inner;
use keys::FANOUT;
use leaf::{Entry, Extent, Leaf};
use node::Node;

use crate::steps;

pub(crate) struct Tree<V> {
    root: Node<V>,
    /// Bit n is set when some row for the alignment 2^n is out of date.
    stale: u64,
}

/// An area: its first and last address and its value.
pub(crate) type Area<'a, V> = (u64, u64, &'a V);

impl<V> Tree<V> {
    pub(crate) fn new() -> Self {
        Self {
            root: Node::empty(),
            stale: 0,
        }
    }

    /// The number of areas.
    pub(crate) fn len(&self) -> usize {
        self.root.areas()
    }

    /// Inserts an area where nothing is reserved, or returns the start of the first area in the way.
    pub(crate) fn insert(&mut self, start: u64, last: u64, value: V) -> Result<(), u64> {
        self.edit(start, |leaf, after| {
            let rank = leaf.rank(start);
            if let Some(slot) = leaf.area_at(rank, start) {
                return Err(leaf.start(slot));
            }
            if let Some(next) = leaf.next(rank).or(after)
                && next <= last
            {
                return Err(next);
            }
            let area = Some(value);
            let extent = Extent { last, area };
            match leaf.entry_at(rank, start) {
                Some(slot) => leaf.set_area(slot, extent),
                None => leaf.insert(
                    rank,
                    Entry {
                        start,
                        delta: 0,
                        extent,
                    },
                ),
            }
            Ok(())
        })
    }

    /// Removes the area that starts at `start`: its last address and value.
    pub(crate) fn remove(&mut self, start: u64) -> Option<(u64, V)> {
        let removed = self.edit(start, |leaf, _| {
            let slot = leaf.entry_at(leaf.rank(start), start).ok_or(())?;
            leaf.take_area(slot).ok_or(())
        });
        removed.ok()
    }

    /// Splits the area that holds `at` in two, if it starts below. `split` takes the value of the upper part out of that
    /// of the whole.
    pub(crate) fn split(&mut self, at: u64, split: impl FnOnce(&mut V) -> V) -> Option<()> {
        let cut = self.edit(at, |leaf, _| {
            let slot = leaf.area_at(leaf.rank(at), at).ok_or(())?;
            let (start, last, value) = leaf.area_mut(slot).ok_or(())?;
            if start == at {
                return Err(());
            }
            let upper = split(value);
            leaf.shorten(slot, at - 1);
            Ok((last, upper))
        });
        let (last, upper) = cut.ok()?;
        self.insert(at, last, upper).ok()
    }

    /// Adds `delta` to the cover of all addresses from `start` on, none of which is inside an area unless `start` is.
    pub(crate) fn add_cover(&mut self, start: u64, delta: i32) {
        let added: Result<(), ()> = self.edit(start, |leaf, _| {
            let rank = leaf.rank(start);
            let extent = Extent {
                last: start.wrapping_sub(1),
                area: None,
            };
            match leaf.entry_at(rank, start) {
                Some(slot) => leaf.add_delta(slot, delta),
                None => leaf.insert(
                    rank,
                    Entry {
                        start,
                        delta,
                        extent,
                    },
                ),
            }
            Ok(())
        });
        debug_assert_eq!(added, Ok(()), "this change cannot fail");
    }

    /// See [`Inner::edit`].
    fn edit<T, E>(
        &mut self,
        addr: u64,
        change: impl FnOnce(&mut Leaf<V>, Option<u64>) -> Result<T, E>,
    ) -> Result<T, E> {
        let result = match &mut self.root {
            Node::Leaf(leaf) => change(leaf, None),
            Node::Inner(inner) => inner.edit(addr, None, change),
        }?;
        self.stale = u64::MAX;
        if self.root.len() == self.root.capacity() {
            let right = self.root.split_off(addr);
            let left = mem::replace(&mut self.root, Node::empty());
            self.root = Node::Inner(Box::new(Inner::above(left, right)));
        } else if let Node::Inner(inner) = &mut self.root
            && let Some(only) = inner.take_only_child()
        {
            self.root = only;
        }
        Ok(result)
    }

    /// The leaf where an entry that starts at `addr` is or belongs.
    fn leaf(&self, addr: u64) -> &Leaf<V> {
        let mut node = &self.root;
        loop {
            steps::add(1);
            match node {
                Node::Leaf(leaf) => return leaf,
                Node::Inner(inner) => node = inner.child(inner.route(addr)),
            }
        }
    }

    /// The area that holds `addr`.
    pub(crate) fn get(&self, addr: u64) -> Option<Area<'_, V>> {
        let leaf = self.leaf(addr);
        leaf.area(leaf.area_at(leaf.rank(addr), addr)?)
    }

    /// As [`get`](Self::get).
    pub(crate) fn get_mut(&mut self, addr: u64) -> Option<(u64, u64, &mut V)> {
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.area_mut(leaf.area_at(leaf.rank(addr), addr)?),
                Node::Inner(inner) => {
                    let slot = inner.route(addr);
                    node = inner.child_mut(slot);
                }
            }
        }
    }

    /// The area with `n` others below it.
    pub(crate) fn nth(&self, mut n: usize) -> Option<Area<'_, V>> {
        let mut node = &self.root;
        loop {
            steps::add(1);
            match node {
                Node::Leaf(leaf) => return leaf.area(leaf.area_slots().nth(n)?),
                Node::Inner(inner) => {
                    let slot = inner.summaries().iter().position(|child| {
                        let here = n < child.areas;
                        if !here {
                            n -= child.areas;
                        }
                        here
                    });
                    node = inner.child(slot?);
                }
            }
        }
    }
}
