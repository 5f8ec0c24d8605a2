//! A device behind a model, and a guest's tables that it reaches memory through.

mod guest;
mod smmuv3;
mod vtd;

use std::sync::Arc;

use anyhow::{Context, anyhow};
use swiommu_addr::{Iova, Pa, PaRange, PageSize, PageSizes};
use swiommu_iommu::smmuv3::SmmuSettings;
use swiommu_iommu::vtd::VtdSettings;
use swiommu_iommu::{
    DmaPort, DriverError, Endpoint, Mapping, PagingDomain, PagingFlags, PagingRequest, Prot, Unit,
};
use swiommu_mem::{Config, LocalSpace, PhysicalMemory, VolatileSlice};

use crate::random::cycle;
use guest::{Entries, GUEST, Guest};
use smmuv3::Smmuv3;
use vtd::Vtd;

pub(crate) const PAGE: u64 = 0x1000;

/// Where devices have the pages: not at the start of any table.
pub(crate) const FIRST: u64 = 0x7fff_1234_5000;

/// A device, and its pages behind one and two stages. Leaves are of 4 KiB in all tables.
pub(crate) struct Machine {
    memory: Arc<PhysicalMemory>,
    /// Whose memory the pages are.
    _guest: Guest,
    device: Box<dyn Device>,
    first_memory: Pa,
    pages: u64,
}

/// How a device reaches its pages.
#[derive(Clone, Copy)]
pub(crate) enum Stages {
    /// A page table of ours.
    One,
    /// A guest's table, behind another one of ours.
    Two,
}

/// What a device is behind.
#[derive(Clone, Copy)]
pub(crate) enum Model {
    Vtd(VtdSettings),
    Smmuv3(SmmuSettings),
}

impl Model {
    /// Both, as they are if nothing else is chosen.
    pub(crate) fn all() -> [(&'static str, Self); 2] {
        [
            ("VT-d", Self::Vtd(VtdSettings::default())),
            ("SMMUv3", Self::Smmuv3(SmmuSettings::default())),
        ]
    }
}

/// A device behind a model.
trait Device: Send + Sync {
    /// What the guest's entries are to the model.
    fn entries(&self) -> Entries;
    /// The only stage of one way, and the second of the other.
    fn tables(&self) -> [&Arc<dyn PagingDomain>; 2];
    /// Attaches the only stage, and the guest's in front of the second.
    fn attach(&mut self, guest: &mut Guest) -> anyhow::Result<()>;
    fn port(&self, stages: Stages) -> DmaPort;
    /// Has the guest say that it has changed leaves, all of them.
    fn invalidate_leaves(&self) -> anyhow::Result<()>;
}

impl Machine {
    /// A device with so many pages. Page `n` of what it sees is page `order[n]` of memory, where `order` is a single cycle.
    pub(crate) fn new(pages: u64, model: Model) -> anyhow::Result<Self> {
        let memory = PhysicalMemory::new(Config::default())?;
        let space = LocalSpace::new(&memory)?;
        let mut device: Box<dyn Device> = match model {
            Model::Vtd(settings) => Box::new(Vtd::new(&memory, settings)?),
            Model::Smmuv3(settings) => Box::new(Smmuv3::new(&memory, settings)?),
        };
        let mut guest = Guest::new(space, pages, device.entries())?;
        let order = cycle(pages);
        let [own, parent] = device.tables();
        map(&**parent, GUEST, &guest.runs()?)?;
        for (page, target) in (0..).zip(&order) {
            let at = guest.memory_of(GUEST + target * PAGE)?;
            map(&**own, FIRST + page * PAGE, &[page_at(at)?])?;
            guest.map(FIRST + page * PAGE, GUEST + target * PAGE)?;
        }
        device.attach(&mut guest)?;
        Ok(Self {
            memory,
            device,
            first_memory: guest.memory_of(GUEST)?,
            pages,
            _guest: guest,
        })
    }

    /// The way to memory.
    pub(crate) fn port(&self, stages: Stages) -> DmaPort {
        self.device.port(stages)
    }

    /// The memory of all pages, where it is mapped in this process.
    pub(crate) fn memory(&self) -> Option<VolatileSlice<'_>> {
        let pages = PaRange::from_len(self.first_memory, self.pages * PAGE)?;
        self.memory.slice(pages)
    }

    /// Where a device has the page whose number is that of a page of memory.
    #[inline]
    pub(crate) fn page_of(&self, at: Pa) -> Iova {
        Iova::new(at.get() - self.first_memory.get() + FIRST)
    }

    /// The addresses of all pages, each the number of the memory behind the one before.
    pub(crate) fn addresses(&self) -> Vec<Iova> {
        let order = cycle(self.pages);
        let mut page = 0;
        let mut next = || {
            page = order[page as usize];
            Iova::new(FIRST + page * PAGE)
        };
        order.iter().map(|_| next()).collect()
    }

    /// Has the guest say that it has changed leaves, all of them.
    pub(crate) fn invalidate_leaves(&self) -> anyhow::Result<()> {
        self.device.invalidate_leaves()
    }
}

fn paging(
    unit: &dyn Unit,
    endpoint: &dyn Endpoint,
    flags: PagingFlags,
) -> anyhow::Result<Arc<dyn PagingDomain>> {
    let request = PagingRequest { flags, data: None };
    unit.alloc_paging(endpoint, &request)
        .map_err(|error| refused(&error))
}

fn map(domain: &dyn PagingDomain, iova: u64, memory: &[PaRange]) -> anyhow::Result<()> {
    let mapping = Mapping {
        iova: Iova::new(iova),
        memory,
        prot: Prot::RW,
        leaves: PageSizes::NONE.with(PageSize::SIZE_4K),
    };
    domain.map(&mapping).map_err(|error| refused(&error))
}

fn page_at(at: Pa) -> anyhow::Result<PaRange> {
    PaRange::from_len(at, PAGE).context("a page")
}

fn refused(error: &DriverError) -> anyhow::Error {
    anyhow!("{error:?}")
}
