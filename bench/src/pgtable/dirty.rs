//! Which pages were written: our formats, and the floor.

use std::hint::black_box;

use swiommu_addr::IovaRange;
use swiommu_pgtable::DirtyRead;

use super::exercise::Size;
use super::meter::Meter;
use super::operation::Operation;
use super::ours::{Configured, Ours, range};
use super::pool::Pool;
use super::table::{PAGE, Table};
use crate::random::shuffled;

const IOVA: u64 = 1 << 32;

/// One page in so many is dirty.
const ONE_IN: u64 = 100;

/// A bit for each page.
type Bitmap = Vec<u64>;

fn bitmap(pages: u64) -> Bitmap {
    vec![0; (pages / 64) as usize]
}

#[inline]
fn mark(bitmap: &mut Bitmap, page: u64) {
    bitmap[(page / 64) as usize] |= 1 << (page % 64);
}

fn dirty_pages(pages: u64) -> impl Iterator<Item = u64> {
    let order = shuffled(pages, 6);
    order.into_iter().take((pages / ONE_IN) as usize)
}

fn dirty_count(bitmap: &Bitmap) -> u64 {
    bitmap.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// Ours.
pub(crate) fn exercise<F: Configured>(pool: &'static Pool, size: Size, meter: &mut dyn Meter) {
    let pages = size.bulk;
    let all = range(IOVA, pages * PAGE);
    let mut table = Ours::with_format(F::TRACKING, pool);
    table.map(IOVA, 1 << 40, pages * PAGE);
    let Ours(table) = table;
    let mut bitmap = bitmap(pages);
    let mut read = |mode| {
        let visit = |dirty: IovaRange| {
            let first = (dirty.start().get() - IOVA) / PAGE;
            let last = (dirty.last().get() - IOVA) / PAGE;
            (first..=last).for_each(|page| mark(&mut bitmap, page));
        };
        let read = table.read_dirty(all, mode, visit);
        let _ = black_box(read);
    };
    // Some formats make leaves that are dirty.
    read(DirtyRead::Clear);
    meter.measure(Operation::DirtyNone, pages, &mut || read(DirtyRead::Keep));
    for page in dirty_pages(pages) {
        let set = table.set_dirty(range(IOVA + page * PAGE, PAGE).start());
        assert_eq!(set, Ok(()));
    }
    meter.measure(Operation::DirtySome, pages, &mut || read(DirtyRead::Clear));
    assert!(dirty_count(&bitmap) >= pages / ONE_IN);
}

const PRESENT: u64 = 1;
const DIRTY: u64 = 1 << 6;

/// Plain words, each with a bit for dirty, in a row: no table is looked for, nothing is atomic.
pub(crate) fn floor(_: &'static Pool, size: Size, meter: &mut dyn Meter) {
    let pages = size.bulk;
    let mut words: Vec<u64> = (0..pages).map(|page| page << 12 | PRESENT).collect();
    let mut bitmap = bitmap(pages);
    meter.measure(Operation::DirtyNone, pages, &mut || {
        sweep(&mut words, &mut bitmap);
    });
    for page in dirty_pages(pages) {
        words[page as usize] |= DIRTY;
    }
    meter.measure(Operation::DirtySome, pages, &mut || {
        sweep(&mut words, &mut bitmap);
    });
    assert_eq!(dirty_count(&bitmap), pages / ONE_IN);
}

/// Moves the dirty bits to the bitmap.
#[inline(never)]
fn sweep(words: &mut [u64], bitmap: &mut Bitmap) {
    for (block, words) in words.chunks_exact_mut(64).enumerate() {
        if words.iter().fold(0, |any, word| any | word) & DIRTY == 0 {
            continue;
        }
        for (place, word) in words.iter_mut().enumerate() {
            bitmap[block] |= (*word & DIRTY) >> DIRTY.trailing_zeros() << place;
            *word &= !DIRTY;
        }
    }
}
