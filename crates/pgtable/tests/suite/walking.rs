//! What a walk of a table that somebody else wrote promises, for any format.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use swiommu_addr::{Address, Gpa, Iova, Pa, PageSize, PageSizes};
use swiommu_pgtable::{
    Access, Arrival, EntryAction, EntryMemory, Exchange, HardwareWalk, HeapTables, NoTableMemory,
    PhysicalEntries, Prot, Reached, Refusal, Root, TableMemory, WalkFault, WalkStep, Walked,
    Walker,
};

use crate::foreign::{Foreign, Nowhere};
use crate::support::*;

const PA: u64 = 1 << 46;
const USER_RW: Access = Access::USER_READ.union(Access::USER_WRITE);

/// A table as it would be in somebody else's memory, at the same addresses.
pub(crate) fn copied<F: HardwareWalk>(table: &Table<F>) -> (Foreign, Root<Gpa>) {
    let copy = Foreign::default();
    let Root {
        table: root,
        levels,
    } = table.root();
    let mut at = 0x1_0000_0000;
    let end = at + table.memory().in_use();
    while at < end {
        let entry = &table.memory().entries(Pa::new(at), 1).unwrap()[0];
        let entry = u64::from_le(entry.load(Ordering::Relaxed));
        if entry != 0 {
            copy.put(at, entry);
        }
        at += 8;
    }
    let root = Root {
        table: Gpa::new(root.get()),
        levels,
    };
    (copy, root)
}

pub(crate) fn a_walk_finds_what_was_mapped<F: HardwareWalk>(format: F) {
    for size in table(format).page_sizes().iter().map(PageSize::bytes) {
        for half in halves(&format) {
            let table = table(format);
            let start = half.last().get() - size + 1;
            let pa = if size > PA { 0 } else { PA };
            map(&table, start, pa, size);
            let walker = table.walker();
            for offset in [0, 1, size / 2, size - 1] {
                let at = Iova::new(start + offset);
                let found = walker.walk(at, USER_RW).unwrap();
                assert_eq!(found.resolve(at), Pa::new(pa + offset));
                assert_eq!((found.iova, found.size.bytes()), (Iova::new(start), size));
                assert_eq!(
                    F::item_size(found.level).bytes(),
                    size.min(F::item_size(found.level).bytes())
                );
                assert!(found.access.contains(USER_RW));
                assert_eq!(walker.look(at), Ok(found));
                let ours = table.translate(at).unwrap();
                assert_eq!(
                    (ours.pa, ours.size, ours.iova),
                    (found.address, found.size, found.iova)
                );
            }
        }
    }
}

/// A page somewhere in the table, and the entries on the way to it.
fn page<F: HardwareWalk>(format: F) -> (Foreign, Root<Gpa>, Iova, Vec<u64>) {
    let table = table(format);
    let start = halves(&format)[0].last().get() - F::GRANULE.bytes() + 1;
    map(&table, start, PA, F::GRANULE.bytes());
    let (memory, root) = copied(&table);
    let at = Iova::new(start + 0x123);
    let found = Walker::new(format, &memory, root)
        .unwrap()
        .look(at)
        .unwrap();
    assert_eq!(found.resolve(at), Gpa::new(PA + 0x123));
    let path = memory.reads();
    assert_eq!(path.len(), usize::from(root.levels));
    assert_eq!(path.last(), Some(&found.at.get()));
    (memory, root, at, path)
}

pub(crate) fn a_trace_has_every_entry_on_the_way<F: HardwareWalk>(format: F) {
    let (memory, root, iova, path) = page(format);
    let walker = Walker::new(format, &memory, root).unwrap();
    let mut traced = Vec::new();
    let found = walker.trace(iova, |step| traced.push(step));
    assert_eq!(found, walker.look(iova));
    let expected = path.iter().zip((0..root.levels).rev());
    let expected: Vec<_> = expected
        .map(|(&at, level)| WalkStep {
            at: Gpa::new(at),
            level,
            entry: memory.get(at).unwrap(),
        })
        .collect();
    assert_eq!(traced, expected);

    memory.put(path[path.len() - 1], 0);
    traced.clear();
    assert!(walker.trace(iova, |step| traced.push(step)).is_err());
    assert_eq!(traced, expected[..expected.len() - 1]);
    assert_eq!(memory.updates(), []);
}

pub(crate) fn a_walk_says_where_and_why_it_ended<F: HardwareWalk>(format: F) {
    let (memory, root, iova, path) = page(format);
    let walker = Walker::new(format, &memory, root).unwrap();
    for (step, &entry_at) in path.iter().enumerate() {
        let (at, level) = (
            Gpa::new(entry_at),
            root.levels - 1 - u8::try_from(step).unwrap(),
        );
        let entry = memory.get(entry_at).unwrap();

        memory.put(entry_at, 0);
        let reason = Refusal::NotPresent;
        let absent = WalkFault::Refused {
            iova,
            at,
            level,
            entry: 0,
            reason,
        };
        assert_eq!(walker.walk(iova, USER_RW), Err(absent));
        assert_eq!(memory.reads(), path[..=step]);

        memory.remove(entry_at);
        let (action, fault) = (EntryAction::Read, Nowhere(at));
        let nowhere = WalkFault::Entry {
            iova,
            at,
            level,
            action,
            fault,
        };
        assert_eq!(walker.walk(iova, USER_RW), Err(nowhere));
        assert_eq!(walker.look(iova), Err(nowhere));
        memory.reads();
        memory.put(entry_at, entry);
    }
    assert!(walker.walk(iova, USER_RW).is_ok());
}

/// The tables on the way to an address, as a walk from `from` tells of them.
fn reached<F: HardwareWalk>(
    walker: &Walker<F, &Foreign>,
    from: Option<Reached<Gpa>>,
    iova: Iova,
) -> (Walk, Vec<Reached<Gpa>>) {
    let mut tables = Vec::new();
    let found = walker.walk_from(from, iova, USER_RW, |table| tables.push(table));
    (found, tables)
}

type Walk = Result<Walked<Gpa>, WalkFault<Gpa, Nowhere>>;

pub(crate) fn a_walk_goes_on_from_a_table_that_was_reached<F: HardwareWalk>(format: F) {
    let (memory, root, iova, path) = page(format);
    let walker = Walker::new(format, &memory, root).unwrap();
    let entries = path[..path.len() - 1]
        .iter()
        .map(|at| memory.get(*at).unwrap());
    let marked = entries.take_while(|entry| format.walked_table(*entry) == *entry);
    let marked = marked.count();
    let (_, told) = reached(&walker, None, iova);
    assert_eq!(told.len(), marked, "those that need no mark to be found");
    memory.reads();
    let (whole, tables) = reached(&walker, None, iova);
    assert_eq!((whole, memory.reads()), (walker.look(iova), path.clone()));
    memory.reads();
    assert_eq!(tables.len(), path.len() - 1, "all but the root");
    for (above, table) in tables.iter().enumerate() {
        let below = &path[above + 1..];
        let start = Gpa::new(below[0] & !table_size::<F>().mask());
        assert_eq!(table.table, start);
        assert_eq!(
            table.span,
            F::item_size(root.levels - 1 - u8::try_from(above).unwrap())
        );
        // Nobody looks at what is above any more.
        let lost = path[..=above]
            .iter()
            .map(|at| (*at, memory.get(*at).unwrap()));
        let lost: Vec<(u64, u64)> = lost.collect();
        for (at, _) in &lost {
            memory.remove(*at);
        }
        let (found, rest) = reached(&walker, Some(*table), iova);
        assert_eq!((found, memory.reads()), (whole, below.to_vec()));
        assert_eq!(rest, tables[above + 1..]);
        let narrow = Reached {
            access: Access::empty(),
            ..*table
        };
        let (refused, _) = reached(&walker, Some(narrow), iova);
        let reason = refused.map_err(|fault| match fault {
            WalkFault::Refused { reason, .. } => Some(reason),
            _ => None,
        });
        let permitted = Access::empty();
        let wanted = USER_RW;
        assert_eq!(reason, Err(Some(Refusal::Permission { wanted, permitted })));
        for (at, entry) in lost {
            memory.put(at, entry);
        }
        memory.reads();
    }
    let lowest = tables.last().unwrap();
    let leaf = lowest.leaf(&format, &&memory, iova, USER_RW);
    assert_eq!(
        (leaf, memory.reads().len()),
        (whole.ok().map(Arrival::from), 1)
    );
    let narrow = Reached {
        access: Access::empty(),
        ..*lowest
    };
    assert_eq!(narrow.leaf(&format, &&memory, iova, USER_RW), None);
    memory.remove(path[path.len() - 1]);
    assert_eq!(lowest.leaf(&format, &&memory, iova, USER_RW), None);
}

/// A cache can be wrong about everything.
pub(crate) fn a_walk_from_what_is_no_table_begins_at_the_root<F: HardwareWalk>(format: F) {
    let (memory, root, iova, path) = page(format);
    let walker = Walker::new(format, &memory, root).unwrap();
    assert!(walker.walk(iova, USER_RW).is_ok());
    memory.reads();
    let tables = F::item_size(1).log2()..F::item_size(root.levels - 1).log2() + 1;
    for log2 in 0..64 {
        let whole_levels = (log2 - F::GRANULE.log2().min(log2)) % F::INDEX_BITS == 0;
        if tables.contains(&log2) && whole_levels {
            continue;
        }
        let nonsense = Reached {
            table: Gpa::new(0x8000),
            span: PageSize::from_log2(log2),
            access: Access::empty(),
        };
        assert!(reached(&walker, Some(nonsense), iova).0.is_ok(), "{log2}");
        assert_eq!(memory.reads(), path);
        assert_eq!(nonsense.leaf(&format, &&memory, iova, USER_RW), None);
        memory.reads();
    }
}

/// A pointer back to a table above, or to the table itself, at every level: the walk is as long as ever.
pub(crate) fn a_walk_in_a_loop_ends<F: HardwareWalk>(format: F) {
    let (memory, root, iova, path) = page(format);
    let walker = Walker::new(format, &memory, root).unwrap();
    for (step, &entry_at) in path.iter().enumerate() {
        let level = root.levels - 1 - u8::try_from(step).unwrap();
        if level == 0 {
            continue;
        }
        let entry = memory.get(entry_at).unwrap();
        for &above in &path[..=step] {
            let table = above & !table_size::<F>().mask();
            memory.put(
                entry_at,
                format.table(level) | format.address(Pa::new(table)),
            );
            // It looks, then marks; an entry that is gone through twice has changed by the second time, so it begins again.
            let _ = walker.walk(iova, Access::USER_READ);
            assert!(memory.reads().len() <= 3 * path.len());
            let _ = walker.look(iova);
            assert!(memory.reads().len() <= path.len());
        }
        memory.put(entry_at, entry);
    }
}

pub(crate) fn a_walk_refuses_what_is_no_input_address<F: HardwareWalk>(format: F) {
    let (memory, root, _, _) = page(format);
    let walker = Walker::new(format, &memory, root).unwrap();
    let inside = |iova| {
        table(format)
            .translate(iova)
            .is_err_and(|error| !matches!(error, swiommu_pgtable::Error::OutOfRange { .. }))
    };
    for bit in 0..64 {
        for iova in [1_u64 << bit, !(1 << bit), u64::MAX << bit, u64::MAX >> bit].map(Iova::new) {
            // A root that can still grow translates less than it may one day.
            if root.levels != *format.levels().end() {
                continue;
            }
            let result = walker.walk(iova, Access::USER_READ);
            let refused = result == Err(WalkFault::Input { iova });
            assert_eq!(refused, !inside(iova), "{iova}");
            assert_eq!(memory.reads().is_empty(), refused);
        }
    }
}

pub(crate) fn permissions_are_asked_of_the_leaf<F: HardwareWalk>(format: F) {
    let table = table(format);
    let granule = F::GRANULE.bytes();
    for (index, prot) in [Prot::READ, Prot::WRITE, Prot::RW].into_iter().enumerate() {
        let start = Iova::new(index as u64 * granule);
        let run = memory(PA, granule);
        let Ok(mapped) = table.map(start, run, prot, PageSizes::ALL) else {
            continue;
        };
        assert!(mapped.replaced().is_none());
        let walker = table.walker();
        let found = walker.look(start).unwrap();
        let ours = table.translate(start).unwrap().prot;
        assert_eq!(
            ours.contains(Prot::READ),
            found.access.contains(Access::USER_READ)
        );
        assert_eq!(
            ours.contains(Prot::WRITE),
            found.access.contains(Access::USER_WRITE)
        );
        // What is asked for is given; what is more is not, unless the format cannot help it.
        assert!(ours.contains(prot & Prot::RW));
        assert!(prot != Prot::READ || !ours.contains(Prot::WRITE));
        for wanted in [
            Access::USER_READ,
            Access::USER_WRITE,
            USER_RW,
            Access::empty(),
        ] {
            let result = walker.walk(start, wanted);
            if found.access.contains(wanted) {
                assert_eq!(result.unwrap().address, Pa::new(PA));
                continue;
            }
            let Err(WalkFault::Refused {
                at, level, reason, ..
            }) = result
            else {
                panic!("{wanted}: {result:?}");
            };
            assert_eq!((at, level), (found.at, 0));
            assert!(matches!(reason, Refusal::Permission { wanted: said, .. } if said == wanted));
        }
    }
}

/// Memory that has an answer to everything.
struct Garbage {
    entries: Vec<u64>,
    reads: Cell<usize>,
    updates: Cell<usize>,
}

impl EntryMemory for Garbage {
    type Address = Gpa;
    type Fault = Nowhere;

    fn read(&self, at: Gpa) -> Result<u64, Nowhere> {
        let read = self.reads.get();
        self.reads.set(read + 1);
        // One in so many is missing.
        match self.entries[read % self.entries.len()] {
            entry if entry % 61 == 60 => Err(Nowhere(at)),
            entry => Ok(entry),
        }
    }

    fn compare_exchange(&self, at: Gpa, _old: u64, new: u64) -> Result<Exchange, Nowhere> {
        self.updates.set(self.updates.get() + 1);
        match new % 3 {
            0 => Err(Nowhere(at)),
            1 => Ok(Exchange::Changed),
            _ => Ok(Exchange::Done),
        }
    }
}

/// Whatever is in memory: a walk ends after as many reads as there are levels, each at another level.
pub(crate) fn garbage_leads_to_an_end<F: HardwareWalk>(format: F) {
    let levels = *format.levels().end();
    let table = format.table(1);
    let leaf = format.leaf(F::GRANULE, 0, format.attributes(Prot::RW).unwrap());
    let entry = prop_oneof![
        any::<u64>(),
        any::<u64>().prop_map(move |bits| table | bits & 0xf_ffff_f000),
        (any::<u64>(), 0..64)
            .prop_map(move |(bits, bit)| (leaf | bits & 0xf_ffff_f000) ^ 1_u64 << bit),
        (1..8_u64).prop_map(move |next| table ^ next << 9),
    ];
    let garbage = (prop::collection::vec(entry, 1..12), any::<u64>(), 0..64_u32);
    let mut runner = TestRunner::new(Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    });
    let root = Root {
        table: Gpa::new(0x1000_0000),
        levels,
    };
    runner
        .run(&garbage, |(entries, iova, shift)| {
            let (reads, updates) = (Cell::new(0), Cell::new(0));
            let memory = Garbage {
                entries,
                reads,
                updates,
            };
            let walker = Walker::new(format, &memory, root).unwrap();
            let iova = Iova::new(iova >> shift);
            let looked = walker.look(iova);
            prop_assert!(memory.reads.get() <= usize::from(levels));
            prop_assert_eq!(memory.updates.get(), 0);
            if let Ok(found) = looked {
                prop_assert!(
                    found.iova <= iova && iova.get() - found.iova.get() < found.size.bytes()
                );
                prop_assert_eq!(found.address.get() & found.size.mask(), 0);
            }
            memory.reads.set(0);
            let _ = walker.walk(iova, USER_RW);
            prop_assert!(memory.reads.get() <= 65 * usize::from(levels));
            Ok(())
        })
        .unwrap();
}

pub(crate) fn only_roots_that_the_format_has_can_be_walked<F: HardwareWalk>(format: F) {
    for levels in 0..=u8::MAX {
        let root = Root {
            table: Gpa::new(0x1000_0000),
            levels,
        };
        let walker = Walker::new(format, Foreign::default(), root);
        assert_eq!(walker.is_some(), format.levels().contains(&levels));
        if let Some(walker) = walker {
            assert_eq!(walker.root(), root);
            assert_eq!(format!("{:?}", walker.format()), format!("{format:?}"));
            let fault = walker.look(Iova::new(0)).unwrap_err();
            assert!(matches!(fault, WalkFault::Entry { at, .. } if at == root.table));
        }
    }
}

/// Entries in table memory, as hardware reaches them.
#[test]
fn entries_are_reached_by_their_physical_address() {
    let memory = HeapTables::new();
    let table = memory.alloc(PageSize::SIZE_4K).unwrap();
    let at = table.wrapping_add(0xff8);
    let entries = PhysicalEntries::new(&memory);
    memory.entries(at, 1).unwrap()[0].store(7_u64.to_le(), Ordering::Relaxed);
    assert_eq!(entries.compare_exchange(at, 6, 9), Ok(Exchange::Changed));
    assert_eq!(entries.read(at), Ok(7));
    assert_eq!(entries.compare_exchange(at, 7, 9), Ok(Exchange::Done));
    assert_eq!(entries.read(at), Ok(9));
    for nowhere in [Pa::new(0), Pa::new(u64::MAX - 7)] {
        assert_eq!(entries.read(nowhere), Err(NoTableMemory));
        assert_eq!(entries.compare_exchange(nowhere, 0, 1), Err(NoTableMemory));
    }
}
