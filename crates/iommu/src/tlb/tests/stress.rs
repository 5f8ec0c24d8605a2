use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::*;
use crate::Epochs;

const PAGES: u64 = 32;
const TABLE: usize = 32;
const ROUNDS: u64 = 2000;
const TAG: u64 = 5;

/// A page table of one level whose leaves hold how often they were changed.
struct Table {
    leaves: [AtomicU64; TABLE],
    /// From which state on memory is not used by another.
    valid_from: [AtomicU64; TABLE],
    done: AtomicBool,
}

/// A page's place in a table.
fn index(page: u64) -> usize {
    usize::try_from(page).unwrap()
}

/// The page that a leaf in some state leads to: that of no other leaf.
fn memory(page: u64, state: u64) -> u64 {
    page << 20 | state
}

/// Four devices look up and use what they find, or walk and cache it; another walks all the time, and its entries make the
/// cache grow; software changes leaves and uses the memory behind the old ones as soon as it may.
#[test]
fn nobody_uses_a_page_after_its_invalidation() {
    let tlb = legal_maximum();
    let epochs = Epochs::new();
    let table = Table {
        leaves: [const { AtomicU64::new(0) }; TABLE],
        valid_from: [const { AtomicU64::new(0) }; TABLE],
        done: AtomicBool::new(false),
    };
    let hits = AtomicU64::new(0);
    let walk = |page: u64| {
        let walk = tlb.begin_walk();
        let state = table.leaves[index(page)].load(Ordering::Relaxed);
        let to = leads_to(memory(page, state), PAGE);
        walk.insert(TAG, iova(page), &to, Marks::NONE);
    };
    thread::scope(|scope| {
        for device in 0..4 {
            let mut reader = epochs.reader(format!("device {device}"));
            let (tlb, table, hits, walk) = (&tlb, &table, &hits, &walk);
            scope.spawn(move || {
                let mut page = device;
                while !table.done.load(Ordering::Relaxed) {
                    page = (page * 5 + 1) % PAGES;
                    let guard = reader.enter();
                    match found(tlb, TAG, page) {
                        None => walk(page),
                        Some(to) => {
                            let state = to & 0xf_ffff;
                            assert_eq!(to, memory(page, state), "another page's memory");
                            let valid = table.valid_from[index(page)].load(Ordering::Relaxed);
                            assert!(
                                state >= valid,
                                "page {page}: {state} is stale, {valid} is not"
                            );
                            hits.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    drop(guard);
                    if page == 0 {
                        // Where processors are few, better here than under the guard.
                        thread::yield_now();
                    }
                }
            });
        }
        let mut walker = epochs.reader("walker");
        let (tlb, table, walk) = (&tlb, &table, &walk);
        scope.spawn(move || {
            let mut n = 0;
            while !table.done.load(Ordering::Relaxed) {
                let guard = walker.enter();
                walk(n % PAGES);
                insert(tlb, 1000 + n % 8, n % 4096, n);
                n += 1;
                drop(guard);
                if n % 16 == 0 {
                    thread::yield_now();
                }
            }
        });
        for round in 0..ROUNDS {
            let page = round * 7 % PAGES;
            let state = table.leaves[index(page)].fetch_add(1, Ordering::Relaxed) + 1;
            let covered = match round % 4 {
                0 => Scope::tags(TagMatch::exact(TAG)),
                1 => Scope::ALL.within(pages(page, 1)),
                _ => Scope::tags(TagMatch::exact(TAG)).within(pages(page, 1)),
            };
            tlb.invalidate(&covered);
            epochs.synchronize();
            table.valid_from[index(page)].store(state, Ordering::Relaxed);
            let is_ahead = |_: &u32| hits.load(Ordering::Relaxed) <= round;
            (0..10_000_000)
                .take_while(is_ahead)
                .for_each(|_| thread::yield_now());
        }
        table.done.store(true, Ordering::Relaxed);
    });
    assert!(
        hits.into_inner() >= ROUNDS,
        "the devices found next to nothing"
    );
}
