//! The VFIO type1 ioctls.

use swiommu_abi::option::{IommufdOption, IommufdVfioIoasOp};
use swiommu_abi::vfio::container::{
    VFIO_CHECK_EXTENSION, VFIO_GET_API_VERSION, VFIO_IOMMU_DIRTY_PAGES, VFIO_IOMMU_MAP_DMA,
    VFIO_IOMMU_UNMAP_DMA, VFIO_SET_IOMMU, VfioIommuType1DmaMap, VfioIommuType1DmaUnmap,
};
use swiommu_abi::{Errno, UapiStruct};
use swiommu_addr::Iova;
use swiommu_files::Arg;
use swiommu_iommufd::{AccessKind, ObjectId};

use crate::fixture::{BASE, LAST_MOCK_PAGE, PAGE, World, at, errno};
use crate::order::Rules;

const TYPE1: u64 = 1;
const TYPE1_V2: u64 = 3;

fn choose(w: &World, ioas: ObjectId) {
    w.iommu.vfio_ioas(IommufdVfioIoasOp::SET, ioas).unwrap();
}

fn number(w: &World, request: u32, number: u64) -> Result<i32, Errno> {
    let result = w.iommu.ioctl_raw(request, Arg::new(number));
    result.map_err(|refusal| refusal.errno())
}

fn map(w: &World, iova: Iova, pages: u64) -> VfioIommuType1DmaMap {
    VfioIommuType1DmaMap {
        argsz: VfioIommuType1DmaMap::SIZE,
        flags: 3,
        vaddr: w.page(0).get(),
        iova: iova.get(),
        size: pages * PAGE,
    }
}

/// Unmaps pages, and returns how many bytes the call says were mapped.
fn unmap(w: &World, iova: Iova, pages: u64) -> Result<u64, Errno> {
    unmap_with(w, 0, iova.get(), pages * PAGE).0
}

/// The result, and what stands in `size` afterwards.
fn unmap_with(w: &World, flags: u32, iova: u64, size: u64) -> (Result<u64, Errno>, u64) {
    let argsz = VfioIommuType1DmaUnmap::SIZE;
    let mut cmd = VfioIommuType1DmaUnmap {
        argsz,
        flags,
        iova,
        size,
    };
    let result = w.iommu.ioctl(VFIO_IOMMU_UNMAP_DMA, &mut cmd);
    (
        result.map(|_| cmd.size).map_err(|refusal| refusal.errno()),
        cmd.size,
    )
}

#[test]
fn extensions_are_as_the_kernel_tells_them() {
    let w = World::new();
    assert_eq!(number(&w, VFIO_GET_API_VERSION, 99), Ok(0));
    let extension = |n| number(&w, VFIO_CHECK_EXTENSION, n);
    for n in 0..16 {
        let expected = match n {
            1 | 3 | 9 => Ok(1),
            4 => Err(Errno::ENODEV),
            _ => Ok(0),
        };
        assert_eq!(extension(n), expected, "extension {n}");
    }
    assert_eq!(extension(1 << 32 | 1), Ok(0));
    choose(&w, w.empty);
    assert_eq!(extension(4), Ok(1), "no page table is incoherent");
    choose(&w, w.ioas);
    assert_eq!(extension(4), Ok(0), "the mock enforces nothing");
    assert_eq!(number(&w, VFIO_IOMMU_DIRTY_PAGES, 0), Err(Errno::ENOTTY));
    w.close();
}

#[test]
fn set_iommu_checks_in_order() {
    let w = World::new();
    let set = |kind| number(&w, VFIO_SET_IOMMU, kind);
    for kind in [0, 2, 4, 8, 1 << 32 | TYPE1] {
        assert_eq!(set(kind), Err(Errno::EINVAL), "kind {kind:#x}");
    }
    assert_eq!(
        (set(TYPE1), set(TYPE1_V2)),
        (Err(Errno::ENODEV), Err(Errno::ENODEV))
    );
    choose(&w, w.ioas);
    let huge = || w.iommu.option(IommufdOption::HUGE_PAGES, w.ioas).unwrap();
    w.map(0, 1, BASE);
    assert_eq!((set(TYPE1_V2), huge()), (Ok(0), 1));
    assert_eq!(
        (set(TYPE1), huge()),
        (Err(Errno::EINVAL), 1),
        "large pages are in use"
    );
    w.iommu.unmap_all(w.ioas).unwrap();
    assert_eq!((set(TYPE1), huge()), (Ok(0), 0));
    assert_eq!((set(TYPE1_V2), huge()), (Ok(0), 0), "they stay off");
    w.close();
}

#[test]
fn map_checks_in_order() {
    let w = World::new();
    w.map(8, 1, BASE);
    let mut short = map(&w, at(4), 1);
    (short.argsz, short.flags) = (31, 4);
    let at_end = w.memory.at(w.memory.len() - 16);
    w.memory.write(w.memory.len() - 16, &[0; 16]).unwrap();
    let half = w.iommu.ioctl_raw(VFIO_IOMMU_MAP_DMA, Arg::from(at_end));
    assert_eq!(errno(half), Errno::EFAULT);
    assert_eq!(
        errno(w.iommu.ioctl(VFIO_IOMMU_MAP_DMA, &mut short)),
        Errno::EINVAL
    );
    let good = map(&w, at(4), 1);
    let mut too_early = good;
    assert_eq!(
        errno(w.iommu.ioctl(VFIO_IOMMU_MAP_DMA, &mut too_early)),
        Errno::ENODEV
    );
    choose(&w, w.ioas);
    Rules::of(good)
        .rule(Errno::EINVAL, "argsz", |c| {
            c.argsz = 31;
        })
        .rule(Errno::EINVAL, "flags", |c| c.flags |= 4)
        .rule(Errno::EOVERFLOW, "the end of vaddr", |c| c.vaddr = u64::MAX)
        .rule(Errno::EINVAL, "size misaligned", |c| c.size = PAGE + 1)
        .rule(Errno::EINVAL, "iova misaligned", |c| c.iova = u64::MAX)
        .rule(Errno::EOVERFLOW, "the end of iova", |c| {
            c.iova = LAST_MOCK_PAGE;
        })
        .rule(Errno::EINVAL, "reserved", |c| c.iova = BASE.get() - PAGE)
        .rule(Errno::EEXIST, "an area", |c| c.iova = BASE.get())
        .rule(Errno::EINVAL, "page offset", |c| c.vaddr |= 1)
        .rule(Errno::EFAULT, "no memory", |c| c.vaddr = 0x10_0000)
        .check(&w, VFIO_IOMMU_MAP_DMA);
    w.close();
}

#[test]
fn a_mapping_without_permissions_is_only_noted() {
    let w = World::new();
    let mut cmd = VfioIommuType1DmaMap {
        flags: 0,
        ..map(&w, at(4), 1)
    };
    choose(&w, w.empty);
    w.iommu.ioctl(VFIO_IOMMU_MAP_DMA, &mut cmd).unwrap();
    let before = w.state();
    assert_eq!(errno(w.iommu.mock_domain(w.empty)), Errno::EINVAL);
    choose(&w, w.ioas);
    assert_eq!(
        errno(w.iommu.ioctl(VFIO_IOMMU_MAP_DMA, &mut cmd)),
        Errno::EINVAL
    );
    assert_eq!(w.state(), before);
    w.close();
}

#[test]
fn unmap_checks_in_order() {
    let w = World::new();
    let call = |argsz, flags, iova, size| {
        let mut cmd = VfioIommuType1DmaUnmap {
            argsz,
            flags,
            iova,
            size,
        };
        let refused = errno(w.iommu.ioctl(VFIO_IOMMU_UNMAP_DMA, &mut cmd));
        (refused, cmd.size)
    };
    let (whole, none) = (VfioIommuType1DmaUnmap::SIZE, Errno::ENODEV);
    assert_eq!(call(whole - 1, 1, 1, 1), (Errno::EINVAL, 1));
    assert_eq!(call(whole, 1, 1, 1), (Errno::EINVAL, 1));
    assert_eq!(call(whole, 2, 1, 1), (none, 1));
    choose(&w, w.ioas);
    for (iova, size) in [(1, 0), (0, 1), (1, 1)] {
        let refused = (Errno::EINVAL, size);
        assert_eq!(
            call(whole, 2, iova, size),
            refused,
            "everything is a range of its own"
        );
    }
    // From here on, `size` says how much went.
    assert_eq!(call(whole, 0, 0, 0), (Errno::EINVAL, 0));
    assert_eq!(call(whole, 0, u64::MAX, 2), (Errno::EOVERFLOW, 0));
    w.close();
}

#[test]
fn unmapping_nothing_is_a_success() {
    let w = World::new();
    choose(&w, w.ioas);
    assert_eq!(unmap(&w, at(0), 1), Ok(0));
    assert_eq!(unmap_with(&w, 2, 0, 0), (Ok(0), 0));
    w.map(0, 2, at(0));
    w.map(4, 1, at(8));
    assert_eq!(unmap_with(&w, 2, 0, 0), (Ok(3 * PAGE), 3 * PAGE));
    assert_eq!(w.host.memory().pinned_pages(), 0);
    w.close();
}

#[test]
fn version_2_unmaps_only_what_was_mapped() {
    let w = World::new();
    choose(&w, w.ioas);
    w.map(0, 1, at(0));
    w.map(4, 4, at(4));
    for (first, pages) in [(4, 2), (5, 1), (6, 2), (5, 9)] {
        assert_eq!(
            unmap_with(&w, 0, at(first).get(), pages * PAGE),
            (Err(Errno::ENOENT), 0)
        );
    }
    // What went before the part that could not is gone, and the call says so.
    assert_eq!(
        unmap_with(&w, 0, at(0).get(), 6 * PAGE),
        (Err(Errno::ENOENT), PAGE)
    );
    assert_eq!(w.host.memory().pinned_pages(), 4);
    assert_eq!(unmap(&w, at(0), 20), Ok(4 * PAGE));
    w.close();
}

#[test]
fn version_1_unmaps_any_page() {
    let w = World::new();
    choose(&w, w.ioas);
    number(&w, VFIO_SET_IOMMU, TYPE1).unwrap();
    w.map(0, 4, at(0));
    assert_eq!(unmap(&w, at(1), 1), Ok(PAGE));
    w.iommu
        .check_map(w.device.hwpt, at(0), PAGE, w.page(0))
        .unwrap();
    w.iommu
        .check_map(w.device.hwpt, at(2), 2 * PAGE, w.page(2))
        .unwrap();
    w.iommu.check_refs(w.page(1), PAGE, 0).unwrap();
    w.iommu.check_refs(w.page(2), 2 * PAGE, 1).unwrap();
    // The halves are mappings like others.
    w.iommu
        .copy((w.ioas, at(2)), 2 * PAGE, w.ioas, Some(at(8)))
        .unwrap();
    w.map(8, 1, at(1));
    assert_eq!(unmap(&w, at(0), 4), Ok(4 * PAGE));
    assert_eq!(w.host.memory().pinned_pages(), 2, "the copies");
    w.close();
}

#[test]
fn every_order_of_unmapping_pages_leaves_the_others() {
    const PAGES: u64 = 8;
    let w = World::new();
    choose(&w, w.ioas);
    number(&w, VFIO_SET_IOMMU, TYPE1).unwrap();
    for step in [1, 3, 5, 7] {
        w.map(0, PAGES, at(0));
        let mut left: Vec<u64> = (0..PAGES).collect();
        for n in 0..PAGES {
            let page = n * step % PAGES;
            assert_eq!(unmap(&w, at(page), 1), Ok(PAGE));
            left.retain(|other| *other != page);
            for &other in &left {
                let hwpt = w.device.hwpt;
                w.iommu
                    .check_map(hwpt, at(other), PAGE, w.page(other))
                    .unwrap();
            }
            assert_eq!(w.host.memory().pinned_pages(), left.len() as u64);
        }
    }
    w.close();
}

#[test]
fn cuts_are_refused_where_they_cannot_be() {
    let w = World::new();
    choose(&w, w.ioas);
    number(&w, VFIO_SET_IOMMU, TYPE1).unwrap();
    w.map(0, 4, at(0));
    let before = w.state();
    let cut = |iova: u64, size| unmap_with(&w, 0, iova, size);
    let refused = (Err(Errno::EINVAL), 100);
    assert_eq!(
        cut(at(1).get(), 100),
        refused,
        "the end is not on a page, and nothing is written"
    );
    let size = PAGE;
    assert_eq!(cut(at(1).get() + 8, size), (Err(Errno::EINVAL), size));
    assert_eq!(w.state(), before);

    let access = w.iommu.create_access(w.ioas, AccessKind::Pins).unwrap();
    let pin = w
        .iommu
        .access_pages(access, at(0), PAGE, w.page(0))
        .unwrap();
    assert_eq!(cut(at(2).get(), size), (Err(Errno::EINVAL), size), "pinned");
    w.iommu.destroy_access_pages(access, pin).unwrap();
    assert_eq!(cut(at(2).get(), size), (Ok(PAGE), PAGE));
    w.iommu.destroy_access(access).unwrap();
    w.close();
}

/// Large pages that come back forbid cutting again, as soon as a page table has any.
#[test]
fn large_pages_are_not_cut() {
    let w = World::new();
    choose(&w, w.ioas);
    number(&w, VFIO_SET_IOMMU, TYPE1).unwrap();
    w.iommu
        .set_option(IommufdOption::HUGE_PAGES, w.ioas, 1)
        .unwrap();
    w.map(0, 4, at(0));
    assert_eq!(
        unmap_with(&w, 0, at(1).get(), PAGE),
        (Err(Errno::ENOENT), 0)
    );
    w.close();
}
