//! What every contender is put through.

use std::hint::black_box;

use super::meter::Meter;
use super::operation::Operation;
use super::pool::Pool;
use super::table::{PAGE, Table};
use crate::random::shuffled;

/// What one table of leaves translates.
const TABLE: u64 = 512 * PAGE;

const IOVA: u64 = 1 << 32;
const PA: u64 = 1 << 40;

/// How many pages an exercise is about.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Mapped, unmapped and read in calls for many: whole tables.
    pub(crate) bulk: u64,
    /// Among which single pages are picked.
    pub(crate) single: u64,
}

impl Size {
    /// What the goals are about: 1 GiB, and 4 MiB.
    pub(crate) const GOALS: Self = Self {
        bulk: (1 << 30) / PAGE,
        single: (4 << 20) / PAGE,
    };

    /// Tables that an exercise takes at most.
    pub(crate) fn tables(self) -> usize {
        (self.bulk.max(self.single) / 500) as usize + 16
    }
}

/// At most so many single pages are used, picked at random.
const PICKED: u64 = 1 << 17;
/// Operations on single pages, unless more pages are picked.
const SINGLES: u64 = 1 << 14;

pub(crate) fn exercise<T: Table>(pool: &'static Pool, size: Size, meter: &mut dyn Meter) {
    whole_tables::<T>(pool, size.bulk, meter);
    partial_tables::<T>(pool, size.bulk, meter);
    single_pages::<T>(pool, size.single, meter);
}

/// Into an empty table, and out again in one call.
fn whole_tables<T: Table>(pool: &'static Pool, pages: u64, meter: &mut dyn Meter) {
    let mut table = T::new(pool);
    let bytes = pages * PAGE;
    meter.measure(Operation::MapNew, pages, &mut || table.map(IOVA, PA, bytes));
    meter.measure(Operation::UnmapWhole, pages, &mut || {
        table.unmap_tables(IOVA, bytes);
    });
}

/// Out by pieces as large as a table translates, each in halves of two tables; and into these tables again.
fn partial_tables<T: Table>(pool: &'static Pool, pages: u64, meter: &mut dyn Meter) {
    let mut table = T::new(pool);
    let start = IOVA + TABLE / 2;
    let bytes = pages * PAGE;
    table.map(start, PA, bytes);
    meter.measure(Operation::UnmapPartial, pages, &mut || {
        for piece in (0..bytes).step_by(TABLE as usize) {
            table.unmap(start + piece, TABLE);
        }
    });
    meter.measure(Operation::MapExisting, pages, &mut || {
        table.map(start, PA, bytes);
    });
    table.unmap_tables(start, bytes);
}

/// Page by page in random order. The page at an IOVA leads to the one to translate next, in a single cycle.
fn single_pages<T: Table>(pool: &'static Pool, pages: u64, meter: &mut dyn Meter) {
    let mut order = shuffled(pages, 5);
    order.truncate(PICKED as usize);
    let picked = order.len() as u64;
    let repeats = SINGLES.div_ceil(picked);
    let next = order.iter().cycle().skip(1);
    let leads = |(page, next): (&u64, &u64)| (IOVA + page * PAGE, PA + next * PAGE);
    let leaves: Vec<(u64, u64)> = order.iter().zip(next).map(leads).collect();

    let mut table = T::new(pool);
    table.map(IOVA, PA, pages * PAGE);
    for _ in 0..repeats {
        meter.measure(Operation::UnmapPage, picked, &mut || {
            for &(iova, _) in &leaves {
                table.unmap_page(iova);
            }
        });
        meter.measure(Operation::MapPage, picked, &mut || {
            for &(iova, pa) in &leaves {
                table.map_page(iova, pa);
            }
        });
    }
    let mut independent = || {
        for _ in 0..repeats {
            let sum = leaves.iter().fold(0, |sum: u64, &(iova, _)| {
                sum.wrapping_add(table.translate(iova))
            });
            black_box(sum);
        }
    };
    independent();
    let translations = repeats * picked;
    let operation = Operation::TranslateIndependent;
    meter.measure(operation, translations, &mut independent);
    let mut dependent = || {
        let begin = leaves[0].0;
        let end = (0..translations).fold(begin, |iova, _| table.translate(iova) - PA + IOVA);
        assert_eq!(end, begin);
    };
    meter.measure(Operation::TranslateDependent, translations, &mut dependent);
    table.unmap_tables(IOVA, pages * PAGE);
}
