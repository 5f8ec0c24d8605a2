//! Tables that somebody else wrote, in memory that counts what is done to it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

use swiommu_addr::Gpa;
use swiommu_pgtable::{EntryMemory, Exchange};

/// What becomes of an entry.
type Nuisance = fn(u64) -> u64;

/// Single entries at single addresses; there is nothing anywhere else.
#[derive(Default)]
pub(crate) struct Foreign {
    entries: RefCell<BTreeMap<u64, u64>>,
    reads: RefCell<Vec<u64>>,
    updates: RefCell<Vec<u64>>,
    read_only: Cell<bool>,
    /// Changes an entry each time that somebody wants to update it.
    nuisance: Cell<Option<Nuisance>>,
}

/// No memory is there, or it does not permit writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Nowhere(pub(crate) Gpa);

impl fmt::Display for Nowhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing at {}", self.0)
    }
}

impl Foreign {
    pub(crate) fn put(&self, at: u64, entry: u64) {
        self.entries.borrow_mut().insert(at, entry);
    }

    pub(crate) fn get(&self, at: u64) -> Option<u64> {
        self.entries.borrow().get(&at).copied()
    }

    pub(crate) fn remove(&self, at: u64) {
        self.entries.borrow_mut().remove(&at);
    }

    /// The entries that were read since this was asked last.
    pub(crate) fn reads(&self) -> Vec<u64> {
        self.reads.take()
    }

    /// The entries of which an update was tried since this was asked last.
    pub(crate) fn updates(&self) -> Vec<u64> {
        self.updates.take()
    }

    /// From now on, updates fault.
    pub(crate) fn make_read_only(&self) {
        self.read_only.set(true);
    }

    /// From now on, an entry changes in this way just before it is updated.
    pub(crate) fn disturb(&self, nuisance: Nuisance) {
        self.nuisance.set(Some(nuisance));
    }
}

impl EntryMemory for Foreign {
    type Address = Gpa;
    type Fault = Nowhere;

    fn read(&self, at: Gpa) -> Result<u64, Nowhere> {
        self.reads.borrow_mut().push(at.get());
        self.get(at.get()).ok_or(Nowhere(at))
    }

    fn compare_exchange(&self, at: Gpa, old: u64, new: u64) -> Result<Exchange, Nowhere> {
        self.updates.borrow_mut().push(at.get());
        if self.read_only.get() {
            return Err(Nowhere(at));
        }
        let mut entry = self.get(at.get()).ok_or(Nowhere(at))?;
        if let Some(nuisance) = self.nuisance.get() {
            entry = nuisance(entry);
            self.put(at.get(), entry);
        }
        if entry != old {
            return Ok(Exchange::Changed);
        }
        self.put(at.get(), new);
        Ok(Exchange::Done)
    }
}
