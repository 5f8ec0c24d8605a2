//! The part of the tour where the client is the VMM of a guest that has a device behind Intel VT-d.

use std::fs::File;
use std::sync::Arc;

use iommufd_bindings::iommufd::{
    iommu_hwpt_alloc, iommu_hwpt_data_type_IOMMU_HWPT_DATA_VTD_S1 as VTD_S1, iommu_hwpt_invalidate,
    iommu_hwpt_invalidate_data_type_IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 as INVALIDATE_VTD_S1,
    iommu_hwpt_vtd_s1, iommu_hwpt_vtd_s1_invalidate,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_NEST_PARENT as NEST_PARENT,
};
use iommufd_ioctls::{IommuFd, IommufdIoas};

use crate::Error;
use crate::buffer::Buffer;
use crate::error::{call, upstream};
use crate::raw::{self, size};
use crate::tour::map;
use crate::vfio::Device;

/// The address that the guest gives to its device.
pub const DMA_ADDRESS: u64 = 0x5000;
/// How many bytes lie there.
pub const DMA_LEN: usize = 5;

const PAGE: u64 = 4096;
/// Where the guest's memory starts, as the guest sees it, and how many pages it has.
const START: u64 = 0x10_0000;
const PAGES: u64 = 16;
/// Present, writable, for users, accessed, dirty: what guests write into entries.
const ENTRY: u64 = 0x67;

/// Starts a guest, in as far as its device sees it: memory, first-stage tables in it, and the device attached through both
/// stages. Then the guest changes an entry; it is a while until it invalidates.
pub(crate) fn run(iommufd: &Arc<IommuFd>, file: &File) -> Result<(), Error> {
    let memory = Buffer::new(bytes(PAGES * PAGE)).map_err(call("mmap"))?;
    let ioas = IommufdIoas::new(iommufd.clone()).map_err(upstream("IOMMU_IOAS_ALLOC"))?;
    map(iommufd, &ioas, &memory, START)?;
    let (first, later) = (page(8), page(9));
    memory.write(bytes(first - START), b"first");
    memory.write(bytes(later - START), b"later");
    for level in 0..3 {
        set_entry(&memory, page(level), page(level + 1));
    }
    let leaf = page(3) + DMA_ADDRESS / PAGE * 8;
    set_entry(&memory, leaf, first);

    let device = Device::open("/dev/vfio/devices/vfio0").map_err(call("open"))?;
    let dev_id = device.bind(file).map_err(call("BIND_IOMMUFD"))?;
    let parent = alloc(iommufd, dev_id, ioas.id(), None)?;
    let nested = alloc(iommufd, dev_id, parent, Some(page(0)))?;
    device.attach(nested).map_err(call("ATTACH_IOMMUFD_PT"))?;

    set_entry(&memory, leaf, later);
    raw::iova_ranges(file, ioas.id()).map_err(call("IOMMU_IOAS_IOVA_RANGES"))?;
    invalidate(iommufd, nested)?;

    device.detach().map_err(call("DETACH_IOMMUFD_PT"))?;
    let destroy = |id| {
        iommufd
            .destroy_iommu_object(id)
            .map_err(upstream("IOMMU_DESTROY"))
    };
    destroy(nested)?;
    destroy(parent)
}

/// The guest physical address of a page.
fn page(number: u64) -> u64 {
    START + number * PAGE
}

fn set_entry(memory: &Buffer, at: u64, to: u64) {
    memory.write(bytes(at - START), &(to | ENTRY).to_le_bytes());
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the guest has 64 KiB of memory"
)]
fn bytes(count: u64) -> usize {
    count as usize
}

/// A nesting parent, or the guest's tables in front of one.
fn alloc(iommufd: &IommuFd, dev_id: u32, pt_id: u32, root: Option<u64>) -> Result<u32, Error> {
    let data = iommu_hwpt_vtd_s1 {
        pgtbl_addr: root.unwrap_or(0),
        addr_width: 48,
        ..Default::default()
    };
    let mut arg = iommu_hwpt_alloc {
        size: size::<iommu_hwpt_alloc>(),
        dev_id,
        pt_id,
        ..Default::default()
    };
    if root.is_some() {
        arg.data_type = VTD_S1;
        arg.data_len = size::<iommu_hwpt_vtd_s1>();
        arg.data_uptr = std::ptr::from_ref(&data).addr() as u64;
    } else {
        arg.flags = NEST_PARENT;
    }
    iommufd
        .alloc_iommu_hwpt(&mut arg)
        .map_err(upstream("IOMMU_HWPT_ALLOC"))?;
    Ok(arg.out_hwpt_id)
}

fn invalidate(iommufd: &IommuFd, nested: u32) -> Result<(), Error> {
    let entry = iommu_hwpt_vtd_s1_invalidate {
        addr: DMA_ADDRESS,
        npages: 1,
        ..Default::default()
    };
    let mut arg = iommu_hwpt_invalidate {
        size: size::<iommu_hwpt_invalidate>(),
        hwpt_id: nested,
        data_uptr: std::ptr::from_ref(&entry).addr() as u64,
        data_type: INVALIDATE_VTD_S1,
        entry_len: size::<iommu_hwpt_vtd_s1_invalidate>(),
        entry_num: 1,
        __reserved: 0,
    };
    iommufd
        .invalidate_hwpt(&mut arg)
        .map_err(upstream("IOMMU_HWPT_INVALIDATE"))
}
