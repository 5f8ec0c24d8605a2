use super::*;
use crate::smmuv3::{SmmuFeatures, SmmuSettings};

fn unit(left_out: SmmuFeatures) -> IdRegisters {
    let mut settings = SmmuSettings::default();
    settings.features.remove(left_out);
    IdRegisters::new(&settings)
}

fn of(word0: u64, word1: u64) -> Result<Command, CommandError> {
    Command::of_guest([word0, word1], &unit(SmmuFeatures::empty()))
}

fn pages(first: u64, last: u64) -> IovaRange {
    IovaRange::new(Iova::new(first), Iova::new(last)).unwrap()
}

fn addresses(word0: u64, word1: u64) -> Cover {
    match of(word0, word1) {
        Ok(Command::TlbiVa { cover, .. }) => cover,
        other => panic!("{other:?}"),
    }
}

/// The words of a command without its ASID; where the range starts, and its length; granule, level, and whether for leaves alone.
type Range = (u64, u64, u64, u64, Granule, Option<u8>, bool);

/// hw-formats.md D.3, ranges that a Linux guest invalidates.
const RANGES: [Range; 10] = [
    (
        0x00_0012,
        0x1234_5701,
        0x1234_5000,
        0x1000,
        Granule::K4,
        Some(3),
        true,
    ),
    (
        0x90_0012,
        0x0020_0601,
        0x0020_0000,
        0x20_0000,
        Granule::K4,
        Some(2),
        true,
    ),
    (
        0x40_0012,
        0x0001_0701,
        0x0001_0000,
        0x1_0000,
        Granule::K4,
        Some(3),
        true,
    ),
    (
        0x00_4012,
        0x0001_0701,
        0x0001_0000,
        0x5000,
        Granule::K4,
        Some(3),
        true,
    ),
    (
        0x50_0012,
        0x0001_5701,
        0x0001_5000,
        0x2_0000,
        Granule::K4,
        Some(3),
        true,
    ),
    (
        0x31_c012,
        0x0010_0701,
        0x0010_0000,
        0xe_8000,
        Granule::K4,
        Some(3),
        true,
    ),
    (
        0x80_2012,
        0x001e_8701,
        0x001e_8000,
        0x30_0000,
        Granule::K4,
        Some(3),
        true,
    ),
    (
        0x90_0012,
        0x0020_0400,
        0x0020_0000,
        0x20_0000,
        Granule::K4,
        None,
        false,
    ),
    (
        0x10_0012,
        0x0020_0400,
        0x0020_0000,
        0x2000,
        Granule::K4,
        None,
        false,
    ),
    (
        0x00_0012,
        0x0001_0f01,
        0x0001_0000,
        0x1_0000,
        Granule::K64,
        Some(3),
        true,
    ),
];

/// hw-formats.md D.3, what a Linux guest issues.
#[test]
fn commands_of_a_linux_guest() {
    for (word0, word1, first, len, granule, level, leaf) in RANGES {
        let word0 = word0 | 0x0042_0000_0000_0000;
        let expected = Command::TlbiVa {
            asid: Some(0x42),
            cover: Cover {
                range: pages(first, first + len - 1),
                granule: Some(granule),
                level,
                leaf,
            },
        };
        assert_eq!(
            of(word0, word1),
            Ok(expected),
            "{word0:#018x} {word1:#018x}"
        );
    }
}

/// hw-formats.md D.3, likewise.
#[test]
fn other_commands_of_a_linux_guest() {
    assert_eq!(
        of(0x0042_0000_0000_0011, 0),
        Ok(Command::TlbiAsid { asid: 0x42 })
    );
    let atc = |word0, word1, substreams, range| {
        let stream = 0x108;
        let expected = Command::AtcInv {
            stream,
            substreams,
            range,
        };
        assert_eq!(of(word0, word1), Ok(expected));
    };
    atc(0x0000_0108_0000_0040, 4, Substreams::None, pages(0, 0xffff));
    let five = Substreams::One(5);
    atc(0x0000_0108_0000_5840, 0x8002, five, pages(0x8000, 0xbfff));
    atc(
        0x0000_0108_0000_0040,
        0x34,
        Substreams::None,
        IovaRange::full(),
    );
    atc(
        0x0000_0108_0000_0a40,
        0x34,
        Substreams::All,
        IovaRange::full(),
    );
    let cfgi = Command::CfgiCd {
        stream: 0x108,
        substream: 5,
        leaf: true,
    };
    assert_eq!(of(0x0000_0108_0000_5005, 1), Ok(cfgi));
    assert_eq!(
        of(0x0000_0108_0000_0006, 0),
        Ok(Command::CfgiCdAll { stream: 0x108 })
    );
    assert_eq!(of(0x10, 0), Ok(Command::TlbiAll));
    assert_eq!(of(0x30, 0), Ok(Command::TlbiAll));
}

#[test]
fn without_ranges_a_command_covers_one_address() {
    let plain = unit(SmmuFeatures::RANGE_INVALIDATION);
    let command = |word0, word1| Command::of_guest([word0, word1], &plain);
    let expected = Command::TlbiVa {
        asid: Some(0x42),
        cover: Cover {
            range: pages(0x1_0000, 0x1_0000),
            granule: None,
            level: None,
            leaf: true,
        },
    };
    assert_eq!(command(0x0042_0000_0000_0012, 0x0001_0001), Ok(expected));
    assert_eq!(
        addresses(0x0042_0000_0000_0012, 0x0001_0001).range,
        pages(0x1_0000, 0x1_0000)
    );
    for (word0, word1) in [(1 << 12, 0), (1 << 20, 0), (0, 1 << 8), (0, 1 << 10)] {
        let refused = command(0x12 | word0, word1);
        assert!(
            matches!(refused, Err(CommandError::Bits { .. })),
            "{word0:#x} {word1:#x}"
        );
    }
}

#[test]
fn ranges_that_are_reserved() {
    let num = NUM.is(1);
    let scale = SCALE.is(1);
    let (ttl, tg) = (|n| TTL.is(n), |n| TG.is(n));
    for (word0, word1) in [
        (num, 0),
        (scale, 0),
        (0, ttl(3)),
        (0, tg(1)),
        (0, tg(2)),
        (0, tg(2) | ttl(1)),
        (num, tg(2) | ttl(1)),
    ] {
        for opcode in [0x12, 0x13] {
            let refused = of(opcode | word0, word1);
            assert!(
                matches!(refused, Err(CommandError::Range { .. })),
                "{word0:#x} {word1:#x}"
            );
        }
    }
    assert!(of(0x12 | num, tg(1)).is_ok());
    assert!(of(0x12, tg(2) | ttl(2)).is_ok());
}

#[test]
fn a_range_ends_where_addresses_do() {
    let most = addresses(
        0x13 | NUM.is(31) | SCALE.is(31),
        TG.is(3) | TTL.is(3) | (0xffff << 48),
    );
    assert_eq!(most.range, pages(0xffff << 48, u64::MAX));
    let unaligned = addresses(0x13 | NUM.is(1), TG.is(3) | 0x1_f000);
    assert_eq!(unaligned.range, pages(0x1_0000, 0x2_ffff));
}

/// hw-formats.md D.3: each bit of each command, alone.
#[test]
fn a_command_has_its_own_bits_and_no_others() {
    let commands: &[(u64, [u64; 2])] = &[
        (0x30, [0, 0]),
        (0x10, [0x0000_ffff_0000_0000, 0]),
        (0x11, [0xffff_ffff_0000_0000, 0]),
        (0x12, [0xffff_ffff_01f1_f000, 0xffff_ffff_ffff_ff01]),
        (0x13, [0x0000_ffff_01f1_f000, 0xffff_ffff_ffff_ff01]),
        (0x05, [0xffff_ffff_ffff_f000, 1]),
        (0x06, [0xffff_ffff_0000_0000, 0]),
        (0x40, [0xffff_ffff_ffff_fa00, 0xffff_ffff_ffff_f03f]),
    ];
    for &(opcode, allowed) in commands {
        for (word, allowed) in allowed.into_iter().enumerate() {
            for bit in 8 * u32::from(word == 0)..64 {
                let mut words = [opcode, 0];
                words[word] |= 1 << bit;
                let found = Command::of_guest(words, &unit(SmmuFeatures::empty()));
                let is_refused = matches!(found, Err(CommandError::Bits { .. }));
                assert_eq!(
                    is_refused,
                    allowed >> bit & 1 == 0,
                    "{opcode:#x}: word {word}, bit {bit}"
                );
            }
        }
    }
}

#[test]
fn what_is_not_for_guests_is_refused() {
    let known = [0x30, 0x10, 0x11, 0x12, 0x13, 0x05, 0x06, 0x40];
    for opcode in (0..=0xff).filter(|opcode| !known.contains(opcode)) {
        assert_eq!(of(opcode, 0), Err(CommandError::Opcode(opcode)));
    }
}

#[test]
fn what_the_unit_lacks_is_refused() {
    let without = |features| unit(features);
    let atc = [0x40, 0];
    let refused = Command::of_guest(atc, &without(SmmuFeatures::ATS));
    assert_eq!(refused, Err(CommandError::NoAts));
    let wide = [0x0100_0000_0000_0011, 0];
    let refused = Command::of_guest(wide, &without(SmmuFeatures::ASID16));
    assert!(matches!(refused, Err(CommandError::Bits { word: 0, .. })));
    let no_substreams = IdRegisters::new(&SmmuSettings {
        ssid_bits: 0,
        ..SmmuSettings::default()
    });
    for words in [[0x5005, 1], [0x0840, 0], [0x5040, 0]] {
        let refused = Command::of_guest(words, &no_substreams);
        assert!(matches!(refused, Err(CommandError::Bits { word: 0, .. })));
    }
    assert_eq!(of(0x240, 0), Err(CommandError::Global));
    assert_eq!(of(0x40, 53), Err(CommandError::Size(53)));
    assert_eq!(of(0x40, 63), Err(CommandError::Size(63)));
}
