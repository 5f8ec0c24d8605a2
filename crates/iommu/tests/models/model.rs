//! What the suite has to know of a model.

use std::fmt;
use std::sync::Arc;

use swiommu_addr::{Gpa, IovaRange};
use swiommu_iommu::{
    DmaPort, Endpoint, NestedDomain, PagingDomain, PagingFlags, Pasid, Prot, Retention, Unit,
};
use swiommu_mem::PhysicalMemory;

use crate::guest::Guest;

/// A unit and a device behind it.
pub(crate) trait Model: Sized {
    /// How first-stage page tables of our own are asked for, and second-stage ones.
    const SINGLE_STAGES: &'static [(Stage, PagingFlags)];

    /// What mappings of a nesting parent may permit.
    const PARENT_PROTS: &'static [Prot];

    /// The requests that a guest's tables translate once the device is [attached](Self::nest).
    const REQUESTERS: &'static [Pasid];

    /// What an invalidation of one address of a large leaf covers.
    const LARGE_LEAVES: LargeLeaves;

    fn new(memory: &Arc<PhysicalMemory>, caches: Retention) -> Self;

    fn unit(&self) -> &dyn Unit;

    fn endpoint(&self) -> &dyn Endpoint;

    fn port(&self, pasid: Pasid) -> DmaPort;

    /// A guest's entry that points to a table.
    fn table(next: Gpa) -> u64;

    /// A guest's leaf at a level, where 0 is 4 KiB and 1 is 2 MiB, already marked as accessed and dirty.
    fn leaf(to: Gpa, rights: Rights, level: u8) -> u64;

    /// Leaves that break a rule of the format.
    fn malformed(to: Gpa) -> Vec<u64>;

    /// Puts a guest's tables of four levels in front of a nesting parent, and attaches the device to both.
    fn nest(
        &self,
        guest: &Guest,
        parent: &Arc<dyn PagingDomain>,
        root: Gpa,
    ) -> Arc<dyn NestedDomain>;

    /// Tells the unit that entries of a guest's tables have changed.
    fn invalidate(&self, nested: &dyn NestedDomain, changed: Changed);

    /// The addresses of which nothing is kept after an invalidation of a range.
    fn cover(range: IovaRange) -> IovaRange;

    /// The number by which it reports this.
    fn code(why: &Why) -> u8;

    /// The number that a fault has, in the words of the device's error.
    fn code_in(reason: &str) -> Option<u8> {
        let (_, rest) = reason.split_once("(0x")?;
        let (digits, _) = rest.split_once(')')?;
        u8::from_str_radix(digits, 16).ok()
    }
}

/// What a guest says that it has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Changed {
    Everything,
    /// Entries of any level for these addresses.
    Entries(IovaRange),
    /// Leaves only, so what is known of the tables above them may be kept.
    Leaves(IovaRange),
}

/// What an invalidation of one address of a large leaf covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LargeLeaves {
    /// All of the leaf.
    Whole,
    /// That address; software has to name all.
    Address,
}

/// Which table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    First,
    Second,
}

/// What a leaf of a guest permits to users.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Rights {
    Read,
    Write,
}

impl Rights {
    pub(crate) fn permit(self, wanted: Rights) -> bool {
        self >= wanted
    }
}

/// Why an access is not translated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// The address is none that the first stage translates.
    Input,
    /// An entry of the first stage does not permit it.
    Entry { level: u8, kind: Kind },
    /// A table of the first stage cannot be reached.
    Table { level: u8 },
    /// The second stage, or the only one, does not permit it.
    Second { kind: Kind },
}

/// What is wrong with an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    NotPresent,
    /// It permits reads, and a write is wanted.
    NotWritable,
    /// It permits writes, and a read is wanted.
    NotReadable,
    Malformed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
