use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::*;
use crate::{Epochs, Reader};

const PAGES: u64 = 32;
/// A number for each page.
type Numbers = [AtomicU64; 32];
const ROUNDS: u64 = 5000;
const TAG: u64 = 5;

/// A page table of one level whose leaves hold how often they were changed, and those who use it.
struct World {
    tlb: Tlb,
    leaves: Numbers,
    /// From which state of a leaf on its memory is not used by another.
    valid_from: Numbers,
    hits: AtomicU64,
    /// Results that no device may have had.
    wrong: AtomicU64,
    done: AtomicBool,
}

fn of(numbers: &Numbers, page: u64) -> &AtomicU64 {
    &numbers[usize::try_from(page).unwrap()]
}

/// The page that a leaf in some state leads to: that of no other leaf.
fn memory(page: u64, state: u64) -> u64 {
    page << 20 | state
}

/// Gives the others a chance, now and then.
fn dawdle(count: u64) {
    if count.is_multiple_of(8) {
        thread::yield_now();
    }
}

impl World {
    fn walk(&self, page: u64, count: u64) {
        let walk = self.tlb.begin_walk();
        let state = of(&self.leaves, page).load(Ordering::Relaxed);
        dawdle(count);
        let to = leads_to(memory(page, state), PAGE);
        walk.insert(TAG, iova(page), &to, Marks::NONE);
    }

    /// Looks up pages and uses them.
    fn device(&self, mut reader: Reader, first: u64) {
        let mut page = first;
        for count in first.. {
            if self.done.load(Ordering::Relaxed) {
                return;
            }
            page = (page * 5 + 1) % PAGES;
            let guard = reader.enter();
            if let Some(to) = found(&self.tlb, TAG, page) {
                let state = to & 0xf_ffff;
                dawdle(count / 4);
                let valid_from = of(&self.valid_from, page).load(Ordering::Relaxed);
                if to != memory(page, state) || state < valid_from {
                    self.wrong.fetch_add(1, Ordering::Relaxed);
                }
                self.hits.fetch_add(1, Ordering::Relaxed);
            } else {
                self.walk(page, count);
            }
            drop(guard);
            // Where processors are few, better here than under the guard.
            dawdle(count);
        }
    }

    /// Walks all the time. Entries of others make the cache grow.
    fn walker(&self, mut reader: Reader) {
        for count in 0.. {
            if self.done.load(Ordering::Relaxed) {
                return;
            }
            let guard = reader.enter();
            self.walk(count % PAGES, count / PAGES);
            insert(&self.tlb, 1000 + count % 8, count % 4096, count);
            drop(guard);
            dawdle(count);
        }
    }

    /// Changes a leaf, and uses the memory behind the old one as soon as it may.
    fn change(&self, epochs: &Epochs, round: u64) {
        let page = round * 7 % PAGES;
        let state = of(&self.leaves, page).fetch_add(1, Ordering::Relaxed) + 1;
        let tag = Scope::tags(TagMatch::exact(TAG));
        let covered = match round % 4 {
            0 => tag,
            1 => Scope::ALL.within(pages(page, 1)),
            _ => tag.within(pages(page, 1)),
        };
        self.tlb.invalidate(&covered);
        epochs.synchronize();
        of(&self.valid_from, page).store(state, Ordering::Relaxed);
    }
}

#[test]
fn nobody_uses_a_page_after_its_invalidation() {
    let world = World {
        tlb: legal_maximum(),
        leaves: Numbers::default(),
        valid_from: Numbers::default(),
        hits: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
        done: AtomicBool::new(false),
    };
    let (world, epochs) = (&world, Epochs::new());
    thread::scope(|scope| {
        for device in 0..4 {
            let reader = epochs.reader(format!("device {device}"));
            scope.spawn(move || world.device(reader, device));
        }
        let reader = epochs.reader("walker");
        scope.spawn(move || world.walker(reader));
        for round in 0..ROUNDS {
            // Each change comes between uses.
            let enough = (round + 1) * 2 * PAGES;
            let is_early = |_: &u32| world.hits.load(Ordering::Relaxed) < enough;
            (0..1_000_000)
                .take_while(is_early)
                .for_each(|_| thread::yield_now());
            world.change(&epochs, round);
            if world.wrong.load(Ordering::Relaxed) != 0 {
                break;
            }
        }
        world.done.store(true, Ordering::Relaxed);
    });
    assert_eq!(
        world.wrong.load(Ordering::Relaxed),
        0,
        "stale results, or mixtures"
    );
    assert!(
        world.hits.load(Ordering::Relaxed) >= ROUNDS,
        "hardly anything was found"
    );
}
