//! What may happen at the same time, explored by loom in every order: `.ci/loom` runs it.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use loom::thread;
use swiommu_addr::{Iova, Pa, PageSize};
use swiommu_pgtable::Access;

use super::entry::{Entry, Page};
use super::slot::Slot;
use super::{Caches, Marks, Scope, TagMatch, Tlb};
use crate::Translated;
use crate::tlb::Retention;

const IOVA: Iova = Iova::new(0x7000);

fn leads_to(page: u64) -> Translated {
    Translated {
        page: Pa::new(page << 12),
        size: PageSize::SIZE_4K,
        access: Access::READ,
    }
}

fn entry(tag: u64, iova: Iova, page: u64) -> Entry {
    Entry::new(tag.into(), iova, &leads_to(page), Marks::NONE).unwrap()
}

/// A slot is written twice while it is read: the reader finds the entry that it asks for, or none, but not a mixture. Two of the
/// entries have the same target, so it is not the target that tells them apart.
#[test]
fn a_reader_finds_one_entry() {
    loom::model(|| {
        let slot = Arc::new(Slot::new());
        let other = Iova::new(0x9000);
        slot.put(&entry(1, IOVA, 5));
        let reader = slot.clone();
        let reader = thread::spawn(move || {
            let (page, other) = (Page::of(IOVA, 12), Page::of(other, 12));
            assert_eq!(reader.find(1.into(), other), None, "nobody put that in");
            let found = reader.find(2.into(), page).map(|target| target.page());
            assert!(found.is_none_or(|page| page == Pa::new(8 << 12)));
        });
        slot.put(&entry(2, other, 5));
        slot.put(&entry(2, IOVA, 8));
        reader.join().unwrap();
        assert!(slot.find(2.into(), Page::of(IOVA, 12)).is_some());
    });
}

/// Software changes a table and has it invalidated while a device walks it, and another looks. After that the cache has the new
/// state or nothing.
#[test]
fn what_was_walked_before_an_invalidation_does_not_stay() {
    loom::model(|| {
        let tlb = Arc::new(Tlb::new(Retention::LegalMaximum));
        let leaf = Arc::new(AtomicU64::new(1));
        let device = {
            let (tlb, leaf) = (tlb.clone(), leaf.clone());
            thread::spawn(move || {
                let walk = tlb.begin_walk();
                let found = leads_to(leaf.load(Ordering::Relaxed));
                walk.insert(3, IOVA, &found, Marks::NONE);
            })
        };
        leaf.store(2, Ordering::Relaxed);
        tlb.invalidate(&Scope::ALL);
        let fresh = |tlb: &Tlb| {
            let found = tlb.lookup(3, IOVA).map(|cached| cached.translated);
            found.is_none_or(|found| found == leads_to(2))
        };
        assert!(fresh(&tlb), "stale when the invalidation has returned");
        device.join().unwrap();
        assert!(fresh(&tlb), "stale later");
    });
}

/// A walk finds something of a kind that there was none of, and makes that known before it is cached. An invalidation that does not
/// cover it by itself, but does if the kind is known, looks for that after it has begun.
#[test]
fn the_first_of_a_kind_is_invalidated_or_not_cached() {
    loom::model(|| {
        let tlb = Arc::new(Tlb::new(Retention::LegalMaximum));
        let leaf = Arc::new(AtomicU64::new(1));
        let known = Arc::new(AtomicU64::new(0));
        let device = {
            let (tlb, leaf, known) = (tlb.clone(), leaf.clone(), known.clone());
            thread::spawn(move || {
                let walk = tlb.begin_walk();
                let found = leads_to(leaf.load(Ordering::Relaxed));
                known.store(1, Ordering::Release);
                let walk = walk.outrun_by_any();
                walk.insert(3, IOVA, &found, Marks::NONE);
            })
        };
        leaf.store(2, Ordering::Relaxed);
        tlb.invalidate(&Scope::tags(TagMatch::exact(4)));
        if known.load(Ordering::Acquire) == 1 {
            tlb.invalidate(&Scope::ALL);
        }
        device.join().unwrap();
        let found = tlb.lookup(3, IOVA).map(|cached| cached.translated);
        assert!(found.is_none_or(|found| found == leads_to(2)), "stale");
    });
}

/// An entry is invalidated while a device looks it up under a guard: when the guards that existed are gone, the memory can
/// be used again.
#[test]
fn who_found_an_entry_is_waited_for() {
    loom::model(|| {
        let tlb = Arc::new(Tlb::new(Retention::LegalMaximum));
        tlb.begin_walk().insert(3, IOVA, &leads_to(1), Marks::NONE);
        // The guard and the memory behind the page.
        let epoch = Arc::new(AtomicU64::new(0));
        let reused = Arc::new(AtomicU64::new(0));
        let device = {
            let (tlb, epoch, reused) = (tlb.clone(), epoch.clone(), reused.clone());
            thread::spawn(move || {
                epoch.store(1, Ordering::Relaxed);
                fence(Ordering::SeqCst);
                if tlb.lookup(3, IOVA).is_some() {
                    assert_eq!(
                        reused.load(Ordering::Relaxed),
                        0,
                        "DMA to memory of another"
                    );
                }
                epoch.store(2, Ordering::Release);
            })
        };
        tlb.invalidate(&Scope::ALL);
        fence(Ordering::SeqCst);
        while epoch.load(Ordering::Acquire) == 1 {
            thread::yield_now();
        }
        reused.store(1, Ordering::Relaxed);
        device.join().unwrap();
    });
}

/// A table that a cache keeps leads to what another one keeps. Software puts another table in its place and has both invalidated while
/// a device walks from what is known: what it finds is not kept.
#[test]
fn what_was_found_by_a_stale_table_does_not_stay() {
    const TAG: u64 = 3;
    loom::model(|| {
        let caches = Arc::new(Caches::new(
            Retention::LegalMaximum,
            Retention::LegalMaximum,
        ));
        let span = |table| Translated {
            size: PageSize::SIZE_2M,
            ..leads_to(table)
        };
        let ways = caches.structures.tables().begin_walk();
        ways.insert(TAG, IOVA, &span(1), Marks::NONE);
        let entry = Arc::new(AtomicU64::new(1));
        let device = {
            let (caches, entry) = (caches.clone(), entry.clone());
            thread::spawn(move || {
                let walk = caches.tlb.begin_walk();
                let ways = caches.structures.tables().begin_walk();
                let known = caches.structures.tables().lookup(TAG, IOVA);
                let table = known.map(|known| known.translated).unwrap_or_else(|| {
                    let table = span(entry.load(Ordering::Relaxed));
                    ways.insert(TAG, IOVA, &table, Marks::NONE);
                    table
                });
                // Each table leads to the page of its own number.
                let found = leads_to(table.page.get() >> 12);
                walk.insert(TAG, IOVA, &found, Marks::NONE);
            })
        };
        entry.store(2, Ordering::Relaxed);
        caches.invalidate(&Scope::ALL);
        let fresh = |cache: &Tlb| {
            let found = cache.lookup(TAG, IOVA);
            found.is_none_or(|found| found.translated.page == Pa::new(2 << 12))
        };
        assert!(
            fresh(&caches.tlb),
            "stale when the invalidation has returned"
        );
        device.join().unwrap();
        assert!(fresh(caches.structures.tables()), "a stale table");
        assert!(fresh(&caches.tlb), "found by a stale table");
    });
}
