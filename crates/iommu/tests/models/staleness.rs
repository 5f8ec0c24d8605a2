//! Entries are changed at random, and invalidated or not: how old may what a device sees be, and how old must it be?
//!
//! What may be seen is kept as sets: for each page the leaves that a walk could have met since an invalidation last covered the
//! page, and for each block the tables that its entry pointed to since an invalidation last covered any of its pages. A walk may
//! begin at any of those tables (a paging-structure cache has them), and so may meet leaves in tables that nothing points to
//! any more.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use swiommu_addr::{Gpa, Iova};
use swiommu_iommu::{DmaPort, Prot, Retention};

use crate::composition::runner;
use crate::guest::{PAGE, SCRATCH, number, pages};
use crate::model::{Changed, LargeLeaves, Model, Rights};
use crate::nested::{Nested, read, write};

/// Blocks of 512 pages whose entries change, the tables that they point to, and the pages that are used of each.
const BLOCKS: usize = 3;
const TABLES: usize = 3;
const PAGES: usize = 5;

/// The guest's pages that leaves point to, and the pages of data that those can be.
const GUEST_PAGES: u64 = 5;
const GUEST_AT: u64 = 0x200;
const DATA: u64 = 10;

/// The page of IOVAs with this number in a block. The first four lie side by side.
fn page(block: usize, index: usize) -> u64 {
    let index = if index == PAGES - 1 { 511 } else { 6 + index };
    ((block as u64) << 9) + index as u64
}

fn every_page() -> impl Iterator<Item = (usize, usize)> {
    (0..BLOCKS).flat_map(|block| (0..PAGES).map(move |index| (block, index)))
}

type Leaf = (u64, Rights);

#[derive(Clone, Debug)]
enum Step {
    /// The guest changes a leaf in one of its tables.
    SetLeaf(usize, usize, Option<Leaf>),
    /// The guest changes where a block's entry points.
    SetTable(usize, Option<usize>),
    /// The guest says that entries for so many pages from one on have changed.
    Invalidate((usize, usize), u64),
    /// It says so of leaves.
    InvalidateLeaves((usize, usize), u64),
    InvalidateAll,
    /// The host changes what a page of the guest is.
    MapSecond(u64, u64),
    UnmapSecond(u64),
    /// A device accesses a page.
    Access(usize, (usize, usize), Rights),
    /// It accesses all pages of a block.
    AccessBlock(usize, usize, Rights),
}

fn step(requesters: usize) -> impl Strategy<Value = Step> {
    let at = || (0..BLOCKS, 0..PAGES);
    let rights = || prop_oneof![Just(Rights::Read), Just(Rights::Write)];
    let leaf = prop::option::weighted(0.8, (0..GUEST_PAGES, rights()));
    prop_oneof![
        4 => (0..TABLES, 0..PAGES, leaf).prop_map(|(table, index, leaf)| Step::SetLeaf(table, index, leaf)),
        2 => (0..BLOCKS, prop::option::weighted(0.85, 0..TABLES)).prop_map(|(block, table)| Step::SetTable(block, table)),
        2 => (at(), 1..4_u64).prop_map(|(at, count)| Step::Invalidate(at, count)),
        2 => (at(), 1..4_u64).prop_map(|(at, count)| Step::InvalidateLeaves(at, count)),
        1 => Just(Step::InvalidateAll),
        1 => (0..GUEST_PAGES, 0..DATA).prop_map(|(page, data)| Step::MapSecond(page, data)),
        1 => (0..GUEST_PAGES).prop_map(Step::UnmapSecond),
        8 => (0..requesters, at(), rights()).prop_map(|(who, at, wanted)| Step::Access(who, at, wanted)),
        4 => (0..requesters, 0..BLOCKS, rights()).prop_map(|(who, block, wanted)| Step::AccessBlock(who, block, wanted)),
    ]
}

impl Changed {
    fn covers(self, (block, index): (usize, usize)) -> bool {
        let at = Iova::new(page(block, index) * PAGE);
        match self {
            Self::Everything => true,
            Self::Entries(range) | Self::Leaves(range) => range.contains(at),
        }
    }
}

/// The tables as they are, and as they may still be seen.
#[derive(Default)]
struct Seen {
    leaves: [[Option<Leaf>; PAGES]; TABLES],
    blocks: [Option<usize>; BLOCKS],
    second: BTreeMap<u64, u64>,
    old_leaves: BTreeMap<(usize, usize), BTreeSet<Leaf>>,
    old_blocks: [BTreeSet<usize>; BLOCKS],
}

impl Seen {
    /// Adds what can be seen now.
    fn look(&mut self) {
        for (block, index) in every_page() {
            self.old_blocks[block].extend(self.blocks[block]);
            let now = self.old_blocks[block]
                .iter()
                .filter_map(|table| self.leaves[*table][index]);
            self.old_leaves
                .entry((block, index))
                .or_default()
                .extend(now);
        }
    }

    /// Forgets leaves that are covered, and the tables on the way to them if those are too.
    fn forget(&mut self, changed: Changed) {
        for (block, index) in every_page().filter(|at| changed.covers(*at)) {
            self.old_leaves.remove(&(block, index));
            if !matches!(changed, Changed::Leaves(_)) {
                self.old_blocks[block].clear();
            }
        }
        self.look();
    }

    /// What a walk of the tables as they are ends in.
    fn fresh(&self, (block, index): (usize, usize), wanted: Rights) -> Option<u64> {
        let table = self.blocks[block]?;
        let (to, rights) = self.leaves[table][index]?;
        let data = self.second.get(&to).copied();
        data.filter(|_| rights.permit(wanted))
    }

    /// Whether an access may end so.
    fn may_end(&self, at: (usize, usize), wanted: Rights, found: Option<u64>) -> bool {
        let mut leaves = self.old_leaves[&at].iter();
        if let Some(data) = found {
            let leads = |to| self.second.get(to) == Some(&data);
            return leaves.any(|(to, rights)| rights.permit(wanted) && leads(to));
        }
        let (block, index) = at;
        let refuses = |leaf: &Leaf| !leaf.1.permit(wanted) || !self.second.contains_key(&leaf.0);
        // Entries that are not present are not kept, so those are as they are now.
        let absent = |table: &usize| self.leaves[*table][index].is_none();
        self.blocks[block].is_none()
            || self.old_blocks[block].iter().any(absent)
            || leaves.any(refuses)
    }
}

/// What a cache that keeps all that it may keep has to have: for a requester and page, what it leads to and for what.
type Kept = BTreeMap<(usize, usize, usize), (u64, Rights)>;

struct World<M> {
    nested: Nested<M>,
    ports: Vec<DmaPort>,
    /// Where each table's leaves and each block's entry are.
    tables: Vec<Gpa>,
    seen: Seen,
    kept: Kept,
}

impl<M: Model> World<M> {
    fn new(caches: Retention) -> Self {
        let mut nested = Nested::<M>::new(caches);
        let tables = (0..TABLES).map(|_| nested.guest.allocate()).collect();
        for block in 0..BLOCKS {
            nested.tables.make::<M>(&nested.guest, 1, page(block, 0));
        }
        let ports = nested.ports();
        let mut world = Self {
            nested,
            ports,
            tables,
            seen: Seen::default(),
            kept: Kept::new(),
        };
        world.seen.look();
        world
    }

    fn set_leaf(&mut self, table: usize, index: usize, leaf: Option<Leaf>) {
        let entry = self.tables[table].get() + page(0, index) % 512 * 8;
        let word = leaf.map_or(0, |(to, rights)| {
            M::leaf(Gpa::new((GUEST_AT + to) * PAGE), rights, 0)
        });
        self.nested.guest.write(Gpa::new(entry), word);
        self.seen.leaves[table][index] = leaf;
        self.seen.look();
    }

    fn set_table(&mut self, block: usize, table: Option<usize>) {
        let entry = self.nested.tables.entry(1, page(block, 0)).unwrap();
        let word = table.map_or(0, |table| M::table(self.tables[table]));
        self.nested.guest.write(entry, word);
        self.seen.blocks[block] = table;
        self.seen.look();
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::SetLeaf(table, index, leaf) => self.set_leaf(table, index, leaf),
            Step::SetTable(block, table) => self.set_table(block, table),
            Step::Invalidate((block, index), count) => {
                self.invalidate(Changed::Entries(pages(page(block, index), count)));
            }
            Step::InvalidateLeaves((block, index), count) => {
                self.invalidate(Changed::Leaves(pages(page(block, index), count)));
            }
            Step::InvalidateAll => self.invalidate(Changed::Everything),
            Step::MapSecond(to, data) => {
                self.unmap_second(to);
                self.nested.map_second(GUEST_AT + to, data, Prot::RW);
                self.seen.second.insert(to, data);
            }
            Step::UnmapSecond(to) => self.unmap_second(to),
            Step::Access(..) | Step::AccessBlock(..) => {}
        }
    }

    fn invalidate(&mut self, changed: Changed) {
        self.nested.invalidate(changed);
        self.seen.forget(changed);
        let reach = match changed {
            Changed::Everything => changed,
            Changed::Entries(range) | Changed::Leaves(range) => Changed::Entries(M::cover(range)),
        };
        self.kept
            .retain(|(_, block, index), _| !reach.covers((*block, *index)));
    }

    /// Nothing tells which translations went through the page, so all may be forgotten.
    fn unmap_second(&mut self, to: u64) {
        if self.seen.second.remove(&to).is_some() {
            self.nested.unmap_second(GUEST_AT + to);
            self.kept.clear();
        }
    }

    /// The page of data that an access leads to, if it is translated.
    fn access(
        &mut self,
        who: usize,
        (block, index): (usize, usize),
        wanted: Rights,
    ) -> Option<u64> {
        let (port, page) = (&mut self.ports[who], page(block, index));
        match wanted {
            Rights::Read => {
                let found = read(port, page).ok()?;
                (0..DATA).find(|data| number(*data) == found)
            }
            Rights::Write => {
                const MARK: u64 = 0x6d61_726b;
                write(port, page, MARK).ok()?;
                let guest = &self.nested.guest;
                let written = (0..DATA).find(|data| guest.read_data(*data, SCRATCH) == MARK);
                guest.clear_scratch(written?);
                written
            }
        }
    }
}

/// All of memory is there at first, and all entries lead to it.
fn prepare<M: Model>(world: &mut World<M>) {
    for to in 0..GUEST_PAGES {
        world.step(&Step::MapSecond(to, to));
    }
    for table in 0..TABLES {
        for index in 0..PAGES {
            let to = (table + index) as u64 % GUEST_PAGES;
            world.set_leaf(table, index, Some((to, Rights::Write)));
        }
    }
    for block in 0..BLOCKS {
        world.set_table(block, Some(block % TABLES));
    }
}

pub(crate) fn nothing_is_staler_than_it_may_be<M: Model>() {
    let caches = prop::sample::select(vec![
        Retention::LegalMaximum,
        Retention::LegalMaximum,
        Retention::Small(Retention::SMALL),
        "small=3".parse().unwrap(),
        Retention::Off,
    ]);
    let steps = prop::collection::vec(step(M::REQUESTERS.len()), 1..150);
    runner(160)
        .run(&(caches, steps), |(caches, steps)| run::<M>(caches, &steps))
        .unwrap();
}

fn run<M: Model>(caches: Retention, steps: &[Step]) -> TestCaseResult {
    let mut world = World::<M>::new(caches);
    prepare(&mut world);
    for step in steps {
        world.step(step);
        for (who, at, wanted) in accesses::<M>(step) {
            check(&mut world, caches, who, at, wanted)?;
        }
    }
    Ok(())
}

/// The accesses that follow a step: after an invalidation, to the pages of its block, those that it covers and the others.
fn accesses<M: Model>(step: &Step) -> Vec<(usize, (usize, usize), Rights)> {
    let all_of = |block| (0..PAGES).map(move |index| (block, index));
    match *step {
        Step::Access(who, at, wanted) => vec![(who, at, wanted)],
        Step::AccessBlock(who, block, wanted) => {
            all_of(block).map(|at| (who, at, wanted)).collect()
        }
        Step::Invalidate((block, _), _) | Step::InvalidateLeaves((block, _), _) => (0
            ..M::REQUESTERS.len())
            .flat_map(|who| all_of(block).map(move |at| (who, at, Rights::Read)))
            .collect(),
        _ => Vec::new(),
    }
}

fn check<M: Model>(
    world: &mut World<M>,
    caches: Retention,
    who: usize,
    at: (usize, usize),
    wanted: Rights,
) -> TestCaseResult {
    let found = world.access(who, at, wanted);
    let fresh = world.seen.fresh(at, wanted);
    if caches == Retention::Off {
        prop_assert_eq!(found, fresh, "{:?} without caches", at);
    }
    prop_assert!(
        world.seen.may_end(at, wanted, found),
        "{wanted:?} at {at:?} ended in {found:?}, now it is {fresh:?}, and could be {:?}",
        world.seen.old_leaves[&at]
    );
    if caches == Retention::LegalMaximum {
        let key = (who, at.0, at.1);
        if let Some((data, rights)) = world.kept.get(&key)
            && rights.permit(wanted)
        {
            prop_assert_eq!(found, Some(*data), "{:?} at {:?} was forgotten", wanted, at);
        } else if let Some(data) = found {
            world.kept.insert(key, (data, wanted));
        }
    }
    Ok(())
}

/// The simplest of the above: a guest that forgets to invalidate is found out by every requester, and one that does not is not.
pub(crate) fn what_may_be_kept_is_kept<M: Model>() {
    let mut world = World::<M>::new(Retention::LegalMaximum);
    prepare(&mut world);
    let at = (0, 1);
    let neighbour = (0, PAGES - 1);
    let all: Vec<usize> = (0..M::REQUESTERS.len()).collect();
    for who in &all {
        assert_eq!(world.access(*who, at, Rights::Write), Some(1));
        assert_eq!(world.access(*who, neighbour, Rights::Write), Some(4));
    }
    world.set_leaf(0, at.1, Some((2, Rights::Write)));
    world.set_leaf(0, neighbour.1, None);
    for who in &all {
        assert_eq!(world.access(*who, at, Rights::Write), Some(1));
        assert_eq!(world.access(*who, neighbour, Rights::Read), Some(4));
    }
    world.step(&Step::Invalidate(at, 1));
    for who in &all {
        assert_eq!(world.access(*who, at, Rights::Write), Some(2));
        assert_eq!(world.access(*who, neighbour, Rights::Read), Some(4));
    }
    world.step(&Step::InvalidateAll);
    for who in &all {
        assert_eq!(world.access(*who, at, Rights::Read), Some(2));
        assert_eq!(world.access(*who, neighbour, Rights::Read), None);
    }
}

/// A guest changes where a block's entry points.
pub(crate) fn tables_are_kept_until_entries_are_invalidated<M: Model>() {
    let mut world = World::<M>::new(Retention::LegalMaximum);
    prepare(&mut world);
    assert_eq!(world.access(0, (0, 0), Rights::Read), Some(0));
    world.set_table(0, Some(1));
    assert_eq!(world.access(0, (0, 2), Rights::Read), Some(2));
    world.step(&Step::InvalidateLeaves((0, 2), 1));
    assert_eq!(world.access(0, (0, 2), Rights::Read), Some(2));
    world.step(&Step::Invalidate((0, 3), 1));
    world.step(&Step::InvalidateLeaves((0, 2), 1));
    assert_eq!(world.access(0, (0, 2), Rights::Read), Some(3));
    assert_eq!(world.access(0, (0, 3), Rights::Read), Some(4));
    assert_eq!(world.access(0, (0, 0), Rights::Read), Some(0), "a leaf");
}

/// The second stage cuts a leaf of 512 pages into pieces, which are cached apart.
pub(crate) fn a_large_leaf_is_invalidated_in_all_its_pieces<M: Model>() {
    const BLOCK: u64 = 7 << 9;
    const INDEXES: [u64; 3] = [0, 5, 511];
    let mut nested = Nested::<M>::new(Retention::LegalMaximum);
    let blocks = [0x300_u64, 0x301];
    for (block, data) in blocks.into_iter().zip([0, 3]) {
        for (index, data) in INDEXES.into_iter().zip(data..) {
            nested.map_second((block << 9) + index, data, Prot::RW);
        }
    }
    nested.map_first(1, BLOCK, blocks[0] << 9, Rights::Write);
    let mut port = nested.port(M::REQUESTERS[0]);
    let mut look = || INDEXES.map(|index| read(&mut port, BLOCK + index).unwrap() - number(0));
    // Twice, for a unit that has to learn first that there are pieces.
    assert_eq!(look(), [0, 1, 2]);
    assert_eq!(look(), [0, 1, 2]);
    nested.map_first(1, BLOCK, blocks[1] << 9, Rights::Write);
    assert_eq!(look(), [0, 1, 2]);
    nested.invalidate(Changed::Leaves(pages(BLOCK + 5, 1)));
    let found = look();
    match M::LARGE_LEAVES {
        LargeLeaves::Whole => assert_eq!(found, [3, 4, 5]),
        LargeLeaves::Address => assert_eq!(found[1], 4),
    }
    nested.invalidate(Changed::Leaves(pages(BLOCK, 512)));
    assert_eq!(look(), [3, 4, 5]);
}
