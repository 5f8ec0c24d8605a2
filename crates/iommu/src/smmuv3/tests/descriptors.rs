//! Which context descriptor a request uses, and what is cached of them.

use super::super::*;
use super::world::{
    CDS, DATA, L1CDS, PAGE, RW, TABLES, UPPER_TABLES, VSID, World, cd_of_asid, gpa, read,
};
use crate::Pasid;

/// What a guest's entry says about substreams.
const TERMINATE: u64 = 0xd4;
const BYPASS: u64 = 0xd5;
const ZERO: u64 = 0xd6;

fn cd_max(bits: u64) -> u64 {
    bits << 59
}

/// Substream n reads n + 1 at page 5.
fn world() -> World {
    let w = World::new();
    for (n, root) in (0..).zip([TABLES, UPPER_TABLES, 12]) {
        w.tables_at(root, &[(5, gpa(DATA + n) | RW)]);
        w.poke(gpa(DATA + n), &[u8::try_from(n).unwrap() + 1]);
        w.poke_all(gpa(CDS) + n * 64, &cd(n, root));
    }
    w
}

fn cd(asid: u64, root: u64) -> [u64; 8] {
    let mut cd = cd_of_asid(asid);
    cd[1] = gpa(root);
    cd
}

/// What requests with a substream, or without, come to: a byte, or the event.
fn at(w: &World, pasid: u32) -> Result<u8, u64> {
    found(read(&mut w.endpoint.dma_port(Pasid(pasid)), 5 * PAGE), w)
}

fn found(done: Result<u8, String>, w: &World) -> Result<u8, u64> {
    done.map_err(|_| {
        let records = w.records.take();
        records.first().map_or(0, |record| record[0])
    })
}

fn record(id: u64, substream: u64, ssv: u64) -> u64 {
    id | ssv << 11 | substream << 12 | u64::from(VSID) << 32
}

#[test]
fn one_descriptor_is_for_requests_without_a_substream() {
    let w = world();
    for word1 in [TERMINATE, BYPASS, ZERO] {
        w.attach([gpa(CDS) | 0xb, word1]);
        assert_eq!(at(&w, 0), Ok(1), "S1DSS says nothing");
        assert_eq!(at(&w, 1), Err(record(0x08, 1, 0)));
    }
}

#[test]
fn a_table_of_descriptors() {
    let w = world();
    w.attach([gpa(CDS) | 0xb | cd_max(2), ZERO]);
    assert_eq!([at(&w, 0), at(&w, 1), at(&w, 2)], [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(at(&w, 3), Err(record(0x0a, 3, 1)), "V is 0");
    assert_eq!(at(&w, 4), Err(record(0x08, 4, 0)), "beyond the table");
    w.attach([gpa(CDS) | 0xb | cd_max(2), TERMINATE]);
    assert_eq!(at(&w, 0), Err(record(0x06, 0, 0)));
    assert_eq!(at(&w, 1), Ok(2));
    w.attach([gpa(CDS) | 0xb | cd_max(2), BYPASS]);
    let mut port = w.port();
    assert_eq!(
        read(&mut port, gpa(DATA + 2)),
        Ok(3),
        "the second stage still translates"
    );
    let beyond = found(read(&mut port, 1 << 48), &w);
    assert_eq!(beyond, Err(record(0x11, 0, 0)));
    assert_eq!(at(&w, 1), Ok(2));
}

/// Of the substreams, only numbers that there are reach an endpoint; this one stands for requests without.
#[test]
fn substream_0_is_taken_by_requests_without_one() {
    let w = world();
    w.attach([gpa(CDS) | 0xb | cd_max(2), ZERO]);
    let requester = w.endpoint.requester_of_substream(0);
    let refused = requester.translate(
        swiommu_addr::Iova::new(5 * PAGE),
        swiommu_pgtable::Access::USER_READ,
    );
    assert!(refused.unwrap_err().reason().contains("F_STREAM_DISABLED"));
    assert_eq!(w.records.take()[0][0], record(0x06, 0, 1));
    w.attach([gpa(CDS) | 0xb | cd_max(2), BYPASS]);
    let requester = w.endpoint.requester_of_substream(0);
    let found = requester.translate(
        swiommu_addr::Iova::new(5 * PAGE),
        swiommu_pgtable::Access::USER_READ,
    );
    assert!(found.is_ok());
}

impl SmmuEndpoint {
    fn requester_of_substream(&self, substream: u32) -> std::sync::Arc<dyn crate::Translate> {
        let rid = self.attachments.get(Pasid::NONE);
        rid.of_pasid(Pasid(substream)).unwrap()
    }
}

#[test]
fn tables_of_two_levels() {
    for (format, leaf_log2) in [(1_u64, 6), (2, 10)] {
        let w = world();
        // The second table of descriptors is that of the others; the first is elsewhere, and empty but for its first.
        let (first, second) = (gpa(CDS + 1), gpa(CDS));
        w.poke_all(first, &cd(9, TABLES));
        w.poke_all(gpa(L1CDS), &[first | 1, second | 1, second]);
        w.attach([gpa(L1CDS) | 0xb | format << 4 | cd_max(12), ZERO]);
        let base = 1 << leaf_log2;
        assert_eq!([at(&w, 0), at(&w, base + 1)], [Ok(1), Ok(2)]);
        assert_eq!(at(&w, base + 2), Ok(3));
        assert_eq!(
            at(&w, 1),
            Err(record(0x0a, 1, 1)),
            "V of the descriptor is 0"
        );
        let absent = 2 * base;
        let expected = record(0x08, absent.into(), 0);
        assert_eq!(at(&w, absent), Err(expected), "V of the table is 0");
        w.poke_all(gpa(L1CDS) + 3 * 8, &[1 << 50 | 1]);
        let wide = 3 * base;
        assert_eq!(
            at(&w, wide),
            Err(record(0x08, wide.into(), 0)),
            "it is at no address"
        );
    }
}

#[test]
fn a_descriptor_is_seen_when_the_guest_says_so() {
    let w = world();
    w.attach([gpa(CDS) | 0xb | cd_max(2), ZERO]);
    assert_eq!([at(&w, 1), at(&w, 2)], [Ok(2), Ok(3)]);
    w.poke_all(gpa(CDS) + 64, &cd(11, TABLES));
    w.poke_all(gpa(CDS) + 128, &cd(12, TABLES));
    assert_eq!([at(&w, 1), at(&w, 2)], [Ok(2), Ok(3)], "both are cached");
    let vsid = u64::from(VSID) << 32;
    w.command(0x05 | 1 << 12 | vsid, 1);
    assert_eq!(
        [at(&w, 1), at(&w, 2)],
        [Ok(1), Ok(3)],
        "and no more than asked"
    );
    w.command(0x06 | vsid, 0);
    assert_eq!([at(&w, 1), at(&w, 2)], [Ok(1), Ok(1)]);
}

/// A device that goes on with its work sees a new ASID as soon as the descriptor is invalidated, and not before.
#[test]
fn a_descriptor_may_change_its_asid() {
    let w = world();
    w.attach([gpa(CDS) | 0xb, ZERO]);
    let mut port = w.port();
    assert_eq!(read(&mut port, 5 * PAGE), Ok(1));
    assert_eq!(read(&mut port, 5 * PAGE), Ok(1));
    w.poke_all(gpa(CDS), &cd(16, UPPER_TABLES));
    assert_eq!(read(&mut port, 5 * PAGE), Ok(1));
    w.command(0x05 | u64::from(VSID) << 32, 1);
    assert_eq!(
        read(&mut port, 5 * PAGE),
        Ok(2),
        "nothing is cached of that ASID"
    );
    assert_eq!(read(&mut port, 5 * PAGE), Ok(2));
}

/// The architecture lets a descriptor be cached that is not valid; Linux invalidates it after it has made it valid.
#[test]
fn a_descriptor_that_is_not_valid_is_cached_too() {
    let w = world();
    w.attach([gpa(CDS) | 0xb | cd_max(2), ZERO]);
    let bad = Err(record(0x0a, 3, 1));
    assert_eq!(at(&w, 3), bad);
    w.poke_all(gpa(CDS) + 3 * 64, &cd(13, TABLES));
    assert_eq!(at(&w, 3), bad);
    w.command(0x05 | 3 << 12 | u64::from(VSID) << 32, 1);
    assert_eq!(at(&w, 3), Ok(1));
}

#[test]
fn the_table_above_is_kept_by_an_invalidation_of_the_leaf() {
    let w = world();
    w.poke_all(gpa(L1CDS), &[gpa(CDS) | 1, gpa(CDS) | 1]);
    w.attach([gpa(L1CDS) | 0xb | 1 << 4 | cd_max(8), ZERO]);
    assert_eq!([at(&w, 1), at(&w, 65)], [Ok(2), Ok(2)]);
    // Both tables move to where substream 1 is what 0 was.
    w.poke_all(gpa(CDS + 1) + 64, &cd(14, TABLES));
    w.poke_all(gpa(L1CDS), &[gpa(CDS + 1) | 1, gpa(CDS + 1) | 1]);
    let cfgi =
        |substream: u64, leaf| w.command(0x05 | substream << 12 | u64::from(VSID) << 32, leaf);
    cfgi(1, 1);
    assert_eq!(at(&w, 1), Ok(2), "found through the old table");
    cfgi(1, 0);
    assert_eq!([at(&w, 1), at(&w, 65)], [Ok(1), Ok(2)]);
    cfgi(65, 1);
    assert_eq!(at(&w, 65), Ok(2), "its table is another entry");
    cfgi(65, 0);
    assert_eq!(at(&w, 65), Ok(1));
}

#[test]
fn a_new_entry_has_new_descriptors() {
    let w = world();
    w.attach([gpa(CDS) | 0xb, ZERO]);
    assert_eq!(at(&w, 0), Ok(1));
    w.poke_all(gpa(CDS), &cd(15, UPPER_TABLES));
    w.attach([gpa(CDS) | 0xb, ZERO]);
    assert_eq!(
        at(&w, 0),
        Ok(2),
        "the host invalidates with the entry what it led to"
    );
}
