//! The table of commands.

use super::{Command, WriteBack};
use crate::Errno;
use crate::layout::{Field, UapiStruct};
use crate::option::{IommuOption, IommuVfioIoas, IommufdVfioIoasOp};

/// A line: where its types are, the request's constant, its struct, the last field that a caller must have, what is written back.
macro_rules! commands {
    ($($module:ident: $request:ident($type:ident, $last:ident) => $write_back:expr;)*) => {
        /// Every command, by number.
        pub const COMMANDS: &[Command] = &[
            $(Command::new::<crate::$module::$type>(
                crate::$module::$request,
                stringify!($request),
                stringify!($last),
                $write_back,
            ),)*
        ];
    };
}

commands! {
    object: IOMMU_DESTROY(IommuDestroy, id) => WriteBack::Never;
    ioas: IOMMU_IOAS_ALLOC(IommuIoasAlloc, out_ioas_id) => WriteBack::OnSuccess;
    ioas: IOMMU_IOAS_ALLOW_IOVAS(IommuIoasAllowIovas, allowed_iovas) => WriteBack::Never;
    ioas: IOMMU_IOAS_COPY(IommuIoasCopy, src_iova) => WriteBack::OnSuccess;
    ioas: IOMMU_IOAS_IOVA_RANGES(IommuIoasIovaRanges, out_iova_alignment) => WriteBack::OnSuccessOr(Errno::EMSGSIZE);
    ioas: IOMMU_IOAS_MAP(IommuIoasMap, iova) => WriteBack::OnSuccess;
    ioas: IOMMU_IOAS_UNMAP(IommuIoasUnmap, length) => WriteBack::OnSuccess;
    option: IOMMU_OPTION(IommuOption, val64) => WriteBack::Field(Field::find(IommuOption::FIELDS, "val64"));
    option: IOMMU_VFIO_IOAS(IommuVfioIoas, __reserved) => VFIO_IOAS_GET;
    hwpt: IOMMU_HWPT_ALLOC(IommuHwptAlloc, __reserved) => WriteBack::OnSuccess;
    hw_info: IOMMU_GET_HW_INFO(IommuHwInfo, __reserved) => WriteBack::OnSuccess;
    dirty: IOMMU_HWPT_SET_DIRTY_TRACKING(IommuHwptSetDirtyTracking, __reserved) => WriteBack::Never;
    dirty: IOMMU_HWPT_GET_DIRTY_BITMAP(IommuHwptGetDirtyBitmap, data) => WriteBack::Never;
    invalidate: IOMMU_HWPT_INVALIDATE(IommuHwptInvalidate, __reserved) => WriteBack::Always;
    fault: IOMMU_FAULT_QUEUE_ALLOC(IommuFaultAlloc, out_fault_fd) => WriteBack::OnSuccess;
    ioas: IOMMU_IOAS_MAP_FILE(IommuIoasMapFile, iova) => WriteBack::OnSuccess;
    viommu: IOMMU_VIOMMU_ALLOC(IommuViommuAlloc, out_viommu_id) => WriteBack::OnSuccess;
    viommu: IOMMU_VDEVICE_ALLOC(IommuVdeviceAlloc, virt_id) => WriteBack::OnSuccess;
    ioas: IOMMU_IOAS_CHANGE_PROCESS(IommuIoasChangeProcess, __reserved) => WriteBack::Never;
    veventq: IOMMU_VEVENTQ_ALLOC(IommuVeventqAlloc, out_veventq_fd) => WriteBack::OnSuccess;
    hw_queue: IOMMU_HW_QUEUE_ALLOC(IommuHwQueueAlloc, length) => WriteBack::OnSuccess;
    ioas: IOMMU_IOAS_NOIOMMU_GET_PA(IommuIoasNoiommuGetPa, out_phys) => WriteBack::OnSuccess;
    test_cmd: IOMMU_TEST_CMD(IommuTestCmd, last) => WriteBack::TestOp;
}

/// Only asking for the IOAS has an answer.
const VFIO_IOAS_GET: WriteBack = WriteBack::OnSuccessOf(
    Field::find(IommuVfioIoas::FIELDS, "op"),
    IommufdVfioIoasOp::GET.0 as u64,
);
