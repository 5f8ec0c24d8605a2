//! Translation with tables that fit no cache.

use std::hint::black_box;
use std::iter;

use swiommu_addr::Iova;
use swiommu_pgtable::fmt::{Amdv1, ArmS1, Riscv, VtdSs, X86_64};

use super::ours::{Configured, Ours};
use super::pool::Pool;
use super::table::{PAGE, Table};
use crate::clock::nanoseconds;
use crate::rounds::{interleaved, median};
use crate::table::{Goal, Peer, Row};

/// 512 MiB of tables of leaves.
const PAGES: u64 = 1 << 26;
const BYTES: u64 = PAGES * PAGE;
/// With the tables above them.
const TABLES: usize = (1 << 17) + 300;

const IOVA: u64 = BYTES;
const PA: u64 = 1 << 39;

const TRANSLATIONS: u64 = 1 << 17;
const ROUNDS: usize = 5;

/// Tables of one format at a time, since there is memory for one.
pub(crate) fn rows() -> anyhow::Result<Vec<Row>> {
    let pool = Pool::leak(TABLES)?;
    let rows = [
        rows_of::<X86_64>(pool),
        rows_of::<ArmS1<12>>(pool),
        rows_of::<VtdSs>(pool),
        rows_of::<Amdv1>(pool),
        rows_of::<Riscv>(pool),
    ];
    Ok(rows.into_iter().flatten().collect())
}

fn rows_of<F: Configured>(pool: &'static Pool) -> [Row; 2] {
    let mut table = Ours::<F>::new(pool);
    table.map(IOVA, PA, BYTES);
    let mut seed = 1;
    let times = interleaved(ROUNDS, 3, |_, contender| {
        // Each a part of the memory that the others have not made hot.
        seed += 2;
        match contender {
            0 => independent(&table, seed),
            1 => batch(&table, seed),
            _ => dependent(&table, seed),
        }
    });
    drop(table);
    pool.rewind();
    let row = |how: &str, ours: &[f64], goal| Row {
        name: format!("translate, tables in DRAM, {how}: {}", F::NAME),
        unit: "ns",
        ours: median(ours.iter().copied()),
        peer: Some(Peer::new("dependent", ours, &times[2])),
        goal,
    };
    [
        row("one by one", &times[0], Goal::None),
        row("in a batch", &times[1], Goal::Ratio(0.3)),
    ]
}

/// The page after this one, in an order without a pattern that goes through all pages.
#[inline]
fn next(page: u64) -> u64 {
    (page.wrapping_mul(0xd134_2543_de82_ef95) + 0xf5_4321) % PAGES
}

fn independent<F: Configured>(table: &Ours<F>, seed: u64) -> f64 {
    per_translation(|| {
        let (_, sum) = (0..TRANSLATIONS).fold((seed, 0), |(page, sum), _| {
            let page = next(page);
            (page, table.translate(IOVA + page * PAGE).wrapping_add(sum))
        });
        sum
    })
}

fn batch<F: Configured>(table: &Ours<F>, seed: u64) -> f64 {
    let pages = iter::successors(Some(next(seed)), |&page| Some(next(page)));
    let iovas = pages.map(|page| Iova::new(IOVA + page * PAGE));
    per_translation(|| {
        let mut sum: u64 = 0;
        let batch = iovas.take(TRANSLATIONS as usize);
        table.0.translate_all(batch, |iova, found| match found {
            Ok(found) => sum = sum.wrapping_add(found.resolve(iova).get()),
            Err(error) => panic!("{error}"),
        });
        sum
    })
}

fn dependent<F: Configured>(table: &Ours<F>, seed: u64) -> f64 {
    per_translation(|| {
        (0..TRANSLATIONS).fold(seed, |page, _| {
            let pa = table.translate(IOVA + next(page) * PAGE);
            (pa - PA) / PAGE
        })
    })
}

fn per_translation(work: impl FnOnce() -> u64) -> f64 {
    nanoseconds(|| {
        black_box(work());
    }) / TRANSLATIONS as f64
}
