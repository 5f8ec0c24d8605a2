//! `IOAS_IOVA_RANGES`, `IOAS_ALLOW_IOVAS`, `IOAS_ALLOC` and `IOAS_CHANGE_PROCESS`.

use swiommu_abi::ioas::{
    IOMMU_IOAS_ALLOC, IOMMU_IOAS_ALLOW_IOVAS, IOMMU_IOAS_CHANGE_PROCESS, IOMMU_IOAS_IOVA_RANGES,
    IommuIoasAlloc, IommuIoasAllowIovas, IommuIoasChangeProcess, IommuIoasIovaRanges,
    IommuIovaRange,
};
use swiommu_abi::{Errno, UapiStruct};
use swiommu_addr::Iova;
use zerocopy::IntoBytes;

use crate::fixture::{BASE, NONE, PAGE, World, at, errno};
use crate::order::Rules;

#[test]
fn iova_ranges_check_in_order() {
    let w = World::new();
    let reserved = Iova::new(PAGE);
    w.iommu.add_reserved(w.empty, reserved, PAGE).unwrap();
    let good = IommuIoasIovaRanges {
        size: IommuIoasIovaRanges::SIZE,
        ioas_id: w.empty.0,
        num_iovas: 2,
        allowed_iovas: w.page(0).get(),
        ..Default::default()
    };
    Rules::of(good)
        .rule(Errno::EOPNOTSUPP, "reserved field", |c| {
            c.__reserved = 1;
        })
        .rule(Errno::ENOENT, "no IOAS", |c| c.ioas_id = NONE.0)
        .rule(Errno::EFAULT, "no memory", |c| c.allowed_iovas = 0x10_0000)
        .check(&w, IOMMU_IOAS_IOVA_RANGES);

    // What cannot be written comes before what does not fit, and then the struct stays as it is.
    let mut cmd = IommuIoasIovaRanges {
        num_iovas: 1,
        allowed_iovas: 0x10_0000,
        ..good
    };
    assert_eq!(
        errno(w.iommu.ioctl(IOMMU_IOAS_IOVA_RANGES, &mut cmd)),
        Errno::EFAULT
    );
    assert_eq!((cmd.num_iovas, cmd.out_iova_alignment), (1, 0));
    let mut cmd = IommuIoasIovaRanges {
        num_iovas: 0,
        allowed_iovas: 0,
        ..good
    };
    assert_eq!(
        errno(w.iommu.ioctl(IOMMU_IOAS_IOVA_RANGES, &mut cmd)),
        Errno::EMSGSIZE
    );
    assert_eq!((cmd.num_iovas, cmd.out_iova_alignment), (2, 1));
    w.close();
}

/// Calls with these entries, of which the last is followed by nothing.
fn allow(w: &World, entries: &[(u64, u64)], count: u32) -> Result<i32, Errno> {
    let entries: Vec<IommuIovaRange> = entries
        .iter()
        .map(|&(start, last)| IommuIovaRange { start, last })
        .collect();
    let bytes = entries.as_bytes();
    let end = w.memory.len() - bytes.len() as u64;
    w.memory.write(end, bytes).unwrap();
    let mut cmd = IommuIoasAllowIovas {
        size: IommuIoasAllowIovas::SIZE,
        ioas_id: w.empty.0,
        num_iovas: count,
        allowed_iovas: w.memory.at(end).get(),
        ..Default::default()
    };
    let result = w.iommu.ioctl(IOMMU_IOAS_ALLOW_IOVAS, &mut cmd);
    result.map_err(|refusal| refusal.errno())
}

#[test]
fn allowed_ranges_check_in_order() {
    let w = World::new();
    let good = IommuIoasAllowIovas {
        size: IommuIoasAllowIovas::SIZE,
        ioas_id: w.empty.0,
        ..Default::default()
    };
    Rules::of(good)
        .rule(Errno::EOPNOTSUPP, "reserved field", |c| {
            c.__reserved = 1;
        })
        .rule(Errno::ENOENT, "no IOAS", |c| c.ioas_id = NONE.0)
        .rule(Errno::EFAULT, "no memory", |c| c.num_iovas = 1)
        .check(&w, IOMMU_IOAS_ALLOW_IOVAS);
    w.close();
}

#[test]
fn allowed_ranges_are_checked_one_by_one() {
    let w = World::new();
    w.iommu
        .add_reserved(w.empty, Iova::new(0x8000), PAGE)
        .unwrap();
    let (good, touching) = ((0x2000, 0x2fff), (0x3000, 0x3fff));
    let (single, backwards, overlapping) = ((7, 7), (8, 7), (0x2fff, 0x3fff));
    let reserved = (0x7000, 0x8000);
    assert_eq!(
        allow(&w, &[single], 2),
        Err(Errno::EINVAL),
        "before the next is read"
    );
    assert_eq!(allow(&w, &[backwards], 2), Err(Errno::EINVAL));
    assert_eq!(allow(&w, &[good, overlapping], 3), Err(Errno::EINVAL));
    assert_eq!(allow(&w, &[good, good], 3), Err(Errno::EINVAL));
    assert_eq!(allow(&w, &[good], 2), Err(Errno::EFAULT));
    assert_eq!(
        allow(&w, &[reserved], 2),
        Err(Errno::EFAULT),
        "before any is compared"
    );
    assert_eq!(allow(&w, &[reserved, single], 2), Err(Errno::EINVAL));
    assert_eq!(allow(&w, &[good, reserved], 2), Err(Errno::EADDRINUSE));
    assert_eq!(allow(&w, &[touching, good], 2), Ok(0));

    // The list that was refused is not in force, and the one before it is.
    assert_eq!(
        allow(&w, &[(0x5000, 0x5fff), reserved], 2),
        Err(Errno::EADDRINUSE)
    );
    let placed = w.iommu.map(w.empty, w.page(0), 2 * PAGE).unwrap();
    assert_eq!(placed, Iova::new(0x2000), "ranges that touch are one");
    assert_eq!(
        errno(w.iommu.map(w.empty, w.page(0), 2 * PAGE)),
        Errno::ENOSPC
    );
    w.iommu
        .map_fixed(w.empty, w.page(0), PAGE, Iova::new(0xa000))
        .expect("a fixed IOVA");
    assert_eq!(allow(&w, &[], 0), Ok(0));
    w.iommu.map(w.empty, w.page(0), 2 * PAGE).unwrap();
    w.close();
}

#[test]
fn an_allowed_range_keeps_page_tables_out() {
    let w = World::new();
    assert_eq!(allow(&w, &[(BASE.get() - 2, BASE.get())], 1), Ok(0));
    let before = w.state();
    assert_eq!(errno(w.iommu.mock_domain(w.empty)), Errno::EADDRINUSE);
    assert_eq!(w.state(), before);
    assert_eq!(allow(&w, &[(BASE.get(), at(1).get())], 1), Ok(0));
    w.iommu.mock_domain(w.empty).unwrap();
    w.close();
}

#[test]
fn ioas_alloc_takes_no_flags() {
    let w = World::new();
    let good = IommuIoasAlloc {
        size: IommuIoasAlloc::SIZE,
        ..Default::default()
    };
    Rules::of(good)
        .rule(Errno::EOPNOTSUPP, "flags", |c| c.flags = 1)
        .check(&w, IOMMU_IOAS_ALLOC);
    w.close();
}

#[test]
fn change_process_checks_in_order() {
    let w = World::new();
    w.iommu.map_fixed(w.empty, w.page(0), PAGE, BASE).unwrap();
    let change = |reserved| {
        let mut cmd = IommuIoasChangeProcess {
            size: IommuIoasChangeProcess::SIZE,
            __reserved: reserved,
        };
        let result = w.iommu.ioctl(IOMMU_IOAS_CHANGE_PROCESS, &mut cmd);
        result.map_err(|refusal| refusal.errno())
    };
    assert_eq!(change(1), Err(Errno::EOPNOTSUPP));
    assert_eq!(change(0), Err(Errno::EINVAL), "memory of the process");
    w.iommu.unmap_all(w.empty).unwrap();
    assert_eq!(change(0), Ok(0), "nothing is mapped");
    w.close();
}
