//! What is written back, and what becomes of a command that cannot be answered.

use swiommu_abi::hw_info::{IOMMU_GET_HW_INFO, IommuHwInfo};
use swiommu_abi::hwpt::{IOMMU_HWPT_ALLOC, IommuHwptAlloc};
use swiommu_abi::ioas::{
    IOMMU_IOAS_ALLOC, IOMMU_IOAS_ALLOW_IOVAS, IOMMU_IOAS_CHANGE_PROCESS, IOMMU_IOAS_COPY,
    IOMMU_IOAS_IOVA_RANGES, IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP, IommuIoasAlloc,
    IommuIoasAllowIovas, IommuIoasChangeProcess, IommuIoasCopy, IommuIoasIovaRanges, IommuIoasMap,
    IommuIoasMapFile, IommuIoasUnmap,
};
use swiommu_abi::object::{IOMMU_DESTROY, IommuDestroy};
use swiommu_abi::option::{
    IOMMU_OPTION, IOMMU_VFIO_IOAS, IommuOption, IommuVfioIoas, IommufdOption, IommufdOptionOps,
    IommufdVfioIoasOp,
};
use swiommu_abi::vfio::container::{
    VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, VfioIommuType1DmaMap, VfioIommuType1DmaUnmap,
};
use swiommu_abi::{Errno, UapiStruct};
use swiommu_addr::HvaRange;
use swiommu_files::Arg;
use swiommu_iommufd::ObjectId;
use swiommu_mem::Protection;

use crate::fixture::{BASE, FIXED, PAGE, READABLE, WRITEABLE, World, at};

/// Calls with a struct of which the first `read_only` bytes cannot be written. Returns the struct afterwards.
fn call<T: UapiStruct>(w: &World, request: u32, cmd: T, read_only: u64) -> (Result<i32, Errno>, T) {
    let buffer = w.process.buffer(2 * PAGE).unwrap();
    let offset = PAGE - read_only;
    buffer.write(offset, cmd.as_bytes()).unwrap();
    let first = HvaRange::from_len(buffer.at(0), PAGE).unwrap();
    w.process.space().protect(first, Protection::Read);
    let result = w.iommu.ioctl_raw(request, Arg::from(buffer.at(offset)));
    let mut left = T::default();
    buffer.read(offset, left.as_mut_bytes()).unwrap();
    (result.map_err(|refusal| refusal.errno()), left)
}

/// The result of a call with a struct that cannot be written at all.
fn unanswered<T: UapiStruct>(w: &World, request: u32, cmd: T) -> Result<i32, Errno> {
    call(w, request, cmd, T::SIZE.into()).0
}

const UNANSWERED: Result<i32, Errno> = Err(Errno::EFAULT);

#[test]
fn commands_without_an_answer_need_no_place_for_it() {
    let w = World::new();
    let other = w.iommu.ioas_alloc().unwrap();
    let destroy = IommuDestroy {
        size: IommuDestroy::SIZE,
        id: other.0,
    };
    assert_eq!(unanswered(&w, IOMMU_DESTROY, destroy), Ok(0));
    let size = IommuIoasAllowIovas::SIZE;
    let allow = IommuIoasAllowIovas {
        size,
        ioas_id: w.empty.0,
        ..Default::default()
    };
    assert_eq!(unanswered(&w, IOMMU_IOAS_ALLOW_IOVAS, allow), Ok(0));
    let size = IommuIoasChangeProcess::SIZE;
    let change = IommuIoasChangeProcess {
        size,
        ..Default::default()
    };
    assert_eq!(unanswered(&w, IOMMU_IOAS_CHANGE_PROCESS, change), Ok(0));
    let vfio = |op: IommufdVfioIoasOp| {
        let size = IommuVfioIoas::SIZE;
        let cmd = IommuVfioIoas {
            size,
            ioas_id: w.empty.0,
            op: op.0,
            ..Default::default()
        };
        unanswered(&w, IOMMU_VFIO_IOAS, cmd)
    };
    assert_eq!(vfio(IommufdVfioIoasOp::SET), Ok(0));
    assert_eq!(vfio(IommufdVfioIoasOp::GET), UNANSWERED);
    let map = VfioIommuType1DmaMap {
        argsz: VfioIommuType1DmaMap::SIZE,
        flags: 3,
        vaddr: w.page(0).get(),
        iova: 0,
        size: PAGE,
    };
    assert_eq!(unanswered(&w, VFIO_IOMMU_MAP_DMA, map), Ok(0));
    assert_eq!(vfio(IommufdVfioIoasOp::CLEAR), Ok(0));
    w.close();
}

#[test]
fn objects_that_nobody_was_told_of_are_undone() {
    let w = World::new();
    w.map(0, 1, BASE);
    let before = w.state();
    let alloc = IommuIoasAlloc {
        size: IommuIoasAlloc::SIZE,
        ..Default::default()
    };
    assert_eq!(unanswered(&w, IOMMU_IOAS_ALLOC, alloc), UNANSWERED);
    // The number stands at the end, so the other fields alone do not help.
    assert_eq!(call(&w, IOMMU_IOAS_ALLOC, alloc, 8).0, UNANSWERED);
    let alloc = IommuHwptAlloc {
        size: IommuHwptAlloc::SIZE,
        dev_id: w.device.idev.0,
        pt_id: w.ioas.0,
        ..Default::default()
    };
    let tables = w.host.memory().table_bytes();
    assert_eq!(unanswered(&w, IOMMU_HWPT_ALLOC, alloc), UNANSWERED);
    assert_eq!(
        w.host.memory().table_bytes(),
        tables,
        "its page table is gone too"
    );
    assert_eq!(w.state(), before);
    assert_eq!(w.iommu.ioas_alloc().unwrap(), ObjectId(w.empty.0 + 1));
    w.close();
}

#[test]
fn mappings_that_nobody_was_told_of_stay() {
    let w = World::new();
    let flags = FIXED | READABLE | WRITEABLE;
    let pinned = |pages| assert_eq!(w.host.memory().pinned_pages(), pages);
    let map = IommuIoasMap {
        size: IommuIoasMap::SIZE,
        flags,
        ioas_id: w.ioas.0,
        user_va: w.page(0).get(),
        length: PAGE,
        iova: at(0).get(),
        ..Default::default()
    };
    assert_eq!(unanswered(&w, IOMMU_IOAS_MAP, map), UNANSWERED);
    pinned(1);
    let map_file = IommuIoasMapFile {
        size: IommuIoasMapFile::SIZE,
        flags,
        ioas_id: w.ioas.0,
        fd: w.file(PAGE).0,
        start: 0,
        length: PAGE,
        iova: at(1).get(),
    };
    assert_eq!(unanswered(&w, IOMMU_IOAS_MAP_FILE, map_file), UNANSWERED);
    pinned(2);
    let copy = IommuIoasCopy {
        size: IommuIoasCopy::SIZE,
        flags,
        dst_ioas_id: w.ioas.0,
        src_ioas_id: w.ioas.0,
        length: 2 * PAGE,
        dst_iova: at(4).get(),
        src_iova: at(0).get(),
    };
    assert_eq!(unanswered(&w, IOMMU_IOAS_COPY, copy), UNANSWERED);
    w.iommu
        .check_map(w.device.hwpt, at(4), PAGE, w.page(0))
        .unwrap();
    pinned(2);
    let unmap = |iova: swiommu_addr::Iova| IommuIoasUnmap {
        size: IommuIoasUnmap::SIZE,
        ioas_id: w.ioas.0,
        iova: iova.get(),
        length: 2 * PAGE,
    };
    assert_eq!(unanswered(&w, IOMMU_IOAS_UNMAP, unmap(at(0))), UNANSWERED);
    pinned(2);
    assert_eq!(unanswered(&w, IOMMU_IOAS_UNMAP, unmap(at(4))), UNANSWERED);
    pinned(0);

    w.iommu.vfio_ioas(IommufdVfioIoasOp::SET, w.ioas).unwrap();
    w.map(0, 1, at(0));
    let argsz = VfioIommuType1DmaUnmap::SIZE;
    let unmap = VfioIommuType1DmaUnmap {
        argsz,
        flags: 0,
        iova: at(0).get(),
        size: PAGE,
    };
    assert_eq!(unanswered(&w, VFIO_IOMMU_UNMAP_DMA, unmap), UNANSWERED);
    pinned(0);
    w.close();
}

#[test]
fn an_option_answers_with_its_value_alone() {
    let w = World::new();
    let option = |op: IommufdOptionOps, val64, read_only| {
        let cmd = IommuOption {
            size: IommuOption::SIZE,
            option_id: IommufdOption::HUGE_PAGES.0,
            op: op.0,
            object_id: w.empty.0,
            val64,
            ..Default::default()
        };
        let (result, left) = call(&w, IOMMU_OPTION, cmd, read_only);
        (result, left.val64)
    };
    let (get, set) = (IommufdOptionOps::GET, IommufdOptionOps::SET);
    assert_eq!(option(get, 7, 16), (Ok(0), 1));
    assert_eq!(option(get, 7, 24), (UNANSWERED, 7));
    assert_eq!(option(set, 0, 16), (Ok(0), 0));
    assert_eq!(option(set, 1, 24), (UNANSWERED, 1));
    assert_eq!(option(get, 7, 16), (Ok(0), 1), "it was set nevertheless");
    w.close();
}

#[test]
fn ranges_that_do_not_fit_are_told_as_far_as_they_do() {
    let w = World::new();
    w.iommu
        .add_reserved(w.empty, swiommu_addr::Iova::new(0x5000), PAGE)
        .unwrap();
    let array = w.process.buffer(PAGE).unwrap();
    array.write(0, &[0xaa; 48]).unwrap();
    let cmd = IommuIoasIovaRanges {
        size: IommuIoasIovaRanges::SIZE,
        ioas_id: w.empty.0,
        num_iovas: 1,
        allowed_iovas: array.at(0).get(),
        ..Default::default()
    };
    let (result, left) = call(&w, IOMMU_IOAS_IOVA_RANGES, cmd, 0);
    assert_eq!(result, Err(Errno::EMSGSIZE));
    assert_eq!((left.num_iovas, left.out_iova_alignment), (2, 1));
    let mut found = [0; 24];
    array.read(0, &mut found).unwrap();
    assert_eq!(
        found[..16],
        [0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0x4f, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(found[16..], [0xaa; 8], "no more than was asked for");
    assert_eq!(unanswered(&w, IOMMU_IOAS_IOVA_RANGES, cmd), UNANSWERED);
    w.close();
}

/// What lies beyond the size that the caller knows is not told.
#[test]
fn a_short_struct_gets_what_fits() {
    let w = World::new();
    let cmd = IommuHwInfo {
        size: 32,
        dev_id: w.device.idev.0,
        ..Default::default()
    };
    let (result, left) = call(&w, IOMMU_GET_HW_INFO, cmd, 0);
    assert_eq!(result, Ok(0));
    assert_eq!((left.data_len, left.out_capabilities), (8, 0));
    let cmd = IommuHwInfo { size: 40, ..cmd };
    let (_, left) = call(&w, IOMMU_GET_HW_INFO, cmd, 0);
    assert_ne!(left.out_capabilities, 0);

    let cmd = IommuHwptAlloc {
        size: 24,
        dev_id: w.device.idev.0,
        pt_id: w.ioas.0,
        data_type: 0xdead,
        ..Default::default()
    };
    let (result, left) = call(&w, IOMMU_HWPT_ALLOC, cmd, 0);
    assert_eq!(result, Ok(0), "the fields that it does not have are zero");
    assert_eq!(left.out_hwpt_id, w.empty.0 + 1);
    w.close();
}

/// The data is there before the struct is.
#[test]
fn hardware_information_may_be_half_told() {
    let w = World::new();
    w.memory.write(0, &[0xaa; 16]).unwrap();
    let cmd = IommuHwInfo {
        size: IommuHwInfo::SIZE,
        dev_id: w.device.idev.0,
        data_len: 12,
        data_uptr: w.page(0).get(),
        ..Default::default()
    };
    assert_eq!(unanswered(&w, IOMMU_GET_HW_INFO, cmd), UNANSWERED);
    let mut found = [0; 16];
    w.memory.read(0, &mut found).unwrap();
    assert_eq!(
        found[..12],
        [0, 0, 0, 0, 0xef, 0xbe, 0xad, 0xde, 0, 0, 0, 0]
    );
    assert_eq!(found[12..], [0xaa; 4]);
    w.close();
}
