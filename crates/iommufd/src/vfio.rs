//! The VFIO type1 ioctls on a context (§8): the container of old, on top of one IOAS.

mod info;
mod map;

use std::sync::Arc;

use swiommu_abi::vfio::container::{
    VFIO_API_VERSION, VFIO_CHECK_EXTENSION, VFIO_GET_API_VERSION, VFIO_IOMMU_GET_INFO,
    VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, VFIO_SET_IOMMU, VfioExtension,
};
use swiommu_files::{Arg, Caller};

use crate::ioas::Ioas;
use crate::object::Held;
use crate::{Context, Error};

/// Runs one of the VFIO ioctls.
pub(crate) fn ioctl(
    context: &Arc<Context>,
    caller: &dyn Caller,
    request: u32,
    arg: Arg,
) -> Result<i32, Error> {
    match request {
        VFIO_GET_API_VERSION => Ok(VFIO_API_VERSION.cast_signed()),
        VFIO_CHECK_EXTENSION => check_extension(context, VfioExtension(arg.number())),
        VFIO_SET_IOMMU => set_iommu(context, VfioExtension(arg.number())),
        VFIO_IOMMU_GET_INFO => info::get_info(context, caller, arg.pointer()),
        VFIO_IOMMU_MAP_DMA => map::map_dma(context, caller, arg.pointer()),
        VFIO_IOMMU_UNMAP_DMA => map::unmap_dma(context, caller, arg.pointer()),
        _ => Err(Error::NoSuchIoctl(request)),
    }
}

/// The IOAS that the container stands for.
fn ioas(context: &Context) -> Result<Held<Ioas>, Error> {
    let id = context.vfio_ioas().ok_or(Error::NoVfioIoas)?;
    context.state.objects.get(id).map_err(|_| Error::NoVfioIoas)
}

fn check_extension(context: &Context, extension: VfioExtension) -> Result<i32, Error> {
    Ok(match extension {
        VfioExtension::TYPE1_IOMMU | VfioExtension::TYPE1V2_IOMMU | VfioExtension::UNMAP_ALL => 1,
        VfioExtension::DMA_CC_IOMMU => i32::from(ioas(context)?.enforces_cache_coherency()),
        _ => 0,
    })
}

fn set_iommu(context: &Context, kind: VfioExtension) -> Result<i32, Error> {
    match kind {
        VfioExtension::TYPE1V2_IOMMU => ioas(context).map(|_| 0),
        VfioExtension::TYPE1_IOMMU => {
            // Version 1 may unmap any page of a mapping, which leaves must not stand in the way of.
            ioas(context)?.forbid_large_pages()?;
            Ok(0)
        }
        _ => Err(Error::BadValue {
            field: "the kind of IOMMU",
            value: kind.0,
        }),
    }
}
