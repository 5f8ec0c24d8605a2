//! Walks that leave no mark, with every entry on the way.

use std::cell::RefCell;

use swiommu_addr::{Gpa, Iova, Pa};
use swiommu_mem::PhysicalMemory;
use swiommu_pgtable::{Destination, EntryMemory, Exchange, HardwareWalk, Root, Walked, Walker};

use super::{GuestFault, HostFault, HostWalker, through_both};
use crate::{Stage, Trace, TracedEntry, Translated};

/// The walk of one of our own page tables, without a mark.
pub(crate) fn trace_host<F: HardwareWalk>(
    walker: &HostWalker<'_, F>,
    stage: Stage,
    iova: Iova,
) -> Trace {
    let mut entries = Vec::new();
    let found = walker.trace(iova, |step| entries.push(TracedEntry::new(stage, step)));
    let end = found.map(|found| Destination::from(found).into());
    Trace {
        entries,
        end: end.map_err(|fault| fault.to_string()),
    }
}

/// The walk of a guest's table and of the second stage that its memory is behind, without a mark.
pub(crate) fn trace_guest<'a, G: HardwareWalk, F: HardwareWalk>(
    format: G,
    root: Root<Gpa>,
    stage2: &'a HostWalker<'a, F>,
    memory: &'a PhysicalMemory,
    iova: Iova,
) -> Trace {
    let traced = TracedGuest {
        stage2,
        memory,
        entries: RefCell::default(),
    };
    let end = traced.walk(format, root, iova);
    Trace {
        entries: traced.entries.into_inner(),
        end,
    }
}

/// The memory of a guest, with a record of the entries that lie on the way to it.
struct TracedGuest<'a, F: HardwareWalk> {
    stage2: &'a HostWalker<'a, F>,
    memory: &'a PhysicalMemory,
    entries: RefCell<Vec<TracedEntry>>,
}

impl<F: HardwareWalk> TracedGuest<'_, F> {
    fn record(&self, entry: TracedEntry) {
        self.entries.borrow_mut().push(entry);
    }

    fn translate(&self, at: Gpa) -> Result<Walked<Pa>, HostFault> {
        self.stage2.trace(Iova::new(at.get()), |step| {
            self.record(TracedEntry::new(Stage::Second, step));
        })
    }

    fn walk<G: HardwareWalk>(
        &self,
        format: G,
        root: Root<Gpa>,
        iova: Iova,
    ) -> Result<Translated, String> {
        let walker = Walker::new(format, self, root);
        let walker = walker.ok_or_else(|| format!("no table has {} levels", root.levels))?;
        let visit = |step| self.record(TracedEntry::new(Stage::First, step));
        let inner = walker
            .trace(iova, visit)
            .map_err(|fault| fault.to_string())?;
        let gpa = inner.resolve(iova);
        let outer = self
            .translate(gpa)
            .map_err(|fault| format!("{iova} is {gpa} to the guest: {fault}"))?;
        Ok(through_both((inner.size, inner.access), gpa, &outer.into()))
    }
}

impl<F: HardwareWalk> EntryMemory for TracedGuest<'_, F> {
    type Address = Gpa;
    type Fault = GuestFault;

    fn read(&self, at: Gpa) -> Result<u64, GuestFault> {
        let found = self.translate(at).map_err(GuestFault::Stage2)?;
        let at = found.resolve(Iova::new(at.get()));
        self.memory.load(at).map_err(GuestFault::Memory)
    }

    /// It is never asked: tracing marks nothing.
    fn compare_exchange(&self, _at: Gpa, _old: u64, _new: u64) -> Result<Exchange, GuestFault> {
        Ok(Exchange::Changed)
    }
}
