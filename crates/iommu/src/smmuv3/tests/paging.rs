//! Page tables of our own, without a guest.

use swiommu_abi::Errno;
use swiommu_addr::{Iova, IovaRange};
use swiommu_pgtable::HardwareUpdate;

use super::super::*;
use super::world::{DATA, PAGE, World, gpa, paging, read, write};
use crate::{
    DirtyRead, DirtyTracking, Domain, Endpoint, EndpointFeatures, GroupId, PagingDomain,
    PagingFlags, Pasid, Prot, ReservedKind, Unit,
};

fn page(iova: u64) -> IovaRange {
    IovaRange::from_len(Iova::new(iova), PAGE).unwrap()
}

fn only(features: SmmuFeatures) -> SmmuSettings {
    SmmuSettings {
        features: SmmuFeatures::default_without(features),
        ..SmmuSettings::default()
    }
}

impl SmmuFeatures {
    fn default_without(left_out: Self) -> Self {
        SmmuSettings::default().features.difference(left_out)
    }
}

fn dirty() -> SmmuSettings {
    SmmuSettings {
        updates: HardwareUpdate::AccessedAndDirty,
        ..SmmuSettings::default()
    }
}

#[test]
fn either_stage_translates_by_itself() {
    let both = World::new();
    let second_only = World::with(SmmuSettings::default(), DeviceFeatures::empty());
    for (w, flags) in [
        (&both, PagingFlags::empty()),
        (&second_only, PagingFlags::NEST_PARENT),
    ] {
        let domain = paging(&w.unit, &w.endpoint, flags).unwrap();
        w.map(&*domain, 100 * PAGE, DATA, Prot::RW);
        w.map(&*domain, 101 * PAGE, DATA + 1, Prot::READ);
        let attached = Domain::Paging(domain.clone());
        w.endpoint.attach(Pasid::NONE, &attached).unwrap();
        let mut port = w.port();
        write(&mut port, 100 * PAGE, 7).unwrap();
        assert_eq!(w.peek(gpa(DATA)) & 0xff, 7);
        assert_eq!(read(&mut port, 101 * PAGE), Ok(0));
        let error = write(&mut port, 101 * PAGE, 7).unwrap_err();
        assert!(error.contains("F_PERMISSION"), "{error}");
        let error = read(&mut port, 1 << 50).unwrap_err();
        assert!(error.contains("F_TRANSLATION"), "{error}");
        domain.unmap(page(100 * PAGE));
        let error = read(&mut port, 100 * PAGE).unwrap_err();
        assert!(error.contains("F_TRANSLATION"), "{error}");
        w.endpoint.detach(Pasid::NONE);
        assert!(read(&mut port, 101 * PAGE).is_err());
        assert!(w.records.take().is_empty(), "no guest hears of it");
    }
}

#[test]
fn a_domain_is_of_the_stage_that_linux_chooses() {
    let w = World::new();
    let alloc = |flags| paging(&w.unit, &w.endpoint, flags);
    let last = |domain: &dyn PagingDomain| domain.aperture().last().get();
    assert_eq!(last(&*alloc(PagingFlags::empty()).unwrap()), (1 << 48) - 1);
    assert_eq!(last(&*w.parent), (1 << 48) - 1);
    for flags in [
        PagingFlags::PASID,
        PagingFlags::DIRTY_TRACKING,
        PagingFlags::PASID | PagingFlags::DIRTY_TRACKING,
    ] {
        assert!(alloc(flags).is_ok(), "{flags:?}");
        let refused = alloc(flags | PagingFlags::NEST_PARENT).unwrap_err();
        assert_eq!(refused, Errno::EOPNOTSUPP, "{flags:?}");
    }
}

#[test]
fn a_pasid_has_a_descriptor_beside_that_of_the_rid() {
    let w = World::new();
    let attach = |pasid, domain: &std::sync::Arc<dyn PagingDomain>| {
        let attached = Domain::Paging(domain.clone());
        w.endpoint.attach(pasid, &attached)
    };
    let own = paging(&w.unit, &w.endpoint, PagingFlags::PASID).unwrap();
    let other = paging(&w.unit, &w.endpoint, PagingFlags::PASID).unwrap();
    w.map(&*own, 0x5000, DATA, Prot::RW);
    w.map(&*other, 0x5000, DATA + 1, Prot::RW);
    w.poke(gpa(DATA), &[1]);
    w.poke(gpa(DATA + 1), &[2]);
    attach(Pasid::NONE, &own).unwrap();
    attach(Pasid(7), &other).unwrap();
    let (mut rid, mut seven) = (w.port(), w.endpoint.dma_port(Pasid(7)));
    assert_eq!(read(&mut rid, 0x5000), Ok(1));
    assert_eq!(read(&mut seven, 0x5000), Ok(2));
    let error = read(&mut w.endpoint.dma_port(Pasid(8)), 0x5000).unwrap_err();
    assert!(error.contains("C_BAD_CD"), "{error}");
    // The RID's table may go, and that of the PASID stays.
    w.endpoint.detach(Pasid::NONE);
    assert!(read(&mut rid, 0x5000).is_err());
    assert_eq!(read(&mut seven, 0x5000), Ok(2));
    let busy = attach(Pasid::NONE, &w.parent).unwrap_err();
    assert_eq!(busy.errno, Errno::EBUSY);
    w.endpoint.detach(Pasid(7));
    attach(Pasid::NONE, &w.parent).unwrap();
    let no_room = attach(Pasid(7), &other).unwrap_err();
    assert_eq!(no_room.errno, Errno::EINVAL);
    let no_pasids = attach(Pasid(7), &w.parent).unwrap_err();
    assert_eq!(no_pasids.errno, Errno::EINVAL);
    let error = read(&mut seven, gpa(DATA)).unwrap_err();
    assert!(error.contains("C_BAD_SUBSTREAMID"), "{error}");
}

#[test]
fn dirty_pages_are_those_that_were_written_since_they_were_cleaned() {
    let w = World::with(dirty(), DeviceFeatures::empty());
    assert!(
        w.endpoint
            .features()
            .contains(EndpointFeatures::DIRTY_TRACKING)
    );
    let domain = paging(&w.unit, &w.endpoint, PagingFlags::DIRTY_TRACKING).unwrap();
    for n in 0..4 {
        w.map(&*domain, (100 + n) * PAGE, DATA + n, Prot::RW);
    }
    let attached = Domain::Paging(domain.clone());
    w.endpoint.attach(Pasid::NONE, &attached).unwrap();
    let mut port = w.port();
    let all = IovaRange::from_len(Iova::new(100 * PAGE), 4 * PAGE).unwrap();
    let dirty = |mode| {
        let mut pages = Vec::new();
        let mut report = |leaf: IovaRange| pages.push(leaf.start().get() / PAGE - 100);
        domain.read_dirty(all, mode, &mut report).unwrap();
        pages
    };
    domain.set_dirty_tracking(DirtyTracking::On).unwrap();
    assert_eq!(dirty(DirtyRead::Clear), [0, 1, 2, 3], "as Linux maps them");
    assert_eq!(read(&mut port, 100 * PAGE), Ok(0));
    write(&mut port, 101 * PAGE, 1).unwrap();
    write(&mut port, 103 * PAGE, 1).unwrap();
    assert_eq!(dirty(DirtyRead::Keep), [1, 3]);
    assert_eq!(dirty(DirtyRead::Clear), [1, 3]);
    write(&mut port, 103 * PAGE, 2).unwrap();
    assert_eq!(dirty(DirtyRead::Keep), [3], "it was cached as dirty before");
    let plain = paging(&w.unit, &w.endpoint, PagingFlags::empty()).unwrap();
    let refused = plain.set_dirty_tracking(DirtyTracking::On).unwrap_err();
    assert_eq!(refused.errno, Errno::EINVAL);
}

#[test]
fn an_endpoint_says_what_its_unit_can_do() {
    let w = World::new();
    let features = w.endpoint.features();
    let plain = EndpointFeatures::CACHE_COHERENCY
        | EndpointFeatures::PASID_ATTACH
        | EndpointFeatures::USER_PASID_TABLE
        | EndpointFeatures::ISOLATED_MSI;
    assert_eq!(features, plain);
    assert_eq!(w.endpoint.max_pasids(), 1 << 20);
    let regions = w.endpoint.reserved_regions();
    assert_eq!(regions.len(), 1);
    assert_eq!(regions[0].kind, ReservedKind::SoftwareMsi);
    assert_eq!(regions[0].range.start(), Iova::new(0x800_0000));
    assert_eq!(regions[0].range.len(), Some(0x10_0000));
    let bare = SmmuUnit::new(
        &w.unit.shared.memory,
        &w.unit.shared.epochs,
        only(SmmuFeatures::COHERENT | SmmuFeatures::ATS),
    );
    let device = SmmuEndpoint::with_features(
        &bare,
        StreamId(1),
        GroupId(2),
        DeviceFeatures::ATS | DeviceFeatures::STALL,
    );
    let features = device.features();
    assert!(!features.intersects(EndpointFeatures::CACHE_COHERENCY | EndpointFeatures::ATS));
}

#[test]
fn hardware_information_is_the_registers() {
    let w = World::new();
    let info = w.unit.hw_info(&*w.endpoint, 0).unwrap().unwrap();
    assert_eq!(info.data_type, 2);
    assert_eq!(info.data.len(), 40);
    let word = |n: usize| u32::from_le_bytes(info.data[n * 4..n * 4 + 4].try_into().unwrap());
    let registers = w.unit.registers();
    assert_eq!((word(0), word(1)), (0, 0));
    assert_eq!([2, 3, 4, 5, 6, 7].map(word), registers.idr);
    assert_eq!((word(8), word(9)), (registers.iidr, registers.aidr));
    assert_eq!(w.unit.hw_info(&*w.endpoint, 2).unwrap(), Some(info));
    let other = w.unit.hw_info(&*w.endpoint, 1).unwrap_err();
    assert_eq!(other.errno, Errno::EOPNOTSUPP);
}

#[test]
fn there_are_as_many_tables_as_numbers() {
    let w = World::with(
        only(SmmuFeatures::VMID16 | SmmuFeatures::ASID16),
        DeviceFeatures::empty(),
    );
    let alloc = |flags| paging(&w.unit, &w.endpoint, flags);
    // The world has a parent already, and number 0 is not for us.
    for (flags, free) in [(PagingFlags::NEST_PARENT, 254), (PagingFlags::empty(), 255)] {
        let mut all: Vec<_> = (0..free).map(|_| alloc(flags).unwrap()).collect();
        assert_eq!(alloc(flags).unwrap_err(), Errno::ENOSPC, "{flags:?}");
        all.pop();
        alloc(flags).unwrap();
    }
}

#[test]
fn numbers_are_free_again_when_their_table_goes() {
    let w = World::new();
    let asid = || {
        let domain = paging(&w.unit, &w.endpoint, PagingFlags::empty()).unwrap();
        let any: std::sync::Arc<dyn std::any::Any + Send + Sync> = domain;
        any.downcast::<SmmuStage1>().unwrap().tag()
    };
    let first = asid();
    assert_eq!(first, asid());
}
