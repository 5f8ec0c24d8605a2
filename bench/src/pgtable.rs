//! Page tables: `swiommu-pgtable` beside other crates.

mod cold;
mod contenders;
mod dirty;
mod exercise;
mod growth;
mod instructions;
mod meter;
mod operation;
mod ours;
mod peers;
mod pool;
mod table;

use crate::rounds::interleaved;
use crate::table::Table;
use contenders::{CONTENDERS, rows};
use exercise::Size;
pub(crate) use growth::chart;
pub(crate) use instructions::{counted_main as counted, run as count_instructions};
use meter::Clock;
use operation::Operation;
use pool::Pool;

const ROUNDS: usize = 15;

const ABOUT: &str =
    "Page tables, leaves of 4 KiB; CPU time of the thread, median of 15 interleaved rounds.
Goals are about the best peer of the run.
All take their tables from one pool, warm and used again, which has no lock. The IOVAs of single pages are random in 4 MiB.
Latency: each address comes from the last translation. All else is throughput.
Ours writes entries that others may read and change at the same time, and checks widths, alignment and overlap of the whole
range before it changes anything. The peers take the table for themselves (&mut), have no readers beside a writer and no dirty
state. aarch64-paging checks the width and overwrites what is mapped; unmapping, it frees whole tables, and walks to translate.
page_table_multiarch checks alignment and each entry; it stops half-way, and frees tables only with their root; its flush is
empty here. x86_64 has calls for single pages only and checks each entry. Dirty: no peer has it; the bare loop is over plain words.";

pub(crate) fn run() -> anyhow::Result<Table> {
    let pool = Pool::leak(Size::GOALS.tables())?;
    let mut rounds = interleaved(ROUNDS + 1, CONTENDERS.len(), |_, contender| {
        let mut clock = Clock::new();
        (CONTENDERS[contender].run)(pool, Size::GOALS, &mut clock);
        pool.rewind();
        clock.costs
    });
    for costs in &mut rounds {
        // The first warms the pool.
        costs.remove(0);
    }
    let mut rows = rows(&rounds, "ns", Operation::goal);
    rows.extend(cold::rows()?);
    let about = ABOUT;
    Ok(Table { about, rows })
}
