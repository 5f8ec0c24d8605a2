//! `IOAS_COPY`.

use swiommu_abi::ioas::{IOMMU_IOAS_COPY, IommuIoasCopy, IommufdIoasMapFlags as MapFlags};
use swiommu_abi::{Errno, UapiStruct};
use swiommu_addr::{Address, Hva, Iova};

use crate::fixture::{
    BASE, FIXED, LAST_MOCK_PAGE, NONE, PAGE, READABLE, WRITEABLE, World, at, errno,
};
use crate::order::Rules;

/// Where the sources are in the IOAS without a page table.
const GOOD: u64 = 0x1_0000;
const READ_ONLY: u64 = 0x2_0000;
const ODD: u64 = 0x3_0000;
const ODD_READ_ONLY: u64 = 0x4_0000;
const UNBACKED: u64 = 0x5_0000;
/// And where there is none.
const NOTHING: u64 = 0x6_0000;

fn sources(w: &World) {
    let both = MapFlags::READABLE | MapFlags::WRITEABLE;
    let map = |from: Hva, iova, flags| {
        let iova = Some(Iova::new(iova));
        w.iommu
            .map_with(w.empty, from, 2 * PAGE, iova, flags)
            .unwrap();
    };
    let odd = w.page(0).wrapping_add(1);
    map(w.page(0), GOOD, both);
    map(w.page(2), READ_ONLY, MapFlags::READABLE);
    map(odd, ODD, both);
    map(odd, ODD_READ_ONLY, MapFlags::READABLE);
    map(Hva::new(0x10_0000), UNBACKED, both);
}

fn copy(w: &World) -> IommuIoasCopy {
    IommuIoasCopy {
        size: IommuIoasCopy::SIZE,
        flags: FIXED | WRITEABLE | READABLE,
        dst_ioas_id: w.ioas.0,
        src_ioas_id: w.empty.0,
        length: PAGE,
        dst_iova: at(4).get(),
        src_iova: GOOD,
    }
}

#[test]
fn copy_checks_in_order() {
    let w = World::new();
    sources(&w);
    w.map(8, 1, BASE);
    Rules::of(copy(&w))
        .rule(Errno::EOPNOTSUPP, "flags", |c| {
            c.flags |= 8;
        })
        .rule(Errno::EOVERFLOW, "src_iova 2^64-1", |c| {
            c.src_iova = u64::MAX;
        })
        .rule(Errno::EOVERFLOW, "dst_iova 2^64-1", |c| {
            c.dst_iova = u64::MAX;
        })
        .rule(Errno::EINVAL, "permission", |c| {
            c.flags &= !(READABLE | WRITEABLE);
        })
        .rule(Errno::ENOENT, "no source", |c| c.src_ioas_id = NONE.0)
        .rule(Errno::EOVERFLOW, "the end of src_iova", |c| {
            c.src_iova = u64::MAX - 1;
        })
        .rule(Errno::ENOENT, "not covered", |c| c.src_iova = NOTHING)
        .rule(Errno::ENOENT, "no target", |c| c.dst_ioas_id = NONE.0)
        .rule(Errno::EINVAL, "length misaligned", |c| c.length = PAGE - 1)
        .rule(Errno::EINVAL, "dst_iova misaligned", |c| {
            c.dst_iova = at(4).get() + 1;
        })
        .rule(Errno::EOVERFLOW, "the end of dst_iova", |c| {
            c.dst_iova = LAST_MOCK_PAGE;
        })
        .rule(Errno::EINVAL, "reserved", |c| {
            c.dst_iova = BASE.get() - PAGE;
        })
        .rule(Errno::EEXIST, "an area", |c| c.dst_iova = BASE.get())
        .rule(Errno::EPERM, "read-only, and odd", |c| {
            c.src_iova = ODD_READ_ONLY;
        })
        .rule(Errno::EPERM, "read-only", |c| c.src_iova = READ_ONLY)
        .rule(Errno::EINVAL, "page offset", |c| c.src_iova = ODD)
        .rule(Errno::EFAULT, "no memory", |c| c.src_iova = UNBACKED)
        .check(&w, IOMMU_IOAS_COPY);
    w.close();
}

#[test]
fn copy_checks_lengths_in_order() {
    let w = World::new();
    sources(&w);
    for (length, source, flags, refused) in [
        (u64::MAX, NONE, FIXED, Errno::EOVERFLOW),
        (0, NONE, FIXED, Errno::EINVAL),
        (0, NONE, FIXED | READABLE, Errno::ENOENT),
        (0, w.empty, FIXED | READABLE, Errno::EINVAL),
        (2 * PAGE + 1, w.empty, FIXED | READABLE, Errno::ENOENT),
    ] {
        let mut cmd = copy(&w);
        (cmd.length, cmd.src_ioas_id, cmd.flags) = (length, source.0, flags);
        (cmd.dst_ioas_id, cmd.dst_iova) = (NONE.0, 1);
        let found = errno(w.iommu.ioctl(IOMMU_IOAS_COPY, &mut cmd));
        assert_eq!(found, refused, "{length:#x} bytes, flags {flags}");
    }
    w.close();
}

/// The protection of a copy is its own, whatever that of the area that it comes from.
#[test]
fn a_copy_may_allow_what_its_source_does_not() {
    let w = World::new();
    let both = MapFlags::READABLE | MapFlags::WRITEABLE;
    w.iommu
        .map_with(w.empty, w.page(0), PAGE, Some(BASE), both)
        .unwrap();
    let readable = MapFlags::READABLE | MapFlags::FIXED_IOVA;
    let from = (w.empty, BASE);
    w.iommu
        .copy_with(from, PAGE, w.empty, Some(at(1)), readable.bits())
        .unwrap();
    let back = both | MapFlags::FIXED_IOVA;
    w.iommu
        .copy_with((w.empty, at(1)), PAGE, w.empty, Some(at(2)), back.bits())
        .unwrap();
    w.close();
}
