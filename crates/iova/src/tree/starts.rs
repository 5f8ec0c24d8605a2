//! The addresses at which the entries or children of a node start, and the search among them.

use core::ops::Deref;

use super::FANOUT;

/// As many as a cache line holds.
const GROUP: usize = 8;

/// Ascending addresses, at most [`FANOUT`].
///
/// The search looks at the first address of each group, then at one group. No branch depends on what it finds, so the
/// processor guesses nothing wrong and gets all lines at once.
pub(super) struct Starts {
    len: usize,
    /// Behind the last address lies `u64::MAX`, any number of times.
    addrs: [u64; FANOUT],
}

impl Starts {
    pub(super) const fn new() -> Self {
        Self {
            len: 0,
            addrs: [u64::MAX; FANOUT],
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many lie at or below `addr`.
    #[inline]
    pub(super) fn rank(&self, addr: u64) -> usize {
        let (groups, _) = self.addrs.as_chunks::<GROUP>();
        let group: usize = groups[1..]
            .iter()
            .map(|group| usize::from(group[0] <= addr))
            .sum();
        let within: usize = groups[group]
            .iter()
            .map(|&start| usize::from(start <= addr))
            .sum();
        (group * GROUP + within).min(self.len)
    }

    /// Inserts an address where it belongs; there is room for it.
    #[inline]
    pub(super) fn insert(&mut self, slot: usize, addr: u64) {
        let tail = &mut self.addrs[slot..=self.len];
        tail.copy_within(..tail.len() - 1, 1);
        tail[0] = addr;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, slot: usize) {
        self.addrs.copy_within(slot + 1..self.len, slot);
        self.len -= 1;
        self.addrs[self.len] = u64::MAX;
    }

    /// Puts another address in the place of one. The order stays.
    pub(super) fn replace(&mut self, slot: usize, addr: u64) {
        self.addrs[slot] = addr;
    }

    /// Moves the addresses from slot `keep` on to `right`, which has none.
    pub(super) fn split_into(&mut self, keep: usize, right: &mut Self) {
        right.len = self.len - keep;
        right.addrs[..right.len].copy_from_slice(&self.addrs[keep..self.len]);
        self.addrs[keep..].fill(u64::MAX);
        self.len = keep;
    }
}

impl Deref for Starts {
    type Target = [u64];

    #[inline]
    fn deref(&self) -> &[u64] {
        &self.addrs[..self.len]
    }
}
