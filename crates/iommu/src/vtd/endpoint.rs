//! A device behind a unit.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use swiommu_addr::{Address, Iova, IovaRange, PageSize};
use swiommu_mem::PhysicalMemory;

use super::spec::{FirstStage, FirstStageFlags, PasidEntry, SecondStage};
use super::translate::{Requester, Stages};
use super::unit::Shared;
use super::{VtdFirstStage, VtdNested, VtdSecondStage, VtdUnit};
use crate::page_request::Outstanding;
use crate::{
    Attachments, DmaPort, Domain, DriverError, Endpoint, EndpointFeatures, GroupId,
    PageRequestHandler, PageResponse, Pasid, ReservedKind, ReservedRegion, Scope, Unit,
};

/// A requester ID: bus, device, function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceId(pub u16);

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [bus, devfn] = self.0.to_be_bytes();
        write!(f, "{bus:02x}:{:02x}.{}", devfn >> 3, devfn & 7)
    }
}

/// The number of PASIDs that PCI has bits for.
const PASIDS: u32 = 1 << 20;

/// Page Request Group Indices are of 9 bits.
const PAGE_REQUEST_GROUPS: u32 = 1 << 9;
/// Where the hardware takes writes for interrupts.
const MSI_FIRST: u64 = 0xfee0_0000;
const MSI_LAST: u64 = 0xfeef_ffff;

/// A device behind a VT-d unit, with PASIDs and page requests.
#[derive(Debug)]
pub struct VtdEndpoint {
    unit: Arc<dyn Unit>,
    shared: Arc<Shared>,
    source: SourceId,
    group: GroupId,
    attachments: Arc<Attachments>,
    /// What is to be invalidated when the entry of a PASID goes.
    entries: Mutex<BTreeMap<Pasid, Scope>>,
    page_requests: Arc<Outstanding>,
}

impl VtdEndpoint {
    /// A device with this requester ID, alone in its group.
    pub fn new(unit: &Arc<VtdUnit>, source: SourceId, group: GroupId) -> Arc<Self> {
        let shared = unit.shared.clone();
        Arc::new(Self {
            unit: unit.clone(),
            source,
            group,
            attachments: Arc::new(Attachments::new(&shared.epochs)),
            entries: Mutex::default(),
            page_requests: Outstanding::new(PAGE_REQUEST_GROUPS),
            shared,
        })
    }

    /// Its requester ID.
    pub fn source(&self) -> SourceId {
        self.source
    }

    /// The way of its requests to memory, with a PASID or without. It asks for pages that are not there when somebody takes its
    /// page requests.
    pub fn dma_port(&self, pasid: Pasid) -> DmaPort {
        let memory: &Arc<PhysicalMemory> = &self.shared.memory;
        let name = format!("{} {pasid}", self.source);
        let requests = self.page_requests.clone();
        DmaPort::new(memory, &self.attachments, pasid, name).asking(Box::new(
            move |iova, wanted| {
                let page = iova.align_down(PageSize::SIZE_4K);
                requests.ask(pasid, page, wanted) == PageResponse::Success
            },
        ))
    }

    fn entry_of(&self, domain: &Domain) -> Result<(PasidEntry, Stages), DriverError> {
        match domain {
            Domain::Paging(paging) => {
                let any: Arc<dyn Any + Send + Sync> = paging.clone();
                match any.downcast::<VtdFirstStage>() {
                    Ok(first) => self.first_stage_entry(first),
                    Err(any) => match any.downcast::<VtdSecondStage>() {
                        Ok(second) => self.second_stage_entry(second),
                        Err(_) => Err(foreign()),
                    },
                }
            }
            Domain::Nested(nested) => {
                let any: Arc<dyn Any + Send + Sync> = nested.clone();
                self.nested_entry(any.downcast::<VtdNested>().map_err(|_| foreign())?)
            }
        }
    }

    /// Invalidates what an entry led to, once nobody is on the way through it.
    fn invalidate(&self, torn_down: Option<Scope>) {
        if let Some(scope) = torn_down {
            self.shared.caches.invalidate(&scope);
        }
    }

    fn check_unit(&self, shared: &Arc<Shared>) -> Result<(), DriverError> {
        if Arc::ptr_eq(shared, &self.shared) {
            return Ok(());
        }
        Err(DriverError::invalid("the page table is of another unit"))
    }

    fn first_stage_entry(
        &self,
        first: Arc<VtdFirstStage>,
    ) -> Result<(PasidEntry, Stages), DriverError> {
        self.check_unit(&first.table.shared)?;
        let root = first.table.domain.table().root();
        let stage = FirstStage {
            root: root.table.get(),
            flags: if root.levels == 5 {
                FirstStageFlags::FIVE_LEVEL
            } else {
                FirstStageFlags::empty()
            },
        };
        let entry = PasidEntry::first_stage(first.table.number.get(), stage).with_page_snoop();
        Ok((entry, Stages::First(first)))
    }

    fn second_stage_entry(
        &self,
        second: Arc<VtdSecondStage>,
    ) -> Result<(PasidEntry, Stages), DriverError> {
        self.check_unit(&second.table.shared)?;
        let entry = PasidEntry::second_stage(second.table.number.get(), stage_of(&second));
        Ok((entry, Stages::Second(second)))
    }

    fn nested_entry(&self, nested: Arc<VtdNested>) -> Result<(PasidEntry, Stages), DriverError> {
        self.check_unit(&nested.second.table.shared)?;
        let settings = &self.shared.settings;
        let first = nested.first_stage(settings)?;
        let extended = settings.extended_capability();
        if first.flags.contains(FirstStageFlags::SRE) && !extended.supervisor_requests() {
            return Err(DriverError::invalid("the unit has no supervisor requests"));
        }
        if first.flags.contains(FirstStageFlags::EAFE) && !extended.extended_accessed_flag() {
            return Err(DriverError::invalid(
                "the unit has no extended accessed flag",
            ));
        }
        let second = stage_of(&nested.second);
        let entry = PasidEntry::nested(nested.number.get(), first, second);
        Ok((entry, Stages::Nested(nested)))
    }
}

fn stage_of(second: &VtdSecondStage) -> SecondStage {
    SecondStage {
        root: second.table.domain.table().root().table,
        width: second.table.shared.settings.width,
        accessed_dirty: second.tracks_dirty(),
    }
}

fn foreign() -> DriverError {
    DriverError::invalid("the page table is not VT-d's")
}

impl Endpoint for VtdEndpoint {
    fn unit(&self) -> &Arc<dyn Unit> {
        &self.unit
    }

    fn group(&self) -> GroupId {
        self.group
    }

    fn features(&self) -> EndpointFeatures {
        EndpointFeatures::CACHE_COHERENCY
            | EndpointFeatures::ENFORCE_CACHE_COHERENCY
            | EndpointFeatures::DIRTY_TRACKING
            | EndpointFeatures::PASID_ATTACH
            | EndpointFeatures::ISOLATED_MSI
    }

    fn max_pasids(&self) -> u32 {
        PASIDS
    }

    fn reserved_regions(&self) -> Vec<ReservedRegion> {
        let range = IovaRange::new(Iova::new(MSI_FIRST), Iova::new(MSI_LAST));
        let kind = ReservedKind::Msi;
        range
            .map(|range| ReservedRegion { range, kind })
            .into_iter()
            .collect()
    }

    fn attach(&self, pasid: Pasid, domain: &Domain) -> Result<(), DriverError> {
        let (entry, stages) = self.entry_of(domain)?;
        let requester = Requester::new(self.source, pasid, entry, stages);
        let torn_down = self.entries.lock().insert(pasid, requester.torn_down());
        self.attachments.set(pasid, Some(Arc::new(requester)));
        self.invalidate(torn_down);
        Ok(())
    }

    fn port(&self, pasid: Pasid) -> Option<DmaPort> {
        Some(self.dma_port(pasid))
    }

    fn set_page_request_handler(&self, handler: Option<Arc<dyn PageRequestHandler>>) {
        self.page_requests.set_handler(handler);
    }

    fn respond(&self, pasid: Pasid, group: u32, response: PageResponse) {
        self.page_requests.respond(pasid, group, response);
    }

    fn detach(&self, pasid: Pasid) {
        let torn_down = self.entries.lock().remove(&pasid);
        self.attachments.set(pasid, None);
        self.invalidate(torn_down);
    }
}
