//! What may happen at the same time, explored by loom in every order: `.ci/loom` runs it.
//!
//! The code is that of the crate; only the format and the memory are small, so that there is an end to the orders. Walks go
//! three levels deep where they shall take the short cut, else two.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dirty;
mod epoch;
mod growing;
mod mapping;
mod protecting;
mod tables;
mod tiny;
mod unmapping;

use std::sync::Mutex;
use std::vec::Vec;

use loom::sync::Arc;
use loom::thread;
use swiommu_addr::{Iova, IovaRange, Pa, PaRange, PageSize, PageSizes};

use crate::{DetachedTables, DirtyRead, Error, Mapped, PageTable, Prot};
use epoch::Epoch;
use tables::Tables;
use tiny::Tiny;

/// What the threads of a model share. Pages are told by their number.
struct World {
    table: PageTable<Tiny, Tables>,
    /// Of the one thread that walks in it.
    epoch: Epoch,
    /// The pages that were found dirty, by whichever thread.
    harvested: Mutex<Vec<u64>>,
}

const PAGE: PageSize = PageSize::SIZE_4K;
/// Where page 0 is mapped to.
const MEMORY: u64 = 1 << 40;

/// Explores the orders in which the threads can run between preparation and check.
///
/// Loom starts from the order in which they are given, and lets a thread overtake another for what it sees the two do in
/// conflict; it forgets what a thread has read when another one reads it too, and then misses orders in which a later write
/// comes first. So each thread goes first once.
fn explore<const N: usize>(
    format: Tiny,
    prepare: fn(&World),
    mut threads: [fn(&World); N],
    check: fn(&World),
) {
    for _ in 0..N {
        threads.rotate_left(1);
        loom::model(move || {
            let world = Arc::new(World {
                table: PageTable::new(format, Tables::new()).unwrap(),
                epoch: Epoch::new(),
                harvested: Mutex::default(),
            });
            prepare(&world);
            let others = threads[1..].iter().map(|&run| {
                let world = world.clone();
                thread::spawn(move || run(&world))
            });
            let others: Vec<_> = others.collect();
            threads[0](&world);
            for other in others {
                other.join().unwrap();
            }
            check(&world);
        });
    }
}

fn iova(page: u64) -> Iova {
    Iova::new(page << PAGE.log2())
}

fn memory(first: u64, count: u64) -> PaRange {
    let start = Pa::new(MEMORY + iova(first).get());
    PaRange::from_len(start, count << PAGE.log2()).unwrap()
}

impl World {
    /// Maps pages one by one, in a single call.
    fn map(&self, first: u64, count: u64) {
        let runs: Vec<_> = (first..first + count).map(|page| memory(page, 1)).collect();
        let sizes = PageSizes::between(PAGE, PAGE);
        let mapped = self.table.map_runs(iova(first), &runs, Prot::RW, sizes);
        assert!(mapped.unwrap().replaced().is_none());
    }

    /// Maps pages by the largest leaves.
    fn map_large(&self, first: u64, count: u64) -> Mapped<Tiny> {
        let run = memory(first, count);
        let mapped = self.table.map(iova(first), run, Prot::RW, PageSizes::ALL);
        mapped.unwrap()
    }

    /// Unmaps pages, `mapped` of which are.
    fn unmap(&self, first: u64, count: u64, mapped: u64) -> DetachedTables<Tiny> {
        let pages = IovaRange::from_len(iova(first), count << PAGE.log2()).unwrap();
        let unmapped = self.table.unmap(pages).unwrap();
        let bytes = unmapped.bytes(self.table.memory());
        assert_eq!(bytes, mapped << PAGE.log2());
        unmapped.flushed()
    }

    /// Lets pages, which are mapped, only be read.
    fn protect(&self, first: u64, count: u64) {
        let pages = IovaRange::from_len(iova(first), count << PAGE.log2()).unwrap();
        let protected = self.table.protect(pages, Prot::READ).unwrap();
        assert_eq!(protected.range(), Some(pages));
    }

    /// Frees tables when nobody is in them any more.
    fn retire(&self, tables: DetachedTables<Tiny>) {
        self.epoch.synchronize();
        tables.free(self.table.memory());
    }

    /// Whether a walk finds the page. What it finds is the page's, or nothing.
    fn finds(&self, page: u64) -> bool {
        match self.table.translate(iova(page)) {
            Ok(found) => {
                let expected = memory(page, 1).start();
                assert_eq!(found.resolve(iova(page)), expected, "the leaf of another");
                true
            }
            Err(Error::NotMapped { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Checks which pages are mapped, of all that there can be, and how many tables there are.
    fn expect(&self, pages: &[u64], tables: usize) {
        let count = (self.table.aperture().len_minus_one() >> PAGE.log2()) + 1;
        let found: Vec<_> = (0..count).filter(|&page| self.finds(page)).collect();
        assert_eq!(found, pages);
        assert_eq!(self.table.memory().out(), tables, "tables");
    }

    /// Does what a device does that writes to the page.
    fn mark(&self, page: u64) {
        self.table.set_dirty(iova(page)).unwrap();
    }

    /// Notes the pages that are dirty, and makes them clean.
    fn harvest(&self) {
        let mut harvested = self.harvested.lock().unwrap();
        let visit = |leaf: IovaRange| harvested.push(leaf.start().get() >> PAGE.log2());
        let all = self.table.aperture();
        let cleaned = self.table.read_dirty(all, DirtyRead::Clear, visit);
        let _no_cache_to_invalidate = cleaned.unwrap();
    }
}
