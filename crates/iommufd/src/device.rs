//! Devices: endpoints that an external driver has bound to a context.

mod attach;
mod group;
mod page_requests;

use std::sync::Arc;

pub(crate) use group::Group;
use parking_lot::Mutex;
use swiommu_iommu::{Endpoint, EndpointFeatures, PageRequest, Pasid};

use crate::Error;
use crate::object::{Headed, Header, Held, Object, ObjectId};
use crate::state::State;

/// A bound endpoint.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) header: Header,
    pub(crate) endpoint: Arc<dyn Endpoint>,
    pub(crate) group: Arc<Group>,
    /// Page requests of groups whose last one has not come yet.
    incomplete: Mutex<Vec<PageRequest>>,
    /// What it is to a guest, if it is anything.
    pub(crate) vdevice: Mutex<Option<ObjectId>>,
}

/// An external driver's hold on a device that it bound: attach, replace, detach, per PASID.
///
/// Dropping it detaches everything and unbinds (`iommufd_device_unbind`). It does not keep the context open; a driver
/// whose files must, keeps the [`Context`](crate::Context) itself.
#[derive(Debug)]
pub struct BoundDevice {
    state: Arc<State>,
    device: Held<Device>,
}

impl BoundDevice {
    /// Binds an endpoint (§4.1). Until it is attached all its DMA is blocked.
    pub(crate) fn bind(state: &Arc<State>, endpoint: Arc<dyn Endpoint>) -> Result<Self, Error> {
        let features = endpoint.features();
        if !features.contains(EndpointFeatures::CACHE_COHERENCY) {
            return Err(Error::NotCoherent);
        }
        if !features.contains(EndpointFeatures::ISOLATED_MSI) {
            return Err(Error::UnsafeInterrupts);
        }
        let mut reservation = state.objects.reserve(state)?;
        let group = state.group(endpoint.group());
        group.admit(&endpoint)?;
        let header = Header::new(reservation.id());
        let device = Arc::new(Device {
            header,
            endpoint,
            group,
            incomplete: Mutex::default(),
            vdevice: Mutex::default(),
        });
        let held = Held::new(device.clone());
        device
            .endpoint
            .set_page_request_handler(Some(page_requests::Router::new(&device)));
        reservation.publish(Object::Device(device));
        Ok(Self {
            state: state.clone(),
            device: held,
        })
    }

    /// The number of the DEVICE object.
    pub fn id(&self) -> ObjectId {
        self.device.header().id()
    }

    /// The endpoint that was bound.
    pub fn endpoint(&self) -> &Arc<dyn Endpoint> {
        &self.device.endpoint
    }

    /// Attaches to a page table, or to an IOAS by a page table that is found or made (§4.2, §4.3).
    ///
    /// Returns the number of the page table.
    ///
    /// # Errors
    /// `ENOENT` and `EINVAL` for the target; `EBUSY` when already attached; `EADDRINUSE`, `EFAULT`, `ENOMEM` when the
    /// content of the IOAS does not fit; the driver's errno. Nothing has changed then.
    pub fn attach(&self, pasid: Pasid, target: ObjectId) -> Result<ObjectId, Error> {
        attach::attach(&self.state, &self.device, pasid, target)
    }

    /// Moves the device, and its group with it, to another page table (§4.4).
    ///
    /// # Errors
    /// `EINVAL` when nothing is attached; otherwise as [`attach`](Self::attach). The old attachment stays then.
    pub fn replace(&self, pasid: Pasid, target: ObjectId) -> Result<ObjectId, Error> {
        attach::replace(&self.state, &self.device, pasid, target)
    }

    /// Detaches (§4.5). Nothing happens when nothing is attached.
    pub fn detach(&self, pasid: Pasid) {
        if let Some(hwpt) = self.device.group.detach(&self.device, pasid) {
            hwpt.retire(&self.state);
        }
    }

    /// The number of the page table that requests with this PASID go through.
    pub fn attached(&self, pasid: Pasid) -> Option<ObjectId> {
        self.device.group.attached(&self.device, pasid)
    }
}

impl Drop for BoundDevice {
    fn drop(&mut self) {
        for (pasid, _) in self.device.group.attachments_of(&self.device) {
            self.detach(pasid);
        }
        self.device.endpoint.set_page_request_handler(None);
        self.device.group.expel(&self.device.endpoint);
        // Taken first: tearing it down locks this too.
        let vdevice = self.device.vdevice.lock().take();
        if let Some(vdevice) = vdevice {
            self.state.entomb(vdevice);
        }
        self.state.objects.remove(self.id());
    }
}
