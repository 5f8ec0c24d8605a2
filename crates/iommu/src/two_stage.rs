//! Reaching a guest's tables through a second stage.

mod trace;

use std::fmt;

use swiommu_addr::{Address, Gpa, Iova, Pa, PageSize};
use swiommu_mem::{AccessError, PhysicalMemory};
use swiommu_pgtable::{
    Access, Destination, EntryMemory, Exchange, HardwareWalk, NoTableMemory, PhysicalEntries,
    WalkFault, Walker,
};
use swiommu_sabotage::Fault as Sabotage;

use crate::{Locate, Tables, Translated, Ways};

pub(crate) use trace::{trace_guest, trace_host};

/// A walk of one of our own page tables.
pub(crate) type HostWalker<'a, F> = Walker<F, PhysicalEntries<&'a Tables>>;

/// Why a walk of one of our own page tables ended.
pub(crate) type HostFault = WalkFault<Pa, NoTableMemory>;

/// The translation that goes through a leaf of a first stage, to `gpa` and with the size and the rights of `inner`, and then through one
/// of the second.
#[inline]
pub(crate) fn through_both(
    inner: (PageSize, Access),
    gpa: Gpa,
    outer: &Destination<Pa>,
) -> Translated {
    let size = if Sabotage::LargeTranslation.is_on() {
        inner.0.max(outer.size)
    } else {
        inner.0.min(outer.size)
    };
    Translated {
        page: outer.resolve(Iova::new(gpa.get())).align_down(size),
        size,
        access: inner.1 & outer.access,
    }
}

/// Why a walk of a guest's table ended.
pub(crate) type GuestWalkFault = WalkFault<EntryPlace, GuestFault>;

/// Where an entry of a guest's table is: as the guest has it; or, in a table that a cache led to, as the machine has it, because the
/// cache does not tell where the guest does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct EntryPlace(u64);

/// Of an address in the machine.
const LOCATED: u64 = 1 << 63;
/// No second stage translates an address with this bit either.
const BEYOND: u64 = 1 << 62;

impl EntryPlace {
    /// As the guest has it. An address with the bit of the machine's own leads nowhere, and so does what it becomes.
    pub(crate) fn guest(at: Gpa) -> Self {
        match at.get() & LOCATED {
            0 => Self(at.get()),
            _ => Self(at.get() & !LOCATED | BEYOND),
        }
    }

    fn located(at: Pa) -> Self {
        Self(at.get() | LOCATED)
    }

    /// The address in the machine, if it is one.
    #[inline]
    fn in_machine(self) -> Option<Pa> {
        (self.0 & LOCATED != 0).then(|| Pa::new(self.0 & !LOCATED))
    }

    /// The guest physical address: where an entry is, or where it leads.
    #[inline]
    pub(crate) fn gpa(self) -> Gpa {
        Gpa::new(self.0)
    }
}

impl Address for EntryPlace {
    fn new(raw: u64) -> Self {
        Self(raw)
    }

    fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for EntryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_machine() {
            Some(at) => write!(f, "PA {at}, in a table that was cached"),
            None => write!(f, "{}", self.gpa()),
        }
    }
}

/// The memory of a guest, which a second stage maps: where the guest keeps its tables.
#[derive(Clone, Copy)]
pub(crate) struct GuestMemory<'a, F: HardwareWalk> {
    stage2: &'a HostWalker<'a, F>,
    /// To the second stage's tables.
    ways: Ways<'a>,
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
    /// It is in a table that a cache led to. To mark it, the second stage must be asked, by an address that is not known.
    #[error("its table came from a cache")]
    Located,
}

impl<'a, F: HardwareWalk> GuestMemory<'a, F> {
    pub(crate) fn new(
        stage2: &'a HostWalker<'a, F>,
        ways: Ways<'a>,
        memory: &'a PhysicalMemory,
    ) -> Self {
        Self {
            stage2,
            ways,
            memory,
        }
    }

    /// Where a guest physical address leads for this access.
    pub(crate) fn translate(&self, at: Gpa, wanted: Access) -> Result<Destination<Pa>, HostFault> {
        self.ways.walk(self.stage2, Iova::new(at.get()), wanted)
    }

    fn entry(&self, at: Gpa, wanted: Access) -> Result<Pa, GuestFault> {
        let walked = self.translate(at, wanted).map_err(GuestFault::Stage2)?;
        Ok(walked.resolve(Iova::new(at.get())))
    }
}

impl<F: HardwareWalk> EntryMemory for GuestMemory<'_, F> {
    type Address = EntryPlace;
    type Fault = GuestFault;

    fn read(&self, at: EntryPlace) -> Result<u64, GuestFault> {
        let at = match at.in_machine() {
            Some(at) => at,
            None => self.entry(at.gpa(), Access::PRIVILEGED_READ)?,
        };
        self.memory.load(at).map_err(GuestFault::Memory)
    }

    fn compare_exchange(&self, at: EntryPlace, old: u64, new: u64) -> Result<Exchange, GuestFault> {
        if at.in_machine().is_some() {
            return Err(GuestFault::Located);
        }
        let at = self.entry(at.gpa(), Access::PRIVILEGED_WRITE)?;
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

impl<F: HardwareWalk> Locate for GuestMemory<'_, F> {
    fn locate(&self, table: EntryPlace) -> Option<Pa> {
        let located = || self.entry(table.gpa(), Access::PRIVILEGED_READ).ok();
        table.in_machine().or_else(located)
    }

    #[inline]
    fn located(&self, table: Pa) -> EntryPlace {
        EntryPlace::located(table)
    }
}

/// A fault as the guest can read it: where a cache led to the table, the entry's address is looked for, and found unless the way there
/// has changed.
pub(crate) fn in_the_guests_words<G: HardwareWalk, F: HardwareWalk>(
    mut fault: GuestWalkFault,
    walker: &Walker<G, GuestMemory<'_, F>>,
    iova: Iova,
) -> GuestWalkFault {
    if let WalkFault::Entry { at, .. } | WalkFault::Refused { at, .. } = &mut fault
        && let Some(in_machine) = at.in_machine()
    {
        let mut is_it = |place: EntryPlace| {
            if walker.memory().locate(place) == Some(in_machine) {
                *at = place;
            }
        };
        let ended = walker.trace(iova, |step| is_it(step.at));
        if let Err(WalkFault::Entry { at, .. } | WalkFault::Refused { at, .. }) = ended {
            is_it(at);
        }
    }
    fault
}

/// A guest's tables by where the machine has them, to be read and no more.
pub(crate) struct LocatedTables<'a>(pub(crate) &'a PhysicalMemory);

impl EntryMemory for LocatedTables<'_> {
    type Address = EntryPlace;
    type Fault = GuestFault;

    #[inline]
    fn read(&self, at: EntryPlace) -> Result<u64, GuestFault> {
        self.0.load(Pa::new(at.get())).map_err(GuestFault::Memory)
    }

    fn compare_exchange(
        &self,
        _at: EntryPlace,
        _old: u64,
        _new: u64,
    ) -> Result<Exchange, GuestFault> {
        Err(GuestFault::Located)
    }
}
