//! `IOMMU_IOAS_NOIOMMU_GET_PA`, and devices without an IOMMU.

use std::sync::Arc;

use swiommu_abi::hw_info::{IOMMU_GET_HW_INFO, IommuHwInfo};
use swiommu_abi::ioas::{IOMMU_IOAS_NOIOMMU_GET_PA, IommuIoasNoiommuGetPa};
use swiommu_abi::{Errno, UapiStruct};
use swiommu_addr::{Address, HvaRange, Iova};
use swiommu_files::Capability;
use swiommu_iommu::{Epochs, GroupId, NoIommu, NoIommuEndpoint, Pasid};
use swiommu_iommufd::{BoundDevice, HwptFlags};
use swiommu_mem::{Access, AddressSpace};

use crate::fixture::{BASE, NONE, PAGE, World, at, errno};
use crate::order::Rules;

/// A device without an IOMMU, attached to the empty IOAS.
fn attach(w: &World) -> BoundDevice {
    let unit = NoIommu::new(w.host.memory(), &Epochs::new());
    let endpoint = NoIommuEndpoint::new(&unit, GroupId(7));
    let device = w.iommu.context().unwrap().bind(endpoint).unwrap();
    device.attach(Pasid::NONE, w.empty).unwrap();
    device
}

fn call(w: &World, iova: Iova, length: u64) -> IommuIoasNoiommuGetPa {
    IommuIoasNoiommuGetPa {
        size: IommuIoasNoiommuGetPa::SIZE,
        ioas_id: w.empty.0,
        iova: iova.get(),
        length,
        ..Default::default()
    }
}

fn physical(w: &World, iova: Iova, length: u64) -> Result<(u64, u64), Errno> {
    let mut cmd = call(w, iova, length);
    let result = w.iommu.ioctl(IOMMU_IOAS_NOIOMMU_GET_PA, &mut cmd);
    result
        .map(|_| (cmd.out_phys, cmd.length))
        .map_err(|refusal| refusal.errno())
}

/// Where a page of the memory is.
fn page_at(w: &World, page: u64) -> u64 {
    let pages = HvaRange::from_len(w.page(page), PAGE).unwrap();
    let space: &Arc<_> = w.process.space();
    let runs = space.resolve(pages, Access::Read).unwrap();
    runs[0].memory.start().get()
}

#[test]
fn physical_addresses_are_told_as_far_as_they_are_contiguous() {
    let w = World::new();
    let device = attach(&w);
    let map = |page, pages, iova| {
        let from = w.page(page);
        w.iommu
            .map_fixed(w.empty, from, pages * PAGE, iova)
            .unwrap();
    };
    // Two areas that follow each other here and in memory: each is told for itself.
    map(0, 2, BASE);
    map(2, 1, at(2));
    let first = page_at(&w, 0);
    assert_eq!(physical(&w, BASE, 1), Ok((first, 1)));
    assert_eq!(physical(&w, BASE, PAGE), Ok((first, PAGE)));
    let both = if page_at(&w, 1) == first + PAGE {
        2 * PAGE
    } else {
        PAGE
    };
    assert_eq!(physical(&w, BASE, u64::MAX), Ok((first, both)));
    let inside = BASE.wrapping_add(100);
    assert_eq!(physical(&w, inside, 8), Ok((first + 100, 8)));
    assert_eq!(
        physical(&w, inside, u64::MAX),
        Ok((first + 100, both - 100))
    );
    assert_eq!(physical(&w, at(2), u64::MAX), Ok((page_at(&w, 2), PAGE)));
    assert_eq!(physical(&w, at(3), 1), Err(Errno::ENOENT));
    drop(device);
    w.close();
}

#[test]
fn memory_in_pieces_ends_where_a_piece_does() {
    let w = World::new();
    let device = attach(&w);
    // The same page twice, so what follows it does not lie behind it.
    let space = w.process.space();
    let twice = space.allocate(2 * PAGE).unwrap();
    let source = HvaRange::from_len(w.page(5), PAGE).unwrap();
    for n in 0..2 {
        let to = twice.start().wrapping_add(n * PAGE);
        space.map_shared(to, space, source).unwrap();
    }
    w.iommu
        .map_fixed(w.empty, twice.start(), 2 * PAGE, BASE)
        .unwrap();
    let page = page_at(&w, 5);
    assert_eq!(physical(&w, BASE, 2 * PAGE), Ok((page, PAGE)));
    assert_eq!(physical(&w, at(1), 2 * PAGE), Ok((page, PAGE)));
    drop(device);
    w.close();
}

#[test]
fn get_pa_checks_in_order() {
    let w = World::new();
    let _device = attach(&w);
    w.iommu.map_fixed(w.empty, w.page(0), PAGE, BASE).unwrap();
    w.iommu.map_fixed(w.ioas, w.page(0), PAGE, BASE).unwrap();
    Rules::of(call(&w, BASE, PAGE))
        .rule(Errno::EOPNOTSUPP, "flags", |cmd| cmd.flags = 1)
        .rule(Errno::EOPNOTSUPP, "__reserved", |cmd| cmd.__reserved = 1)
        .rule(Errno::EINVAL, "no length", |cmd| cmd.length = 0)
        .rule(Errno::EOVERFLOW, "the last IOVA", |cmd| cmd.iova = u64::MAX)
        .rule(Errno::ENOENT, "no IOAS", |cmd| cmd.ioas_id = NONE.0)
        .rule(Errno::ENOENT, "no area", |cmd| cmd.iova = at(9).get())
        .rule(Errno::EOPNOTSUPP, "an IOMMU", |cmd| cmd.ioas_id = w.ioas.0)
        .check(&w, IOMMU_IOAS_NOIOMMU_GET_PA);

    let without = World::with(&[Capability::IpcLock, Capability::SysResource]);
    let mut flagged = call(&without, BASE, PAGE);
    flagged.flags = 1;
    let refused = without.iommu.ioctl(IOMMU_IOAS_NOIOMMU_GET_PA, &mut flagged);
    assert_eq!(errno(refused), Errno::EPERM);
}

#[test]
fn a_device_without_an_iommu_has_only_plain_page_tables() {
    let w = World::new();
    let device = attach(&w);
    let flags = HwptFlags::NEST_PARENT;
    let refused = w.iommu.hwpt_alloc(device.id(), w.empty, flags);
    assert_eq!(errno(refused), Errno::EOPNOTSUPP);
    let mut info = IommuHwInfo {
        size: IommuHwInfo::SIZE,
        dev_id: device.id().0,
        ..Default::default()
    };
    let refused = w.iommu.ioctl(IOMMU_GET_HW_INFO, &mut info);
    assert_eq!(errno(refused), Errno::EOPNOTSUPP);
    drop(device);
    w.close();
}
