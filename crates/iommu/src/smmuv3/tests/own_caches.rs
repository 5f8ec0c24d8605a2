//! The cache of a device (ATS), which the guest invalidates too.

use super::super::*;
use super::world::{CDS, DATA, PAGE, RW, VSID, World, cd_of_asid, gpa, linux_ste, read};
use crate::{DmaPort, Endpoint, EndpointFeatures, Pasid};

const OLD: u8 = 1;
const NEW: u8 = 2;

/// EATS of a guest's entry.
const EATS: u64 = 1 << 28;

/// A device with a cache, of which all is cached twice, and stale: pages 5 and 6 of two substreams.
fn stale(ste: [u64; 2]) -> (World, [DmaPort; 2]) {
    let w = World::with(SmmuSettings::default(), DeviceFeatures::ATS);
    w.poke(gpa(DATA), &[OLD]);
    w.poke(gpa(DATA + 1), &[NEW]);
    for n in 0..2 {
        w.poke_all(gpa(CDS) + n * 64, &cd_of_asid(0x40 + n));
    }
    w.tables(&[(5, gpa(DATA) | RW), (6, gpa(DATA) | RW)]);
    w.attach(ste);
    let mut ports = [0, 1].map(|pasid| w.endpoint.dma_port(Pasid(pasid)));
    assert_eq!(seen(&mut ports), [[OLD; 2]; 2]);
    w.tables(&[(5, gpa(DATA + 1) | RW), (6, gpa(DATA + 1) | RW)]);
    (w, ports)
}

fn with_ats() -> [u64; 2] {
    [gpa(CDS) | 0xb | 1 << 59, 0xd6 | EATS]
}

fn seen(ports: &mut [DmaPort; 2]) -> [[u8; 2]; 2] {
    let of = |port: &mut DmaPort| [5, 6].map(|page| read(port, page * PAGE).unwrap());
    let [first, second] = ports;
    [of(first), of(second)]
}

const VSID_FIELD: u64 = (VSID as u64) << 32;

#[test]
fn a_device_keeps_what_the_unit_has_forgotten() {
    let (w, mut ports) = stale(with_ats());
    assert!(w.endpoint.features().contains(EndpointFeatures::ATS));
    w.command(0x30, 0);
    assert_eq!(seen(&mut ports), [[OLD; 2]; 2], "the device has it still");
    w.command(0x40 | VSID_FIELD, 5 * PAGE);
    assert_eq!(
        seen(&mut ports),
        [[NEW, OLD], [OLD; 2]],
        "a page without a substream"
    );
    w.command(0x40 | 1 << 11 | 1 << 12 | VSID_FIELD, 6 * PAGE);
    assert_eq!(
        seen(&mut ports),
        [[NEW, OLD], [OLD, NEW]],
        "a page of substream 1"
    );
    w.command(0x40 | 1 << 11 | 1 << 9 | VSID_FIELD, 0x34);
    assert_eq!(
        seen(&mut ports),
        [[NEW, OLD], [NEW; 2]],
        "all of all substreams"
    );
    w.command(0x40 | VSID_FIELD, 0x34);
    assert_eq!(seen(&mut ports), [[NEW; 2]; 2]);
}

#[test]
fn the_unit_is_invalidated_before_the_device() {
    let (w, mut ports) = stale(with_ats());
    w.command(0x40 | VSID_FIELD, 0x34);
    assert_eq!(
        seen(&mut ports)[0],
        [OLD; 2],
        "from the unit, which had not been"
    );
    w.command(0x30, 0);
    w.command(0x40 | VSID_FIELD, 0x34);
    assert_eq!(seen(&mut ports)[0], [NEW; 2]);
}

#[test]
fn a_device_has_a_cache_only_while_the_guest_lets_it() {
    let (w, mut ports) = stale([gpa(CDS) | 0xb | 1 << 59, 0xd6]);
    w.command(0x30, 0);
    assert_eq!(seen(&mut ports), [[NEW; 2]; 2]);
    // And nothing is left of an earlier time.
    let (w, mut ports) = stale(with_ats());
    w.command(0x30, 0);
    w.attach(with_ats());
    assert_eq!(seen(&mut ports), [[NEW; 2]; 2]);
}

#[test]
fn an_unmap_of_the_second_stage_reaches_the_device() {
    let (w, mut ports) = stale(with_ats());
    w.unmap_guest_page(DATA);
    for port in &mut ports {
        assert_eq!(read(port, 5 * PAGE), Ok(NEW), "walked again");
    }
    w.unmap_guest_page(DATA + 1);
    for port in &mut ports {
        read(port, 5 * PAGE).unwrap_err();
    }
}

#[test]
fn a_device_without_ats_has_none() {
    let w = World::new();
    w.tables(&[(5, gpa(DATA) | RW)]);
    w.poke(gpa(DATA + 1), &[NEW]);
    let [word0, word1] = linux_ste();
    w.attach([word0, word1 | EATS]);
    let mut port = w.port();
    read(&mut port, 5 * PAGE).unwrap();
    w.poke_all(World::leaf_at(5), &[gpa(DATA + 1) | RW]);
    w.command(0x30, 0);
    assert_eq!(read(&mut port, 5 * PAGE), Ok(NEW));
}
