//! A guest's slice of a unit: its streams, its commands, its events.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use swiommu_abi::Errno;
use swiommu_abi::hwpt::{IommuHwptArmSmmuv3, IommuHwptDataType};
use swiommu_abi::invalidate::{IommuHwptInvalidateDataType, IommuViommuArmSmmuv3Invalidate};
use swiommu_abi::veventq::{IommuVeventArmSmmuv3, IommuVeventqType};
use swiommu_sabotage::Fault as Sabotage;
use zerocopy::IntoBytes;

use super::caches::{Tag, of_stage1};
use super::spec::{Command, Event, GuestSte};
use super::unit::Shared;
use super::{SmmuEndpoint, SmmuNested, SmmuStage2};
use crate::{
    DomainFeatures, DriverError, Endpoint, EventHandler, Invalidated, NestedDomain, NestedRequest,
    PagingDomain, Requests, Viommu, VirtId,
};

/// A guest's slice of a unit (`IOMMU_VIOMMU_TYPE_ARM_SMMUV3`), in front of a second stage. What it caches has that one's VMID.
#[derive(Debug)]
pub struct SmmuViommu {
    own: Weak<Self>,
    pub(super) parent: Arc<SmmuStage2>,
    events: OnceLock<Arc<dyn EventHandler>>,
    /// By the `StreamID` that the guest has for them.
    devices: Mutex<BTreeMap<VirtId, Weak<SmmuEndpoint>>>,
}

/// A nesting parent of this unit.
pub(super) fn on_same_unit(
    parent: &Arc<dyn PagingDomain>,
    shared: &Arc<Shared>,
) -> Result<Arc<SmmuStage2>, DriverError> {
    let parent: Arc<dyn Any + Send + Sync> = parent.clone();
    let second = parent.downcast::<SmmuStage2>();
    second
        .ok()
        .filter(|second| second.features().contains(DomainFeatures::NEST_PARENT))
        .filter(|second| Arc::ptr_eq(&second.table.shared, shared))
        .ok_or_else(|| {
            DriverError::invalid("the parent is no second stage for nesting of this unit")
        })
}

impl SmmuViommu {
    pub(super) fn new(parent: Arc<SmmuStage2>) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            parent,
            events: OnceLock::new(),
            devices: Mutex::default(),
        })
    }

    /// What the guest calls a device.
    pub(super) fn virt_id(&self, endpoint: &SmmuEndpoint) -> Option<VirtId> {
        let devices = self.devices.lock();
        let mut found = devices
            .iter()
            .filter(|(_, device)| std::ptr::eq(device.as_ptr(), endpoint));
        found.next().map(|(id, _)| *id)
    }

    /// Tells the guest of an event, about a stream of its own.
    pub(super) fn report(&self, id: VirtId, mut event: Event) {
        event.transaction.stream = stream_of(id);
        let record = IommuVeventArmSmmuv3 {
            evt: event.words().map(u64::to_le),
        };
        let told = self
            .events
            .get()
            .map(|handler| handler.report(IommuVeventqType::ARM_SMMUV3.0, record.as_bytes()));
        if let Some(Err(error)) = told {
            tracing::debug!(id = %event.id, "an event does not reach the guest: {error}");
        }
    }

    fn device(&self, stream: u32) -> Result<Arc<SmmuEndpoint>, DriverError> {
        let devices = self.devices.lock();
        let device = devices.get(&VirtId(stream.into())).and_then(Weak::upgrade);
        device.ok_or_else(|| refused(format!("no vDEVICE has StreamID {stream:#x}")))
    }

    /// Carries out a command, with the VMID and the streams that the guest's are.
    fn carry_out(&self, command: Command) -> Result<(), DriverError> {
        let (caches, vmid) = (&self.parent.table.shared.caches, self.parent.vmid());
        match command {
            _ if Sabotage::SkipInvalidation.is_on() => {}
            Command::TlbiVa { .. } if Sabotage::InvalidateAll.is_on() => {
                caches.invalidate(&of_stage1(vmid));
            }
            Command::TlbiAll => caches.invalidate(&of_stage1(vmid)),
            Command::TlbiAsid { asid } => caches.invalidate(&Tag::Asid { vmid, asid }.all()),
            Command::TlbiVa { asid, cover } => caches.invalidate_addresses(vmid, asid, &cover),
            Command::CfgiCd {
                stream,
                substream,
                leaf,
            } => {
                let device = self.device(stream)?;
                caches
                    .descriptors
                    .invalidate(device.stream(), substream, leaf);
            }
            Command::CfgiCdAll { stream } => {
                let device = self.device(stream)?;
                caches.descriptors.invalidate_stream(device.stream());
            }
            Command::AtcInv {
                stream,
                substreams,
                range,
            } => self.device(stream)?.invalidate_atc(substreams, range),
        }
        Ok(())
    }
}

/// The number of a vDEVICE as a `StreamID`, of which the driver takes the lower 32 bits.
fn stream_of(id: VirtId) -> u32 {
    let [b0, b1, b2, b3, ..] = id.0.to_le_bytes();
    u32::from_le_bytes([b0, b1, b2, b3])
}

/// What a guest says and may not (`EIO`).
fn refused(rule: impl Into<String>) -> DriverError {
    DriverError::new(Errno::EIO, rule)
}

impl Viommu for SmmuViommu {
    fn set_event_handler(&self, handler: Arc<dyn EventHandler>) {
        // It is called once.
        let _ = self.events.set(handler);
    }

    fn alloc_nested(
        &self,
        _endpoint: &dyn Endpoint,
        _parent: &Arc<dyn PagingDomain>,
        request: &NestedRequest<'_>,
    ) -> Result<Arc<dyn NestedDomain>, DriverError> {
        if !request.flags.is_empty() {
            let flags = request.flags;
            return Err(DriverError::unsupported(format!("flags {flags:?}")));
        }
        let data_type = request.data.data_type();
        if data_type != IommuHwptDataType::ARM_SMMUV3.0 {
            return Err(DriverError::invalid(format!(
                "a guest's table of type {data_type:#x}, where SMMUv3 has ARM_SMMUV3"
            )));
        }
        let data: IommuHwptArmSmmuv3 = request.data.read_struct()?;
        let guest = GuestSte::new(data.ste.map(u64::from_le));
        let guest = guest.map_err(|error| refused(error.to_string()))?;
        let gone = || DriverError::invalid("the virtual IOMMU is going away");
        let viommu = self.own.upgrade().ok_or_else(gone)?;
        Ok(Arc::new(SmmuNested::new(viommu, guest)))
    }

    fn add_device(&self, endpoint: &Arc<dyn Endpoint>, id: VirtId) -> Result<(), DriverError> {
        let endpoint: Arc<dyn Any + Send + Sync> = endpoint.clone();
        let endpoint = endpoint.downcast::<SmmuEndpoint>();
        let endpoint = endpoint.map_err(|_| DriverError::invalid("the device is not SMMUv3's"))?;
        self.devices.lock().insert(id, Arc::downgrade(&endpoint));
        Ok(())
    }

    fn remove_device(&self, id: VirtId) {
        self.devices.lock().remove(&id);
    }

    /// Linux counts commands before the one that it refuses as done, which it has not yet issued. Here they are.
    fn invalidate(&self, requests: &dyn Requests) -> Invalidated {
        if requests.data_type() != IommuHwptInvalidateDataType::ARM_SMMUV3.0 {
            return Invalidated::refused(DriverError::invalid(format!(
                "invalidations of type {:#x}, where SMMUv3 has ARM_SMMUV3",
                requests.data_type()
            )));
        }
        if requests.count() == 0 {
            return Invalidated::refused(DriverError::invalid("no commands"));
        }
        // The whole array is copied before anything is done.
        let mut commands = Vec::new();
        for index in 0..requests.count() {
            let mut entry = IommuViommuArmSmmuv3Invalidate::default();
            if let Err(error) = requests.read_entry(index, entry.as_mut_bytes()) {
                return Invalidated::refused(error);
            }
            commands.push(entry.cmd.map(u64::from_le));
        }
        let shared = &self.parent.table.shared;
        let mut commands = commands.into_iter();
        let done = Invalidated::each(requests.count(), |_| {
            let words = commands.next().unwrap_or_default();
            let command = Command::of_guest(words, &shared.registers);
            self.carry_out(command.map_err(|error| refused(error.to_string()))?)
        });
        // When the call returns, no request that used what was invalidated is in flight.
        shared.epochs.synchronize();
        done
    }
}
