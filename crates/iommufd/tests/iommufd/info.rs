//! `VFIO_IOMMU_GET_INFO`, byte by byte.

use swiommu_abi::Errno;
use swiommu_abi::option::{IommufdOption, IommufdVfioIoasOp};
use swiommu_abi::vfio::container::VFIO_IOMMU_GET_INFO;
use swiommu_addr::Iova;
use swiommu_files::Arg;
use swiommu_iommufd::{AccessKind, ObjectId};

use crate::fixture::{BASE, PAGE, World, errno};

/// A byte that nobody writes.
const UNTOUCHED: u8 = 0xaa;

/// Calls with a buffer of so many bytes, behind which there is nothing. Returns it as the call left it.
fn info(w: &World, argsz: u32) -> Vec<u8> {
    let len = usize::try_from(argsz).unwrap();
    let mut buffer = vec![UNTOUCHED; len];
    buffer[..4].copy_from_slice(&argsz.to_ne_bytes());
    let at = w.memory.len() - u64::from(argsz);
    w.memory.write(at, &buffer).unwrap();
    w.iommu
        .ioctl_raw(VFIO_IOMMU_GET_INFO, Arg::from(w.memory.at(at)))
        .unwrap();
    w.memory.read(at, &mut buffer).unwrap();
    buffer
}

fn choose(w: &World, ioas: ObjectId) {
    w.iommu.vfio_ioas(IommufdVfioIoasOp::SET, ioas).unwrap();
}

/// The whole of it, for an IOAS of which the second page is reserved.
#[rustfmt::skip]
const WHOLE: [u8; 88] = [
    88, 0, 0, 0,  3, 0, 0, 0,  0, 0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    24, 0, 0, 0,  0, 0, 0, 0,
    // DMA_AVAIL, version 1.
    3, 0, 1, 0,  40, 0, 0, 0,  0xff, 0xff, 0xff, 0xff,  UNTOUCHED, UNTOUCHED, UNTOUCHED, UNTOUCHED,
    // IOVA_RANGE, version 1: two ranges.
    1, 0, 1, 0,  0, 0, 0, 0,  2, 0, 0, 0,  0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,  0xff, 0x0f, 0, 0, 0, 0, 0, 0,
    0, 0x20, 0, 0, 0, 0, 0, 0,  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
];

/// What a buffer of so many bytes holds afterwards.
fn expected(argsz: usize) -> Vec<u8> {
    let mut buffer = vec![UNTOUCHED; argsz];
    let mut fill = |from: usize, to: usize| {
        let to = to.min(argsz);
        if from < to {
            buffer[from..to].copy_from_slice(&WHOLE[from..to]);
        }
    };
    fill(0, 24);
    for (from, to) in [(24, 36), (56, 72), (72, 88)] {
        if argsz >= to {
            fill(from, to);
        }
    }
    if argsz >= 88 {
        fill(40, 56);
        return buffer;
    }
    // The chain is told only with all of it.
    if argsz >= 20 {
        buffer[16..20].fill(0);
    } else if argsz > 16 {
        buffer[16..].fill(0);
    }
    if (36..40).contains(&argsz) {
        buffer[28..32].fill(0);
    }
    buffer
}

#[test]
fn no_byte_too_many_and_none_too_few() {
    let w = World::new();
    w.iommu
        .add_reserved(w.empty, Iova::new(PAGE), PAGE)
        .unwrap();
    choose(&w, w.empty);
    for argsz in 16..=120 {
        let found = info(&w, argsz);
        assert_eq!(
            found,
            expected(usize::try_from(argsz).unwrap()),
            "argsz {argsz}"
        );
    }
    w.close();
}

#[test]
fn info_checks_in_order() {
    let w = World::new();
    let call = |at: u64, argsz: u32| {
        let bytes = argsz.to_ne_bytes();
        w.memory.write(at, &bytes).unwrap();
        errno(
            w.iommu
                .ioctl_raw(VFIO_IOMMU_GET_INFO, Arg::from(w.memory.at(at))),
        )
    };
    assert_eq!(
        call(w.memory.len() - 12, 0),
        Errno::EFAULT,
        "16 bytes are read"
    );
    assert_eq!(call(0, 15), Errno::EINVAL);
    assert_eq!(call(0, 16), Errno::ENODEV);
    choose(&w, w.ioas);
    assert_eq!(call(0, 15), Errno::EINVAL);
    assert_eq!(
        call(w.memory.len() - 16, 17),
        Errno::EFAULT,
        "the rest is not there"
    );
    w.close();
}

#[test]
fn page_sizes_are_those_of_all_page_tables() {
    let w = World::new();
    let sizes = |ioas| {
        choose(&w, ioas);
        u64::from_ne_bytes(info(&w, 16)[8..].try_into().unwrap())
    };
    let all = u64::MAX << 12;
    assert_eq!(sizes(w.empty), all);
    // Half pages are told as pages.
    let mock = (1 << 37) - (1 << 12);
    assert_eq!(sizes(w.ioas), mock);
    w.iommu
        .set_option(IommufdOption::HUGE_PAGES, w.ioas, 0)
        .unwrap();
    assert_eq!(sizes(w.ioas), mock, "though leaves are smaller");
    let access = w.iommu.create_access(w.empty, AccessKind::Pins).unwrap();
    assert_eq!(sizes(w.empty), all);
    w.iommu.destroy_access(access).unwrap();
    w.close();
}

#[test]
fn ranges_are_those_outside_the_aperture_and_what_is_reserved() {
    let w = World::new();
    choose(&w, w.ioas);
    let found = info(&w, 72);
    let number = |at: usize| u64::from_ne_bytes(found[at..at + 8].try_into().unwrap());
    assert_eq!(found[..4], 72_u32.to_ne_bytes());
    assert_eq!(found[48..52], 1_u32.to_ne_bytes());
    assert_eq!((number(56), number(64)), (BASE.get(), 0x7fff_ffff));
    w.close();
}
