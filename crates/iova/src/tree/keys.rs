//! The arrays of a node, and where an address falls among its keys.

use core::mem;

pub(super) const LEAF: usize = 32;
/// The most entries of a leaf and the most children of an inner node; one place is free between two changes of the tree.
pub(super) const FANOUT: usize = 32;

/// The fewest entries or children of a node other than the root.
pub(super) const LEAST: usize = FANOUT / 4;

/// The starts of a node in ascending order, those not in use filled with [`UNUSED`].
pub(super) type Keys = [u64; FANOUT];

pub(super) const UNUSED: u64 = u64::MAX;

/// The keys of a cache line.
const LINE: usize = 8;

/// How many of the first `len` keys are not above `addr`.
///
/// It counts instead of searching: there is no branch to mispredict, and the lines of a node that is not in the cache are
/// read side by side instead of one probe after the other.
#[inline]
pub(super) fn rank(keys: &Keys, len: usize, addr: u64) -> usize {
    let mut line = 0;
    for key in keys[..FANOUT - LINE].iter().skip(LINE - 1).step_by(LINE) {
        line += LINE * usize::from(*key <= addr);
    }
    (line + count(&keys[line..line + LINE], addr)).min(len)
}

#[inline]
pub(super) fn count(keys: &[u64], addr: u64) -> usize {
    let mut rank = 0;
    for key in keys {
        rank += usize::from(*key <= addr);
    }
    rank
}

/// Puts `item` in `slot` and moves the later ones of the first `len` up.
#[inline]
pub(super) fn insert<T>(items: &mut [T], len: usize, slot: usize, item: T) {
    items[slot..=len].rotate_right(1);
    items[slot] = item;
}

/// Takes the item in `slot` out and moves the later ones of the first `len` down; `unused` takes the place of the last.
#[inline]
pub(super) fn remove<T>(items: &mut [T], len: usize, slot: usize, unused: T) -> T {
    items[slot..len].rotate_left(1);
    mem::replace(&mut items[len - 1], unused)
}
