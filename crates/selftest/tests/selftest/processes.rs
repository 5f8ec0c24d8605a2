//! Mappings of several processes in one context.

use swiommu_abi::Errno;
use swiommu_addr::HvaRange;
use swiommu_iommufd::AccessKind;
use swiommu_selftest::client::{Client, CopyPath};

use crate::access::check_copies;
use crate::fixture::{APERTURE, BUFFER, Fixture, PAGE, errno};

/// The client in a child: another process with the same shared memory at the same addresses.
fn fork(f: &Fixture) -> Client {
    let child = f.world.host.process().unwrap();
    let memory = HvaRange::from_len(f.at(0), BUFFER).unwrap();
    let parent = f.world.process.space();
    child.space().map_shared(f.at(0), parent, memory).unwrap();
    f.iommu().also_in(&child).unwrap()
}

#[test]
fn mappings_of_a_process_that_is_gone() {
    Fixture::each(|f| {
        let access = f.iommu().create_access(f.ioas, AccessKind::Copies).unwrap();
        let child = fork(f);
        child.map_fixed(f.ioas, f.at(0), BUFFER, APERTURE).unwrap();
        child.process().space().exit();
        drop(child);
        let device = f.iommu().mock_domain(f.ioas);
        if f.devices.is_empty() {
            assert_eq!(errno(device), Errno::EFAULT, "nobody can pin it any more");
            f.check_refs(0, BUFFER, 0);
        } else {
            let device = device.unwrap();
            f.iommu()
                .check_map(device.hwpt, APERTURE, BUFFER, f.at(0))
                .unwrap();
            f.check_refs(0, BUFFER, 1);
            check_copies(f, access, APERTURE, CopyPath::Caller);
        }
        f.iommu().destroy_access(access).unwrap();
    });
}

#[test]
fn mappings_of_a_process_that_is_there() {
    Fixture::each(|f| {
        let access = f.iommu().create_access(f.ioas, AccessKind::Copies).unwrap();
        let child = fork(f);
        child.map_fixed(f.ioas, f.at(0), BUFFER, APERTURE).unwrap();
        let device = f.iommu().mock_domain(f.ioas).unwrap();
        f.iommu()
            .check_map(device.hwpt, APERTURE, BUFFER, f.at(0))
            .unwrap();
        check_copies(f, access, APERTURE, CopyPath::Caller);
        child.process().space().exit();
        check_copies(f, access, APERTURE, CopyPath::Caller);
        drop(child);
        f.iommu().destroy(device.stdev).unwrap();
    });
}

#[test]
fn the_same_memory_of_two_processes_is_the_same_pages() {
    let (f, device) = Fixture::one();
    let child = fork(&f);
    child.map_fixed(f.ioas, f.at(0), PAGE, APERTURE).unwrap();
    f.iommu()
        .check_map(device.hwpt, APERTURE, PAGE, f.at(0))
        .unwrap();
    f.map(0, PAGE);
    child.check_refs(f.at(0), PAGE, 2).unwrap();
    drop(child);
    f.world.close();
}

#[test]
fn the_context_is_open_until_the_last_process_closes_it() {
    let (f, _) = Fixture::one();
    f.map_fixed(0, PAGE, APERTURE);
    let child = fork(&f);
    let (host, process) = (f.world.host.clone(), f.world.process.clone());
    f.world.process.close(f.iommu().fd()).unwrap();
    assert_eq!(host.memory().pinned_pages(), 1);
    assert_eq!(child.unmap_all(f.ioas).unwrap(), PAGE);
    child.map_fixed(f.ioas, f.at(0), PAGE, APERTURE).unwrap();
    drop(child);
    assert_eq!(host.memory().pinned_pages(), 0);
    drop(process);
}
