//! An ordered tree of everything that takes up I/O virtual addresses.
//!
//! It holds *areas*, which are disjoint and have a value each, and *cover*: the number of reserved intervals over each
//! address, which may overlap each other but not areas. An interval is not stored as such. It adds 1 to the cover at its start and
//! takes 1 away after its end, so adding or removing one costs the same however many others it overlaps.
//!
//! An *entry* is an address where an area starts or the cover changes. Entries have distinct addresses, and no
//! entry lies inside an area. The addresses between two entries form a gap, which is free if its cover is 0: so gaps come from areas
//! and reserved intervals alike, in one order.
//!
//! The tree is a B+-tree with wide nodes of parallel arrays: at a million areas it is four levels high and only the last one
//! is outside the processor's caches. Inner nodes keep, per child, the number of areas (for the n-th area, and to pass by
//! entries without one), the cover, and what the search for [holes] needs.

mod bodies;
#[cfg(test)]
mod check;
mod cover;
mod holes;
mod inner;
mod iter;
mod leaf;
mod node;
mod starts;

use alloc::boxed::Box;
use core::mem;

use inner::Inner;
use leaf::{Leaf, Reach};
use node::{Node, Owned, Shared, Unique};

use crate::steps;

/// The most entries of a leaf and the most children of an inner node; one place is free between two changes of the tree.
const FANOUT: usize = 64;

/// The fewest entries or children of a node other than the root.
const LEAST: usize = FANOUT / 4;

pub(crate) struct Tree<V> {
    root: Owned<V>,
    /// The number of areas.
    len: usize,
    /// Bit n is set when some row for the alignment 2^n is out of date.
    stale: u64,
}

/// An area: its first and last address and its value.
pub(crate) type Area<'a, V> = (u64, u64, &'a V);

impl<V> Tree<V> {
    pub(crate) fn new() -> Self {
        Self {
            root: Node::empty(),
            len: 0,
            stale: 0,
        }
    }

    /// The number of areas.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Inserts an area where nothing is reserved, or returns the start of the first area in the way.
    pub(crate) fn insert(&mut self, start: u64, last: u64, value: V) -> Result<(), u64> {
        self.edit(start, 1, |leaf, after| {
            let inserted = leaf.insert_area(start, last, value, after);
            inserted.map(|reach| ((), reach))
        })
    }

    /// Removes the area that starts at `start`: its last address and value.
    pub(crate) fn remove(&mut self, start: u64) -> Option<(u64, V)> {
        let removed = self.edit(start, -1, |leaf, _| leaf.remove_area(start).ok_or(()));
        removed.ok()
    }

    /// Splits the area that holds `at` in two, if it starts below. `split` takes the value of the upper part out of that
    /// of the whole.
    pub(crate) fn split(&mut self, at: u64, split: impl FnOnce(&mut V) -> V) -> Option<()> {
        let cut = self.edit(at, 0, |leaf, _| leaf.cut(at, split).ok_or(()));
        let (last, upper) = cut.ok()?;
        self.insert(at, last, upper).ok()
    }

    /// Adds `delta` to the cover of all addresses from `start` on. `start` is not inside an area, though one may start there.
    pub(crate) fn add_cover(&mut self, start: u64, delta: i32) {
        let added: Result<(), ()> = self.edit(start, 0, |leaf, _| {
            leaf.add_cover(start, delta);
            Ok(((), Reach::Cover))
        });
        debug_assert_eq!(added, Ok(()), "this change cannot fail");
    }

    /// Calls `change` with the leaf where an entry that starts at `addr` is or belongs, and with the start of the entry
    /// after that leaf. It must add `areas` to the number of areas and say what else changed, or return an error and change
    /// nothing.
    fn edit<T, E>(
        &mut self,
        addr: u64,
        areas: isize,
        change: impl FnOnce(&mut Leaf<V>, Option<u64>) -> Result<(T, Reach), E>,
    ) -> Result<T, E> {
        let mut after = None;
        let mut node = self.root.as_mut();
        // What is known of the nodes on the way changes before it is known whether the leaf will: then it is in the cache
        // by the time the leaf is.
        while let Unique::Inner(inner) = node {
            steps::add(1);
            let slot = inner.route(addr);
            after = inner.starts().get(slot + 1).copied().or(after);
            let child = &mut inner.summaries[slot];
            child.stale = u64::MAX;
            child.areas = child.areas.wrapping_add_signed(areas);
            node = inner.child_mut(slot);
        }
        let Unique::Leaf(leaf) = node else {
            unreachable!("the loop ends at a leaf")
        };
        let result = change(leaf, after);
        let reach = match &result {
            Ok(_) if !(LEAST..FANOUT).contains(&leaf.starts().len()) => Reach::Cover,
            Ok((_, reach)) => *reach,
            Err(_) if areas == 0 => Reach::Inside,
            Err(_) => Reach::Cover,
        };
        if result.is_ok() {
            self.len = self.len.wrapping_add_signed(areas);
        }
        self.stale = u64::MAX;
        match (reach, self.root.as_mut()) {
            (Reach::Ends, Unique::Inner(inner)) => {
                inner.note_ends(addr);
            }
            (Reach::Cover, _) => self.settle(addr),
            _ => {}
        }
        result.map(|(value, _)| value)
    }

    /// Makes everything on the way to the leaf where `addr` belongs fit that leaf.
    fn settle(&mut self, addr: u64) {
        if let Unique::Inner(inner) = self.root.as_mut() {
            inner.settle(addr);
        }
        if self.root.as_ref().len() == FANOUT {
            let right = self.root.as_mut().split_off(addr);
            let left = mem::replace(&mut self.root, Node::empty());
            self.root = Node::Inner(Box::new(Inner::above(left, right)));
        } else if let Unique::Inner(inner) = self.root.as_mut()
            && let Some(only) = inner.take_only_child()
        {
            self.root = only;
        }
    }

    /// The leaf where an entry that starts at `addr` is or belongs.
    fn leaf(&self, addr: u64) -> &Leaf<V> {
        let mut node = self.root.as_ref();
        loop {
            steps::add(1);
            match node {
                Shared::Leaf(leaf) => return leaf,
                Shared::Inner(inner) => node = inner.child(inner.route(addr)),
            }
        }
    }

    /// The area that holds `addr`.
    pub(crate) fn get(&self, addr: u64) -> Option<Area<'_, V>> {
        self.leaf(addr).get(addr)
    }

    /// As [`get`](Self::get).
    pub(crate) fn get_mut(&mut self, addr: u64) -> Option<(u64, u64, &mut V)> {
        let mut node = self.root.as_mut();
        loop {
            match node {
                Unique::Leaf(leaf) => return leaf.get_mut(addr),
                Unique::Inner(inner) => node = inner.child_mut(inner.route(addr)),
            }
        }
    }

    /// The area with `n` others below it.
    pub(crate) fn nth(&self, mut n: usize) -> Option<Area<'_, V>> {
        let mut node = self.root.as_ref();
        loop {
            steps::add(1);
            match node {
                Shared::Leaf(leaf) => {
                    return (0..leaf.starts().len())
                        .filter_map(|slot| leaf.area(slot))
                        .nth(n);
                }
                Shared::Inner(inner) => {
                    let slot = inner.summaries.iter().position(|child| {
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
