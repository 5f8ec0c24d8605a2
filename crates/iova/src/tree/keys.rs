//! The arrays of a node.

use core::mem;

/// The most entries of a leaf and the most children of an inner node; one place is free between two changes of the tree.
pub(super) const FANOUT: usize = 64;

/// The fewest entries or children of a node other than the root.
pub(super) const LEAST: usize = FANOUT / 4;

/// The key of a place that is not in use.
pub(super) const UNUSED: u64 = u64::MAX;

/// How many of the keys, of which `len` are in use, are not above `addr`. The keys are in ascending order.
///
/// It counts instead of searching: there is no branch to mispredict, and the cache lines of a node are read side by side
/// instead of one probe after the other.
#[inline]
pub(super) fn rank<T>(items: &[T; FANOUT], len: usize, addr: u64, key: impl Fn(&T) -> u64) -> usize {
    items[..len].iter().position(|item| key(item) > addr).unwrap_or(len)
}

#[inline]
pub(super) fn rank_leaf<T>(items: &[T; FANOUT], len: usize, addr: u64, key: impl Fn(&T) -> u64) -> usize {
    items[..len].iter().position(|item| key(item) > addr).unwrap_or(len)
}

/// Puts `item` in `slot` and moves the later ones of the first `len` up.
#[inline]
pub(super) fn insert<T>(items: &mut [T; FANOUT], len: usize, slot: usize, item: T) {
    items[slot..=len].rotate_right(1);
    items[slot] = item;
}

/// Takes the item in `slot` out and moves the later ones of the first `len` down; `unused` takes the place of the last.
#[inline]
pub(super) fn remove<T>(items: &mut [T; FANOUT], len: usize, slot: usize, unused: T) -> T {
    items[slot..len].rotate_left(1);
    mem::replace(&mut items[len - 1], unused)
}
