//! An open device file: binding, attaching, detaching.

use std::mem::offset_of;
use std::sync::Arc;

use parking_lot::{MappedMutexGuard, MutexGuard};
use swiommu_abi::Errno;
use swiommu_abi::vfio::device::{
    VFIO_DEVICE_ATTACH_IOMMUFD_PT, VFIO_DEVICE_BIND_IOMMUFD, VFIO_DEVICE_DETACH_IOMMUFD_PT,
    VfioDeviceAttachFlags, VfioDeviceAttachIommufdPt, VfioDeviceBindFlags, VfioDeviceBindIommufd,
    VfioDeviceDetachFlags, VfioDeviceDetachIommufdPt,
};
use swiommu_addr::{Hva, HvaRange};
use swiommu_files::{Arg, Caller, FdNumber, File, MmapRequest, Refusal, Stat};
use swiommu_iommufd::{Context, ObjectId};

use crate::bound::{Bound, Subject};
use crate::device::Opener;
use crate::{Device, Error, copy, features, info};

/// An open `/dev/vfio/devices/vfioN`. Closing it detaches and unbinds what it bound.
#[derive(Debug)]
pub struct DeviceFile {
    device: Arc<Device>,
    opener: Opener,
}

impl DeviceFile {
    pub(crate) fn new(device: &Arc<Device>) -> Self {
        Self {
            device: device.clone(),
            opener: device.opener(),
        }
    }

    /// The device that was opened.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// What this file has bound.
    fn bound(&self) -> Result<MappedMutexGuard<'_, Bound>, Error> {
        let bound = MutexGuard::try_map(self.device.bound(), |bound| match bound {
            Some((opener, bound)) if *opener == self.opener => Some(bound),
            _ => None,
        });
        bound.map_err(|_| Error::NotBound)
    }

    fn has_bound(&self) -> bool {
        self.bound().is_ok()
    }

    fn run(&self, caller: &dyn Caller, request: u32, at: Hva) -> Result<(), Error> {
        if request == VFIO_DEVICE_BIND_IOMMUFD {
            return self.bind(caller, at);
        }
        if !self.has_bound() {
            return Err(Error::NotBound);
        }
        match request {
            VFIO_DEVICE_ATTACH_IOMMUFD_PT => self.attach(caller, at),
            VFIO_DEVICE_DETACH_IOMMUFD_PT => self.detach(caller, at),
            swiommu_abi::vfio::feature::VFIO_DEVICE_FEATURE => features::feature(caller, at),
            _ => info::info(caller, request, at),
        }
    }

    fn bind(&self, caller: &dyn Caller, at: Hva) -> Result<(), Error> {
        let min = offset_of!(VfioDeviceBindIommufd, token_uuid_ptr);
        let cmd: VfioDeviceBindIommufd = copy::read_extensible(caller, at, min)?;
        if cmd.iommufd < 0 {
            return Err(Error::NegativeDescriptor(cmd.iommufd));
        }
        let flags = VfioDeviceBindFlags::from_bits(cmd.flags).ok_or(Error::Flags(cmd.flags))?;
        if self.has_bound() {
            return Err(Error::AlreadyBound);
        }
        if flags.contains(VfioDeviceBindFlags::TOKEN) {
            return Err(Error::NoToken);
        }
        // Not under the lock: the descriptor may be another file of this device, which is closed meanwhile.
        let context = Context::of_descriptor(caller, FdNumber(cmd.iommufd))?;
        let mut bound = self.device.bound();
        match &*bound {
            Some((opener, _)) if *opener == self.opener => return Err(Error::AlreadyBound),
            Some(_) => return Err(Error::BoundElsewhere),
            None => {}
        }
        let endpoint = self.device.endpoint();
        let ownership = self.device.owners().claim(endpoint.group(), &context)?;
        let device = context.bind(endpoint.clone())?;
        let new = Bound::new(device, ownership, context);
        let out = offset_of!(VfioDeviceBindIommufd, out_devid);
        copy::write(caller, at, out, &new.id().0.to_ne_bytes())?;
        *bound = Some((self.opener, new));
        Ok(())
    }

    fn attach(&self, caller: &dyn Caller, at: Hva) -> Result<(), Error> {
        let min = offset_of!(VfioDeviceAttachIommufdPt, pasid);
        let mut cmd: VfioDeviceAttachIommufdPt = copy::read_min(caller, at, min)?;
        let flags = VfioDeviceAttachFlags::from_bits(cmd.flags).ok_or(Error::Flags(cmd.flags))?;
        let subject = if flags.contains(VfioDeviceAttachFlags::PASID) {
            let argsz = cmd.argsz;
            copy::read_rest(caller, at, (&mut cmd, argsz), min)?;
            Subject::Pasid(cmd.pasid)
        } else {
            Subject::Rid
        };
        let mut bound = self.bound()?;
        let hwpt = bound.attach(subject, ObjectId(cmd.pt_id))?;
        let out = offset_of!(VfioDeviceAttachIommufdPt, pt_id);
        let told = copy::write(caller, at, out, &hwpt.0.to_ne_bytes());
        if told.is_err() {
            bound.detach(subject);
        }
        told
    }

    fn detach(&self, caller: &dyn Caller, at: Hva) -> Result<(), Error> {
        let min = offset_of!(VfioDeviceDetachIommufdPt, pasid);
        let mut cmd: VfioDeviceDetachIommufdPt = copy::read_min(caller, at, min)?;
        let flags = VfioDeviceDetachFlags::from_bits(cmd.flags).ok_or(Error::Flags(cmd.flags))?;
        let subject = if flags.contains(VfioDeviceDetachFlags::PASID) {
            let argsz = cmd.argsz;
            copy::read_rest(caller, at, (&mut cmd, argsz), min)?;
            Subject::Pasid(cmd.pasid)
        } else {
            Subject::Rid
        };
        self.bound()?.detach(subject);
        Ok(())
    }

    fn no_regions(&self) -> Refusal {
        match self.bound() {
            Ok(_) => Refusal::new(Errno::EINVAL, "the device has no regions"),
            Err(error) => error.into(),
        }
    }
}

impl File for DeviceFile {
    fn name(&self) -> &str {
        self.device.path()
    }

    fn stat(&self) -> Stat {
        self.device.stat()
    }

    fn ioctl(&self, caller: &dyn Caller, request: u32, arg: Arg) -> Result<i32, Refusal> {
        self.run(caller, request, arg.pointer())?;
        Ok(0)
    }

    fn read(&self, _: &dyn Caller, _: Option<HvaRange>) -> Result<usize, Refusal> {
        Err(self.no_regions())
    }

    fn write(&self, _: &dyn Caller, _: Option<HvaRange>) -> Result<usize, Refusal> {
        Err(self.no_regions())
    }

    fn read_at(&self, _: &dyn Caller, _: u64, _: Option<HvaRange>) -> Result<usize, Refusal> {
        Err(self.no_regions())
    }

    fn write_at(&self, _: &dyn Caller, _: u64, _: Option<HvaRange>) -> Result<usize, Refusal> {
        Err(self.no_regions())
    }

    fn mmap(&self, _: &dyn Caller, _: &MmapRequest) -> Result<(), Refusal> {
        Err(self.no_regions())
    }
}

impl Drop for DeviceFile {
    fn drop(&mut self) {
        let mut bound = self.device.bound();
        if bound
            .as_ref()
            .is_some_and(|(opener, _)| *opener == self.opener)
        {
            *bound = None;
        }
    }
}
