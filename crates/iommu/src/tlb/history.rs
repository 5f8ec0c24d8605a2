//! The last invalidations.

use std::collections::VecDeque;

use super::Scope;
use super::entry::Entry;

/// How many invalidations are remembered. An entry whose walk saw more of them pass is not cached.
const REMEMBERED: usize = 64;

/// The last invalidations.
#[derive(Default, Debug)]
pub(super) struct History {
    /// How many there have been.
    count: u64,
    last: VecDeque<Scope>,
}

impl History {
    /// Adds one. Returns how many there have been.
    pub(super) fn add(&mut self, scope: &Scope) -> u64 {
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(*scope);
        self.count += 1;
        self.count
    }

    /// Whether one after the first `count` covers the entry, or may do so for all that is remembered.
    #[inline]
    pub(super) fn covers_since(&self, count: u64, entry: &Entry) -> bool {
        self.is_longer_than(count) && self.last_cover(count, entry)
    }

    /// Whether there was one after the first `count`.
    #[inline]
    pub(super) fn is_longer_than(&self, count: u64) -> bool {
        self.count > count
    }

    fn last_cover(&self, count: u64, entry: &Entry) -> bool {
        let passed = usize::try_from(self.count - count).unwrap_or(usize::MAX);
        let mut since = self.last.iter().rev().take(passed);
        passed > self.last.len() || since.any(|scope| scope.covers(entry))
    }
}
