use zerocopy::IntoBytes;

use super::*;
use crate::Fault;
use crate::ioas::{IOMMU_IOAS_MAP, IommuIoasMap, IommuIoasMapFile};
use crate::option::{IommuVfioIoas, IommufdVfioIoasOp};
use crate::test_cmd::{AccessPages, IommuTestCmd, TestBody};

/// Section 1.3 of the behaviour specification: request, name, minimal and full size.
const TABLE: &[(u32, &str, usize, usize)] = &[
    (0x3b80, "IOMMU_DESTROY", 8, 8),
    (0x3b81, "IOMMU_IOAS_ALLOC", 12, 12),
    (0x3b82, "IOMMU_IOAS_ALLOW_IOVAS", 24, 24),
    (0x3b83, "IOMMU_IOAS_COPY", 40, 40),
    (0x3b84, "IOMMU_IOAS_IOVA_RANGES", 32, 32),
    (0x3b85, "IOMMU_IOAS_MAP", 40, 40),
    (0x3b86, "IOMMU_IOAS_UNMAP", 24, 24),
    (0x3b87, "IOMMU_OPTION", 24, 24),
    (0x3b88, "IOMMU_VFIO_IOAS", 12, 12),
    (0x3b89, "IOMMU_HWPT_ALLOC", 24, 48),
    (0x3b8a, "IOMMU_GET_HW_INFO", 32, 40),
    (0x3b8b, "IOMMU_HWPT_SET_DIRTY_TRACKING", 16, 16),
    (0x3b8c, "IOMMU_HWPT_GET_DIRTY_BITMAP", 48, 48),
    (0x3b8d, "IOMMU_HWPT_INVALIDATE", 32, 32),
    (0x3b8e, "IOMMU_FAULT_QUEUE_ALLOC", 16, 16),
    (0x3b8f, "IOMMU_IOAS_MAP_FILE", 40, 40),
    (0x3b90, "IOMMU_VIOMMU_ALLOC", 24, 40),
    (0x3b91, "IOMMU_VDEVICE_ALLOC", 24, 24),
    (0x3b92, "IOMMU_IOAS_CHANGE_PROCESS", 8, 8),
    (0x3b93, "IOMMU_VEVENTQ_ALLOC", 28, 32),
    (0x3b94, "IOMMU_HW_QUEUE_ALLOC", 40, 40),
    (0x3b95, "IOMMU_IOAS_NOIOMMU_GET_PA", 40, 40),
    (0x3ba0, "IOMMU_TEST_CMD", 68, 72),
];

fn command(request: u32) -> &'static Command {
    match classify(request, CommandSet::WithSelftest) {
        Route::Command(command) => command,
        other => panic!("{request:#x} goes to {other:?}"),
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
fn numbers_and_sizes_are_the_kernels() {
    let ours: Vec<_> = COMMANDS
        .iter()
        .map(|command| {
            let &Command {
                request,
                name,
                min_size,
                full_size,
                ..
            } = command;
            (request, name, min_size, full_size)
        })
        .collect();
    assert_eq!(ours, TABLE);
}

#[test]
fn every_request_of_the_letter_goes_where_it_should() {
    let compat = [0x3b64, 0x3b65, 0x3b66, 0x3b70, 0x3b71, 0x3b72];
    for commands in [CommandSet::Released, CommandSet::WithSelftest] {
        let highest = 0x3b00 | u32::from(commands.highest());
        for request in 0x3b00..=0x3bff {
            let named = TABLE.iter().any(|line| line.0 == request);
            match classify(request, commands) {
                Route::Command(command) => {
                    assert!(named && request <= highest);
                    assert_eq!(command.request, request);
                }
                Route::Unassigned => {
                    assert!(!named && (0x3b80..=highest).contains(&request));
                }
                Route::VfioCompat(command) => {
                    assert!(compat.contains(&request));
                    assert_eq!(command.request, request);
                }
                Route::Unknown => {
                    assert!(!compat.contains(&request));
                    assert!(!(0x3b80..=highest).contains(&request));
                }
            }
        }
    }
}

#[test]
fn a_request_with_a_direction_or_another_letter_is_told_by_its_number_alone() {
    // `_IOWR(';', 0x85, 40 bytes)` and `_IO('<', 0x85)`.
    for request in [0xc028_3b85, 0x3c85, 0x3b96] {
        assert!(matches!(
            classify(request, CommandSet::WithSelftest),
            Route::Unassigned
        ));
    }
    // The same for numbers that are not ours.
    for request in [0xc028_3b71, 0x3c71, 0x3b75, 0x3ba1, 0] {
        assert!(matches!(
            classify(request, CommandSet::WithSelftest),
            Route::Unknown
        ));
    }
}

#[test]
fn a_command_crosses_in_and_out() {
    let argument = IommuIoasMap {
        size: IommuIoasMap::SIZE,
        flags: 7,
        ioas_id: 1,
        user_va: 0x7f00_0000_0000,
        length: 0x1000,
        ..Default::default()
    };
    let mut call = UserCommand::read(command(IOMMU_IOAS_MAP), memory(argument.as_bytes())).unwrap();
    let mut map: IommuIoasMap = call.get();
    assert_eq!(map, argument);
    map.iova = 0x2000;
    call.set(map);
    assert_eq!(call.reply(Ok(())), Some((0, map.as_bytes())));
    assert_eq!(call.reply(Err(Errno::ENOSPC)), None);
}

#[test]
fn a_caller_with_a_short_struct_gets_a_short_answer() {
    // Section 1.2: GET_HW_INFO of 32 bytes never receives `out_capabilities`, HWPT_ALLOC of 24 receives `out_hwpt_id`.
    for (request, size) in [(0x3b8a, 32), (0x3b89, 24), (0x3b93, 28), (0x3ba0, 68)] {
        let mut bytes = [0; 72];
        bytes[0] = size;
        bytes[4] = 2;
        let bytes = &bytes[..usize::from(size)];
        let call = UserCommand::read(command(request), memory(bytes)).unwrap();
        assert_eq!(call.bytes().len(), command(request).full_size);
        assert_eq!(call.reply(Ok(())), Some((0, bytes)), "{request:#x}");
    }
}

#[test]
fn a_caller_with_a_long_struct_gets_its_part_back() {
    let mut bytes = [0; 100];
    bytes[0] = 100;
    let call = UserCommand::read(command(0x3b81), memory(&bytes)).unwrap();
    assert_eq!(call.reply(Ok(())), Some((0, &bytes[..12])));
    bytes[99] = 1;
    let refused = UserCommand::read(command(0x3b81), memory(&bytes));
    assert_eq!(refused.unwrap_err(), Errno::E2BIG);
}

#[test]
fn a_struct_that_is_too_short_or_not_there_is_refused() {
    let mut bytes = [0; 40];
    for size in 0..40 {
        bytes[0] = size;
        let refused = UserCommand::read(command(IOMMU_IOAS_MAP), memory(&bytes));
        assert_eq!(refused.unwrap_err(), Errno::EINVAL);
    }
    bytes[0] = 40;
    for readable in 0..40 {
        let refused = UserCommand::read(command(IOMMU_IOAS_MAP), memory(&bytes[..readable]));
        assert_eq!(refused.unwrap_err(), Errno::EFAULT);
    }
}

#[test]
#[should_panic(expected = "IOMMU_IOAS_MAP")]
fn a_struct_of_another_command_is_a_bug_even_when_it_has_the_size() {
    let mut bytes = [0; 40];
    bytes[0] = 40;
    let call = UserCommand::read(command(IOMMU_IOAS_MAP), memory(&bytes)).unwrap();
    let _: IommuIoasMapFile = call.get();
}

/// Section 1.2, and 9.10 for the test command: what is written back after success, after `EMSGSIZE`, and after another error.
#[test]
fn what_is_written_back() {
    let silent = [0x3b80, 0x3b82, 0x3b8b, 0x3b8c, 0x3b92];
    for entry in COMMANDS {
        let mut bytes = [0; 72];
        bytes[0] = u8::try_from(entry.full_size).unwrap();
        let call = UserCommand::read(entry, memory(&bytes)).unwrap();
        let whole = Some((0, &bytes[..entry.full_size]));
        let [success, too_long, other] = match entry.request {
            request if silent.contains(&request) => [None, None, None],
            0x3b84 => [whole, whole, None],
            0x3b87 => [Some((16, &bytes[16..24])), None, None],
            0x3b8d => [whole, whole, whole],
            // No such operation.
            0x3ba0 => [None, None, None],
            _ => [whole, None, None],
        };
        assert_eq!(call.reply(Ok(())), success, "{}", entry.name);
        assert_eq!(call.reply(Err(Errno::EMSGSIZE)), too_long, "{}", entry.name);
        assert_eq!(call.reply(Err(Errno::EINVAL)), other, "{}", entry.name);
    }
}

#[test]
fn only_asking_for_the_compatibility_ioas_has_an_answer() {
    for (op, answered) in [
        (IommufdVfioIoasOp::GET, true),
        (IommufdVfioIoasOp::SET, false),
        (IommufdVfioIoasOp::CLEAR, false),
    ] {
        let argument = IommuVfioIoas {
            size: IommuVfioIoas::SIZE,
            op: op.0,
            ..Default::default()
        };
        let call = UserCommand::read(command(0x3b88), memory(argument.as_bytes())).unwrap();
        assert_eq!(call.reply(Ok(())).is_some(), answered, "{op:?}");
    }
}

#[test]
fn test_operations_with_output_are_written_back() {
    let answered = [2, 5, 7, 10, 12, 13, 18, 19];
    for op in 0..30 {
        let argument = IommuTestCmd {
            size: IommuTestCmd::SIZE,
            op,
            ..Default::default()
        };
        let call = UserCommand::read(command(0x3ba0), memory(argument.as_bytes())).unwrap();
        assert_eq!(call.reply(Ok(())).is_some(), answered.contains(&op), "{op}");
    }
}

#[test]
fn fields_by_name() {
    let argument = IommuIoasMapFile {
        size: 40,
        flags: 3,
        ioas_id: 9,
        fd: -1,
        start: 0x1000,
        length: u64::MAX,
        iova: 5,
    };
    let shown: Vec<_> = command(0x3b8f).fields(argument.as_bytes()).collect();
    assert_eq!(
        shown,
        [
            ("size", Value::Unsigned(40)),
            ("flags", Value::Unsigned(3)),
            ("ioas_id", Value::Unsigned(9)),
            ("fd", Value::Signed(-1)),
            ("start", Value::Unsigned(0x1000)),
            ("length", Value::Unsigned(u64::MAX)),
            ("iova", Value::Unsigned(5)),
        ]
    );
    let cut: Vec<_> = command(0x3b8f).fields(&argument.as_bytes()[..17]).collect();
    assert_eq!(cut, shown[..4]);
}

#[test]
fn fields_of_a_test_operation() {
    let argument = IommuTestCmd {
        size: 72,
        op: IommuTestOp::ACCESS_PAGES.0,
        id: 31,
        body: TestBody::new(AccessPages {
            flags: 1,
            out_access_pages_id: 2,
            iova: 3,
            length: 4,
            uptr: 5,
        }),
        ..Default::default()
    };
    let shown: Vec<_> = command(0x3ba0).fields(argument.as_bytes()).collect();
    let numbers: Vec<_> = [
        ("size", 72),
        ("op", 7),
        ("id", 31),
        ("__reserved", 0),
        ("flags", 1),
        ("out_access_pages_id", 2),
        ("iova", 3),
        ("length", 4),
        ("uptr", 5),
        ("last", 0),
    ]
    .map(|(name, number)| (name, Value::Unsigned(number)))
    .into();
    assert_eq!(shown, numbers);
}

#[test]
fn fields_that_are_arrays() {
    let mut bytes = [0; 40];
    bytes[29..32].copy_from_slice(&[1, 2, 3]);
    let mut shown = command(0x3b8a).fields(&bytes);
    let reserved = shown.find(|(name, _)| *name == "__reserved");
    assert_eq!(reserved.unwrap().1, Value::Array(vec![1, 2, 3]));
}
