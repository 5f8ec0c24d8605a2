//! Translation of the addresses that devices use: the IOTLB beside vm-memory's.

mod iotlb;

use crate::table::{Row, Table};

const ABOUT: &str =
    "Translation, pages of 4 KiB that lead to random memory; CPU time of the thread, median of 9 interleaved rounds.
Throughput: random pages, which do not depend on earlier results. Latency: each address comes from the last translation.
Ours is looked up while other threads may insert and invalidate, by address and address space. vm-memory's Iotlb has one address space
and no lock: it is looked up here as if nobody ever changed it, but for the rows with two threads, where it is in an RwLock, as
its users have it.";

pub(crate) fn run() -> anyhow::Result<Table> {
    // First, while the process has no freed memory to use again.
    let mut rows: Vec<Row> = vec![iotlb::memory()?];
    rows.splice(0..0, iotlb::hits());
    Ok(Table { about: ABOUT, rows })
}
