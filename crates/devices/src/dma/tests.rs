//! The device is what its manual says.

use std::mem::offset_of;

use swiommu_addr::Iova;

use super::*;

const MANUAL: &str = include_str!("../../../../docs/devices/dma.md");

/// The rows of the manual's tables, cell by cell.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let rows = MANUAL.lines().filter_map(|line| line.strip_prefix("| "));
    rows.map(|row| row.split('|').map(str::trim).collect())
}

/// The numbers in the first column of the rows that have this in another one.
fn numbers(column: usize, cell: &str) -> Vec<usize> {
    let found = rows().filter(|row| row.get(column) == Some(&cell));
    found
        .filter_map(|row| {
            let digits = row[0].strip_prefix("0x")?;
            usize::from_str_radix(digits, 16).ok()
        })
        .collect()
}

#[test]
fn registers_are_where_the_manual_has_them() {
    let registers = [
        ("ID", register::ID),
        ("VERSION", register::VERSION),
        ("ENGINES", register::ENGINES),
        ("RING_LOW", register::RING_LOW),
        ("RING_HIGH", register::RING_HIGH),
        ("SIZE", register::SIZE),
        ("PASID", register::PASID),
        ("CONTROL", register::CONTROL),
        ("STATUS", register::STATUS),
        ("TAIL", register::TAIL),
        ("HEAD", register::HEAD),
        ("FAULT_LOW", register::FAULT_LOW),
        ("FAULT_HIGH", register::FAULT_HIGH),
    ];
    for (name, offset) in registers {
        assert!(numbers(1, name).contains(&(offset as usize)), "{name}");
    }
    let documented = rows().filter(|row| ["device", "driver"].contains(row.get(2).unwrap_or(&"")));
    assert_eq!(documented.count(), registers.len());
    assert!(MANUAL.contains(&format!("{:#x} (`SWDM`)", register::ID_VALUE)));
    let device = DmaDevice::new(MAX_ENGINES + 1, |_| unreachable!("no engine runs"));
    assert_eq!(device.registers().load(register::ENGINES), MAX_ENGINES);
    assert_eq!(device.registers().load(register::ID), register::ID_VALUE);
    assert_eq!(device.registers().load(1), 0, "it is no register");
    let end = register::engine(MAX_ENGINES);
    device.registers().store(end, 1);
    assert_eq!(device.registers().load(end), 0, "nor is this");
}

#[test]
fn fields_are_where_the_manual_has_them() {
    let fields = [
        ("opcode", offset_of!(Descriptor, opcode)),
        ("flags", offset_of!(Descriptor, flags)),
        ("PASID", offset_of!(Descriptor, pasid)),
        ("source", offset_of!(Descriptor, source)),
        ("destination", offset_of!(Descriptor, destination)),
        ("length", offset_of!(Descriptor, length)),
        ("value", offset_of!(Descriptor, value)),
        ("fault", Completion::OFFSET + offset_of!(Completion, fault)),
        (
            "result",
            Completion::OFFSET + offset_of!(Completion, result),
        ),
        ("done", Completion::OFFSET + offset_of!(Completion, done)),
        (
            "status",
            Completion::OFFSET + offset_of!(Completion, status),
        ),
    ];
    for (name, offset) in fields {
        assert_eq!(numbers(2, name), [offset], "{name}");
    }
    assert_eq!(size_of::<Descriptor>() + Completion::LEN, Descriptor::LEN);
    let bytes = Descriptor::copy(Iova::new(0x1122), Iova::new(0x3344), 5).to_bytes();
    assert_eq!((bytes[0], bytes[8..10].to_vec()), (1, vec![0x22, 0x11]));
    assert_eq!((bytes[0x10], bytes[0x18]), (0x44, 5));
    let fill = Descriptor::fill(Iova::new(0), 1, 0x77)
        .privileged()
        .to_bytes();
    assert_eq!((fill[0], fill[1], fill[0x20]), (2, 1, 0x77));
}

#[test]
fn limits_are_those_of_the_manual() {
    for limit in [
        format!("at most {BATCH} descriptors"),
        format!("up to {} MiB", MAX_LENGTH >> 20),
        format!("descriptors, 0 to {}", register::MAX_SIZE),
        format!("1 to {MAX_ENGINES}"),
    ] {
        assert!(MANUAL.contains(&limit), "{limit}");
    }
}
