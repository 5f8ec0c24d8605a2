//! The caches of a unit, of which one is filled from the other.

use super::{Retention, Scope, Structures, Tlb};

/// The IOTLB of a unit and its paging-structure caches, kept in step.
#[derive(Debug)]
pub struct Caches {
    /// Translations.
    pub tlb: Tlb,
    /// The tables on the way to them.
    pub structures: Structures,
}

impl Caches {
    /// Without entries.
    pub fn new(translations: Retention, structures: Retention) -> Self {
        Self {
            tlb: Tlb::new(translations),
            structures: Structures::new(structures),
        }
    }

    /// Forgets the translations that `scope` covers, and the tables on the way to them.
    pub fn invalidate(&self, scope: &Scope) {
        // The tables first: who finds one before then began before the translations are forgotten, and its own is dropped.
        self.structures.invalidate(scope);
        self.tlb.invalidate(scope);
    }

    /// Forgets the translations that `scope` covers, where software says that only leaves have changed (VT-d: IH, Arm: Leaf).
    pub fn invalidate_leaves(&self, scope: &Scope) {
        self.tlb.invalidate(scope);
    }
}
