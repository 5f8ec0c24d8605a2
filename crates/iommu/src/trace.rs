//! The walk behind a translation, entry by entry, for people to read.

use std::fmt;

use swiommu_addr::{Gpa, Pa};
use swiommu_pgtable::WalkStep;

use crate::Translated;

/// Which of two page tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// The one that requests come to: a guest's, where there are two.
    First,
    /// The one behind it, or the only one where it is of that kind.
    Second,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first stage",
            Self::Second => "second stage",
        })
    }
}

/// Where an entry is, in the words of whoever wrote the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EntryAddress {
    /// In a guest's memory.
    Guest(Gpa),
    /// In physical memory.
    Physical(Pa),
}

impl fmt::Display for EntryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest(at) => write!(f, "GPA {at}"),
            Self::Physical(at) => write!(f, "PA {at}"),
        }
    }
}

impl From<Gpa> for EntryAddress {
    fn from(at: Gpa) -> Self {
        Self::Guest(at)
    }
}

impl From<Pa> for EntryAddress {
    fn from(at: Pa) -> Self {
        Self::Physical(at)
    }
}

/// An entry of a page table that a walk goes through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TracedEntry {
    /// The table it belongs to.
    pub stage: Stage,
    /// The level of the table that holds it: 0 has the smallest leaves.
    pub level: u8,
    /// Where it is.
    pub at: EntryAddress,
    /// What it says.
    pub entry: u64,
}

impl TracedEntry {
    pub(crate) fn new<A: Into<EntryAddress>>(stage: Stage, step: WalkStep<A>) -> Self {
        Self {
            stage,
            level: step.level,
            at: step.at.into(),
            entry: step.entry,
        }
    }
}

impl fmt::Display for TracedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stage,
            level,
            at,
            entry,
        } = self;
        write!(f, "{stage}, level {level}: {entry:#018x} at {at}")
    }
}

/// The walk behind a translation, as the tables in memory are now. Caches were not asked, and nothing was marked or cached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The entries in the order of the walk. To reach an entry of a guest's first stage, its second stage is walked before.
    pub entries: Vec<TracedEntry>,
    /// Where it leads, or why it ended.
    pub end: Result<Translated, String>,
}

impl Trace {
    /// Nothing is walked.
    pub fn without_walk(end: Result<Translated, String>) -> Self {
        Self {
            entries: Vec::new(),
            end,
        }
    }
}
