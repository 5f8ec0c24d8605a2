//! What tests begin with: a context, an IOAS with memory, a device.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::FromRawFd;
use std::sync::Arc;

use iommufd_bindings::iommufd::{
    iommu_fault_alloc, iommu_hw_info, iommu_hw_info__bindgen_ty_1, iommu_hw_info_type,
    iommu_hwpt_alloc, iommu_hwpt_invalidate, iommu_ioas_map,
    iommufd_hw_info_flags_IOMMU_HW_INFO_FLAG_INPUT_TYPE as INPUT_TYPE,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_FAULT_ID_VALID as FAULT_ID_VALID,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA as FIXED_IOVA,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE as READABLE,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE as WRITEABLE,
};
use iommufd_ioctls::{IommuFd, IommufdIoas};
use rustix::ioctl::{Opcode, Updater, ioctl};
use swiommu_client::Buffer;
use swiommu_client::raw::size;
use swiommu_client::vfio::{self, Device};

use crate::errno::errno;

const FAULT_QUEUE_ALLOC: Opcode = 0x3b8e;

/// Where [`Lab::map`] maps.
pub(crate) const IOVA: u64 = 0x100_0000;

/// How much.
pub(crate) const LEN: u64 = 64 << 10;

/// A context with an IOAS.
pub(crate) struct Lab {
    /// What was made, and may still be there.
    made: RefCell<Vec<u32>>,
    pub(crate) iommufd: Arc<IommuFd>,
    pub(crate) ioas: Arc<IommufdIoas>,
    /// What is mapped, for longer than it is.
    mapped: RefCell<Vec<Buffer>>,
}

/// What `IOMMU_HWPT_ALLOC` is given beside the device and the parent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Hwpt<'a, T = ()> {
    pub(crate) flags: u32,
    pub(crate) data: Option<(u32, &'a T)>,
    pub(crate) fault_id: Option<u32>,
}

impl<T> Hwpt<'_, T> {
    pub(crate) const fn plain(flags: u32) -> Self {
        Self {
            flags,
            data: None,
            fault_id: None,
        }
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        let iommufd = Arc::new(IommuFd::new().unwrap());
        let ioas = Arc::new(IommufdIoas::new(iommufd.clone()).unwrap());
        Self {
            made: RefCell::default(),
            iommufd,
            ioas,
            mapped: RefCell::default(),
        }
    }

    /// The first device behind an IOMMU of this kind, bound, and its number.
    pub(crate) fn device(&self, kind: iommu_hw_info_type) -> (Arc<Device>, u32) {
        for path in vfio::paths().unwrap() {
            let device = Device::open(&path).unwrap();
            let id = device.bind(&*self.iommufd).unwrap();
            if self.hw_info_type(id) == kind {
                return (Arc::new(device), id);
            }
        }
        panic!("no device is behind an IOMMU of type {kind}");
    }

    pub(crate) fn hw_info_type(&self, dev_id: u32) -> u32 {
        let mut info = iommu_hw_info {
            size: size::<iommu_hw_info>(),
            dev_id,
            ..Default::default()
        };
        self.iommufd.get_hw_info(&mut info).unwrap();
        out_type(&info)
    }

    /// Asks for information of a type, into `data`.
    pub(crate) fn hw_info<T>(
        &self,
        dev_id: u32,
        in_data_type: u32,
        data: &mut T,
    ) -> Result<iommu_hw_info, i32> {
        let mut info = iommu_hw_info {
            size: size::<iommu_hw_info>(),
            flags: INPUT_TYPE,
            dev_id,
            data_len: size::<T>(),
            data_uptr: std::ptr::from_mut(data).expose_provenance() as u64,
            __bindgen_anon_1: iommu_hw_info__bindgen_ty_1 { in_data_type },
            ..Default::default()
        };
        self.iommufd.get_hw_info(&mut info).map_err(errno)?;
        Ok(info)
    }

    /// Maps memory that can be read and written.
    pub(crate) fn map(&self) {
        self.map_at(IOVA, READABLE | WRITEABLE).unwrap();
    }

    /// Maps memory with this access.
    pub(crate) fn map_at(&self, iova: u64, prot: u32) -> Result<(), i32> {
        let memory = Buffer::new(usize::try_from(LEN).unwrap()).unwrap();
        let arg = iommu_ioas_map {
            size: size::<iommu_ioas_map>(),
            flags: FIXED_IOVA | prot,
            ioas_id: self.ioas.id(),
            __reserved: 0,
            user_va: memory.address(),
            length: memory.size(),
            iova,
        };
        self.iommufd.map_iommu_ioas(&arg).map_err(errno)?;
        self.mapped.borrow_mut().push(memory);
        Ok(())
    }

    /// Remembers an object that was made by a call: it is destroyed before the IOAS.
    pub(crate) fn made(&self, id: u32) -> u32 {
        self.made.borrow_mut().push(id);
        id
    }

    pub(crate) fn hwpt<T: Copy>(
        &self,
        dev_id: u32,
        pt_id: u32,
        hwpt: Hwpt<'_, T>,
    ) -> Result<u32, i32> {
        let mut arg = iommu_hwpt_alloc {
            size: size::<iommu_hwpt_alloc>(),
            flags: hwpt.flags | hwpt.fault_id.map_or(0, |_| FAULT_ID_VALID),
            dev_id,
            pt_id,
            fault_id: hwpt.fault_id.unwrap_or(0),
            ..Default::default()
        };
        if let Some((data_type, data)) = hwpt.data {
            arg.data_type = data_type;
            arg.data_len = size::<T>();
            arg.data_uptr = std::ptr::from_ref(data).expose_provenance() as u64;
        }
        self.iommufd.alloc_iommu_hwpt(&mut arg).map_err(errno)?;
        Ok(self.made(arg.out_hwpt_id))
    }

    /// Invalidates. Returns how many requests were handled, with the errno if not all were.
    pub(crate) fn invalidate<T>(
        &self,
        hwpt_id: u32,
        data_type: u32,
        requests: &[T],
    ) -> (u32, Result<(), i32>) {
        let mut arg = iommu_hwpt_invalidate {
            size: size::<iommu_hwpt_invalidate>(),
            hwpt_id,
            data_uptr: requests.as_ptr().expose_provenance() as u64,
            data_type,
            entry_len: size::<T>(),
            entry_num: u32::try_from(requests.len()).unwrap(),
            ..Default::default()
        };
        let result = self.iommufd.invalidate_hwpt(&mut arg).map_err(errno);
        (arg.entry_num, result)
    }

    /// A fault queue: its number and its file.
    pub(crate) fn fault_queue(&self) -> (u32, File) {
        let mut arg = iommu_fault_alloc {
            size: size::<iommu_fault_alloc>(),
            ..Default::default()
        };
        // SAFETY: the number stands for this struct, which has no pointer in it.
        unsafe {
            let updater = Updater::<FAULT_QUEUE_ALLOC, iommu_fault_alloc>::new(&mut arg);
            ioctl(descriptor(&self.iommufd), updater)
        }
        .unwrap();
        let fd = i32::try_from(arg.out_fault_fd).unwrap();
        // SAFETY: the descriptor was made for us just now, and nothing else knows it.
        let file = unsafe { File::from_raw_fd(fd) };
        (self.made(arg.out_fault_id), file)
    }

    pub(crate) fn destroy(&self, id: u32) -> Result<(), i32> {
        self.iommufd.destroy_iommu_object(id).map_err(errno)
    }
}

/// Destroys what was made, leaves first.
impl Drop for Lab {
    fn drop(&mut self) {
        let made = self.made.get_mut();
        let mut left = usize::MAX;
        while made.len() < left {
            left = made.len();
            made.retain(|id| self.iommufd.destroy_iommu_object(*id).is_err());
        }
    }
}

/// The descriptor of a context, for ioctls that upstream does not wrap.
pub(crate) fn descriptor(iommufd: &IommuFd) -> std::os::fd::BorrowedFd<'_> {
    use std::os::fd::{AsRawFd, BorrowedFd};
    // SAFETY: the descriptor is open for as long as `iommufd` lives, which is borrowed.
    unsafe { BorrowedFd::borrow_raw(iommufd.as_raw_fd()) }
}

/// Which type of information was given.
pub(crate) fn out_type(info: &iommu_hw_info) -> u32 {
    // SAFETY: both members of the union are a `u32`.
    unsafe { info.__bindgen_anon_1.out_data_type }
}
