use zerocopy::IntoBytes;

use super::*;
use crate::vfio::container::{VFIO_IOMMU_UNMAP_DMA, VfioIommuType1DmaUnmap};
use crate::vfio::device::{VFIO_DEVICE_ATTACH_IOMMUFD_PT, VfioDeviceBindIommufd};
use crate::vfio::{container, device, group};

/// Request, and bytes of the struct that must be there, for those that have one.
type Line = (u32, Option<usize>);

/// Section 8 of the behaviour specification.
const CONTAINER: &[Line] = &[
    (0x3b64, None),
    (0x3b65, None),
    (0x3b66, None),
    (0x3b70, Some(16)),
    (0x3b71, Some(32)),
    (0x3b72, Some(24)),
];

const GROUP: &[Line] = &[
    (0x3b67, Some(8)),
    (0x3b68, None),
    (0x3b69, None),
    (0x3b6a, None),
];

/// Section 4.9 of the behaviour specification for 0x3b76 to 0x3b78.
const DEVICE: &[Line] = &[
    (0x3b6b, Some(16)),
    (0x3b6c, Some(32)),
    (0x3b6d, Some(16)),
    (0x3b6e, Some(20)),
    (0x3b6f, None),
    (0x3b70, Some(12)),
    (0x3b71, Some(12)),
    (0x3b74, Some(28)),
    (0x3b75, Some(8)),
    (0x3b76, Some(16)),
    (0x3b77, Some(12)),
    (0x3b78, Some(8)),
];

#[test]
fn numbers_and_sizes_are_the_kernels() {
    for (commands, expected) in [
        (container::COMMANDS, CONTAINER),
        (group::COMMANDS, GROUP),
        (device::COMMANDS, DEVICE),
    ] {
        let ours: Vec<_> = commands
            .iter()
            .map(|command| match command.argument {
                Argument::Struct { min_size, .. } => (command.request, Some(min_size)),
                _ => (command.request, None),
            })
            .collect();
        assert_eq!(ours, expected);
    }
}

/// A caller whose memory behind the argument is `bytes`.
fn memory(bytes: &[u8]) -> impl FnMut(u64, &mut [u8]) -> Result<(), Fault> {
    move |offset, out| {
        let start = usize::try_from(offset).unwrap();
        let end = start.checked_add(out.len()).ok_or(Fault)?;
        out.copy_from_slice(bytes.get(start..end).ok_or(Fault)?);
        Ok(())
    }
}

#[test]
fn a_struct_is_read_before_its_size_is_judged() {
    let argument = VfioIommuType1DmaUnmap {
        argsz: 23,
        flags: 2,
        ..Default::default()
    };
    let bytes = argument.as_bytes();
    let cut: Result<VfioIommuType1DmaUnmap, _> = copy_min(24, memory(&bytes[..23]));
    assert_eq!(cut, Err(Errno::EFAULT));
    let short: Result<VfioIommuType1DmaUnmap, _> = copy_min(24, memory(bytes));
    assert_eq!(short, Err(Errno::EINVAL));
    for argsz in [24, 25, u32::MAX] {
        let argument = VfioIommuType1DmaUnmap { argsz, ..argument };
        assert_eq!(copy_min(24, memory(argument.as_bytes())), Ok(argument));
    }
}

#[test]
fn what_lies_beyond_the_minimum_is_not_read() {
    let argument = VfioDeviceBindIommufd {
        argsz: 24,
        iommufd: 3,
        token_uuid_ptr: 0x1234,
        ..Default::default()
    };
    let read: VfioDeviceBindIommufd = copy_min(16, memory(&argument.as_bytes()[..16])).unwrap();
    let expected = VfioDeviceBindIommufd {
        token_uuid_ptr: 0,
        ..argument
    };
    assert_eq!(read, expected);
}

#[test]
fn binding_follows_the_rule_of_structs_that_grow() {
    let mut bytes = [0; 32];
    let bind = |bytes: &[u8]| copy_extensible::<VfioDeviceBindIommufd>(16, memory(bytes));
    for (argsz, expected) in [
        (15, Some(Errno::EINVAL)),
        (16, None),
        (24, None),
        (32, None),
    ] {
        bytes[0] = argsz;
        assert_eq!(bind(&bytes).err(), expected, "{argsz}");
    }
    bytes[31] = 1;
    assert_eq!(bind(&bytes), Err(Errno::E2BIG));
    assert_eq!(bind(&bytes[..3]), Err(Errno::EFAULT));
}

#[test]
fn fields_by_name() {
    let find = |commands: &'static [VfioCommand], request| {
        let mut found = commands.iter().filter(|command| command.request == request);
        found.next().unwrap()
    };
    let argument = VfioIommuType1DmaUnmap {
        argsz: 24,
        flags: 0,
        iova: 0x1000,
        size: 0x2000,
    };
    let unmap = find(container::COMMANDS, VFIO_IOMMU_UNMAP_DMA);
    let shown: Vec<_> = unmap.fields(argument.as_bytes()).collect();
    let numbers = [
        ("argsz", 24),
        ("flags", 0),
        ("iova", 0x1000),
        ("size", 0x2000),
    ];
    assert_eq!(
        shown,
        numbers.map(|(name, number)| (name, Value::Unsigned(number)))
    );

    // Without the flag for it, a caller has no PASID to show.
    let attach = find(device::COMMANDS, VFIO_DEVICE_ATTACH_IOMMUFD_PT);
    assert_eq!(attach.fields(&[0; 12]).count(), 3);
    let version = find(container::COMMANDS, 0x3b64);
    assert_eq!(version.fields(&[0; 12]).count(), 0);
}
