//! Reaching a guest's tables through a second stage.

use std::cell::RefCell;

use swiommu_addr::{Address, Gpa, Iova, Pa};
use swiommu_mem::{AccessError, PhysicalMemory};
use swiommu_pgtable::{
    Access, EntryMemory, Exchange, HardwareWalk, NoTableMemory, PhysicalEntries, Root, WalkFault,
    Walked, Walker,
};

use crate::{Stage, Tables, Trace, TracedEntry, Translated};

/// A walk of one of our own page tables.
pub(crate) type HostWalker<'a, F> = Walker<F, PhysicalEntries<&'a Tables>>;

/// Why a walk of one of our own page tables ended.
pub(crate) type HostFault = WalkFault<Pa, NoTableMemory>;

/// Why a walk of a guest's table ended.
pub(crate) type GuestWalkFault = WalkFault<Gpa, GuestFault>;

/// The memory of a guest, which a second stage maps: where the guest keeps its tables.
#[derive(Clone, Copy)]
pub(crate) struct GuestMemory<'a, F: HardwareWalk> {
    stage2: &'a HostWalker<'a, F>,
    memory: &'a PhysicalMemory,
}

/// Why an entry in a guest's memory could not be accessed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum GuestFault {
    /// The second stage does not lead there.
    #[error("second stage: {0}")]
    Stage2(HostFault),
    /// It does, and there is no memory.
    #[error(transparent)]
    Memory(AccessError),
}

impl<'a, F: HardwareWalk> GuestMemory<'a, F> {
    pub(crate) fn new(stage2: &'a HostWalker<'a, F>, memory: &'a PhysicalMemory) -> Self {
        Self { stage2, memory }
    }

    /// Where a guest physical address leads for this access.
    pub(crate) fn translate(&self, at: Gpa, wanted: Access) -> Result<Walked<Pa>, HostFault> {
        self.stage2.walk(Iova::new(at.get()), wanted)
    }

    fn entry(&self, at: Gpa, wanted: Access) -> Result<Pa, GuestFault> {
        let walked = self.translate(at, wanted).map_err(GuestFault::Stage2)?;
        Ok(walked.resolve(Iova::new(at.get())))
    }

    fn read_entry(&self, at: Pa) -> Result<u64, GuestFault> {
        let mut entry = [0; 8];
        self.memory
            .read(at, &mut entry)
            .map_err(GuestFault::Memory)?;
        Ok(u64::from_le_bytes(entry))
    }
}

impl<F: HardwareWalk> EntryMemory for GuestMemory<'_, F> {
    type Address = Gpa;
    type Fault = GuestFault;

    fn read(&self, at: Gpa) -> Result<u64, GuestFault> {
        self.read_entry(self.entry(at, Access::PRIVILEGED_READ)?)
    }

    fn compare_exchange(&self, at: Gpa, old: u64, new: u64) -> Result<Exchange, GuestFault> {
        let at = self.entry(at, Access::PRIVILEGED_WRITE)?;
        let found = self
            .memory
            .update(at, |entry| (entry == old).then_some(new))
            .map_err(GuestFault::Memory)?;
        Ok(if found == old {
            Exchange::Done
        } else {
            Exchange::Changed
        })
    }
}

/// The walk of one of our own page tables, without a mark.
pub(crate) fn trace_host<F: HardwareWalk>(
    walker: &HostWalker<'_, F>,
    stage: Stage,
    iova: Iova,
) -> Trace {
    let mut entries = Vec::new();
    let found = walker.trace(iova, |step| entries.push(TracedEntry::new(stage, step)));
    let end = found.map(|found| Translated {
        page: found.address,
        size: found.size,
        access: found.access,
    });
    Trace {
        entries,
        end: end.map_err(|fault| fault.to_string()),
    }
}

/// The walk of a guest's table and of the second stage that its memory is behind, without a mark.
pub(crate) fn trace_guest<G: HardwareWalk, F: HardwareWalk>(
    format: G,
    root: Root<Gpa>,
    guest: GuestMemory<'_, F>,
    iova: Iova,
) -> Trace {
    let traced = TracedGuest {
        guest,
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
    guest: GuestMemory<'a, F>,
    entries: RefCell<Vec<TracedEntry>>,
}

impl<F: HardwareWalk> TracedGuest<'_, F> {
    fn record(&self, entry: TracedEntry) {
        self.entries.borrow_mut().push(entry);
    }

    fn translate(&self, at: Gpa) -> Result<Walked<Pa>, HostFault> {
        self.guest.stage2.trace(Iova::new(at.get()), |step| {
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
        let size = inner.size.min(outer.size);
        Ok(Translated {
            page: outer.resolve(Iova::new(gpa.get())).align_down(size),
            size,
            access: inner.access & outer.access,
        })
    }
}

impl<F: HardwareWalk> EntryMemory for TracedGuest<'_, F> {
    type Address = Gpa;
    type Fault = GuestFault;

    fn read(&self, at: Gpa) -> Result<u64, GuestFault> {
        let found = self.translate(at).map_err(GuestFault::Stage2)?;
        self.guest.read_entry(found.resolve(Iova::new(at.get())))
    }

    /// It is never asked: tracing marks nothing.
    fn compare_exchange(&self, _at: Gpa, _old: u64, _new: u64) -> Result<Exchange, GuestFault> {
        Ok(Exchange::Changed)
    }
}
