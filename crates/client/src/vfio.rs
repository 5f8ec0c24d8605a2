//! The thin end of VFIO: a device's file, as `linux/vfio.h` has it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::ioctl::{Opcode, Setter, Updater, ioctl};
use vfio_bindings::bindings::vfio::{
    vfio_device_attach_iommufd_pt, vfio_device_bind_iommufd, vfio_device_detach_iommufd_pt,
};

use crate::raw::size;

/// `VFIO_DEVICE_BIND_IOMMUFD`.
const BIND: Opcode = 0x3b76;
/// `VFIO_DEVICE_ATTACH_IOMMUFD_PT`.
const ATTACH: Opcode = 0x3b77;
/// `VFIO_DEVICE_DETACH_IOMMUFD_PT`.
const DETACH: Opcode = 0x3b78;

/// A device, bound to a context.
#[derive(Debug)]
pub(crate) struct Device {
    file: File,
    id: u32,
}

impl Device {
    /// Opens the device's file and binds it to a context.
    pub(crate) fn bind(path: &str, iommufd: impl AsFd) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut arg = vfio_device_bind_iommufd {
            argsz: size::<vfio_device_bind_iommufd>(),
            iommufd: iommufd.as_fd().as_raw_fd(),
            ..Default::default()
        };
        // SAFETY: the number stands for this struct, in which nothing is a pointer without the flag that says so.
        unsafe {
            ioctl(
                &file,
                Updater::<BIND, vfio_device_bind_iommufd>::new(&mut arg),
            )
        }?;
        let id = arg.out_devid;
        Ok(Self { file, id })
    }

    /// The number of its DEVICE object.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Lets its requests be translated by a page table, or moves it there.
    pub(crate) fn attach(&self, pt_id: u32) -> io::Result<()> {
        let mut arg = vfio_device_attach_iommufd_pt {
            argsz: size::<vfio_device_attach_iommufd_pt>(),
            pt_id,
            ..Default::default()
        };
        // SAFETY: the number stands for this struct, and nothing in it is a pointer.
        unsafe {
            ioctl(
                &self.file,
                Updater::<ATTACH, vfio_device_attach_iommufd_pt>::new(&mut arg),
            )
        }?;
        Ok(())
    }

    /// Blocks its requests.
    pub(crate) fn detach(&self) -> io::Result<()> {
        let arg = vfio_device_detach_iommufd_pt {
            argsz: size::<vfio_device_detach_iommufd_pt>(),
            ..Default::default()
        };
        // SAFETY: the number stands for this struct, and nothing in it is a pointer.
        unsafe {
            ioctl(
                &self.file,
                Setter::<DETACH, vfio_device_detach_iommufd_pt>::new(arg),
            )
        }?;
        Ok(())
    }
}
