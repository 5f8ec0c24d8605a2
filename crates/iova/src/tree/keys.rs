//! Where an address falls among the sorted starts of a node.

/// The most entries of a leaf and the most children of an inner node; one place is free between two changes of the tree.
pub(crate) const FANOUT: usize = 32;

/// The fewest entries or children of a node other than the root.
pub(super) const LEAST: usize = FANOUT / 4;

/// The starts of a node in ascending order, those not in use filled with [`UNUSED`].
pub(super) type Keys = [u64; FANOUT];

pub(super) const UNUSED: u64 = u64::MAX;

/// One cache line of keys.
const LINE: usize = 8;

/// How many of the first `len` keys are not above `addr`.
///
/// Counts instead of searching: no branch to mispredict, and a node that is not in the cache is read line by line side by
/// side, not one probe after the other.
#[inline]
pub(super) fn rank(keys: &Keys, len: usize, addr: u64) -> usize {
    let mut line = 0;
    for key in keys[..FANOUT - LINE].iter().skip(LINE - 1).step_by(LINE) {
        line += LINE * usize::from(*key <= addr);
    }
    let mut rank = line;
    for key in &keys[line..line + LINE] {
        rank += usize::from(*key <= addr);
    }
    rank.min(len)
}
