//! Mock devices, and what they are attached to (§4.2 to §4.5, §9.2, §9.6, §9.7). Each is alone in its group.

use std::collections::BTreeMap;

use swiommu_abi::Errno;

use super::Reference;
use super::hwpt::{Paging, Parent};
use super::objects::{Object, Slot};
use crate::reply::Answer;

const NO_DIRTY: u32 = 1;
const WITH_PASIDS: u32 = 4;
const FAILING_PASID: u32 = 1024;
const CACHE: u32 = 0x00ba_ddad;

#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) no_dirty: bool,
    max_pasids: u32,
    /// The page table of each PASID; 0 is the RID.
    pub(crate) attached: BTreeMap<u32, u32>,
    /// The virtual IOMMU that it is attached through, and its number there.
    pub(crate) guest: Option<(u32, u64)>,
    pub(crate) cache: [u32; 4],
    /// Whether the next attachment to the PASID fails of which every second one does.
    fails_next: bool,
}

impl Device {
    /// Bits of a PASID.
    pub(crate) fn pasid_bits(&self) -> u32 {
        self.max_pasids.ilog2()
    }
}

/// What an attachment does about an earlier one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Attach,
    Replace,
}

impl Reference {
    pub(crate) fn mock_domain(&mut self, on: u32, flags: u32) -> Answer {
        let stdev = self.take_id();
        if flags & !(NO_DIRTY | WITH_PASIDS) != 0 {
            return self.settle(stdev, Err(Errno::EINVAL));
        }
        let id = self.take_id();
        let device = Device {
            no_dirty: flags & NO_DIRTY != 0,
            max_pasids: if flags & WITH_PASIDS != 0 { 1 << 20 } else { 1 },
            attached: BTreeMap::new(),
            guest: None,
            cache: [CACHE; 4],
            fails_next: false,
        };
        self.settle(id, Ok(Object::Device(device)))?;
        match self.attach(id, 0, on, Mode::Attach) {
            Ok(hwpt) => {
                self.settle(stdev, Ok(Object::Stdev(id)))?;
                Ok(vec![stdev.into(), hwpt.into(), id.into()])
            }
            Err(errno) => {
                self.slots.remove(&id);
                self.settle(stdev, Err(errno))
            }
        }
    }

    pub(crate) fn replace(&mut self, stdev: u32, on: u32) -> Answer {
        let device = *self.stdev(stdev)?;
        Ok(vec![self.attach(device, 0, on, Mode::Replace)?.into()])
    }

    pub(crate) fn pasid_attach(&mut self, stdev: u32, pasid: u32, on: u32) -> Answer {
        let device = *self.stdev(stdev)?;
        Ok(vec![self.attach(device, pasid, on, Mode::Attach)?.into()])
    }

    pub(crate) fn pasid_replace(&mut self, stdev: u32, pasid: u32, on: u32) -> Answer {
        let device = *self.stdev(stdev)?;
        Ok(vec![self.attach(device, pasid, on, Mode::Replace)?.into()])
    }

    pub(crate) fn pasid_detach(&mut self, stdev: u32, pasid: u32) -> Answer {
        let device = *self.stdev(stdev)?;
        self.detach(device, pasid);
        Ok(vec![])
    }

    pub(crate) fn pasid_check(&self, stdev: u32, pasid: u32, hwpt: u32) -> Answer {
        let device = *self.stdev(stdev)?;
        let attached = self.device(device)?.attached.get(&pasid);
        if hwpt != 0 && !matches!(self.object(hwpt)?, Object::Paging(_) | Object::Nested(_)) {
            return Err(Errno::EINVAL);
        }
        if attached.copied().unwrap_or(0) != hwpt {
            return Err(Errno::EINVAL);
        }
        Ok(vec![])
    }

    /// Removes a DEVICE whose mock device is gone. Its VDEVICE leaves a tombstone.
    pub(crate) fn unplug(&mut self, id: u32) {
        let pasids: Vec<u32> = self.device_mut(id).attached.keys().copied().collect();
        for pasid in pasids {
            self.detach(id, pasid);
        }
        if let Some(vdevice) = self.vdevice_of(id) {
            self.slots.insert(vdevice, Slot::Tombstone);
        }
        self.slots.remove(&id);
    }

    fn attach(&mut self, device: u32, pasid: u32, on: u32, mode: Mode) -> Result<u32, Errno> {
        match self.object(on)? {
            Object::Paging(_) | Object::Nested(_) => self.attach_to(device, pasid, on, mode),
            Object::Ioas(_) => self.attach_to_ioas(device, pasid, on, mode),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The first automatic page table that suits, or a new one.
    fn attach_to_ioas(
        &mut self,
        device: u32,
        pasid: u32,
        ioas: u32,
        mode: Mode,
    ) -> Result<u32, Errno> {
        let mut automatic: Vec<(u64, u32)> = Vec::new();
        for (id, object) in self.objects() {
            if let Object::Paging(hwpt) = object
                && hwpt.ioas == ioas
                && hwpt.automatic
            {
                automatic.push((hwpt.born, id));
            }
        }
        automatic.sort_unstable();
        for (_, hwpt) in automatic {
            match self.attach_to(device, pasid, hwpt, mode) {
                Err(Errno::EINVAL) => {}
                other => return other,
            }
        }
        let id = self.take_id();
        self.clock += 1;
        let mut hwpt = Paging::new(ioas, true, 0, false, self.clock);
        let done = match mode {
            Mode::Attach => self
                .check(device, pasid, &Object::Paging(hwpt.clone()), mode)
                .and_then(|()| self.link(id, &mut hwpt)),
            Mode::Replace => self.check_replaceable(ioas, id, &mut hwpt, device, pasid),
        };
        self.settle(id, done.map(|()| Object::Paging(hwpt)))?;
        self.enter(device, pasid, id);
        Ok(id)
    }

    /// When it takes the place of another, the new page table is filled before the device is asked.
    fn check_replaceable(
        &mut self,
        ioas: u32,
        id: u32,
        hwpt: &mut Paging,
        device: u32,
        pasid: u32,
    ) -> Result<(), Errno> {
        self.link(id, hwpt)?;
        let object = Object::Paging(hwpt.clone());
        let checked = self.check(device, pasid, &object, Mode::Replace);
        if checked.is_err() {
            self.unlink(id, ioas);
        }
        checked
    }

    fn attach_to(&mut self, device: u32, pasid: u32, hwpt: u32, mode: Mode) -> Result<u32, Errno> {
        let attached = self.device(device)?.attached.get(&pasid).copied();
        if mode == Mode::Replace && attached == Some(hwpt) {
            return Ok(hwpt);
        }
        let object = self.object(hwpt)?.clone();
        self.check(device, pasid, &object, mode)?;
        self.enter(device, pasid, hwpt);
        Ok(hwpt)
    }

    /// Everything that can refuse an attachment, in order.
    fn check(&mut self, id: u32, pasid: u32, hwpt: &Object, mode: Mode) -> Result<(), Errno> {
        let device = self.device(id)?.clone();
        let attached = device.attached.get(&pasid);
        match mode {
            Mode::Attach if attached.is_some() => return Err(Errno::EBUSY),
            Mode::Replace if attached.is_none() => return Err(Errno::EINVAL),
            _ => {}
        }
        if pasid == 0 {
            if device.attached.keys().any(|pasid| *pasid != 0) && !hwpt.is_for_pasids() {
                return Err(Errno::EINVAL);
            }
            return self.check_by_driver(id, &device, hwpt);
        }
        if !hwpt.is_for_pasids() {
            return Err(Errno::EINVAL);
        }
        if let Some(rid) = device.attached.get(&0)
            && !self.object(*rid)?.is_for_pasids()
        {
            return Err(Errno::EINVAL);
        }
        if pasid >= device.max_pasids {
            return Err(Errno::EINVAL);
        }
        if pasid == FAILING_PASID {
            self.device_mut(id).fails_next = !device.fails_next;
            if device.fails_next {
                return Err(Errno::ENOMEM);
            }
        }
        Ok(())
    }

    /// What the mock's driver demands of the page table of a RID.
    fn check_by_driver(&self, id: u32, device: &Device, hwpt: &Object) -> Result<(), Errno> {
        match hwpt {
            Object::Paging(hwpt) if hwpt.tracks_dirty() && device.no_dirty => Err(Errno::EINVAL),
            Object::Nested(hwpt) => match hwpt.on {
                Parent::Viommu(viommu) => self.virt_id(viommu, id).map(drop),
                Parent::Paging(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The number of a device in a virtual IOMMU.
    fn virt_id(&self, viommu: u32, device: u32) -> Result<u64, Errno> {
        let vdevice = self.vdevice_of(device).ok_or(Errno::ENOENT)?;
        let vdevice = self.vdevice(vdevice)?;
        if vdevice.viommu == viommu {
            Ok(vdevice.virt_id)
        } else {
            Err(Errno::ENOENT)
        }
    }

    /// Makes an attachment that nothing refuses.
    fn enter(&mut self, id: u32, pasid: u32, hwpt: u32) {
        if pasid == 0 {
            let guest = match self.nested(hwpt).map(|hwpt| hwpt.on) {
                Ok(Parent::Viommu(viommu)) => self
                    .virt_id(viommu, id)
                    .ok()
                    .map(|virt_id| (viommu, virt_id)),
                _ => None,
            };
            self.device_mut(id).guest = guest;
        }
        if let Some(left) = self.device_mut(id).attached.insert(pasid, hwpt) {
            self.leave(id, pasid, left);
        }
    }

    fn detach(&mut self, id: u32, pasid: u32) {
        let device = self.device_mut(id);
        let Some(left) = device.attached.remove(&pasid) else {
            return;
        };
        if pasid == 0 {
            device.guest = None;
        }
        if pasid == FAILING_PASID {
            device.fails_next = false;
        }
        self.leave(id, pasid, left);
    }

    fn leave(&mut self, device: u32, pasid: u32, hwpt: u32) {
        self.forget_faults(hwpt, device, pasid);
        self.retire(hwpt);
    }
}
