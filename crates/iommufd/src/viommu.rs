//! VIOMMU: a guest's slice of one physical IOMMU (§7), with the objects that belong to it.

pub(crate) mod hw_queue;
mod regions;
pub(crate) mod vdevice;
pub(crate) mod veventq;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

pub(crate) use hw_queue::HwQueue;
use parking_lot::Mutex;
pub(crate) use regions::{Region, Regions};
use swiommu_abi::Errno;
use swiommu_injection::{Step, step};
use swiommu_iommu::{
    DriverError, Endpoint, EventHandler, MmapRegion, MmapRegions, Unit, ViommuRequest, VirtId,
};
pub(crate) use vdevice::Vdevice;
pub(crate) use veventq::Veventq;

use crate::Error;
use crate::device::Device;
use crate::hwpt::HwptPaging;
use crate::object::{Draft, Headed, Header, Held, Object, ObjectId};
use crate::state::State;

/// A virtual IOMMU as an object.
#[derive(Debug)]
pub(crate) struct Viommu {
    pub(crate) header: Header,
    pub(crate) parent: Held<HwptPaging>,
    pub(crate) driver: Arc<dyn swiommu_iommu::Viommu>,
    unit: Arc<dyn Unit>,
    /// What the client maps, and has to unmap before the vIOMMU can go.
    pub(crate) regions: Vec<Arc<Region>>,
    vdevices: Mutex<BTreeMap<VirtId, ObjectId>>,
    queues: Mutex<Queues>,
    events: Arc<Events>,
}

/// The hardware queues of a virtual IOMMU, by index.
type Queues = BTreeMap<u32, Weak<HwQueue>>;

/// The event queues of a virtual IOMMU, by type.
#[derive(Debug, Default)]
struct Events {
    queues: Mutex<BTreeMap<u32, Weak<Veventq>>>,
}

impl EventHandler for Events {
    fn report(&self, event_type: u32, data: &[u8]) -> Result<(), DriverError> {
        let queue = self.queues.lock().get(&event_type).and_then(Weak::upgrade);
        let nobody =
            || DriverError::unsupported(format!("no queue takes events of type {event_type:#x}"));
        let queue = queue.ok_or_else(nobody)?;
        if queue.queue.report(data) {
            Ok(())
        } else {
            Err(DriverError::new(
                Errno::ENOMEM,
                "the event queue is full, and an event is lost",
            ))
        }
    }
}

/// The regions that a driver makes while a virtual IOMMU is being made.
#[derive(Debug)]
struct NewRegions<'a> {
    all: &'a Arc<Regions>,
    made: Mutex<Vec<Arc<Region>>>,
}

impl MmapRegions for NewRegions<'_> {
    fn allocate(&self, len: u64) -> Result<Arc<dyn MmapRegion>, DriverError> {
        let region = Regions::allocate(self.all, len)?;
        self.made.lock().push(region.clone());
        Ok(region)
    }
}

/// `IOMMU_VIOMMU_ALLOC`, from the look-up of the device on.
pub(crate) fn alloc(
    state: &Arc<State>,
    (device, parent): (ObjectId, ObjectId),
    viommu_type: u32,
    data: Option<&dyn swiommu_iommu::UserDataMut>,
) -> Result<Draft, Error> {
    let device = state.objects.get::<Device>(device)?;
    let endpoint = &*device.endpoint;
    let unit = endpoint.unit();
    unit.check_viommu_type(endpoint, viommu_type)?;
    let parent = state.objects.get::<HwptPaging>(parent)?;
    if !parent.is_nesting_parent() {
        return Err(Error::NotNestingParent(parent.header().id()));
    }
    let reservation = state.objects.reserve(state)?;
    let regions = NewRegions {
        all: &state.regions,
        made: Mutex::default(),
    };
    let request = ViommuRequest {
        viommu_type,
        data,
        regions: &regions,
    };
    step(Step::Driver)?;
    let driver = unit.alloc_viommu(endpoint, &parent.domain, &request)?;
    let events = Arc::<Events>::default();
    driver.set_event_handler(events.clone());
    let viommu = Viommu {
        header: Header::new(reservation.id()),
        parent,
        driver,
        unit: unit.clone(),
        regions: regions.made.into_inner(),
        vdevices: Mutex::default(),
        queues: Mutex::default(),
        events,
    };
    Ok(Draft::new(reservation, Object::Viommu(Arc::new(viommu))))
}

impl Viommu {
    /// Whether a device is behind the same physical IOMMU.
    pub(crate) fn check_unit(&self, endpoint: &dyn Endpoint) -> Result<(), Error> {
        if std::ptr::addr_eq(Arc::as_ptr(endpoint.unit()), Arc::as_ptr(&self.unit)) {
            Ok(())
        } else {
            Err(Error::OtherUnit(self.header().id()))
        }
    }
}
