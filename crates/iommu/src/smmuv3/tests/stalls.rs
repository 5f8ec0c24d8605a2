//! Devices that wait while their faults are being seen to.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::super::*;
use super::world::{CDS, DATA, PAGE, RO, RW, World, gpa, linux_cd, linux_ste, paging, read, write};
use crate::{
    Domain, Endpoint, PageRequest, PageRequestHandler, PageRequestPerm, PageRequestPosition,
    PageResponse, PagingFlags, Pasid, Prot,
};

/// S of a descriptor.
const S: u64 = 1 << 44;

/// Answers page requests at once, after having done something about them.
struct Pager<F> {
    endpoint: Weak<SmmuEndpoint>,
    seen: Mutex<Vec<PageRequest>>,
    mend: F,
}

impl<F> std::fmt::Debug for Pager<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pager")
    }
}

impl<F: Fn(&PageRequest) -> PageResponse + Send + Sync> PageRequestHandler for Pager<F> {
    fn handle(&self, request: PageRequest) {
        self.seen.lock().push(request);
        let response = (self.mend)(&request);
        if let Some(endpoint) = self.endpoint.upgrade() {
            endpoint.respond(request.pasid, request.group, response);
        }
    }
}

fn stalling() -> World {
    behind_stalling_unit(DeviceFeatures::STALL)
}

fn behind_stalling_unit(device: DeviceFeatures) -> World {
    let mut settings = SmmuSettings::default();
    settings.features |= SmmuFeatures::STALL;
    let w = World::with(settings, device);
    let mut cd = linux_cd();
    cd[0] |= S;
    w.poke_all(gpa(CDS), &cd);
    w.tables(&[]);
    w
}

fn pager<F>(w: &Arc<World>, mend: F) -> Arc<Pager<F>>
where
    F: Fn(&PageRequest) -> PageResponse + Send + Sync + 'static,
{
    let pager = Arc::new(Pager {
        endpoint: Arc::downgrade(&w.endpoint),
        seen: Mutex::default(),
        mend,
    });
    w.endpoint.set_page_request_handler(Some(pager.clone()));
    pager
}

#[test]
fn a_fault_of_the_guest_waits_for_its_page() {
    let w = Arc::new(stalling());
    w.attach(linux_ste());
    let guest = w.clone();
    let pager = pager(&w, move |request| {
        let page = request.address.get() / PAGE;
        guest.poke_all(World::leaf_at(page), &[gpa(DATA) | RW]);
        PageResponse::Success
    });
    write(&mut w.port(), 5 * PAGE + 0x123, 7).unwrap();
    assert_eq!(w.peek(gpa(DATA) + 0x120) >> 24 & 0xff, 7);
    assert!(w.records.take().is_empty(), "it is a page request instead");
    let seen = pager.seen.lock().clone();
    let expected = PageRequest {
        pasid: Pasid::NONE,
        group: seen[0].group,
        perm: PageRequestPerm::WRITE,
        address: swiommu_addr::Iova::new(5 * PAGE + 0x123),
        position: PageRequestPosition::Last,
    };
    assert_eq!(seen, [expected]);
    // Of reads and of privileged requests.
    read(&mut w.port().privileged(), 6 * PAGE).unwrap();
    let perm = PageRequestPerm::READ | PageRequestPerm::PRIV;
    assert_eq!(pager.seen.lock()[1].perm, perm);
}

#[test]
fn a_fault_that_is_not_mended_ends_the_request() {
    let w = Arc::new(stalling());
    w.attach(linux_ste());
    let refusing = pager(&w, |_| PageResponse::Invalid);
    let error = read(&mut w.port(), 5 * PAGE).unwrap_err();
    assert!(error.contains("F_TRANSLATION"), "{error}");
    assert_eq!(refusing.seen.lock().len(), 1);
    // Who says that it is mended, and it is not, is asked a bounded number of times.
    let lying = pager(&w, |_| PageResponse::Success);
    read(&mut w.port(), 5 * PAGE).unwrap_err();
    assert!(lying.seen.lock().len() > 1);
    // With nobody to ask, it ends at once.
    w.endpoint.set_page_request_handler(None);
    read(&mut w.port(), 5 * PAGE).unwrap_err();
    assert!(w.records.take().is_empty());
}

#[test]
fn all_faults_of_walks_stall_and_those_of_the_configuration_do_not() {
    let w = Arc::new(stalling());
    w.tables(&[
        (1, gpa(DATA) | RW & !(1 << 10)),
        (2, 1 << 44 | RW),
        (3, gpa(DATA) | RO),
    ]);
    w.attach(linux_ste());
    let pager = pager(&w, |_| PageResponse::Invalid);
    for page in [1, 2, 3, 4] {
        write(&mut w.port(), page * PAGE, 1).unwrap_err();
    }
    assert_eq!(pager.seen.lock().len(), 4);
    read(&mut w.endpoint.dma_port(Pasid(5)), PAGE).unwrap_err();
    assert_eq!(pager.seen.lock().len(), 4);
    assert_eq!(w.records.take().len(), 1, "C_BAD_SUBSTREAMID");
}

/// Linux hands them on, with the guest's address, because it stalls what can be stalled.
#[test]
fn faults_of_the_second_stage_stall_too() {
    let w = Arc::new(stalling());
    w.tables(&[(5, gpa(DATA) | RW)]);
    w.attach(linux_ste());
    w.unmap_guest_page(DATA);
    let host = w.clone();
    let pager = pager(&w, move |_| {
        host.map_guest_page(DATA, DATA, Prot::RW);
        PageResponse::Success
    });
    read(&mut w.port(), 5 * PAGE).unwrap();
    assert_eq!(pager.seen.lock()[0].address.get(), 5 * PAGE);
}

#[test]
fn a_stream_without_a_stage_1_stalls_too() {
    let w = Arc::new(stalling());
    w.attach([0x9, 0]);
    w.unmap_guest_page(DATA);
    let pager = pager(&w, |_| PageResponse::Invalid);
    read(&mut w.port(), gpa(DATA)).unwrap_err();
    assert_eq!(pager.seen.lock()[0].address.get(), gpa(DATA));
}

/// Linux has no page requests of such a device to hand on, and tells the unit to abort.
#[test]
fn a_device_that_cannot_be_stalled_asks_for_nothing() {
    let w = Arc::new(behind_stalling_unit(DeviceFeatures::empty()));
    w.attach(linux_ste());
    let pager = pager(&w, |_| PageResponse::Success);
    read(&mut w.port(), 5 * PAGE).unwrap_err();
    assert!(pager.seen.lock().is_empty());
    assert!(w.records.take().is_empty(), "the event was one of a stall");
}

#[test]
fn a_substream_is_named() {
    let w = Arc::new(stalling());
    let mut cd = linux_cd();
    cd[0] |= S;
    w.poke_all(gpa(CDS) + 3 * 64, &cd);
    w.attach([gpa(CDS) | 0xb | 2 << 59, 0xd6]);
    let pager = pager(&w, |_| PageResponse::Invalid);
    read(&mut w.endpoint.dma_port(Pasid(3)), 5 * PAGE).unwrap_err();
    assert_eq!(pager.seen.lock()[0].pasid, Pasid(3));
}

#[test]
fn our_own_tables_stall_a_device_that_can_be() {
    let w = Arc::new(stalling());
    let domain = paging(&w.unit, &w.endpoint, PagingFlags::empty()).unwrap();
    let attached = Domain::Paging(domain.clone());
    w.endpoint.attach(Pasid::NONE, &attached).unwrap();
    let host = w.clone();
    let pager = pager(&w, move |request| {
        host.map(&*domain, request.address.get(), DATA, Prot::RW);
        PageResponse::Success
    });
    write(&mut w.port(), 9 * PAGE, 1).unwrap();
    assert_eq!(pager.seen.lock().len(), 1);
}

#[test]
fn a_guest_that_wants_no_stalls_has_none() {
    let w = Arc::new(stalling());
    let pager = pager(&w, |_| PageResponse::Invalid);
    let [word0, word1] = linux_ste();
    // S1STALLD: the descriptor must not stall then.
    w.attach([word0, word1 | 1 << 27]);
    read(&mut w.port(), 5 * PAGE).unwrap_err();
    assert_eq!(w.records.take()[0][0] & 0xff, 0x0a);
    w.poke_all(gpa(CDS), &linux_cd());
    w.attach([word0, word1 | 1 << 27]);
    read(&mut w.port(), 5 * PAGE).unwrap_err();
    assert_eq!(w.records.take()[0][0] & 0xff, 0x10);
    assert!(pager.seen.lock().is_empty());
}

/// ATS does not go with a second stage that stalls.
#[test]
fn a_device_that_stalls_cannot_have_a_cache() {
    let mut settings = SmmuSettings::default();
    settings.features |= SmmuFeatures::STALL;
    let w = World::with(settings, DeviceFeatures::STALL | DeviceFeatures::ATS);
    let [word0, word1] = linux_ste();
    w.attach([word0, word1 | 1 << 28]);
    read(&mut w.port(), 5 * PAGE).unwrap_err();
    assert_eq!(w.records.take()[0][0] & 0xff, 0x04);
}
