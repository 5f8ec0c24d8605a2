//! Who pays for pinned pages, and handing the bill on.

use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_abi::option::IommufdOption;
use swiommu_files::Capability;
use swiommu_iommufd::{AccessKind, ObjectId};
use swiommu_mem::{AddressSpace, Uid};
use swiommu_selftest::client::{Client, Host, Process};

use crate::fixture::{PAGE, errno};

const RLIMIT_MODE: IommufdOption = IommufdOption::RLIMIT_MODE;
const NO_OBJECT: ObjectId = ObjectId(0);

/// A process that pays, and a client of it that charges per user or per `mm`.
fn payer(host: &Host, mode: u64) -> (Arc<Process>, Client) {
    let process = host.process_with(&[Capability::SysResource]).unwrap();
    let iommu = process.open().unwrap();
    iommu.set_option(RLIMIT_MODE, NO_OBJECT, mode).unwrap();
    (process, iommu)
}

/// `VmPin` and `VmLck`, in pages.
fn locked(process: &Process) -> (i64, i64) {
    let locked = process.space().locked();
    (locked.pinned(), locked.locked())
}

fn memfd(process: &Process, len: u64) -> swiommu_files::FdNumber {
    let name = "change-process";
    let file = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&file, len).unwrap();
    process.open_native(file)
}

#[test]
fn only_files_change_hands() {
    let host = Host::new().unwrap();
    for mode in [0, 1] {
        let (parent, iommu) = payer(&host, mode);
        let ioas = iommu.ioas_alloc().unwrap();
        iommu.mock_domain(ioas).unwrap();
        let buffer = parent.buffer(PAGE).unwrap();
        let iova = iommu.map(ioas, buffer.at(0), PAGE).unwrap();
        assert_eq!(errno(iommu.change_process()), Errno::EINVAL);
        iommu.unmap(ioas, iova, PAGE).unwrap();

        let file = memfd(&parent, PAGE);
        iommu.map_file(ioas, file, 0, PAGE, None).unwrap();
        iommu.change_process().unwrap();
        let one_page = (1, i64::from(mode == 1));
        assert_eq!(locked(&parent), one_page);

        let child = host.process_with(&[]).unwrap();
        let in_child = iommu.also_in(&child).unwrap();
        assert_eq!(locked(&child), (0, 0));
        in_child.change_process().unwrap();
        assert_eq!(locked(&parent), (0, 0));
        assert_eq!(locked(&child), one_page);

        child.space().exit();
        drop(in_child);
        drop(iommu);
        assert_eq!(locked(&child), (0, 0));
        assert_eq!(host.memory().pinned_pages(), 0);
    }
}

#[test]
fn changing_over_the_limit_changes_nothing() {
    let host = Host::new().unwrap();
    let (parent, iommu) = payer(&host, 0);
    let ioas = iommu.ioas_alloc().unwrap();
    iommu.mock_domain(ioas).unwrap();
    let file = memfd(&parent, 4 * PAGE);
    iommu.map_file(ioas, file, 0, 4 * PAGE, None).unwrap();
    let child = host.process_with(&[]).unwrap();
    child.space().set_user(Uid(7));
    child.space().set_memlock_limit(Some(3 * PAGE));
    let in_child = iommu.also_in(&child).unwrap();
    assert_eq!(errno(in_child.change_process()), Errno::ENOMEM);
    assert_eq!(locked(&parent), (4, 0));
    assert_eq!(locked(&child), (0, 0));
    assert_eq!(host.memory().accounts().charged(Uid(7)), 0);
    child.space().set_memlock_limit(Some(4 * PAGE));
    in_child.change_process().unwrap();
    assert_eq!(host.memory().accounts().charged(Uid(0)), 0);
    assert_eq!(host.memory().accounts().charged(Uid(7)), 4 * PAGE);
}

#[test]
fn a_mapping_over_the_limit_leaves_nothing() {
    let host = Host::new().unwrap();
    for mode in [0, 1] {
        let (process, iommu) = payer(&host, mode);
        process.space().set_memlock_limit(Some(3 * PAGE));
        let buffer = process.buffer(4 * PAGE).unwrap();
        let ioas = iommu.ioas_alloc().unwrap();
        let device = iommu.mock_domain(ioas).unwrap();
        let mapped = iommu.map(ioas, buffer.at(0), 4 * PAGE);
        assert_eq!(errno(mapped), Errno::ENOMEM);
        assert_eq!(host.memory().pinned_pages(), 0);
        assert_eq!(locked(&process), (0, 0));
        let iova = iommu.map(ioas, buffer.at(0), 3 * PAGE).unwrap();
        iommu
            .check_map(device.hwpt, iova, 3 * PAGE, buffer.at(0))
            .unwrap();
        let over = iommu.map(ioas, buffer.at(0), PAGE);
        assert_eq!(
            errno(over),
            Errno::ENOMEM,
            "a second pin is a second charge"
        );
    }
}

#[test]
fn a_late_device_is_refused_over_the_limit() {
    let host = Host::new().unwrap();
    let (process, iommu) = payer(&host, 0);
    process.space().set_memlock_limit(Some(3 * PAGE));
    let buffer = process.buffer(4 * PAGE).unwrap();
    let ioas = iommu.ioas_alloc().unwrap();
    for n in 0..4 {
        let iova = crate::fixture::add(crate::fixture::APERTURE, n * PAGE);
        iommu
            .map_fixed(ioas, buffer.at(n * PAGE), PAGE, iova)
            .unwrap();
    }
    assert_eq!(errno(iommu.mock_domain(ioas)), Errno::ENOMEM);
    assert_eq!(host.memory().pinned_pages(), 0);
    assert_eq!(locked(&process), (0, 0));
    process.space().set_memlock_limit(None);
    assert_eq!(iommu.mock_domain(ioas).unwrap().stdev, ObjectId(2));
}

#[test]
fn the_mode_is_chosen_before_there_are_objects() {
    let host = Host::new().unwrap();
    let process = host.process().unwrap();
    let iommu = process.open().unwrap();
    let set = |client: &Client, value| client.set_option(RLIMIT_MODE, NO_OBJECT, value);
    assert_eq!(iommu.option(RLIMIT_MODE, NO_OBJECT).unwrap(), 0);
    set(&iommu, 1).unwrap();
    assert_eq!(iommu.option(RLIMIT_MODE, NO_OBJECT).unwrap(), 1);
    assert_eq!(errno(set(&iommu, 2)), Errno::EINVAL);
    iommu.ioas_alloc().unwrap();
    assert_eq!(errno(set(&iommu, 0)), Errno::EBUSY);
    let plain = host.process_with(&[]).unwrap().open().unwrap();
    assert_eq!(errno(set(&plain, 1)), Errno::EPERM);
}

#[test]
fn a_page_is_charged_once_however_many_use_it() {
    let host = Host::new().unwrap();
    for mode in [0, 1] {
        let (process, iommu) = payer(&host, mode);
        let buffer = process.buffer(PAGE).unwrap();
        let ioas = iommu.ioas_alloc().unwrap();
        iommu.mock_domain(ioas).unwrap();
        let other = iommu.ioas_alloc().unwrap();
        iommu.mock_domain(other).unwrap();
        let iova = iommu.map(ioas, buffer.at(0), PAGE).unwrap();
        iommu.copy((ioas, iova), PAGE, ioas, None).unwrap();
        iommu.copy((ioas, iova), PAGE, other, None).unwrap();
        let access = iommu.create_access(other, AccessKind::Pins).unwrap();
        iommu
            .access_pages(access, iova, PAGE, buffer.at(0))
            .unwrap();
        assert_eq!(locked(&process), (1, i64::from(mode == 1)));
        assert_eq!(iommu.unmap_all(ioas).unwrap(), 2 * PAGE);
        assert_eq!(locked(&process), (1, i64::from(mode == 1)));
        iommu.unmap_all(other).unwrap();
        assert_eq!(locked(&process), (0, 0));
    }
}
