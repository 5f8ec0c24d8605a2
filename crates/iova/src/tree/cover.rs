//! How many reserved intervals lie over the gaps of a subtree.

/// The cover of a subtree, relative to the cover just before its first entry.
///
/// Cover is never negative, so a gap that nothing covers has the least cover of every subtree that holds it. Hence a
/// summary of a subtree need only look at its gaps of least cover: if they are covered, then all are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cover {
    /// The change of cover from before the first entry to after the last.
    pub(super) total: i32,
    /// The least cover of a gap between two entries, `i32::MAX` when there is no gap.
    pub(super) least: i32,
}

impl Cover {
    pub(super) const EMPTY: Self = Self {
        total: 0,
        least: i32::MAX,
    };

    /// Appends a gap.
    #[inline]
    pub(super) fn push_gap(&mut self) {
        self.least = self.least.min(self.total);
    }

    /// Appends what has the cover `next`.
    #[inline]
    pub(super) fn push(&mut self, next: Self) {
        self.least = self.least.min(next.least_from(self.total));
        self.total += next.total;
    }

    /// The least cover of a gap, when the cover before the subtree is `base`.
    #[inline]
    pub(super) fn least_from(self, base: i32) -> i32 {
        base.saturating_add(self.least)
    }
}
