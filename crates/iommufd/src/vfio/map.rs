//! `VFIO_IOMMU_MAP_DMA` and `VFIO_IOMMU_UNMAP_DMA`.

use std::mem::offset_of;
use std::sync::Arc;

use swiommu_abi::vfio::container::{
    VfioDmaMapFlags, VfioDmaUnmapFlags, VfioIommuType1DmaMap, VfioIommuType1DmaUnmap,
};
use swiommu_addr::{Address, Hva, Iova, IovaRange};
use swiommu_files::Caller;
use swiommu_iommu::Prot;

use crate::ioas::{MapRequest, MapSource, Placement, checked_range};
use crate::{Context, Error, copy};

fn read<T: swiommu_abi::UapiStruct>(caller: &dyn Caller, at: Hva) -> Result<T, Error> {
    let mut value = T::default();
    copy::from_user(caller, at, value.as_mut_bytes())?;
    Ok(value)
}

fn check_argsz<T: swiommu_abi::UapiStruct>(argsz: u32) -> Result<(), Error> {
    if argsz < T::SIZE {
        Err(Error::ShortArgsz {
            argsz,
            min: T::SIZE,
        })
    } else {
        Ok(())
    }
}

pub(super) fn map_dma(context: &Arc<Context>, caller: &dyn Caller, at: Hva) -> Result<i32, Error> {
    let map: VfioIommuType1DmaMap = read(caller, at)?;
    check_argsz::<VfioIommuType1DmaMap>(map.argsz)?;
    let known = VfioDmaMapFlags::READ | VfioDmaMapFlags::WRITE;
    let flags = VfioDmaMapFlags::from_bits_retain(map.flags);
    if !known.contains(flags) {
        return Err(Error::BadValue {
            field: "flags",
            value: map.flags.into(),
        });
    }
    let mut prot = Prot::empty();
    prot.set(Prot::READ, flags.contains(VfioDmaMapFlags::READ));
    prot.set(Prot::WRITE, flags.contains(VfioDmaMapFlags::WRITE));
    let request = MapRequest {
        owner: caller.space(),
        accounting: context.accounting(caller),
        source: MapSource::Memory(Hva::new(map.vaddr)),
        len: map.size,
        placement: Placement::Fixed(Iova::new(map.iova)),
        prot,
    };
    super::ioas(context)?.map(request)?;
    Ok(0)
}

pub(super) fn unmap_dma(
    context: &Arc<Context>,
    caller: &dyn Caller,
    at: Hva,
) -> Result<i32, Error> {
    let unmap: VfioIommuType1DmaUnmap = read(caller, at)?;
    check_argsz::<VfioIommuType1DmaUnmap>(unmap.argsz)?;
    let flags = VfioDmaUnmapFlags::from_bits_retain(unmap.flags);
    if !VfioDmaUnmapFlags::ALL.contains(flags) {
        return Err(Error::BadValue {
            field: "flags",
            value: unmap.flags.into(),
        });
    }
    let ioas = super::ioas(context)?;
    let mut unmapped = 0;
    let result = if flags.contains(VfioDmaUnmapFlags::ALL) {
        if unmap.iova != 0 || unmap.size != 0 {
            return Err(Error::BadValue {
                field: "size with VFIO_DMA_UNMAP_FLAG_ALL",
                value: unmap.size,
            });
        }
        ioas.unmap_counted(IovaRange::full(), &mut unmapped)
    } else {
        if !ioas.has_large_pages() {
            ioas.cut(Iova::new(unmap.iova), unmap.size)?;
        }
        checked_range(Iova::new(unmap.iova), unmap.size)
            .and_then(|range| ioas.unmap_counted(range, &mut unmapped))
    };
    // The client learns how much is gone even when the rest could not go.
    let size = at.wrapping_add(offset_of!(VfioIommuType1DmaUnmap, size) as u64);
    copy::to_user(caller, size, &unmapped.to_ne_bytes())?;
    result.map(|()| 0)
}
