//! Random operations, against a model that is a map of leaves and shares no code with the crate.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use swiommu_addr::{Iova, Pa, PageSizes};
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
    let near_power = (0_u32..14, -3_i64..4)
        .prop_map(|(log2, off)| (1_i64 << log2).saturating_add(off).max(0) as u64);
    let len = prop_oneof![1_u64..5, near_power.clone().prop_map(|len| len.max(1))];
    let pa = prop_oneof![0_u64..8, (0_u64..16).prop_map(|n| n << 9), 0_u64..1 << 14];
    let run = (len.clone(), pa);
    let operation = prop_oneof![
        4 => (near_power.clone(), prop::collection::vec(run, 1..4), any::<bool>(), 0_u8..28)
            .prop_map(|(at, runs, read_only, largest)| Operation::Map { at, runs, read_only, largest }),
        3 => (near_power.clone(), len.clone()).prop_map(|(at, len)| Operation::Unmap { at, len }),
        2 => near_power.clone().prop_map(|at| Operation::Write { at }),
        1 => (near_power, len, any::<bool>())
            .prop_map(|(at, len, clear)| Operation::ReadDirty { at, len, clear }),
    ];
    prop::collection::vec(operation, 1..25)
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
        writable: bool,
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
                    dirty: false,
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

pub fn random_operations_do_what_a_naive_model_does<F: Format>(format: F) {
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&operations(), |operations| check(format, &operations))
        .unwrap();
}

fn check<F: Format>(format: F, operations: &[Operation]) -> Result<(), TestCaseError> {
    let granule = F::GRANULE.bytes();
    // In the middle of the address space of a table of two levels, so that one boundary of level 2 is near.
    let base = F::item_size(2).bytes() - 4096 * granule;
    let table = table(format);
    let mut model = Model::default();
    for operation in operations {
        match operation {
            Operation::Map {
                at,
                runs,
                read_only,
                largest,
            } => {
                let start = base + at * granule;
                let allowed =
                    PageSizes::from_bitmap(u64::MAX >> (63 - F::GRANULE.log2() - largest));
                let sizes: Vec<_> = table
                    .page_sizes()
                    .intersection(allowed)
                    .iter()
                    .map(|size| size.bytes())
                    .collect();
                let prot = if *read_only { Prot::READ } else { Prot::RW };
                let physical: Vec<_> = runs
                    .iter()
                    .map(|&(len, pa)| memory(pa * granule, len * granule))
                    .collect();
                let mut end = start;
                let mut new = Vec::new();
                for &(len, pa) in runs {
                    new.extend(Model::layout(
                        &sizes,
                        end,
                        pa * granule,
                        len * granule,
                        !read_only,
                    ));
                    end += len * granule;
                }
                let result = table.map_runs(Iova::new(start), &physical, prot, allowed);
                match model.touching(start, end).first() {
                    None => {
                        if let Some(replaced) = result.unwrap().replaced() {
                            prop_assert_eq!(free(&table, replaced).1, 0);
                        }
                        model.leaves.extend(new);
                    }
                    Some(&first) => {
                        let iova = Iova::new(first.max(start));
                        prop_assert_eq!(result.unwrap_err(), Error::AlreadyMapped { iova });
                    }
                }
            }
            Operation::Unmap { at, len } => {
                let (start, end) = (base + at * granule, base + (at + len) * granule);
                let gone = model.touching(start, end);
                let first = gone.first().map_or(start, |&first| first.min(start));
                let after = gone
                    .last()
                    .map_or(end, |last| (last + model.leaves[last].size).max(end));
                let bytes = gone
                    .iter()
                    .map(|at| model.leaves.remove(at).unwrap().size)
                    .sum();
                prop_assert_eq!(
                    unmap(&table, start, end - start),
                    (iova(first, after - first), bytes)
                );
            }
            Operation::Write { at } => {
                let at = base + at * granule + 1;
                let result = table.set_dirty(Iova::new(at));
                match model.touching(at, at + 1).first() {
                    None => {
                        let refused = matches!(result, Err(Error::NotMapped { .. }));
                        prop_assert!(refused, "{:?}", result);
                    }
                    Some(first) => {
                        prop_assert_eq!(result, Ok(()));
                        let leaf = model.leaves.get_mut(first).unwrap();
                        // Whether a read-only leaf can be marked is the format's affair.
                        leaf.dirty |=
                            leaf.writable || table.translate(Iova::new(at)).unwrap().dirty;
                    }
                }
            }
            Operation::ReadDirty { at, len, clear } => {
                let (start, end) = (base + at * granule, base + (at + len) * granule);
                let mode = if *clear {
                    DirtyRead::Clear
                } else {
                    DirtyRead::Keep
                };
                let mut seen = Vec::new();
                let cleaned = table
                    .read_dirty(iova(start, end - start), mode, |leaf| seen.push(leaf))
                    .unwrap();
                let mut expected = Vec::new();
                for at in model.touching(start, end) {
                    let leaf = model.leaves.get_mut(&at).unwrap();
                    if leaf.dirty {
                        expected.push(iova(at, leaf.size));
                        leaf.dirty = !clear;
                    }
                }
                prop_assert_eq!(cleaned.range().is_some(), *clear && !expected.is_empty());
                prop_assert_eq!(seen, expected);
            }
        }
        same(&table, &model)?;
    }
    Ok(())
}

fn same<F: Format>(table: &Table<F>, model: &Model) -> Result<(), TestCaseError> {
    let mut dirty = Vec::new();
    for half in halves(&table.format()) {
        let _ = table
            .read_dirty(half, DirtyRead::Keep, |leaf| dirty.push(leaf.start().get()))
            .unwrap();
    }
    let found: Vec<_> = leaves(table)
        .iter()
        .map(|leaf| {
            let iova = leaf.iova.get();
            let (size, pa) = (leaf.size.bytes(), leaf.pa.get());
            let (writable, dirty) = (leaf.prot.contains(Prot::WRITE), dirty.contains(&iova));
            (
                iova,
                Leaf {
                    size,
                    pa,
                    writable,
                    dirty,
                },
            )
        })
        .collect();
    let expected: Vec<_> = model.leaves.iter().map(|(&at, &leaf)| (at, leaf)).collect();
    prop_assert_eq!(found, expected);
    for (&at, leaf) in &model.leaves {
        let last = Iova::new(at + leaf.size - 1);
        prop_assert_eq!(
            table.translate(last).unwrap().resolve(last),
            Pa::new(leaf.pa + leaf.size - 1)
        );
    }
    Ok(())
}
