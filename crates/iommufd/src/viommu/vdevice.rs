//! VDEVICE: what a device is to a guest (§7.2).

use std::sync::Arc;

use swiommu_injection::{Step, step};
use swiommu_iommu::VirtId;
use swiommu_sabotage::Fault;

use super::Viommu;
use crate::Error;
use crate::device::Device;
use crate::object::{Draft, Headed, Header, Held, Object, ObjectId};
use crate::state::State;

/// A device's number in one virtual IOMMU.
#[derive(Debug)]
pub(crate) struct Vdevice {
    pub(crate) header: Header,
    pub(crate) viommu: Held<Viommu>,
    pub(crate) device: Held<Device>,
    pub(crate) virt_id: VirtId,
}

/// `IOMMU_VDEVICE_ALLOC`.
pub(crate) fn alloc(
    state: &Arc<State>,
    viommu: ObjectId,
    device: ObjectId,
    virt_id: VirtId,
) -> Result<Draft, Error> {
    let viommu = state.objects.get::<Viommu>(viommu)?;
    let device = state.objects.get::<Device>(device)?;
    viommu.check_unit(&*device.endpoint)?;
    let reservation = state.objects.reserve(state)?;
    let id = reservation.id();
    let mut own = device.vdevice.lock();
    if let Some(other) = *own {
        return Err(Error::HasVdevice {
            device: device.header().id(),
            vdevice: other,
        });
    }
    let mut numbers = viommu.vdevices.lock();
    let taken = numbers.get(&virt_id);
    if let Some(other) = taken.filter(|_| !Fault::VirtIdTwice.is_on()) {
        return Err(Error::VirtIdTaken {
            virt_id: virt_id.0,
            vdevice: *other,
        });
    }
    step(Step::Driver)?;
    viommu.driver.add_device(&device.endpoint, virt_id)?;
    numbers.insert(virt_id, id);
    *own = Some(id);
    drop((own, numbers));
    let vdevice = Vdevice {
        header: Header::new(id),
        viommu,
        device,
        virt_id,
    };
    Ok(Draft::new(reservation, Object::Vdevice(Arc::new(vdevice))))
}

impl Vdevice {
    /// Lets the guest's number go.
    pub(crate) fn teardown(&self) {
        let id = self.header().id();
        // The driver first: whoever finds the number free may give it to the driver again at once.
        self.viommu.driver.remove_device(self.virt_id);
        self.viommu.vdevices.lock().remove(&self.virt_id);
        // On unbinding, the device has given its part up already.
        self.device.vdevice.lock().take_if(|own| *own == id);
    }
}
