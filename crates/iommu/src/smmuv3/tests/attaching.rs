//! What is refused when a guest's structures are made and attached, and by which errno.

use std::sync::Arc;

use swiommu_abi::Errno;

use super::super::*;
use super::world::{
    Commands, SID, VSID, Words, World, linux_ste, outcome, paging, ste_data, viommu_on,
};
use crate::{
    Domain, DriverError, Endpoint, GroupId, NestedDomain, PagingFlags, Pasid, Unit, VirtId,
};

fn errno<T: std::fmt::Debug>(made: Result<T, DriverError>) -> Errno {
    made.unwrap_err().errno
}

#[test]
fn a_guests_entry_is_checked_in_order() {
    let w = World::new();
    let good = || ste_data(linux_ste());
    let made = |data: &Words, flags| w.nested_from(data, flags);
    assert!(made(&good(), PagingFlags::empty()).is_ok());
    let wrong_type = Words {
        data_type: 1,
        ..good()
    };
    let short = Words {
        bytes: vec![0; 8],
        ..good()
    };
    let long = Words {
        bytes: vec![0; 24],
        ..good()
    };
    for flags in [PagingFlags::PASID, PagingFlags::NEST_PARENT] {
        assert_eq!(errno(made(&wrong_type, flags)), Errno::EOPNOTSUPP);
    }
    let none = PagingFlags::empty();
    assert_eq!(errno(made(&wrong_type, none)), Errno::EINVAL);
    assert_eq!(errno(made(&short, none)), Errno::EINVAL);
    assert_eq!(errno(made(&long, none)), Errno::EINVAL);
    // Reserved bits, a second stage, split ATS.
    for ste in [[1 << 52 | 0xb, 0], [0xd, 0], [0xb, 2 << 28], [0xb, 1 << 19]] {
        assert_eq!(errno(w.try_nested(ste)), Errno::EIO, "{ste:x?}");
    }
    // The pointer to the descriptors is not looked at.
    assert!(w.try_nested([0x000f_ffff_ffff_ffcb, 0xd6]).is_ok());
}

#[test]
fn a_guests_entry_is_for_the_rid_of_a_device_of_the_guest() {
    let w = World::new();
    let attach = |endpoint: &SmmuEndpoint, pasid, ste| {
        let nested: Arc<dyn NestedDomain> = w.try_nested(ste).unwrap();
        endpoint.attach(pasid, &Domain::Nested(nested))
    };
    let refused = attach(&w.endpoint, Pasid(1), linux_ste());
    assert_eq!(errno(refused), Errno::EOPNOTSUPP);
    let stranger = SmmuEndpoint::new(&w.unit, StreamId(SID + 1), GroupId(2));
    let refused = attach(&stranger, Pasid::NONE, linux_ste());
    assert_eq!(errno(refused), Errno::ENOENT, "it has no vDEVICE");
    attach(&stranger, Pasid::NONE, [0x9, 0]).expect("bypass needs none");
    attach(&stranger, Pasid::NONE, [0x1, 0]).expect("nor does abort");
    w.viommu.remove_device(VirtId(VSID.into()));
    let refused = attach(&w.endpoint, Pasid::NONE, linux_ste());
    assert_eq!(errno(refused), Errno::ENOENT);
}

#[test]
fn pasids_of_the_host_and_of_the_guest_exclude_each_other() {
    let w = World::new();
    let own = paging(&w.unit, &w.endpoint, PagingFlags::PASID).unwrap();
    let own = Domain::Paging(own);
    w.endpoint.attach(Pasid(3), &own).unwrap();
    let nested = || Domain::Nested(w.try_nested(linux_ste()).unwrap());
    let refused = w.endpoint.attach(Pasid::NONE, &nested());
    assert_eq!(errno(refused), Errno::EBUSY);
    w.endpoint.detach(Pasid(3));
    w.endpoint.attach(Pasid::NONE, &nested()).unwrap();
    let refused = w.endpoint.attach(Pasid(3), &own);
    assert_eq!(errno(refused), Errno::EINVAL);
}

#[test]
fn tables_are_for_devices_of_their_unit() {
    let (w, other) = (World::new(), World::new());
    let plain = paging(&other.unit, &other.endpoint, PagingFlags::empty()).unwrap();
    let domains = [
        Domain::Paging(plain),
        Domain::Paging(other.parent.clone()),
        Domain::Nested(other.try_nested(linux_ste()).unwrap()),
    ];
    for domain in &domains {
        let refused = w.endpoint.attach(Pasid::NONE, domain);
        assert_eq!(errno(refused), Errno::EINVAL);
    }
    let foreign = viommu_on(&w.unit, &w.endpoint, &other.parent);
    assert_eq!(foreign.unwrap_err(), Errno::EINVAL);
    let flat = paging(&w.unit, &w.endpoint, PagingFlags::empty()).unwrap();
    let no_parent = viommu_on(&w.unit, &w.endpoint, &flat);
    assert_eq!(no_parent.unwrap_err(), Errno::EINVAL);
}

#[test]
fn virtual_iommus_take_both_stages_and_forced_write_back() {
    let w = World::new();
    let check = |unit: &SmmuUnit, viommu_type| {
        let checked = unit.check_viommu_type(&*w.endpoint, viommu_type);
        checked.map_err(|error| error.errno)
    };
    assert_eq!(check(&w.unit, 1), Ok(()));
    for other in [0, 2, 3] {
        assert_eq!(check(&w.unit, other), Err(Errno::EOPNOTSUPP));
    }
    for left_out in [
        SmmuFeatures::STAGE1,
        SmmuFeatures::STAGE2,
        SmmuFeatures::FORCED_WRITE_BACK,
    ] {
        let mut settings = SmmuSettings::default();
        settings.features.remove(left_out);
        let shared = &w.unit.shared;
        let unit = SmmuUnit::new(&shared.memory, &shared.epochs, settings);
        assert_eq!(check(&unit, 1), Err(Errno::EOPNOTSUPP), "{left_out:?}");
        let parent = paging(&unit, &w.endpoint, PagingFlags::NEST_PARENT);
        let nests = left_out == SmmuFeatures::FORCED_WRITE_BACK;
        assert_eq!(parent.is_ok(), nests, "{left_out:?}");
        let plain = paging(&unit, &w.endpoint, PagingFlags::empty());
        assert!(plain.is_ok(), "{left_out:?}");
        let tracking = paging(&unit, &w.endpoint, PagingFlags::DIRTY_TRACKING);
        assert_eq!(tracking.is_ok(), left_out != SmmuFeatures::STAGE1);
    }
}

#[test]
fn an_array_of_commands_is_checked_as_a_whole_first() {
    let w = World::new();
    let invalidate = |data_type, entry_len, words: &[[u64; 2]]| {
        outcome(w.viommu.invalidate(&Commands {
            data_type,
            entry_len,
            words: words.to_vec(),
        }))
    };
    let all = [0x30, 0];
    assert_eq!(invalidate(1, 16, &[all]), (1, Ok(())));
    assert_eq!(invalidate(0, 16, &[all]), (0, Err(Errno::EINVAL)));
    assert_eq!(invalidate(1, 16, &[]), (0, Err(Errno::EINVAL)));
    assert_eq!(
        invalidate(1, 8, &[[0x30, u64::MAX]]),
        (1, Ok(())),
        "the rest is 0"
    );
    assert_eq!(invalidate(1, 24, &[all]), (1, Ok(())), "the tail is 0");
    let nested = w.try_nested(linux_ste()).unwrap();
    let by_table = nested.invalidate(&Commands {
        data_type: 1,
        entry_len: 16,
        words: vec![all],
    });
    assert_eq!(outcome(by_table), (0, Err(Errno::EOPNOTSUPP)));
}

#[test]
fn a_refused_command_says_which_it_was() {
    let w = World::new();
    let all = [0x30, 0];
    let vsid = |id: u32| u64::from(id) << 32;
    for bad in [
        [0x46, 0],
        [0x03, 0],
        [0x30, 1],
        [0x05 | vsid(VSID + 1), 0],
        [0x06 | vsid(SID), 0],
        [0x40 | vsid(SID), 0],
        [0x12, 1 << 10],
    ] {
        assert_eq!(w.issue(&[bad]), (0, Err(Errno::EIO)), "{bad:x?}");
        assert_eq!(
            w.issue(&[all, all, bad, all]),
            (2, Err(Errno::EIO)),
            "{bad:x?}"
        );
    }
    w.viommu.remove_device(VirtId(VSID.into()));
    assert_eq!(w.issue(&[[0x06 | vsid(VSID), 0]]), (0, Err(Errno::EIO)));
}
