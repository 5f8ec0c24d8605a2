//! What a nested walk finds is what two maps of pages say, one behind the other.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};
use swiommu_iommu::{Prot, Retention};

use crate::guest::{DATA, SCRATCH, number};
use crate::model::{Model, Rights};
use crate::naive::{First, Second, compose};
use crate::nested::{Nested, read, says, write};

/// A page of the guest, each in another table of the second stage.
fn guest_page(number: u64) -> u64 {
    0x100 + number * 0x333
}

const GUEST_PAGES: u64 = 16;

/// A block of the guest.
fn guest_block(number: u64) -> u64 {
    0x300 + number
}

const GUEST_BLOCKS: u64 = 2;

/// Pages within a block.
const IN_BLOCK: [u64; 4] = [0, 1, 255, 511];

/// The first, the second and the last entry of each table that an address of user space can use.
fn page() -> impl Strategy<Value = u64> {
    let index = || prop::sample::select(vec![0, 1, 511]);
    let top = prop::sample::select(vec![0, 1, 255]);
    (top, index(), index(), index()).prop_map(|(a, b, c, d)| a << 27 | b << 18 | c << 9 | d)
}

/// A block of IOVAs, of which no page is one of the above.
fn block() -> impl Strategy<Value = u64> {
    page().prop_map(|page| page >> 9 & !0x1ff | 7)
}

fn rights() -> impl Strategy<Value = Rights> {
    prop_oneof![1 => Just(Rights::Read), 2 => Just(Rights::Write)]
}

fn first() -> impl Strategy<Value = First> {
    let pages = prop::collection::btree_map(
        page(),
        ((0..GUEST_PAGES).prop_map(guest_page), rights()),
        0..16,
    );
    let blocks = prop::collection::btree_map(
        block(),
        ((0..GUEST_BLOCKS).prop_map(guest_block), rights()),
        0..3,
    );
    (pages, blocks).prop_map(|(pages, blocks)| First { pages, blocks })
}

fn second<M: Model>() -> impl Strategy<Value = Second> {
    let in_block = (0..GUEST_BLOCKS, prop::sample::select(IN_BLOCK.to_vec()))
        .prop_map(|(block, page)| (guest_block(block) << 9) + page);
    let page = prop_oneof![2 => (0..GUEST_PAGES).prop_map(guest_page), 1 => in_block];
    let leaf = (0..DATA, prop::sample::select(M::PARENT_PROTS.to_vec()));
    prop::collection::btree_map(page, leaf, 4..24).prop_map(Second)
}

fn caches() -> impl Strategy<Value = Retention> {
    prop::sample::select(vec![
        Retention::LegalMaximum,
        Retention::Small(Retention::SMALL),
        Retention::Off,
    ])
}

pub(crate) fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    })
}

pub(crate) fn both_stages_compose<M: Model>() {
    let others = prop::collection::vec(prop_oneof![page(), block().prop_map(|b| b << 9)], 8);
    let case = (caches(), first(), second::<M>(), others);
    runner(96)
        .run(&case, |(caches, first, second, others)| {
            let in_blocks = first
                .blocks
                .keys()
                .flat_map(|block| IN_BLOCK.map(|page| (block << 9) + page));
            let probes: Vec<u64> = first
                .pages
                .keys()
                .copied()
                .chain(in_blocks)
                .chain(others)
                .collect();
            check::<M>(caches, &first, &second, &probes)
        })
        .unwrap();
}

/// Reads and writes each page, for each requester, twice: the second time it may be cached.
fn check<M: Model>(
    caches: Retention,
    first: &First,
    second: &Second,
    probes: &[u64],
) -> TestCaseResult {
    let nested = Nested::<M>::mapping(caches, first, second);
    let mut written: BTreeMap<u64, u64> = (0..DATA).map(|data| (data, 0)).collect();
    let mut next = 1;
    for mut port in nested.ports() {
        for page in probes.iter().chain(probes) {
            let expected = compose(first, second, *page, Rights::Read);
            match (expected, read(&mut port, *page)) {
                (Ok(data), found) => prop_assert_eq!(found, Ok(number(data)), "page {:#x}", page),
                (Err(why), Err(error)) => says::<M>(&error, *page, &why)?,
                (Err(why), Ok(found)) => {
                    prop_assert!(false, "page {page:#x} is {found:#x}, in spite of {why}");
                }
            }
            let expected = compose(first, second, *page, Rights::Write);
            match (expected, write(&mut port, *page, next)) {
                (Ok(data), Ok(())) => drop(written.insert(data, next)),
                (Err(why), Err(error)) => says::<M>(&error, *page, &why)?,
                (expected, found) => {
                    prop_assert!(false, "page {page:#x}: {found:?}, and not {expected:?}");
                }
            }
            next += 1;
            for (data, word) in &written {
                let found = nested.guest.read_data(*data, SCRATCH);
                prop_assert_eq!(found, *word, "a write to page {:#x}", page);
            }
        }
    }
    Ok(())
}

/// A translation is no larger than either leaf: the page behind the small one is not the next page of the large one.
pub(crate) fn large_leaves_compose<M: Model>() {
    let blocks = [(7, (guest_block(0), Rights::Write))].into();
    let first = First {
        blocks,
        ..First::default()
    };
    let start = guest_block(0) << 9;
    let scattered = (0..DATA - 1).map(|page| (start + page, (DATA - 1 - page, Prot::RW)));
    let second = Second(scattered.collect());
    let probes: Vec<u64> = (7 << 9..(7 << 9) + DATA).collect();
    check::<M>(Retention::LegalMaximum, &first, &second, &probes).unwrap();
}
