//! The ioctls of VFIO's type1 IOMMU.

use swiommu_abi::vfio::container::{
    VFIO_CHECK_EXTENSION, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, VFIO_SET_IOMMU,
    VfioIommuType1DmaMap, VfioIommuType1DmaUnmap,
};
use swiommu_files::Arg;

use super::Real;
use crate::reference::Reference;
use crate::reply::Reply;
use crate::step::Step;

impl Real<'_> {
    pub(super) fn run_vfio(&self, step: &Step, names: &Reference) -> Reply {
        match *step {
            Step::VfioMap {
                memory,
                len,
                at,
                flags,
                argsz,
            } => {
                let cmd = VfioIommuType1DmaMap {
                    argsz,
                    flags,
                    vaddr: names.address(memory, None),
                    iova: names.place(names.compat().unwrap_or(0), at),
                    size: len,
                };
                self.call(VFIO_IOMMU_MAP_DMA, cmd).map(|_| vec![]).into()
            }
            Step::VfioUnmap { span, flags, argsz } => {
                let (iova, size) = names.span(names.compat(), span);
                let mut cmd = VfioIommuType1DmaUnmap {
                    argsz,
                    flags,
                    iova,
                    size,
                };
                let error = self.client.ioctl(VFIO_IOMMU_UNMAP_DMA, &mut cmd).err();
                Reply {
                    error: error.map(|refusal| refusal.errno()),
                    values: vec![cmd.size],
                }
            }
            Step::VfioExtension { extension } => self.number(VFIO_CHECK_EXTENSION, extension),
            Step::VfioSetIommu { kind } => self.number(VFIO_SET_IOMMU, kind),
            _ => Ok(vec![]).into(),
        }
    }

    /// A call whose argument is a number. What it returns is only told where it says something.
    fn number(&self, request: u32, argument: u64) -> Reply {
        match self.client.ioctl_raw(request, Arg::new(argument)) {
            Ok(value) if request == VFIO_CHECK_EXTENSION => {
                Ok(vec![u64::from(value.unsigned_abs())]).into()
            }
            Ok(_) => Ok(vec![]).into(),
            Err(refusal) => Err(refusal.errno()).into(),
        }
    }
}
