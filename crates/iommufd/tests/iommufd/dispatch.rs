//! How a request finds its command, and how its struct crosses.

use swiommu_abi::command::{COMMANDS, Command};
use swiommu_abi::ioas::{IOMMU_IOAS_ALLOC, IommuIoasAlloc};
use swiommu_abi::{Errno, UapiStruct};
use swiommu_addr::Hva;
use swiommu_files::{Arg, Caller};

use crate::fixture::{World, errno};

/// The argument of a call that must not look at it.
fn nowhere() -> Arg {
    Arg::from(Hva::new(0x10_0000))
}

/// Calls with a struct of this size that ends where memory does, filled with ones behind its size.
fn call_with_size(w: &World, command: &Command, size: usize) -> Errno {
    let mut bytes = vec![0xff; size];
    let size = u32::try_from(size).unwrap();
    bytes[..4].copy_from_slice(&size.to_ne_bytes());
    let at = w.memory.len() - u64::from(size);
    w.memory.write(at, &bytes).unwrap();
    errno(
        w.iommu
            .ioctl_raw(command.request, Arg::from(w.memory.at(at))),
    )
}

#[test]
fn every_command_checks_its_struct_first() {
    let w = World::new();
    for command in COMMANDS {
        let name = command.name;
        assert_eq!(
            errno(w.iommu.ioctl_raw(command.request, nowhere())),
            Errno::EFAULT,
            "{name}"
        );
        for size in [4, command.min_size - 1] {
            assert_eq!(
                call_with_size(&w, command, size),
                Errno::EINVAL,
                "{name}, {size} bytes"
            );
        }
        for tail in [1, 8, 5000] {
            let size = command.full_size + tail;
            assert_eq!(
                call_with_size(&w, command, size),
                Errno::E2BIG,
                "{name}, {size} bytes"
            );
        }

        // The struct ends before the size that it claims.
        let claimed = u32::try_from(command.full_size + 1).unwrap();
        let at = w.memory.len() - command.full_size as u64;
        w.memory.write(at, &vec![0; command.full_size]).unwrap();
        w.memory.write(at, &claimed.to_ne_bytes()).unwrap();
        let refused = errno(
            w.iommu
                .ioctl_raw(command.request, Arg::from(w.memory.at(at))),
        );
        assert_eq!(refused, Errno::EFAULT, "{name}, a tail that is not there");
        let at = at + 4;
        w.memory.write(at, &(claimed - 1).to_ne_bytes()).unwrap();
        let refused = errno(
            w.iommu
                .ioctl_raw(command.request, Arg::from(w.memory.at(at))),
        );
        assert_eq!(
            refused,
            Errno::EFAULT,
            "{name}, a last field that is not there"
        );
    }
    w.close();
}

#[test]
fn requests_that_are_none_differ_in_what_they_look_at() {
    let w = World::new();
    let known = Arg::from(w.page(0));
    let with_direction = IOMMU_IOAS_ALLOC | 1 << 30;
    let with_size = IOMMU_IOAS_ALLOC | 12 << 16;
    let with_type = 0x3c81;
    for request in [with_direction, with_size, with_type, 0x3b96, 0x3b9f] {
        assert_eq!(
            errno(w.iommu.ioctl_raw(request, known)),
            Errno::ENOTTY,
            "{request:#x}"
        );
        assert_eq!(
            errno(w.iommu.ioctl_raw(request, nowhere())),
            Errno::EFAULT,
            "{request:#x}"
        );
    }
    for request in [
        0,
        0x3b7f,
        0x3b67,
        0x3b75,
        0x3ba1,
        0x3bff,
        0x4000_3b70,
        u32::MAX,
    ] {
        assert_eq!(
            errno(w.iommu.ioctl_raw(request, nowhere())),
            Errno::ENOTTY,
            "{request:#x}"
        );
    }
    w.close();
}

#[test]
fn a_longer_struct_does_the_same_as_long_as_the_rest_is_zero() {
    let w = World::new();
    let size = w.memory.len();
    w.memory
        .write(0, &vec![0; usize::try_from(size).unwrap()])
        .unwrap();
    w.memory
        .write(0, &u32::try_from(size).unwrap().to_ne_bytes())
        .unwrap();
    w.iommu
        .ioctl_raw(IOMMU_IOAS_ALLOC, Arg::from(w.page(0)))
        .unwrap();
    w.memory.write(size - 1, &[1]).unwrap();
    let refused = errno(w.iommu.ioctl_raw(IOMMU_IOAS_ALLOC, Arg::from(w.page(0))));
    assert_eq!(refused, Errno::E2BIG);
    w.close();
}

/// The tail is looked at from its start: what differs first decides.
#[test]
fn a_tail_that_is_not_zero_may_come_before_one_that_is_not_there() {
    let w = World::new();
    let full = u64::from(IommuIoasAlloc::SIZE);
    for (nonzero, expected) in [(true, Errno::E2BIG), (false, Errno::EFAULT)] {
        let at = w.memory.len() - full - 8;
        w.memory.write(at, &[0; 20]).unwrap();
        w.memory
            .write(at, &(IommuIoasAlloc::SIZE + 100).to_ne_bytes())
            .unwrap();
        w.memory.write(at + full + 7, &[u8::from(nonzero)]).unwrap();
        let refused = errno(
            w.iommu
                .ioctl_raw(IOMMU_IOAS_ALLOC, Arg::from(w.memory.at(at))),
        );
        assert_eq!(refused, expected);
    }
    w.close();
}

#[test]
fn the_file_has_nothing_but_ioctls() {
    let w = World::new();
    let file = w.process.descriptors().served(w.iommu.fd()).unwrap();
    let range = Some(w.memory.range());
    let caller: &dyn Caller = w.process.descriptors();
    assert_eq!(file.read(caller, range).unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(
        file.write(caller, range).unwrap_err().errno(),
        Errno::EINVAL
    );
    assert_eq!(file.name(), "/dev/iommu");
    drop(file);
    w.close();
}
