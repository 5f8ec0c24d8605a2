//! Random operations, against a model that is a map of leaves and shares no code with the crate.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use swiommu_addr::{Iova, IovaRange, Pa, PageSize, PageSizes};
use swiommu_pgtable::{DirtyRead, Error, Format, Prot};

use crate::support::*;

#[derive(Clone, Debug)]
enum Operation {
    /// Lengths and physical starts of runs, in granules.
    Map {
        at: u64,
        runs: Vec<(u64, u64)>,
        read_only: bool,
        largest: u8,
    },
    Unmap {
        at: u64,
        len: u64,
    },
    Protect {
        at: u64,
        len: u64,
        read_only: bool,
    },
    Write {
        at: u64,
    },
    ReadDirty {
        at: u64,
        len: u64,
        clear: bool,
    },
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    // Mostly near powers of two, where alignments and levels change.
    let near_power = (0_u32..12, -3_i64..4)
        .prop_map(|(log2, off)| (1_i64 << log2).saturating_add(off).max(0).unsigned_abs());
    let len = prop_oneof![1_u64..5, near_power.clone().prop_map(|len| len.max(1))];
    let pa = prop_oneof![0_u64..8, (0_u64..16).prop_map(|n| n << 9), 0_u64..1 << 12];
    let run = (len.clone(), pa);
    let operation = prop_oneof![
        4 => (near_power.clone(), prop::collection::vec(run, 1..4), any::<bool>(), 0_u8..28)
            .prop_map(|(at, runs, read_only, largest)| Operation::Map { at, runs, read_only, largest }),
        3 => (near_power.clone(), len.clone()).prop_map(|(at, len)| Operation::Unmap { at, len }),
        3 => (near_power.clone(), len.clone(), any::<bool>())
            .prop_map(|(at, len, read_only)| Operation::Protect { at, len, read_only }),
        2 => near_power.clone().prop_map(|at| Operation::Write { at }),
        1 => (near_power, len, any::<bool>())
            .prop_map(|(at, len, clear)| Operation::ReadDirty { at, len, clear }),
    ];
    prop::collection::vec(operation, 1..20)
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Leaf {
    size: u64,
    pa: u64,
    writable: bool,
    dirty: bool,
}

/// Leaves by their first IOVA.
#[derive(Default)]
struct Model {
    leaves: BTreeMap<u64, Leaf>,
}

impl Model {
    /// The leaves of one run: at each step the largest size that is aligned and fits.
    fn layout(
        sizes: &[u64],
        mut iova: u64,
        mut pa: u64,
        len: u64,
        (writable, dirty): (bool, bool),
    ) -> Vec<(u64, Leaf)> {
        let end = iova + len;
        let mut leaves = Vec::new();
        while iova < end {
            let fits = |&&size: &&u64| {
                iova.is_multiple_of(size) && pa.is_multiple_of(size) && size <= end - iova
            };
            let size = *sizes.iter().rev().find(fits).unwrap();
            leaves.push((
                iova,
                Leaf {
                    size,
                    pa,
                    writable,
                    dirty,
                },
            ));
            iova += size;
            pa += size;
        }
        leaves
    }

    /// The first leaves that have an address in `start..end`.
    fn touching(&self, start: u64, end: u64) -> Vec<u64> {
        let touches = |&(&at, leaf): &(&u64, &Leaf)| at < end && start < at + leaf.size;
        self.leaves
            .iter()
            .filter(touches)
            .map(|(&at, _)| at)
            .collect()
    }
}

pub(crate) fn random_operations_do_what_a_naive_model_does<F: Format>(format: F) {
    let mut runner = TestRunner::new(Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&operations(), |operations| check(format, &operations))
        .unwrap();
}

fn check<F: Format>(format: F, operations: &[Operation]) -> Result<(), TestCaseError> {
    let mut both = Both {
        table: table(format),
        model: Model::default(),
    };
    for operation in operations {
        match operation {
            Operation::Map {
                at,
                runs,
                read_only,
                largest,
            } => both.map(*at, runs, *read_only, *largest)?,
            Operation::Unmap { at, len } => both.unmap(*at, *len)?,
            Operation::Protect { at, len, read_only } => both.protect(*at, *len, *read_only)?,
            Operation::Write { at } => both.write(*at)?,
            Operation::ReadDirty { at, len, clear } => both.read_dirty(*at, *len, *clear)?,
        }
        both.same()?;
    }
    Ok(())
}

/// The table and the model, to which the same is done.
struct Both<F: Format> {
    table: Table<F>,
    model: Model,
}

impl<F: Format> Both<F> {
    /// IOVAs and lengths are counted in granules, from 1024 before the first boundary between entries of a high level.
    fn range(at: u64, len: u64) -> (u64, u64) {
        let granule = F::GRANULE.bytes();
        let mut boundaries = (2..).map(|level| F::item_size(level).bytes());
        let boundary = boundaries.find(|&bytes| bytes > 1024 * granule).unwrap();
        let start = boundary - 1024 * granule + at * granule;
        (start, start + len * granule)
    }

    fn map(
        &mut self,
        at: u64,
        runs: &[(u64, u64)],
        read_only: bool,
        largest: u8,
    ) -> Result<(), TestCaseError> {
        let granule = F::GRANULE.bytes();
        let (start, end) = Self::range(at, runs.iter().map(|(len, _)| len).sum());
        let allowed = PageSizes::from_bitmap(u64::MAX >> (63 - F::GRANULE.log2() - largest));
        let sizes: Vec<_> = self
            .table
            .page_sizes()
            .intersection(allowed)
            .iter()
            .map(PageSize::bytes)
            .collect();
        let prot = if read_only { Prot::READ } else { Prot::RW };
        let dirty = born_dirty(&self.table.format(), prot);
        let mut physical = Vec::new();
        let mut new = Vec::new();
        let mut iova = start;
        for &(len, pa) in runs {
            physical.push(memory(pa * granule, len * granule));
            new.extend(Model::layout(
                &sizes,
                iova,
                pa * granule,
                len * granule,
                (!read_only, dirty),
            ));
            iova += len * granule;
        }
        let result = match physical[..] {
            [run] => self.table.map(Iova::new(start), run, prot, allowed),
            _ => self
                .table
                .map_runs(Iova::new(start), &physical, prot, allowed),
        };
        match self.model.touching(start, end).first() {
            None => {
                if let Some(replaced) = result.unwrap().replaced() {
                    prop_assert_eq!(free(&self.table, replaced).1, 0);
                }
                self.model.leaves.extend(new);
            }
            Some(&first) => {
                let iova = Iova::new(first.max(start));
                prop_assert_eq!(result.unwrap_err(), Error::AlreadyMapped { iova });
            }
        }
        Ok(())
    }

    fn unmap(&mut self, at: u64, len: u64) -> Result<(), TestCaseError> {
        let (start, end) = Self::range(at, len);
        let gone = self.model.touching(start, end);
        let first = gone.first().map_or(start, |&first| first.min(start));
        let after = gone
            .last()
            .map_or(end, |last| (last + self.model.leaves[last].size).max(end));
        let bytes = gone
            .iter()
            .map(|at| self.model.leaves.remove(at).unwrap().size)
            .sum();
        prop_assert_eq!(
            unmap(&self.table, start, end - start),
            (iova(first, after - first), bytes)
        );
        Ok(())
    }

    fn protect(&mut self, at: u64, len: u64, read_only: bool) -> Result<(), TestCaseError> {
        let (start, end) = Self::range(at, len);
        let prot = if read_only { Prot::READ } else { Prot::RW };
        let result = self.table.protect(iova(start, end - start), prot);
        let leaves = self.model.touching(start, end);
        let mut reached = start;
        for &first in &leaves {
            let size = self.model.leaves[&first].size;
            if first > reached {
                break;
            }
            if first < start || first + size > end {
                let leaf = iova(first, size);
                prop_assert_eq!(result, Err(Error::LeafCut { leaf }));
                return Ok(());
            }
            reached = first + size;
        }
        if reached < end {
            let hole =
                matches!(result, Err(Error::NotMapped { iova, .. }) if iova.get() == reached);
            prop_assert!(hole, "{:?}, not {:#x}", result, reached);
            return Ok(());
        }
        let mut changed = None;
        for first in leaves {
            let leaf = self.model.leaves.get_mut(&first).unwrap();
            if leaf.writable == read_only {
                leaf.writable = !read_only;
                leaf.dirty |= born_dirty(&self.table.format(), prot);
                changed = Some((changed.map_or(first, |(from, _)| from), first + leaf.size));
            }
        }
        let changed = changed.map(|(from, to)| iova(from, to - from));
        prop_assert_eq!(result.unwrap().range(), changed);
        Ok(())
    }

    fn write(&mut self, at: u64) -> Result<(), TestCaseError> {
        let at = Self::range(at, 0).0 + 1;
        let result = self.table.set_dirty(Iova::new(at));
        match self.model.touching(at, at + 1).first() {
            None => {
                let refused = matches!(result, Err(Error::NotMapped { .. }));
                prop_assert!(refused, "{:?}", result);
            }
            Some(first) => {
                prop_assert_eq!(result, Ok(()));
                let leaf = self.model.leaves.get_mut(first).unwrap();
                // Whether a read-only leaf can be marked is the format's affair.
                leaf.dirty |= leaf.writable && tracks_dirty(&self.table.format())
                    || self.table.translate(Iova::new(at)).unwrap().dirty;
            }
        }
        Ok(())
    }

    fn read_dirty(&mut self, at: u64, len: u64, clear: bool) -> Result<(), TestCaseError> {
        let (start, end) = Self::range(at, len);
        let mode = if clear {
            DirtyRead::Clear
        } else {
            DirtyRead::Keep
        };
        let mut seen = Vec::new();
        let cleaned = self
            .table
            .read_dirty(iova(start, end - start), mode, |leaf| seen.push(leaf))
            .unwrap();
        let mut expected = Vec::new();
        for at in self.model.touching(start, end) {
            let leaf = self.model.leaves.get_mut(&at).unwrap();
            if leaf.dirty {
                expected.push(iova(at, leaf.size));
                leaf.dirty = !clear;
            }
        }
        prop_assert_eq!(cleaned.range().is_some(), clear && !expected.is_empty());
        prop_assert_eq!(seen, expected);
        Ok(())
    }

    fn same(&self) -> Result<(), TestCaseError> {
        let mut dirty = BTreeSet::new();
        for half in halves(&self.table.format()) {
            let visit = |leaf: IovaRange| assert!(dirty.insert(leaf.start()));
            let _ = self.table.read_dirty(half, DirtyRead::Keep, visit).unwrap();
        }
        let found: Vec<_> = leaves(&self.table)
            .iter()
            .map(|leaf| {
                let (size, pa) = (leaf.size.bytes(), leaf.pa.get());
                let (writable, dirty) =
                    (leaf.prot.contains(Prot::WRITE), dirty.contains(&leaf.iova));
                (
                    leaf.iova.get(),
                    Leaf {
                        size,
                        pa,
                        writable,
                        dirty,
                    },
                )
            })
            .collect();
        let expected: Vec<_> = self
            .model
            .leaves
            .iter()
            .map(|(&at, &leaf)| (at, leaf))
            .collect();
        prop_assert_eq!(found, expected);
        for (&at, leaf) in &self.model.leaves {
            let last = Iova::new(at + leaf.size - 1);
            let found = self.table.translate(last).unwrap().resolve(last);
            prop_assert_eq!(found, Pa::new(leaf.pa + leaf.size - 1));
        }
        Ok(())
    }
}
