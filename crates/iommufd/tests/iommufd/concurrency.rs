//! Calls at the same time.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use swiommu_abi::Errno;
use swiommu_addr::Iova;
use swiommu_iommufd::{HwptFlags, ObjectId};
use swiommu_selftest::client::{Client, Result};

use crate::fixture::{BASE, PAGE, World, at};

const THREADS: u64 = 4;

/// Runs the same work in several threads, each with a client of its own and its number.
fn in_threads(w: &World, work: impl Fn(&Client, u64) + Sync) {
    let start = Barrier::new(usize::try_from(THREADS).unwrap());
    thread::scope(|scope| {
        for n in 0..THREADS {
            let client = w.iommu.also_in(&w.process).unwrap();
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(&client, n);
            });
        }
    });
}

/// Whether the call succeeded; if not, with one of these errors.
#[track_caller]
fn either<T>(result: Result<T>, errors: &[Errno]) -> bool {
    match result {
        Ok(_) => true,
        Err(refusal) => {
            assert!(errors.contains(&refusal.errno()), "{refusal}");
            false
        }
    }
}

#[test]
fn disjoint_ranges_do_not_disturb_each_other() {
    let w = World::new();
    let second = w.iommu.mock_domain(w.ioas).unwrap();
    let manual = w
        .iommu
        .hwpt_alloc(second.idev, w.ioas, HwptFlags::empty())
        .unwrap();
    in_threads(&w, |iommu, n| {
        for round in 0..150_u64 {
            let (page, pages) = (n * 4, 1 + round % 4);
            // Where automatic placement does not get to.
            let iova = at((n + 1) * 0x1000 + round % 3);
            let memory = w.page(page);
            iommu.map_fixed(w.ioas, memory, pages * PAGE, iova).unwrap();
            iommu
                .check_map(w.device.hwpt, iova, pages * PAGE, memory)
                .unwrap();
            iommu.check_map(manual, iova, pages * PAGE, memory).unwrap();
            iommu.check_refs(memory, pages * PAGE, 1).unwrap();
            assert_eq!(
                iommu.unmap(w.ioas, iova, pages * PAGE).unwrap(),
                pages * PAGE
            );
            let placed = iommu.map(w.ioas, memory, PAGE).unwrap();
            assert_eq!(iommu.unmap(w.ioas, placed, PAGE).unwrap(), PAGE);
        }
    });
    assert_eq!(w.host.memory().pinned_pages(), 0);
    w.close();
}

#[test]
fn one_thread_at_a_time_has_a_range() {
    let w = World::new();
    let (mapped, unmapped) = (AtomicU64::new(0), AtomicU64::new(0));
    in_threads(&w, |iommu, n| {
        for _ in 0..200 {
            // Two pages of which the second is what the neighbour maps first.
            let iova = at(n % 2);
            let map = iommu.map_fixed(w.ioas, w.page(n), 2 * PAGE, iova);
            if either(map, &[Errno::EEXIST]) {
                mapped.fetch_add(1, Ordering::Relaxed);
            }
            // What is being made or removed is busy; what another has mapped may lie here in part.
            let unmap = iommu.unmap(w.ioas, iova, 2 * PAGE);
            if either(unmap, &[Errno::ENOENT, Errno::EBUSY]) {
                unmapped.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let left = mapped.into_inner() - unmapped.into_inner();
    assert!(left <= 1, "the same IOVA was mapped twice");
    assert_eq!(w.host.memory().pinned_pages(), 2 * left);
    assert_eq!(w.iommu.unmap_all(w.ioas).unwrap(), left * 2 * PAGE);
    w.close();
}

#[test]
fn a_device_that_comes_meanwhile_has_what_is_mapped_then() {
    let w = World::new();
    w.map(12, 4, at(100));
    in_threads(&w, |iommu, n| {
        for round in 0..60_u64 {
            if n == 0 {
                let device = iommu.mock_domain(w.empty).unwrap();
                assert_eq!(
                    iommu.mock_domain_replace(device.stdev, w.ioas).unwrap(),
                    w.device.hwpt
                );
                let manual = iommu
                    .hwpt_alloc(device.idev, w.ioas, HwptFlags::empty())
                    .unwrap();
                iommu
                    .check_map(manual, at(100), 4 * PAGE, w.page(12))
                    .unwrap();
                iommu.destroy(device.stdev).unwrap();
                // A thread that maps uses it for a moment.
                let mut attempts = 0..1_000_000;
                assert!(attempts.any(|_| either(iommu.destroy(manual), &[Errno::EBUSY])));
            } else {
                let iova = at(n * 8 + round % 4);
                iommu.map_fixed(w.ioas, w.page(n), PAGE, iova).unwrap();
                iommu
                    .check_map(w.device.hwpt, iova, PAGE, w.page(n))
                    .unwrap();
                assert_eq!(iommu.unmap(w.ioas, iova, PAGE).unwrap(), PAGE);
            }
        }
    });
    assert_eq!(w.host.memory().pinned_pages(), 4);
    w.close();
}

#[test]
fn an_ioas_is_destroyed_whole_or_not_at_all() {
    let w = World::new();
    in_threads(&w, |iommu, n| {
        for _ in 0..150 {
            if n == 0 {
                let ioas = ObjectId(w.empty.0);
                if either(iommu.destroy(ioas), &[Errno::EBUSY, Errno::ENOENT]) {
                    iommu.ioas_alloc().unwrap();
                }
            } else {
                let iova = Iova::new(BASE.get() + n * PAGE);
                let gone = [Errno::ENOENT, Errno::EEXIST];
                either(iommu.map_fixed(w.empty, w.page(n), PAGE, iova), &gone);
                either(iommu.unmap(w.empty, iova, PAGE), &gone);
            }
        }
    });
    let (graph, _) = w.state();
    assert_eq!(
        graph.iter().filter(|node| node.type_name == "IOAS").count(),
        2
    );
    w.close();
}

#[test]
fn mappings_change_hands_at_once() {
    let w = World::new();
    let file = w.file(16 * PAGE);
    in_threads(&w, |iommu, n| {
        for _ in 0..60 {
            if n == 0 {
                either(iommu.change_process(), &[Errno::EBUSY]);
            } else {
                let iova = at(n * 8);
                iommu
                    .map_file(w.ioas, file, n * PAGE, 2 * PAGE, Some(iova))
                    .unwrap();
                iommu
                    .copy((w.ioas, iova), PAGE, w.ioas, Some(at(n * 8 + 4)))
                    .unwrap();
                assert_eq!(iommu.unmap(w.ioas, iova, 2 * PAGE).unwrap(), 2 * PAGE);
                assert_eq!(iommu.unmap(w.ioas, at(n * 8 + 4), PAGE).unwrap(), PAGE);
            }
        }
    });
    w.close();
}
