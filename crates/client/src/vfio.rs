//! The thin end of VFIO: a device's file, as `linux/vfio.h` has it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use iommufd_ioctls::AttachHwpt;
use rustix::ioctl::{Opcode, Updater, ioctl};
use vfio_bindings::bindings::vfio::{
    vfio_device_attach_iommufd_pt, vfio_device_bind_iommufd, vfio_device_detach_iommufd_pt,
    vfio_device_info,
};

use crate::raw::size;

const GET_INFO: Opcode = 0x3b6b;
const BIND_IOMMUFD: Opcode = 0x3b76;
const ATTACH_IOMMUFD_PT: Opcode = 0x3b77;
const DETACH_IOMMUFD_PT: Opcode = 0x3b78;

/// `VFIO_DEVICE_ATTACH_PASID` and `VFIO_DEVICE_DETACH_PASID`.
const PASID: u32 = 1;

/// An open device file.
#[derive(Debug)]
pub struct Device(File);

/// The device files that there are, by name.
///
/// # Errors
/// What the system says.
pub fn paths() -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir("/dev/vfio/devices")?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

impl Device {
    /// Opens it.
    ///
    /// # Errors
    /// What the system says; so with all methods.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map(Self)
    }

    /// Binds it to a context. Returns the number of its DEVICE object.
    pub fn bind(&self, iommufd: &impl AsRawFd) -> io::Result<u32> {
        let mut arg = vfio_device_bind_iommufd {
            argsz: size::<vfio_device_bind_iommufd>(),
            iommufd: iommufd.as_raw_fd(),
            ..Default::default()
        };
        self.call::<BIND_IOMMUFD, _>(&mut arg)?;
        Ok(arg.out_devid)
    }

    /// Lets its requests be translated by a page table, or moves it there. Returns the number of the page table, which an IOAS finds
    /// or makes.
    pub fn attach(&self, pt_id: u32) -> io::Result<u32> {
        self.attach_with(0, 0, pt_id)
    }

    /// The same for its requests with a PASID.
    pub fn attach_pasid(&self, pasid: u32, pt_id: u32) -> io::Result<u32> {
        self.attach_with(PASID, pasid, pt_id)
    }

    fn attach_with(&self, flags: u32, pasid: u32, pt_id: u32) -> io::Result<u32> {
        let mut arg = vfio_device_attach_iommufd_pt {
            argsz: size::<vfio_device_attach_iommufd_pt>(),
            flags,
            pt_id,
            pasid,
        };
        self.call::<ATTACH_IOMMUFD_PT, _>(&mut arg)?;
        Ok(arg.pt_id)
    }

    /// Blocks its requests.
    pub fn detach(&self) -> io::Result<()> {
        self.detach_with(0, 0)
    }

    /// Blocks its requests with a PASID.
    pub fn detach_pasid(&self, pasid: u32) -> io::Result<()> {
        self.detach_with(PASID, pasid)
    }

    fn detach_with(&self, flags: u32, pasid: u32) -> io::Result<()> {
        let mut arg = vfio_device_detach_iommufd_pt {
            argsz: size::<vfio_device_detach_iommufd_pt>(),
            flags,
            pasid,
        };
        self.call::<DETACH_IOMMUFD_PT, _>(&mut arg)
    }

    /// What it says of itself.
    pub fn info(&self) -> io::Result<vfio_device_info> {
        let mut arg = vfio_device_info {
            argsz: size::<vfio_device_info>(),
            ..Default::default()
        };
        self.call::<GET_INFO, _>(&mut arg)?;
        Ok(arg)
    }

    fn call<const REQUEST: Opcode, T>(&self, arg: &mut T) -> io::Result<()> {
        // SAFETY: each caller above passes the struct that its number stands for, complete, and without a pointer in it.
        unsafe { ioctl(&self.0, Updater::<REQUEST, T>::new(arg)) }?;
        Ok(())
    }
}

impl AttachHwpt for Device {
    fn attach_hwpt(&self, pt_id: u32) -> io::Result<()> {
        self.attach(pt_id).map(|_| ())
    }

    fn detach_hwpt(&self) -> io::Result<()> {
        self.detach()
    }
}
