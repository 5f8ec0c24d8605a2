#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod against_model;
mod contexts;
mod growth;
mod stress;

use std::num::NonZeroUsize;

use swiommu_addr::{Address, Iova, IovaRange, Pa, PageSize};
use swiommu_pgtable::Access;

use super::*;

const GLOBAL: Marks = Marks::number(0);
const PAGE: PageSize = PageSize::SIZE_4K;

fn legal_maximum() -> Tlb {
    Tlb::new(Retention::LegalMaximum)
}

fn small(entries: usize) -> Tlb {
    Tlb::new(Retention::Small(NonZeroUsize::new(entries).unwrap()))
}

fn iova(page: u64) -> Iova {
    Iova::new(page * PAGE.bytes())
}

fn pages(first: u64, count: u64) -> IovaRange {
    IovaRange::from_len(iova(first), count * PAGE.bytes()).unwrap()
}

fn leads_to(page: u64, size: PageSize) -> Translated {
    Translated {
        page: Pa::new(page * PAGE.bytes()),
        size,
        access: Access::READ,
    }
}

/// Caches a page of 4 KiB that leads to another by number.
fn insert(tlb: &Tlb, tag: u64, page: u64, to: u64) {
    let to = leads_to(to, PAGE);
    tlb.begin_walk().insert(tag, iova(page), &to, Marks::NONE);
}

/// The number of the page that a page leads to.
fn found(tlb: &Tlb, tag: u64, page: u64) -> Option<u64> {
    let cached = tlb.lookup(tag, iova(page))?;
    Some(cached.translated.resolve(iova(page)).get() / PAGE.bytes())
}

#[test]
fn an_entry_is_found_as_it_was_put_in() {
    let tlb = legal_maximum();
    let everything = Translated {
        page: Pa::new(0xffff_ffff_ffe0_0000),
        size: PageSize::SIZE_2M,
        access: Access::all(),
    };
    let marks = (0..6).map(Marks::number).fold(Marks::NONE, Marks::and);
    tlb.begin_walk()
        .insert(u64::MAX, Iova::new(u64::MAX), &everything, marks);
    let cached = tlb
        .lookup(u64::MAX, Iova::new(0xffff_ffff_ffe0_0000))
        .unwrap();
    assert_eq!((cached.translated, cached.marks), (everything, marks));
    assert!(
        tlb.lookup(u64::MAX, Iova::new(0xffff_ffff_ffdf_ffff))
            .is_none()
    );
    assert!(tlb.lookup(0, Iova::new(u64::MAX)).is_none());
    let nothing = Translated {
        access: Access::empty(),
        ..leads_to(0, PAGE)
    };
    tlb.begin_walk()
        .insert(0, Iova::new(0), &nothing, Marks::NONE);
    let cached = tlb.lookup(0, Iova::new(0xfff)).unwrap();
    assert_eq!((cached.translated, cached.marks), (nothing, Marks::NONE));
}

#[test]
fn pages_of_several_sizes_live_side_by_side() {
    let tlb = legal_maximum();
    let large = PageSize::from_log2(39);
    for (size, to) in [(large, 0), (PageSize::SIZE_2M, 1 << 30), (PAGE, 77)] {
        tlb.begin_walk()
            .insert(1, iova(513), &leads_to(to, size), Marks::NONE);
    }
    assert_eq!(found(&tlb, 1, 513), Some(77), "the smallest page counts");
    assert_eq!(found(&tlb, 1, 514), Some((1 << 30) + 2));
    assert_eq!(found(&tlb, 1, 1024), Some(1024));
    assert_eq!(tlb.invalidate(&Scope::ALL.within(pages(513, 1))), 3);
    assert_eq!(
        tlb.sizes.load(Ordering::Relaxed),
        0,
        "no size is looked for"
    );
}

#[test]
fn a_page_is_cached_once() {
    let tlb = legal_maximum();
    insert(&tlb, 1, 5, 50);
    insert(&tlb, 1, 5, 51);
    assert_eq!((found(&tlb, 1, 5), tlb.entries()), (Some(51), 1));
}

#[test]
fn what_an_entry_cannot_say_is_not_cached() {
    let tlb = legal_maximum();
    let tiny = leads_to(1, PageSize::SIZE_2K);
    tlb.begin_walk().insert(1, iova(0), &tiny, Marks::NONE);
    let unaligned = Translated {
        page: Pa::new(0x1800),
        ..leads_to(1, PAGE)
    };
    tlb.begin_walk().insert(1, iova(0), &unaligned, Marks::NONE);
    assert_eq!(tlb.entries(), 0);
}

#[test]
fn an_invalidation_covers_what_it_says_and_no_more() {
    let filled = || {
        let tlb = legal_maximum();
        for asid in 1..=3 {
            for page in 0..4 {
                insert(&tlb, 0x700 + asid, page, asid * 10 + page);
            }
        }
        let global = leads_to(90, PAGE);
        tlb.begin_walk().insert(0x702, iova(9), &global, GLOBAL);
        tlb.begin_walk().insert(0x801, iova(9), &global, GLOBAL);
        tlb
    };
    let asid_1 = Scope::tags(TagMatch::exact(0x701));
    let vm_7 = Scope::tags(TagMatch {
        value: 0x700,
        mask: 0xff00,
    });
    let count = |scope: Scope| {
        let tlb = filled();
        let removed = tlb.invalidate(&scope);
        assert_eq!(tlb.entries(), 14 - removed);
        removed
    };
    assert_eq!(count(Scope::ALL), 14);
    assert_eq!(count(asid_1), 4);
    assert_eq!(count(asid_1.within(pages(1, 2))), 2);
    assert_eq!(count(vm_7), 13);
    assert_eq!(count(vm_7.within(pages(3, 7))), 4);
    assert_eq!(count(vm_7.without(GLOBAL)), 12);
    assert_eq!(count(vm_7.with(GLOBAL)), 1);
    assert_eq!(count(vm_7.with(GLOBAL).without(GLOBAL)), 0);
    assert_eq!(count(Scope::tags(TagMatch::exact(0x999))), 0);
    let tlb = filled();
    tlb.invalidate(&asid_1.within(pages(1, 1)));
    assert_eq!(found(&tlb, 0x701, 1), None);
    assert_eq!(found(&tlb, 0x701, 2), Some(12));
    assert_eq!(found(&tlb, 0x702, 1), Some(21));
}

#[test]
fn a_page_of_a_large_one_invalidates_all_of_it() {
    let tlb = legal_maximum();
    let large = leads_to(512, PageSize::SIZE_2M);
    tlb.begin_walk().insert(1, iova(512), &large, Marks::NONE);
    assert_eq!(tlb.invalidate(&Scope::ALL.within(pages(511, 1))), 0);
    assert_eq!(tlb.invalidate(&Scope::ALL.within(pages(1023, 1))), 1);
    assert_eq!(found(&tlb, 1, 512), None);
}

#[test]
fn a_walk_that_an_invalidation_overtook_leaves_nothing() {
    let tlb = legal_maximum();
    let to = leads_to(1, PAGE);
    let walk = tlb.begin_walk();
    tlb.invalidate(&Scope::tags(TagMatch::exact(1)).within(pages(5, 1)));
    walk.insert(1, iova(5), &to, Marks::NONE);
    assert_eq!(found(&tlb, 1, 5), None, "read before the invalidation");
    walk.insert(1, iova(6), &to, Marks::NONE);
    walk.insert(2, iova(5), &to, Marks::NONE);
    assert_eq!(tlb.entries(), 2, "the invalidation was about another page");
    tlb.begin_walk().insert(1, iova(5), &to, Marks::NONE);
    assert_eq!(found(&tlb, 1, 5), Some(1), "read after it");
    let counters = tlb.counters();
    assert_eq!((counters.inserted, counters.outrun), (3, 1));
}

#[test]
fn a_walk_may_be_outrun_by_an_invalidation_of_something_else() {
    let tlb = legal_maximum();
    let to = leads_to(1, PAGE);
    let walk = tlb.begin_walk().outrun_by_any();
    walk.insert(1, iova(5), &to, Marks::NONE);
    assert_eq!(found(&tlb, 1, 5), Some(1), "there was none");
    tlb.invalidate(&Scope::tags(TagMatch::exact(2)).within(pages(9, 1)));
    walk.insert(1, iova(6), &to, Marks::NONE);
    assert_eq!((found(&tlb, 1, 6), tlb.counters().outrun), (None, 1));
}

#[test]
fn what_is_cached_already_stays_for_who_says_so() {
    let tlb = legal_maximum();
    let walk = tlb.begin_walk();
    let insert = |to| walk.insert_new(1, iova(5), &leads_to(to, PAGE), Marks::NONE);
    assert_eq!((insert(1), insert(2)), (true, false));
    assert_eq!((found(&tlb, 1, 5), tlb.counters().inserted), (Some(1), 1));
}

#[test]
fn a_walk_that_takes_too_long_leaves_nothing() {
    let tlb = legal_maximum();
    let walk = tlb.begin_walk();
    tlb.invalidate(&Scope::tags(TagMatch::exact(1)));
    for _ in 0..1000 {
        tlb.invalidate(&Scope::tags(TagMatch::exact(9)));
    }
    walk.insert(1, iova(5), &leads_to(1, PAGE), Marks::NONE);
    assert_eq!(found(&tlb, 1, 5), None);
}

#[test]
fn a_small_cache_evicts_and_a_cache_that_is_off_has_nothing() {
    for entries in [1, 2, 3, 64, 1000] {
        let tlb = small(entries);
        for page in 0..5000 {
            insert(&tlb, 1, page, page + 1);
            assert!(tlb.entries() <= entries);
            assert_eq!(found(&tlb, 1, page), Some(page + 1), "the newest stays");
        }
        assert_eq!(tlb.entries(), entries);
        assert_eq!(tlb.counters().evicted, 5000 - entries as u64);
    }
    let off = Tlb::new(Retention::Off);
    insert(&off, 1, 1, 1);
    assert_eq!((found(&off, 1, 1), off.allocated()), (None, 0));
}
