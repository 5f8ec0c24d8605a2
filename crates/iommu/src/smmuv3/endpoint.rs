//! A device behind a unit.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bitflags::bitflags;
use parking_lot::Mutex;
use swiommu_abi::Errno;
use swiommu_addr::{Iova, IovaRange};
use swiommu_pgtable::{Access, HardwareUpdate};

use super::spec::{GuestConfig, IdRegisters, MOST_STALLED, Stage2Flags, Ste, Substreams};
use super::translate::{Guest, Nested, Requester, Stages};
use super::unit::Shared;
use super::{SmmuFeatures, SmmuNested, SmmuStage1, SmmuStage2, SmmuUnit};
use crate::page_request::Outstanding;
use crate::{
    Attachments, DeviceTlb, DeviceTlbScope, DmaPort, Domain, DriverError, Endpoint,
    EndpointFeatures, GroupId, PageRequestHandler, PageResponse, Pasid, ReservedKind,
    ReservedRegion, Translate, Unit,
};

/// A `StreamID`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u32);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {:#x}", self.0)
    }
}

bitflags! {
    /// What a device can do, where its unit can do it too.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct DeviceFeatures: u8 {
        /// It has a translation cache of its own.
        const ATS = 1;
        /// It waits while its faults are being seen to.
        const STALL = 2;
    }
}

/// Where Linux maps the doorbells of interrupts.
const MSI_FIRST: u64 = 0x800_0000;
const MSI_LEN: u64 = 0x10_0000;

/// A device behind an SMMU, with substreams.
#[derive(Debug)]
pub struct SmmuEndpoint {
    unit: Arc<dyn Unit>,
    shared: Arc<Shared>,
    stream: StreamId,
    group: GroupId,
    features: DeviceFeatures,
    pub(super) attachments: Arc<Attachments>,
    page_requests: Arc<Outstanding>,
    /// The device's own cache, while a guest lets it have one.
    atc: Mutex<Option<Arc<DeviceTlb>>>,
    attached: Mutex<Attached>,
}

/// What the stream table entry of the device leads to.
#[derive(Debug, Default)]
struct Attached {
    rid: Option<Rid>,
    pasids: BTreeSet<Pasid>,
}

/// What requests without a PASID are attached to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rid {
    /// A descriptor in a table of ours, which has room for PASIDs.
    Stage1,
    /// A second stage, or a guest's structures.
    Other,
}

impl SmmuEndpoint {
    /// A device with this `StreamID`, alone in its group, which can neither ATS nor stall.
    pub fn new(unit: &Arc<SmmuUnit>, stream: StreamId, group: GroupId) -> Arc<Self> {
        Self::with_features(unit, stream, group, DeviceFeatures::empty())
    }

    /// A device that can do more, as far as the unit can.
    pub fn with_features(
        unit: &Arc<SmmuUnit>,
        stream: StreamId,
        group: GroupId,
        features: DeviceFeatures,
    ) -> Arc<Self> {
        let shared = unit.shared.clone();
        let mut features = features;
        let needs = [
            (DeviceFeatures::ATS, SmmuFeatures::ATS),
            (DeviceFeatures::STALL, SmmuFeatures::STALL),
        ];
        for (feature, of_unit) in needs {
            features.set(
                feature,
                features.contains(feature) && shared.settings.has(of_unit),
            );
        }
        Arc::new(Self {
            unit: unit.clone(),
            stream,
            group,
            features,
            attachments: Arc::new(Attachments::new(&shared.epochs)),
            page_requests: Outstanding::new(MOST_STALLED),
            atc: Mutex::default(),
            attached: Mutex::default(),
            shared,
        })
    }

    /// Its `StreamID`.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// The way of its requests to memory, with a PASID or without. Where the device can be stalled, a fault that stalls asks whoever
    /// takes its page requests; Linux aborts the requests of others.
    pub fn dma_port(&self, pasid: Pasid) -> DmaPort {
        let name = format!("{} {pasid}", self.stream);
        let port = DmaPort::new(&self.shared.memory, &self.attachments, pasid, name);
        if !self.features.contains(DeviceFeatures::STALL) {
            return port;
        }
        let requests = self.page_requests.clone();
        port.asking(Box::new(move |iova, wanted| {
            requests.ask(pasid, iova, as_recorded(wanted)) == PageResponse::Success
        }))
    }

    /// Forgets what the device has cached itself.
    pub(super) fn invalidate_atc(&self, substreams: Substreams, range: IovaRange) {
        let requests = match substreams {
            Substreams::None => DeviceTlbScope::Of(Pasid::NONE),
            // Devices have no requests with PASID 0.
            Substreams::One(0) => return,
            Substreams::One(substream) => DeviceTlbScope::Of(Pasid(substream)),
            Substreams::All => DeviceTlbScope::AllPasids,
        };
        if let Some(atc) = &*self.atc.lock() {
            atc.invalidate(requests, range);
        }
    }

    fn stages(
        &self,
        pasid: Pasid,
        domain: &Domain,
    ) -> Result<(Stages, Option<Guest>), DriverError> {
        match domain {
            Domain::Paging(paging) => {
                let any: Arc<dyn Any + Send + Sync> = paging.clone();
                match any.downcast::<SmmuStage1>() {
                    Ok(first) => Ok((self.through_stage1(pasid, first)?, None)),
                    Err(any) => {
                        let second = any.downcast::<SmmuStage2>().map_err(|_| foreign())?;
                        Ok((self.through_stage2(pasid, second)?, None))
                    }
                }
            }
            Domain::Nested(nested) => {
                let any: Arc<dyn Any + Send + Sync> = nested.clone();
                let nested = any.downcast::<SmmuNested>().map_err(|_| foreign())?;
                self.through_guest(pasid, &nested)
            }
        }
    }

    fn check_unit(&self, shared: &Arc<Shared>) -> Result<(), DriverError> {
        if Arc::ptr_eq(shared, &self.shared) {
            return Ok(());
        }
        Err(DriverError::invalid("the page table is of another unit"))
    }

    fn through_stage1(&self, pasid: Pasid, first: Arc<SmmuStage1>) -> Result<Stages, DriverError> {
        self.check_unit(&first.table.shared)?;
        let rid = self.attached.lock().rid;
        if !pasid.is_none() && rid == Some(Rid::Other) {
            return Err(DriverError::invalid(
                "the RID is attached to what has no room for PASIDs",
            ));
        }
        let cd = first.descriptor(self.features.contains(DeviceFeatures::STALL));
        let context = cd
            .context(&self.shared.registers, false)
            .map_err(|rule| DriverError::invalid(rule.to_string()))?;
        Ok(Stages::Stage1 {
            domain: first,
            context,
        })
    }

    fn through_stage2(&self, pasid: Pasid, second: Arc<SmmuStage2>) -> Result<Stages, DriverError> {
        self.check_unit(&second.table.shared)?;
        if !pasid.is_none() {
            return Err(DriverError::invalid("a second stage has no PASIDs"));
        }
        self.check_no_pasids()?;
        let ste = Ste::stage2(&second.entry(self.stage2_flags()));
        Ok(Stages::Stage2 {
            domain: second,
            ste,
        })
    }

    /// The host's part of an entry. A device's cache of what our own tables say is always in step, so there is none.
    fn stage2_flags(&self) -> Stage2Flags {
        let mut flags = Stage2Flags::empty();
        let stalls = self.features.contains(DeviceFeatures::STALL);
        flags.set(Stage2Flags::STALL, stalls);
        flags
    }

    fn through_guest(
        &self,
        pasid: Pasid,
        nested: &Arc<SmmuNested>,
    ) -> Result<(Stages, Option<Guest>), DriverError> {
        if !pasid.is_none() {
            return Err(DriverError::unsupported(
                "a guest's entry is for the RID, and has PASIDs of its own",
            ));
        }
        let (viommu, guest) = (&nested.viommu, &nested.guest);
        let second = &viommu.parent;
        self.check_unit(&second.table.shared)?;
        self.check_no_pasids()?;
        let id = viommu.virt_id(self);
        if guest.config() == GuestConfig::Stage1 && id.is_none() {
            let rule = "the device has no vDEVICE on this vIOMMU";
            return Err(DriverError::new(Errno::ENOENT, rule));
        }
        let stages = match guest.config() {
            GuestConfig::Abort => Stages::Abort,
            GuestConfig::Bypass => Stages::Stage2 {
                domain: second.clone(),
                ste: Ste::stage2(&second.entry(self.stage2_flags())),
            },
            GuestConfig::Stage1 => {
                let mut flags = self.stage2_flags();
                let ats = guest.ats() && self.features.contains(DeviceFeatures::ATS);
                flags.set(Stage2Flags::ATS, ats);
                let ste = Ste::nested(guest, &second.entry(flags));
                Stages::Nested(Nested::new(&self.shared, self.stream, second, ste))
            }
        };
        let guest = id.map(|id| Guest {
            viommu: viommu.clone(),
            id,
        });
        Ok((stages, guest))
    }

    /// An entry without a table of ours has no room for the descriptors of PASIDs.
    fn check_no_pasids(&self) -> Result<(), DriverError> {
        if self.attached.lock().pasids.is_empty() {
            return Ok(());
        }
        let rule = "PASIDs of the device are attached";
        Err(DriverError::new(Errno::EBUSY, rule))
    }

    /// What translates the requests of a requester: it, or the device's own cache in front of it. That is a new one each time, because
    /// the host disables ATS in between.
    fn with_own_cache(&self, requester: Requester) -> (Arc<dyn Translate>, Option<Arc<DeviceTlb>>) {
        let Some(second) = requester.second_of_own_cache() else {
            return (Arc::new(requester), None);
        };
        let atc = Arc::new(DeviceTlb::new(self.shared.settings.caches));
        second.add_atc(&atc);
        let translate = atc.in_front_of(Pasid::NONE, Arc::new(requester));
        (translate, Some(atc))
    }

    /// Puts a new entry, or descriptor, in the place of the former.
    fn install(&self, pasid: Pasid, requester: Option<Requester>) {
        let (translate, atc) = requester
            .map(|requester| self.with_own_cache(requester))
            .unzip();
        self.attachments.set(pasid, translate);
        if pasid.is_none() {
            *self.atc.lock() = atc.flatten();
            // Nobody finds by the new entry what was fetched by the former: this makes room.
            let descriptors = &self.shared.caches.descriptors;
            descriptors.invalidate_stream(self.stream);
        }
    }
}

/// What a record says of an access: that it is a read or a write, and that a fetch is a read.
fn as_recorded(wanted: Access) -> Access {
    if wanted.writes() {
        wanted.difference(Access::READ)
    } else if wanted.intersects(Access::PRIVILEGED) {
        wanted | Access::PRIVILEGED_READ
    } else {
        wanted | Access::USER_READ
    }
}

fn foreign() -> DriverError {
    DriverError::invalid("the page table is not SMMUv3's")
}

impl Endpoint for SmmuEndpoint {
    fn unit(&self) -> &Arc<dyn Unit> {
        &self.unit
    }

    fn group(&self) -> GroupId {
        self.group
    }

    fn features(&self) -> EndpointFeatures {
        let settings = &self.shared.settings;
        let coherent = settings.has(SmmuFeatures::COHERENT);
        let mut features = EndpointFeatures::PASID_ATTACH
            | EndpointFeatures::USER_PASID_TABLE
            | EndpointFeatures::ISOLATED_MSI;
        features.set(EndpointFeatures::CACHE_COHERENCY, coherent);
        let dirty = settings.updates == HardwareUpdate::AccessedAndDirty
            && settings.has(SmmuFeatures::STAGE1);
        features.set(EndpointFeatures::DIRTY_TRACKING, dirty && coherent);
        features.set(
            EndpointFeatures::ATS,
            self.features.contains(DeviceFeatures::ATS),
        );
        features
    }

    fn max_pasids(&self) -> u32 {
        let registers: &IdRegisters = &self.shared.registers;
        1 << registers.ssid_bits()
    }

    fn reserved_regions(&self) -> Vec<ReservedRegion> {
        let range = IovaRange::from_len(Iova::new(MSI_FIRST), MSI_LEN);
        let kind = ReservedKind::SoftwareMsi;
        range
            .map(|range| ReservedRegion { range, kind })
            .into_iter()
            .collect()
    }

    fn attach(&self, pasid: Pasid, domain: &Domain) -> Result<(), DriverError> {
        let (stages, guest) = self.stages(pasid, domain)?;
        let rid = match stages {
            Stages::Stage1 { .. } => Rid::Stage1,
            _ => Rid::Other,
        };
        let substream = (!pasid.is_none()).then_some(pasid.0);
        let requester = Requester::new(&self.shared, self.stream, substream, stages, guest);
        self.install(pasid, Some(requester));
        let mut attached = self.attached.lock();
        if pasid.is_none() {
            attached.rid = Some(rid);
        } else {
            attached.pasids.insert(pasid);
        }
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
        self.install(pasid, None);
        let mut attached = self.attached.lock();
        if pasid.is_none() {
            attached.rid = None;
        } else {
            attached.pasids.remove(&pasid);
        }
    }
}
