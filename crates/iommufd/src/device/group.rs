//! A group: endpoints that share every attachment.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use swiommu_injection::{Step, step};
use swiommu_iommu::{Domain, DriverError, Endpoint, EndpointFeatures, Pasid};
use swiommu_sabotage::Fault;

use super::Device;
use crate::Error;
use crate::fault::FaultQueue;
use crate::hwpt::Hwpt;
use crate::ioas::Ioas;
use crate::object::{Headed, Held, ObjectId};

/// The bound endpoints of one group, and what their requests go through.
#[derive(Debug, Default)]
pub(crate) struct Group {
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    bound: Vec<Arc<dyn Endpoint>>,
    attachments: BTreeMap<Pasid, Attachment>,
}

/// One page table for one PASID of the whole group, and the devices that asked for it.
#[derive(Debug)]
struct Attachment {
    hwpt: Hwpt,
    devices: Vec<Held<Device>>,
}

impl Attachment {
    fn position(&self, device: &Device) -> Option<usize> {
        self.devices
            .iter()
            .position(|attached| attached.header().id() == device.header().id())
    }
}

impl Group {
    /// Takes in an endpoint that is being bound. It shares at once what the group is attached to.
    pub(crate) fn admit(&self, endpoint: &Arc<dyn Endpoint>) -> Result<(), Error> {
        let mut members = self.members.lock();
        for (pasid, attachment) in &members.attachments {
            endpoint.attach(*pasid, &attachment.hwpt.domain())?;
        }
        members.bound.push(endpoint.clone());
        Ok(())
    }

    /// Lets an endpoint go that is being unbound.
    pub(crate) fn expel(&self, endpoint: &Arc<dyn Endpoint>) {
        let mut members = self.members.lock();
        members.bound.retain(|bound| !Arc::ptr_eq(bound, endpoint));
        for pasid in members.attachments.keys() {
            endpoint.detach(*pasid);
        }
    }

    /// §4.3, in the order of its table.
    pub(crate) fn attach(
        &self,
        device: &Held<Device>,
        pasid: Pasid,
        hwpt: &Hwpt,
    ) -> Result<(), Error> {
        let mut members = self.members.lock();
        if let Some(attachment) = members.attachments.get(&pasid) {
            let id = attachment.hwpt.id();
            if attachment.position(device).is_some() {
                return Err(Error::AlreadyAttached {
                    device: device.header().id(),
                    pasid,
                    hwpt: id,
                });
            }
            if id != hwpt.id() {
                return Err(Error::GroupAttachedElsewhere { pasid, hwpt: id });
            }
        }
        let ioas = &hwpt.paging().ioas;
        if pasid.is_none() {
            ioas.reserve_for(device)?;
        }
        if !members.attachments.contains_key(&pasid)
            && let Err(error) = members.attach_first(pasid, hwpt)
        {
            if pasid.is_none() {
                ioas.unreserve_for(device);
            }
            return Err(error);
        }
        let attachment = members
            .attachments
            .entry(pasid)
            .or_insert_with(|| Attachment {
                hwpt: hwpt.clone(),
                devices: Vec::new(),
            });
        attachment.devices.push(device.clone());
        Ok(())
    }

    /// §4.4. Returns the page table that was left, for the caller to retire once no lock is held.
    pub(crate) fn replace(
        &self,
        device: &Device,
        pasid: Pasid,
        hwpt: &Hwpt,
    ) -> Result<Option<Hwpt>, Error> {
        let mut members = self.members.lock();
        let attachment = members
            .attachments
            .get(&pasid)
            .filter(|attachment| attachment.position(device).is_some())
            .ok_or(Error::NotAttached {
                device: device.header().id(),
                pasid,
            })?;
        if attachment.hwpt.id() == hwpt.id() {
            return Ok(None);
        }
        let (old, new) = (&attachment.hwpt.paging().ioas, &hwpt.paging().ioas);
        let moves = pasid.is_none() && old.header().id() != new.header().id();
        if moves {
            reserve_all(new, &attachment.devices)?;
        }
        if let Err(error) = members.switch(pasid, hwpt) {
            if moves && let Some(attachment) = members.attachments.get(&pasid) {
                unreserve_all(&hwpt.paging().ioas, &attachment.devices);
            }
            return Err(error);
        }
        let Some(attachment) = members.attachments.get_mut(&pasid) else {
            return Ok(None);
        };
        let left = std::mem::replace(&mut attachment.hwpt, hwpt.clone());
        for attached in attachment
            .devices
            .iter()
            .filter(|_| !Fault::KeepFaults.is_on())
        {
            left.forget_faults(attached, pasid);
        }
        if moves {
            unreserve_all(&left.paging().ioas, &attachment.devices);
        }
        Ok(Some(left))
    }

    /// §4.5. Returns the page table, for the caller to retire once no lock is held.
    pub(crate) fn detach(&self, device: &Device, pasid: Pasid) -> Option<Hwpt> {
        let mut members = self.members.lock();
        let attachment = members.attachments.get_mut(&pasid)?;
        let position = attachment.position(device)?;
        attachment.devices.swap_remove(position);
        if pasid.is_none() {
            attachment.hwpt.paging().ioas.unreserve_for(device);
        }
        attachment.hwpt.forget_faults(device, pasid);
        if !attachment.devices.is_empty() {
            return None;
        }
        for endpoint in &members.bound {
            endpoint.detach(pasid);
        }
        members
            .attachments
            .remove(&pasid)
            .map(|attachment| attachment.hwpt)
    }

    /// Gives the fault queue to `push` that a device's page requests with this PASID go to, and the PASID that its page table is
    /// attached for, while that stays so. `None` when there is no queue.
    pub(crate) fn with_fault_queue<R>(
        &self,
        device: &Device,
        pasid: Pasid,
        push: impl FnOnce(&FaultQueue, Pasid) -> R,
    ) -> Option<R> {
        let members = self.members.lock();
        let attached = |pasid| {
            let found: Option<&Attachment> = members.attachments.get(&pasid);
            found.filter(|attachment| attachment.position(device).is_some())
        };
        let (attachment, pasid) = if let Some(attachment) = attached(pasid) {
            (attachment, pasid)
        } else {
            // A guest that manages its own PASIDs hears of all of them through the RID.
            let features = device.endpoint.features();
            let rid = attached(Pasid::NONE)?;
            let guest = matches!(rid.hwpt, Hwpt::Nested(_));
            if !guest || !features.contains(EndpointFeatures::USER_PASID_TABLE) {
                return None;
            }
            (rid, Pasid::NONE)
        };
        Some(push(&attachment.hwpt.fault()?.queue, pasid))
    }

    /// The page table that this device asked for.
    pub(crate) fn attached(&self, device: &Device, pasid: Pasid) -> Option<ObjectId> {
        let members = self.members.lock();
        let attachment = members.attachments.get(&pasid)?;
        attachment.position(device).map(|_| attachment.hwpt.id())
    }

    /// The PASIDs that this device is attached for, and the page tables.
    pub(crate) fn attachments_of(&self, device: &Device) -> Vec<(Pasid, ObjectId)> {
        let members = self.members.lock();
        let attached = members
            .attachments
            .iter()
            .filter(|(_, a)| a.position(device).is_some());
        attached
            .map(|(pasid, attachment)| (*pasid, attachment.hwpt.id()))
            .collect()
    }
}

impl Members {
    /// Lets the whole group through a page table for a PASID that had none.
    fn attach_first(&self, pasid: Pasid, hwpt: &Hwpt) -> Result<(), Error> {
        self.check(pasid, hwpt)?;
        let domain = hwpt.domain();
        for (n, endpoint) in self.bound.iter().enumerate() {
            if let Err(error) = attach(&**endpoint, pasid, &domain) {
                for done in &self.bound[..n] {
                    done.detach(pasid);
                }
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Moves the whole group from one page table to another.
    fn switch(&self, pasid: Pasid, hwpt: &Hwpt) -> Result<(), Error> {
        self.check(pasid, hwpt)?;
        let domain = hwpt.domain();
        for (n, endpoint) in self.bound.iter().enumerate() {
            if let Err(error) = attach(&**endpoint, pasid, &domain) {
                self.go_back(pasid, &self.bound[..n]);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Returns endpoints to the page table that they came from. It took them before, so it takes them again; one that
    /// does not is left blocked, which is the safe side.
    fn go_back(&self, pasid: Pasid, moved: &[Arc<dyn Endpoint>]) {
        let Some(attachment) = self.attachments.get(&pasid) else {
            return;
        };
        let domain: Domain = attachment.hwpt.domain();
        for endpoint in moved {
            if endpoint.attach(pasid, &domain).is_err() {
                endpoint.detach(pasid);
            }
        }
    }

    fn check(&self, pasid: Pasid, hwpt: &Hwpt) -> Result<(), Error> {
        self.check_pasid_compatibility(pasid, hwpt)?;
        let domain = hwpt.domain();
        for endpoint in &self.bound {
            let driver = endpoint.unit().driver();
            if domain.driver() != driver {
                return Err(Error::OtherDriver {
                    domain: domain.driver(),
                    endpoint: driver,
                });
            }
            if pasid.is_none() {
                continue;
            }
            if !endpoint.features().contains(EndpointFeatures::PASID_ATTACH) {
                return Err(Error::NoPasids { driver });
            }
            if pasid.0 >= endpoint.max_pasids() {
                return Err(Error::PasidTooLarge {
                    pasid,
                    max: endpoint.max_pasids(),
                });
            }
        }
        Ok(())
    }

    /// Page tables for PASIDs and for the RID beside them must have been allocated for it.
    fn check_pasid_compatibility(&self, pasid: Pasid, hwpt: &Hwpt) -> Result<(), Error> {
        if pasid.is_none() {
            let others = self.attachments.keys().any(|pasid| !pasid.is_none());
            if others && !hwpt.is_pasid_compatible() {
                return Err(Error::NotPasidCompatible(hwpt.id()));
            }
            return Ok(());
        }
        if !hwpt.is_pasid_compatible() {
            return Err(Error::NotPasidCompatible(hwpt.id()));
        }
        match self.attachments.get(&Pasid::NONE) {
            Some(rid) if !rid.hwpt.is_pasid_compatible() && !Fault::PasidBesideAny.is_on() => {
                Err(Error::NotPasidCompatible(rid.hwpt.id()))
            }
            _ => Ok(()),
        }
    }
}

fn reserve_all(ioas: &Ioas, devices: &[Held<Device>]) -> Result<(), Error> {
    for (n, device) in devices.iter().enumerate() {
        if let Err(error) = ioas.reserve_for(device) {
            unreserve_all(ioas, &devices[..n]);
            return Err(error);
        }
    }
    Ok(())
}

fn unreserve_all(ioas: &Ioas, devices: &[Held<Device>]) {
    for device in devices {
        ioas.unreserve_for(device);
    }
}

fn attach(endpoint: &dyn Endpoint, pasid: Pasid, domain: &Domain) -> Result<(), DriverError> {
    step(Step::Driver)?;
    endpoint.attach(pasid, domain)
}
