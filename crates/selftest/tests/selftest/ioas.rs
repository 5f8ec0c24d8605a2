//! Areas, ranges and options of an IOAS, with no, one and two devices attached.

use swiommu_abi::Errno;
use swiommu_abi::UapiStruct;
use swiommu_abi::ioas::{
    IOMMU_IOAS_IOVA_RANGES, IommuIoasIovaRanges, IommuIovaRange, IommufdIoasMapFlags as MapFlags,
};
use swiommu_abi::mock::{MOCK_APERTURE_LAST, MOCK_APERTURE_START};
use swiommu_abi::option::IommufdOption;
use swiommu_addr::{Hva, Iova, IovaRange, PageSize};
use swiommu_iommufd::ObjectId;
use zerocopy::IntoBytes;

use crate::fixture::{APERTURE, BUFFER, Fixture, MOCK_PAGE, PAGE, World, add, errno};

#[test]
fn an_attached_ioas_is_busy() {
    Fixture::each(|f| {
        f.map_fixed(0, PAGE, f.base);
        let destroyed = f.iommu().destroy(f.ioas);
        if f.devices.is_empty() {
            destroyed.unwrap();
            assert_eq!(errno(f.iommu().destroy(f.ioas)), Errno::ENOENT);
        } else {
            assert_eq!(errno(destroyed), Errno::EBUSY);
        }
    });
}

#[test]
fn closing_unmaps_everything() {
    Fixture::each(|f| {
        for n in 0..10 {
            f.map_fixed(0, PAGE, add(f.base, n * PAGE));
        }
        f.check_refs(0, PAGE, if f.devices.is_empty() { 0 } else { 10 });
    });
}

#[test]
fn areas_neither_split_nor_overlap() {
    Fixture::each(|f| {
        let at = |page| add(f.base, page * PAGE);
        let iommu = f.iommu();
        for n in 0..10 {
            assert_eq!(errno(iommu.unmap(f.ioas, at(n), PAGE)), Errno::ENOENT);
        }
        for n in 0..10 {
            f.map_fixed(0, PAGE, at(n));
        }
        for n in 0..10 {
            f.unmap(at(n), PAGE);
        }

        f.map_fixed(0, 2 * PAGE, at(16));
        for n in [16, 17] {
            assert_eq!(errno(iommu.unmap(f.ioas, at(n), PAGE)), Errno::ENOENT);
        }
        for (n, pages) in [(16, 2), (16, 1), (17, 1), (15, 2), (15, 3)] {
            let over = iommu.map_fixed(f.ioas, f.at(0), pages * PAGE, at(n));
            assert_eq!(errno(over), Errno::EEXIST, "{pages} pages at {n}");
        }
        f.check_map(at(16), 2 * PAGE, f.at(0));

        assert_eq!(iommu.unmap_all(f.ioas).unwrap(), 2 * PAGE);
        assert_eq!(iommu.unmap_all(f.ioas).unwrap(), 0);
    });
}

#[test]
fn unmap_takes_the_areas_that_lie_wholly_in_the_range() {
    Fixture::each(|f| {
        let base = add(f.base, 4 * PAGE);
        let at = |pages: u64| add(base, pages * PAGE);
        for n in 0..4 {
            f.map_fixed(0, 8 * PAGE, at(16 * n));
        }
        let iommu = f.iommu();
        let before = Iova::new(base.get() - 4 * PAGE);
        assert_eq!(errno(iommu.unmap(f.ioas, before, 8 * PAGE)), Errno::ENOENT);
        assert_eq!(
            errno(iommu.unmap(f.ioas, at(3 * 16 + 8 - 4), 8 * PAGE)),
            Errno::ENOENT
        );
        let len = (3 * 16 + 8 + 4) * PAGE;
        assert_eq!(
            iommu.unmap(f.ioas, before, len).unwrap(),
            32 * PAGE,
            "holes do not count"
        );
    });
}

#[test]
fn what_unmap_removed_before_an_error_stays_removed() {
    let (f, _) = Fixture::one();
    f.map_fixed(0, PAGE, f.base);
    f.map_fixed(0, 2 * PAGE, add(f.base, PAGE));
    let cut = f.iommu().unmap(f.ioas, f.base, 2 * PAGE);
    assert_eq!(errno(cut), Errno::ENOENT);
    f.check_refs(0, PAGE, 1);
    f.map_fixed(0, PAGE, f.base);
    f.world.close();
}

#[test]
fn the_arguments_of_map_are_checked_in_order() {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    let (unknown, nowhere) = (ObjectId(99), Hva::new(0x10_0000));
    let (none, both) = (MapFlags::empty(), MapFlags::READABLE | MapFlags::WRITEABLE);
    let flag = both | MapFlags::from_bits_retain(8);
    let top = Hva::new(u64::MAX);
    f.map_fixed(0, PAGE, APERTURE);
    let (start, free) = (MOCK_APERTURE_START, MOCK_APERTURE_START + PAGE);
    let (beyond, last_granule) = (MOCK_APERTURE_LAST + 1, u64::MAX - MOCK_PAGE + 1);
    for (ioas, from, len, iova, flags, wrong) in [
        (unknown, top, u64::MAX, u64::MAX, flag, Errno::EOPNOTSUPP),
        (unknown, top, u64::MAX, 0, none, Errno::EOVERFLOW),
        (unknown, top, 0, u64::MAX, none, Errno::EOVERFLOW),
        (unknown, top, 0, 0, none, Errno::EINVAL),
        (unknown, top, 0, 0, both, Errno::ENOENT),
        (device.idev, top, 0, 0, both, Errno::ENOENT),
        (f.ioas, top, 2, 0, both, Errno::EOVERFLOW),
        (f.ioas, nowhere, 0, 0, both, Errno::EINVAL),
        (f.ioas, nowhere, MOCK_PAGE + 1, 0, both, Errno::EINVAL),
        (f.ioas, nowhere, PAGE, start + 1, both, Errno::EINVAL),
        (f.ioas, nowhere, PAGE, start - PAGE, both, Errno::EINVAL),
        (f.ioas, nowhere, PAGE, beyond, both, Errno::EINVAL),
        (f.ioas, nowhere, PAGE, last_granule, both, Errno::EOVERFLOW),
        (f.ioas, Hva::new(1), PAGE, start, both, Errno::EEXIST),
        (f.ioas, Hva::new(1), PAGE, free, both, Errno::EINVAL),
        (f.ioas, nowhere, PAGE, free, both, Errno::EFAULT),
    ] {
        let mapped = iommu.map_with(ioas, from, len, Some(Iova::new(iova)), flags);
        assert_eq!(
            errno(mapped),
            wrong,
            "{ioas} {from} {len:#x} {iova:#x} {flags:?}"
        );
    }
    let huge = iommu.map(f.ioas, Hva::new(0), 1 << 63);
    assert_eq!(errno(huge), Errno::EOVERFLOW, "no place for it");
    f.map_fixed(0, PAGE, Iova::new(free));
    f.world.close();
}

#[test]
fn without_a_device_memory_is_not_looked_at() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    let nowhere = Hva::new(0x10_0000);
    w.iommu.map_fixed(ioas, nowhere, PAGE, APERTURE).unwrap();
    assert_eq!(
        errno(w.iommu.mock_domain(ioas)),
        Errno::EFAULT,
        "but a device needs it"
    );
    w.iommu.unmap(ioas, APERTURE, PAGE).unwrap();
    let device = w.iommu.mock_domain(ioas).unwrap();
    assert_eq!(
        device.stdev,
        ObjectId(2),
        "the failed one gave its numbers back"
    );
    w.close();
}

#[test]
fn iova_ranges_are_what_is_not_reserved() {
    Fixture::each(|f| {
        let range = |start, last| IovaRange::new(Iova::new(start), Iova::new(last)).unwrap();
        let (ranges, alignment) = f.iommu().iova_ranges(f.ioas).unwrap();
        let attached = !f.devices.is_empty();
        if attached {
            assert_eq!(ranges, [range(MOCK_APERTURE_START, MOCK_APERTURE_LAST)]);
            assert_eq!(alignment, PageSize::SIZE_2K);
        } else {
            assert_eq!(ranges, [IovaRange::full()]);
            assert_eq!(alignment, PageSize::BYTE);
        }
        f.iommu()
            .add_reserved(f.ioas, Iova::new(PAGE), PAGE)
            .unwrap();
        let (ranges, _) = f.iommu().iova_ranges(f.ioas).unwrap();
        if attached {
            assert_eq!(ranges, [range(MOCK_APERTURE_START, MOCK_APERTURE_LAST)]);
        } else {
            assert_eq!(ranges, [range(0, PAGE - 1), range(2 * PAGE, u64::MAX)]);
        }
    });
}

#[test]
fn an_array_that_is_too_short_gets_as_much_as_fits() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    w.iommu.add_reserved(ioas, Iova::new(PAGE), PAGE).unwrap();
    let ask = |room: u32, at: u64| {
        let mut cmd = IommuIoasIovaRanges {
            size: IommuIoasIovaRanges::SIZE,
            ioas_id: ioas.0,
            num_iovas: room,
            allowed_iovas: at,
            ..Default::default()
        };
        let result = w.iommu.ioctl(IOMMU_IOAS_IOVA_RANGES, &mut cmd);
        (result.map_err(|refusal| refusal.errno()), cmd)
    };
    let (result, cmd) = ask(0, 0);
    assert_eq!(result, Err(Errno::EMSGSIZE));
    assert_eq!((cmd.num_iovas, cmd.out_iova_alignment), (2, 1));

    let (result, cmd) = ask(1, w.at(0).get());
    assert_eq!(result, Err(Errno::EMSGSIZE));
    assert_eq!(cmd.num_iovas, 2);
    let mut entries = [IommuIovaRange::default(); 2];
    let len = size_of_val(&entries);
    entries.as_mut_bytes().copy_from_slice(&w.read(0, len));
    assert_eq!((entries[0].start, entries[0].last), (0, PAGE - 1));
    assert_eq!(entries[1], IommuIovaRange::default(), "not written");

    let (result, cmd) = ask(2, 0x10_0000);
    assert_eq!(result, Err(Errno::EFAULT));
    assert_eq!(cmd.out_iova_alignment, 0, "not written on EFAULT");
    w.close();
}

#[test]
fn reserved_and_allowed_ranges_exclude_each_other() {
    Fixture::each(|f| {
        let iommu = f.iommu();
        let allowed = [(f.base, add(f.base, 600 * PAGE))];
        iommu.allow_iovas(f.ioas, &allowed).unwrap();
        let inside = add(f.base, PAGE);
        assert_eq!(
            errno(iommu.add_reserved(f.ioas, inside, PAGE)),
            Errno::EADDRINUSE
        );
        iommu.allow_iovas(f.ioas, &[]).unwrap();
        iommu.add_reserved(f.ioas, inside, PAGE).unwrap();
        assert_eq!(
            errno(iommu.allow_iovas(f.ioas, &allowed)),
            Errno::EADDRINUSE
        );
        let over = iommu.map_fixed(f.ioas, f.at(0), PAGE, inside);
        assert_eq!(errno(over), Errno::EINVAL);
    });
}

#[test]
fn a_reserved_range_cannot_meet_an_area() {
    Fixture::each(|f| {
        f.map_fixed(0, PAGE, f.base);
        let over = f.iommu().add_reserved(f.ioas, f.base, 1);
        assert_eq!(errno(over), Errno::EADDRINUSE);
        f.iommu()
            .add_reserved(f.ioas, add(f.base, PAGE), PAGE)
            .unwrap();
        f.iommu()
            .add_reserved(f.ioas, add(f.base, PAGE), 8 * PAGE)
            .unwrap();
        let none = f.iommu().add_reserved(f.ioas, f.base, 0);
        assert_eq!(errno(none), Errno::EINVAL);
        let past = f.iommu().add_reserved(f.ioas, Iova::new(2), u64::MAX);
        assert_eq!(errno(past), Errno::EOVERFLOW);
        let unknown = f.iommu().add_reserved(ObjectId(99), f.base, PAGE);
        assert_eq!(errno(unknown), Errno::ENOENT);
    });
}

#[test]
fn large_pages_are_an_option() {
    const HUGE_PAGES: IommufdOption = IommufdOption::HUGE_PAGES;
    Fixture::each(|f| {
        let iommu = f.iommu();
        assert_eq!(iommu.option(HUGE_PAGES, f.ioas).unwrap(), 1);
        iommu.set_option(HUGE_PAGES, f.ioas, 0).unwrap();
        assert_eq!(iommu.option(HUGE_PAGES, f.ioas).unwrap(), 0);
        assert_eq!(
            errno(iommu.set_option(HUGE_PAGES, f.ioas, 2)),
            Errno::EINVAL
        );
        iommu.set_option(HUGE_PAGES, f.ioas, 1).unwrap();
        assert_eq!(errno(iommu.option(HUGE_PAGES, ObjectId(0))), Errno::ENOENT);

        f.map_fixed(0, PAGE, f.base);
        let off = iommu.set_option(HUGE_PAGES, f.ioas, 0);
        if f.devices.is_empty() {
            off.unwrap();
        } else {
            assert_eq!(errno(off), Errno::EINVAL, "mapped in a page table");
        }
    });
}

#[test]
fn alignment_rises_only_if_every_area_has_it() {
    const HUGE_PAGES: IommufdOption = IommufdOption::HUGE_PAGES;
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    let second = add(APERTURE, PAGE);
    let odd = |iova| w.iommu.map_fixed(ioas, w.at(MOCK_PAGE), PAGE, iova);
    w.iommu.map_fixed(ioas, w.at(0), PAGE, APERTURE).unwrap();
    w.iommu.set_option(HUGE_PAGES, ioas, 0).unwrap();
    assert_eq!(errno(odd(second)), Errno::EINVAL);
    w.iommu.set_option(HUGE_PAGES, ioas, 0).unwrap();

    w.iommu.set_option(HUGE_PAGES, ioas, 1).unwrap();
    odd(second).unwrap();
    let raised = w.iommu.set_option(HUGE_PAGES, ioas, 0);
    assert_eq!(errno(raised), Errno::EADDRINUSE);
    assert_eq!(w.iommu.option(HUGE_PAGES, ioas).unwrap(), 1);

    w.iommu.unmap(ioas, second, PAGE).unwrap();
    w.iommu.set_option(HUGE_PAGES, ioas, 0).unwrap();
    w.close();
}

#[test]
fn every_length_maps_that_the_page_table_can_take() {
    Fixture::each(|f| {
        for len in 1..2 * PAGE {
            let mapped = f.iommu().map(f.ioas, f.at(0), len);
            if !f.devices.is_empty() && len % MOCK_PAGE != 0 {
                assert_eq!(errno(mapped), Errno::EINVAL, "{len} bytes");
            } else {
                f.unmap(mapped.unwrap(), len);
            }
        }
    });
}

#[test]
fn a_page_table_does_not_fit_over_what_it_cannot_translate() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    w.iommu
        .map_fixed(ioas, w.at(0), PAGE, Iova::new(0))
        .unwrap();
    assert_eq!(errno(w.iommu.mock_domain(ioas)), Errno::EADDRINUSE);
    w.iommu.unmap_all(ioas).unwrap();
    w.iommu
        .map_fixed(ioas, w.at(1), PAGE, add(APERTURE, 1))
        .unwrap();
    assert_eq!(errno(w.iommu.mock_domain(ioas)), Errno::EADDRINUSE);
    w.iommu.unmap_all(ioas).unwrap();
    w.iommu.map_fixed(ioas, w.at(0), BUFFER, APERTURE).unwrap();
    w.iommu.mock_domain(ioas).unwrap();
    w.close();
}
