//! Reaching a guest's tables through a second stage.

use swiommu_addr::{Gpa, Iova, Pa};
use swiommu_mem::{AccessError, PhysicalMemory};
use swiommu_pgtable::{
    Access, EntryMemory, Exchange, HardwareWalk, NoTableMemory, PhysicalEntries, WalkFault, Walked,
    Walker,
};

use crate::Tables;

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
}

impl<F: HardwareWalk> EntryMemory for GuestMemory<'_, F> {
    type Address = Gpa;
    type Fault = GuestFault;

    fn read(&self, at: Gpa) -> Result<u64, GuestFault> {
        let at = self.entry(at, Access::PRIVILEGED_READ)?;
        let mut entry = [0; 8];
        self.memory
            .read(at, &mut entry)
            .map_err(GuestFault::Memory)?;
        Ok(u64::from_le_bytes(entry))
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
