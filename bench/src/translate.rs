//! Translation of the addresses that devices use: the IOTLB beside vm-memory's, and walks.

mod bare;
mod instructions;
mod iotlb;
mod walk;

pub(crate) use instructions::{counted_main as counted, run as count_instructions};

use crate::nested::Model;
use crate::table::{Row, Table};

const ROUNDS: usize = 9;

const ABOUT: &str =
    "Translation, pages of 4 KiB that lead to random memory; CPU time of the thread, median of 9 interleaved rounds.
Throughput: random pages, which do not depend on earlier results. Latency: each address comes from the last translation.
Ours is looked up while other threads may insert and invalidate, by address and address space. vm-memory's Iotlb has one address space
and no lock: it is looked up here as if nobody ever changed it, but for the rows with two threads, where it is in an RwLock, as
its users have it.
VT-d, SMMUv3: what a device's request takes that only asks for a translation, under its guard, behind a page table of ours or a
guest's first stage in front of one. Walks have no IOTLB; they begin where the paging-structure caches let them. The bare walk is four loads of plain
words: no marks, permissions, reserved bits, other threads or faults.";

pub(crate) fn run() -> anyhow::Result<Table> {
    // First, while the process has no freed memory to use again.
    let memory = iotlb::memory()?;
    let mut rows: Vec<Row> = iotlb::hits();
    rows.push(memory);
    for (name, model) in Model::all() {
        rows.extend(walk::hits(name, model)?);
        rows.push(walk::misses(name, model)?);
    }
    rows.extend(walk::walks()?);
    Ok(Table { about: ABOUT, rows })
}
