//! The memory of real other processes: forked children that are killed when a test ends.
//!
//! Needs no privileges but ptrace access to its own children. What an unprivileged user cannot get (anonymous shared memory
//! mapped directly) is tested by its result, not by its speed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod area;
mod child;
mod detach;
mod lifetime;
mod rules;
mod sharing;
mod truncation;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use swiommu_addr::{HvaRange, PaRange};
use swiommu_mem::{
    Access, Accounting, AddressSpace, Config, Offset, OffsetRange, Pages, PhysicalMemory, Process,
    Processes,
};

/// Held by each test: a child inherits all memory that the tests have just then, and would count as one who shares it.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A machine that knows processes.
struct Machine {
    memory: Arc<PhysicalMemory>,
    processes: Arc<Processes>,
}

impl Machine {
    fn new() -> Self {
        let memory = PhysicalMemory::new(Config::default()).unwrap();
        let processes = Processes::new(&memory);
        Self { memory, processes }
    }

    fn process(&self, child: &child::Child) -> Arc<Process> {
        self.processes.get(child.pid()).unwrap()
    }

    fn bytes<const N: usize>(&self, memory: PaRange) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read(memory.start(), &mut bytes).unwrap();
        bytes
    }
}

/// A pages object over memory of a process, with all of it pinned.
fn pinned(process: &Arc<Process>, range: HvaRange) -> (Pages, PaRange) {
    let owner: Arc<dyn AddressSpace> = process.clone();
    let pages = Pages::from_space(&owner, range, Access::Write, Accounting::None);
    let runs = pages.pin(whole(&pages)).unwrap();
    assert_eq!(runs.len(), 1);
    (pages, runs[0].memory)
}

fn whole(pages: &Pages) -> OffsetRange {
    OffsetRange::from_len(Offset::new(0), pages.len().get()).unwrap()
}

/// The single run behind a range.
fn memory_of(space: &dyn AddressSpace, range: HvaRange) -> PaRange {
    let runs = space.resolve(range, Access::Write).unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].memory
}
