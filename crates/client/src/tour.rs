//! The tour itself.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use iommufd_bindings::iommufd::{
    iommu_hwpt_alloc, iommu_ioas_map, iommu_vdevice_alloc, iommu_viommu_alloc,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_NEST_PARENT as NEST_PARENT,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA as FIXED_IOVA,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE as READABLE,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE as WRITEABLE,
};
use iommufd_ioctls::{IommuFd, IommufdIoas};

use crate::buffer::Buffer;
use crate::error::{call, upstream};
use crate::raw::{self, size};
use crate::{Error, guest};

/// Where the tour maps its memory.
const IOVA: u64 = 0x100_0000;
/// How much.
const LEN: usize = 64 << 10;
/// `IOMMU_VIOMMU_TYPE_SELFTEST`: the mock's virtual IOMMUs.
const MOCK_VIOMMU: u32 = 0xdead_beef;
/// `IOMMU_HWPT_DATA_SELFTEST`: the mock's nested page tables.
const MOCK_NESTED: u32 = 0xdead;

/// Opens `/dev/iommu` and goes through its objects: an IOAS with memory, devices, a software access that moves data, a nesting
/// parent with two nested page tables, and out again. Then it is the VMM of a guest that has a device behind VT-d.
///
/// # Errors
/// The first call that fails, or data that does not arrive.
pub fn tour() -> Result<(), Error> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/iommu");
    let file = file.map_err(call("open /dev/iommu"))?;
    let test = file.try_clone().map_err(call("dup"))?;
    let iommufd = Arc::new(IommuFd::new_from_fd(file));
    let ioas = IommufdIoas::new(iommufd.clone()).map_err(upstream("IOMMU_IOAS_ALLOC"))?;
    let memory = Buffer::new(LEN).map_err(call("mmap"))?;
    map(&iommufd, &ioas, &memory, IOVA)?;
    raw::iova_ranges(&test, ioas.id()).map_err(call("IOMMU_IOAS_IOVA_RANGES"))?;

    let first = raw::mock_domain(&test, ioas.id()).map_err(call("MOCK_DOMAIN"))?;
    let second = raw::mock_domain(&test, ioas.id()).map_err(call("MOCK_DOMAIN"))?;
    raw::iova_ranges(&test, ioas.id()).map_err(call("IOMMU_IOAS_IOVA_RANGES"))?;
    let mapped = (memory.address(), memory.size());
    raw::check_map(&test, first.hwpt, IOVA, mapped).map_err(call("MD_CHECK_MAP"))?;
    move_data(&test, &ioas, &memory)?;
    let parent = nest(&iommufd, &test, &ioas, first, second)?;
    virtualize(&iommufd, &test, parent, second)?;
    guest::run(&iommufd, &test)
}

pub(crate) fn map(
    iommufd: &IommuFd,
    ioas: &IommufdIoas,
    memory: &Buffer,
    iova: u64,
) -> Result<(), Error> {
    let arg = iommu_ioas_map {
        size: size::<iommu_ioas_map>(),
        flags: FIXED_IOVA | READABLE | WRITEABLE,
        ioas_id: ioas.id(),
        __reserved: 0,
        user_va: memory.address(),
        length: memory.size(),
        iova,
    };
    iommufd
        .map_iommu_ioas(&arg)
        .map_err(upstream("IOMMU_IOAS_MAP"))
}

/// Writes through the I/O address space and looks for it in memory; then the other way round.
fn move_data(test: &File, ioas: &IommufdIoas, memory: &Buffer) -> Result<(), Error> {
    let sent = b"written by a device";
    let number = raw::create_access(test, ioas.id()).map_err(call("CREATE_ACCESS"))?;
    let number = i32::try_from(number).map_err(|_| Error::Data("not a descriptor"))?;
    // SAFETY: the descriptor was made for us just now, and nothing else knows it.
    let access = unsafe { OwnedFd::from_raw_fd(number) };
    let number = number.unsigned_abs();
    raw::access_write(test, number, IOVA, sent).map_err(call("ACCESS_RW"))?;
    if memory.first_bytes(sent.len()) != sent {
        return Err(Error::Data(
            "what was written through the access is not in memory",
        ));
    }
    let mut received = vec![0; sent.len()];
    raw::access_read(test, number, IOVA, &mut received).map_err(call("ACCESS_RW"))?;
    if received != sent {
        return Err(Error::Data(
            "what was read through the access is not what is in memory",
        ));
    }
    drop(access);
    Ok(())
}

/// Two guests' page tables on one nesting parent, and a device behind the first.
fn nest(
    iommufd: &IommuFd,
    test: impl AsFd,
    ioas: &IommufdIoas,
    first: raw::MockDevice,
    second: raw::MockDevice,
) -> Result<u32, Error> {
    let parent = hwpt_alloc(iommufd, first.idev, ioas.id(), NEST_PARENT, None)?;
    let iotlb = 0xbad_beef_u32;
    let nested = hwpt_alloc(iommufd, first.idev, parent, 0, Some(&iotlb))?;
    let spare = hwpt_alloc(iommufd, second.idev, parent, 0, Some(&iotlb))?;
    let replace = |id| raw::mock_domain_replace(&test, first.stdev, id);
    replace(nested).map_err(call("MOCK_DOMAIN_REPLACE"))?;
    destroy_all(iommufd, &[spare, first.stdev, nested])?;
    Ok(parent)
}

/// A guest's slice of the IOMMU on the same parent, the guest's number for a device, and a page table of the guest for it.
fn virtualize(
    iommufd: &IommuFd,
    test: impl AsFd,
    parent: u32,
    device: raw::MockDevice,
) -> Result<(), Error> {
    let mut viommu = iommu_viommu_alloc {
        size: size::<iommu_viommu_alloc>(),
        type_: MOCK_VIOMMU,
        dev_id: device.idev,
        hwpt_id: parent,
        ..Default::default()
    };
    iommufd
        .alloc_iommu_viommu(&mut viommu)
        .map_err(upstream("IOMMU_VIOMMU_ALLOC"))?;
    let mut vdevice = iommu_vdevice_alloc {
        size: size::<iommu_vdevice_alloc>(),
        viommu_id: viommu.out_viommu_id,
        dev_id: device.idev,
        virt_id: 0x10,
        ..Default::default()
    };
    iommufd
        .alloc_iommu_vdevice(&mut vdevice)
        .map_err(upstream("IOMMU_VDEVICE_ALLOC"))?;
    let iotlb = 0xbad_beef_u32;
    let nested = hwpt_alloc(iommufd, device.idev, viommu.out_viommu_id, 0, Some(&iotlb))?;
    let replaced = raw::mock_domain_replace(&test, device.stdev, nested);
    replaced.map_err(call("MOCK_DOMAIN_REPLACE"))?;
    let (viommu, vdevice) = (viommu.out_viommu_id, vdevice.out_vdevice_id);
    destroy_all(iommufd, &[vdevice, device.stdev, nested, viommu, parent])
}

fn destroy_all(iommufd: &IommuFd, ids: &[u32]) -> Result<(), Error> {
    let destroy = |id| {
        iommufd
            .destroy_iommu_object(id)
            .map_err(upstream("IOMMU_DESTROY"))
    };
    ids.iter().try_for_each(|id| destroy(*id))
}

fn hwpt_alloc(
    iommufd: &IommuFd,
    dev_id: u32,
    pt_id: u32,
    flags: u32,
    nested: Option<&u32>,
) -> Result<u32, Error> {
    let mut arg = iommu_hwpt_alloc {
        size: size::<iommu_hwpt_alloc>(),
        flags,
        dev_id,
        pt_id,
        data_type: nested.map_or(0, |_| MOCK_NESTED),
        data_len: nested.map_or(0, |_| size::<u32>()),
        data_uptr: nested.map_or(0, |iotlb| std::ptr::from_ref(iotlb).addr() as u64),
        ..Default::default()
    };
    iommufd
        .alloc_iommu_hwpt(&mut arg)
        .map_err(upstream("IOMMU_HWPT_ALLOC"))?;
    Ok(arg.out_hwpt_id)
}
