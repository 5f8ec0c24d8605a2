//! Dma-bufs: mapped, taken back, and what cannot be done with them.

use swiommu_abi::Errno;
use swiommu_addr::Iova;
use swiommu_files::FdNumber;
use swiommu_iommu::{DirtyRead, DirtyTracking};
use swiommu_iommufd::{AccessKind, HwptFlags, ObjectId};
use swiommu_selftest::client::{CopyPath, Device, Dirtied, Revoked};

use crate::fixture::{APERTURE, Fixture, MOCK_PAGE, PAGE, add, errno};

const PAGES: u64 = 4;
const LEN: u64 = PAGES * PAGE;

/// A buffer, and a page table that tells what is mapped: only leaves become dirty.
fn fixture() -> (Fixture, FdNumber, ObjectId, Device) {
    let (f, device) = Fixture::one();
    let iommu = f.iommu();
    let hwpt = tracking(&f, device, f.ioas);
    let buf = iommu.dma_buf_get(u32::try_from(LEN).unwrap()).unwrap();
    (f, buf, hwpt, device)
}

fn tracking(f: &Fixture, device: Device, ioas: ObjectId) -> ObjectId {
    let iommu = f.iommu();
    let hwpt = iommu
        .hwpt_alloc(device.idev, ioas, HwptFlags::DIRTY_TRACKING)
        .unwrap();
    iommu.set_dirty_tracking(hwpt, DirtyTracking::On).unwrap();
    hwpt
}

/// Whether a page table has a leaf for the page at an IOVA.
fn is_mapped(f: &Fixture, hwpt: ObjectId, iova: Iova) -> bool {
    let iommu = f.iommu();
    let touched = Dirtied {
        iova,
        len: PAGE,
        page_size: MOCK_PAGE,
        bitmap: &[1],
    };
    iommu.dirty(hwpt, touched).unwrap();
    let bitmap = f.world.process.buffer(PAGE).unwrap();
    let read = iommu.get_dirty_bitmap(hwpt, (iova, PAGE), PAGE, bitmap.at(0), DirtyRead::Clear);
    read.unwrap();
    let mut bits = [0];
    bitmap.read(0, &mut bits).unwrap();
    bits[0] & 1 == 1
}

#[test]
fn buffers_have_whole_pages_up_to_a_limit() {
    let (f, _) = Fixture::one();
    let iommu = f.iommu();
    assert_eq!(errno(iommu.dma_buf_get(0)), Errno::EINVAL);
    assert_eq!(errno(iommu.dma_buf_get(512 * 4096 + 1)), Errno::EINVAL);
    assert_eq!(errno(iommu.dma_buf_get(u32::MAX)), Errno::EINVAL);
    iommu.dma_buf_get(512 * 4096).unwrap();
    let one_page = iommu.dma_buf_get(1).unwrap();
    let map = |start, len| iommu.map_file(f.ioas, one_page, start, len, None);
    map(0, PAGE).unwrap();
    assert_eq!(errno(map(0, 2 * PAGE)), Errno::EINVAL);
    assert_eq!(errno(map(PAGE, PAGE)), Errno::EINVAL);
    f.world.close();
}

#[test]
fn a_buffer_is_mapped_and_unmapped() {
    let (f, buf, hwpt, _) = fixture();
    let iommu = f.iommu();
    let iova = iommu
        .map_file(f.ioas, buf, PAGE, 2 * PAGE, Some(APERTURE))
        .unwrap();
    assert_eq!(iova, APERTURE);
    assert!(is_mapped(&f, hwpt, iova) && is_mapped(&f, hwpt, add(iova, PAGE)));
    assert_eq!(
        f.world.host.memory().pinned_pages(),
        0,
        "it is not pinned by the page"
    );
    assert_eq!(errno(iommu.change_process()), Errno::EINVAL);
    f.unmap(iova, 2 * PAGE);
    iommu.change_process().unwrap();
    let start = MOCK_PAGE;
    let odd = iommu.map_file(f.ioas, buf, start, MOCK_PAGE, None).unwrap();
    assert_eq!(odd.get() % PAGE, start, "as the buffer's offset in a page");
    f.world.close();
}

#[test]
fn a_buffer_that_is_taken_back_leaves_an_empty_area() {
    let (f, buf, hwpt, device) = fixture();
    let iommu = f.iommu();
    let map = |iova| iommu.map_file(f.ioas, buf, 0, LEN, Some(iova));
    map(APERTURE).unwrap();
    iommu.dma_buf_revoke(buf, Revoked::Yes).unwrap();
    for page in 0..PAGES {
        assert!(!is_mapped(&f, hwpt, add(APERTURE, page * PAGE)));
    }
    let over = iommu.map_fixed(f.ioas, f.at(0), PAGE, APERTURE);
    assert_eq!(errno(over), Errno::EEXIST, "the area is still there");
    let beside = add(APERTURE, LEN);
    assert_eq!(errno(map(beside)), Errno::ENODEV);

    let later = tracking(&f, device, f.ioas);
    assert!(!is_mapped(&f, later, APERTURE));
    let other = iommu.ioas_alloc().unwrap();
    let there = tracking(&f, device, other);
    let copy = iommu
        .copy((f.ioas, APERTURE), LEN, other, Some(APERTURE))
        .unwrap();
    assert!(!is_mapped(&f, there, copy), "a copy shares the nothing");

    iommu.dma_buf_revoke(buf, Revoked::No).unwrap();
    assert!(!is_mapped(&f, hwpt, APERTURE), "it does not come back");
    map(beside).unwrap();
    assert!(is_mapped(&f, hwpt, beside), "but can be had again");
    iommu.dma_buf_revoke(buf, Revoked::No).unwrap();
    assert!(!is_mapped(&f, hwpt, beside), "that took it back again");
    f.unmap(APERTURE, LEN);
    f.unmap(beside, LEN);
    map(APERTURE).unwrap();
    assert!(is_mapped(&f, hwpt, APERTURE));
    f.world.close();
}

#[test]
fn copies_lose_the_buffer_with_the_original() {
    let (f, buf, hwpt, device) = fixture();
    let iommu = f.iommu();
    iommu.map_file(f.ioas, buf, 0, LEN, Some(APERTURE)).unwrap();
    let other = iommu.ioas_alloc().unwrap();
    let there = tracking(&f, device, other);
    let copy = |from| iommu.copy((f.ioas, from), 2 * PAGE, other, None);
    let first = copy(add(APERTURE, PAGE)).unwrap();
    assert!(is_mapped(&f, there, first));
    f.unmap(APERTURE, LEN);
    assert!(!is_mapped(&f, hwpt, APERTURE));
    assert!(is_mapped(&f, there, first), "a copy lives by itself");
    f.world.process.close(buf).unwrap();
    assert!(is_mapped(&f, there, first), "and without the descriptor");
    assert_eq!(errno(copy(APERTURE)), Errno::ENOENT);
    assert_eq!(iommu.unmap(other, first, 2 * PAGE).unwrap(), 2 * PAGE);

    let buf = iommu.dma_buf_get(4096).unwrap();
    let iova = iommu.map_file(other, buf, 0, PAGE, None).unwrap();
    let to = iommu.copy((other, iova), PAGE, f.ioas, None).unwrap();
    assert!(is_mapped(&f, hwpt, to) && is_mapped(&f, there, iova));
    iommu.dma_buf_revoke(buf, Revoked::Yes).unwrap();
    assert!(!is_mapped(&f, hwpt, to) && !is_mapped(&f, there, iova));
    f.world.close();
}

#[test]
fn software_has_no_access() {
    let (f, buf, _, _) = fixture();
    let iommu = f.iommu();
    let iova = iommu.map_file(f.ioas, buf, 0, LEN, None).unwrap();
    let copies = iommu.create_access(f.ioas, AccessKind::Copies).unwrap();
    for path in [CopyPath::Caller, CopyPath::Slow] {
        let read = iommu.access_read(copies, iova, 8, path);
        assert_eq!(errno(read), Errno::EINVAL);
        let write = iommu.access_write(copies, iova, &[1; 8], path);
        assert_eq!(errno(write), Errno::EINVAL);
    }
    let pins = iommu.create_access(f.ioas, AccessKind::Pins).unwrap();
    let pin = iommu.access_pages(pins, iova, PAGE, f.at(0));
    assert_eq!(errno(pin), Errno::EINVAL);
    f.unmap(iova, LEN);
    f.world.close();
}

#[test]
fn only_dma_bufs_are_taken_back() {
    let (f, _) = Fixture::one();
    let iommu = f.iommu();
    let revoke = |fd| errno(iommu.dma_buf_revoke(fd, Revoked::Yes));
    assert_eq!(revoke(FdNumber(999)), Errno::EBADF);
    assert_eq!(revoke(iommu.fd()), Errno::EINVAL);
    let refused = iommu.map_file(f.ioas, FdNumber(999), 0, PAGE, None);
    assert_eq!(errno(refused), Errno::EBADF);
    f.world.close();
}
