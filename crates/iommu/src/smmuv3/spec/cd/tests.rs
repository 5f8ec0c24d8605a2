use swiommu_addr::Iova;

use super::*;
use crate::smmuv3::{SmmuFeatures, SmmuSettings};

const STAGE1: Stage1 = Stage1 {
    asid: 0x42,
    input_bits: 48,
    output: AddressSize::Bits44,
    root: Pa::new(0x1_0000_0000),
    updates: HardwareUpdate::None,
    stalls: false,
};

fn unit(updates: HardwareUpdate, left_out: SmmuFeatures) -> IdRegisters {
    IdRegisters::new(&SmmuSettings {
        updates,
        features: SmmuFeatures::all().difference(left_out),
        ..SmmuSettings::default()
    })
}

fn full() -> IdRegisters {
    unit(HardwareUpdate::AccessedAndDirty, SmmuFeatures::empty())
}

/// hw-formats.md B.2, what Linux programs.
#[test]
fn descriptors_are_as_linux_writes_them() {
    let plain = Cd::stage1(&STAGE1);
    let words = [
        0x0042_e204_c000_3510,
        0x1_0000_0000,
        0,
        0xffff_ffff_f404_ff44,
    ];
    assert_eq!(plain.0[..4], words);
    let dirty = Cd::stage1(&Stage1 {
        updates: HardwareUpdate::AccessedAndDirty,
        ..STAGE1
    });
    assert_eq!(dirty.0[0], 0x0042_ee04_c000_3510);
    let context = plain.context(&full(), false).unwrap();
    assert_eq!((context.asid, context.output), (0x42, AddressSize::Bits44));
    assert_eq!(context.updates, HardwareUpdate::None);
    assert!(context.records && !context.stalls);
    let half = Half {
        root: 0x1_0000_0000,
        input_bits: 48,
        granule: Granule::K4,
        hierarchy_ignored: false,
    };
    assert_eq!(context.halves, [Some(half), None]);
    let dirty = dirty.context(&full(), false).unwrap();
    assert_eq!(dirty.updates, HardwareUpdate::AccessedAndDirty);
}

/// A descriptor with both halves.
fn two_halves() -> Cd {
    let mut cd = Cd::stage1(&STAGE1);
    cd.0[0] = cd.0[0] & !EPD1.mask() | T1SZ.is(16) | TG1.is(2);
    cd.0[2] = 0x2_0000_0000;
    cd
}

/// A change of `field` in a word breaks `rule`.
#[track_caller]
fn breaks(unit: &IdRegisters, word: usize, field: Field, value: u64, rule: CdRule) {
    let mut cd = two_halves();
    cd.0[word] = cd.0[word] & !field.mask() | field.is(value);
    assert_eq!(cd.context(unit, false), Err(rule), "{}", field.name);
}

#[test]
fn each_rule_can_be_broken() {
    let plain = full();
    let terminate_only = unit(HardwareUpdate::None, SmmuFeatures::STALL);
    let accessed = unit(HardwareUpdate::Accessed, SmmuFeatures::empty());
    let small_asids = unit(HardwareUpdate::None, SmmuFeatures::ASID16);
    assert!(two_halves().context(&plain, true).is_ok());
    assert!(two_halves().context(&terminate_only, true).is_ok());
    breaks(&plain, 0, V, 0, CdRule::Invalid);
    breaks(&terminate_only, 0, S, 1, CdRule::Stall);
    breaks(&plain, 0, A, 0, CdRule::Terminate);
    breaks(&plain, 0, AA64, 0, CdRule::Aa64);
    breaks(&plain, 0, ENDI, 1, CdRule::Endianness);
    breaks(&terminate_only, 0, HA, 1, CdRule::Update);
    breaks(&accessed, 0, HD, 1, CdRule::Update);
    breaks(&plain, 1, HAFT, 1, CdRule::Update);
    breaks(&small_asids, 0, ASID, 0x100, CdRule::Asid);
    let mut stalling = two_halves();
    stalling.0[0] |= S.is(1);
    assert!(stalling.context(&plain, false).is_ok());
    assert_eq!(
        stalling.context(&plain, true),
        Err(CdRule::Stall),
        "S1STALLD"
    );
}

#[test]
fn each_rule_of_a_half_can_be_broken() {
    let plain = full();
    let one_granule = unit(
        HardwareUpdate::None,
        SmmuFeatures::GRANULE_16K | SmmuFeatures::GRANULE_64K,
    );
    for size in [0, 15, 40, 63] {
        breaks(&plain, 0, T0SZ, size, CdRule::TxSz(0));
        breaks(&plain, 0, T1SZ, size, CdRule::TxSz(1));
    }
    breaks(&plain, 0, TG0, 3, CdRule::Granule(0));
    breaks(&plain, 0, TG1, 0, CdRule::Granule(1));
    for code in [1, 2] {
        breaks(&one_granule, 0, TG0, code, CdRule::Granule(0));
    }
    for code in [1, 3] {
        breaks(&one_granule, 0, TG1, code, CdRule::Granule(1));
    }
    let table = Field::new("TTB", 4, 52);
    breaks(&plain, 1, table, 1 << 40, CdRule::Ttb(0));
    breaks(&plain, 2, table, 1 << 40, CdRule::Ttb(1));
}

/// A unit that cannot but stall, and one that can do other than abort.
#[test]
fn what_a_descriptor_must_say_is_a_matter_of_the_unit() {
    let mut stalls_always = full();
    stalls_always.idr[0] |= 2 << 24;
    breaks(&stalls_always, 0, S, 0, CdRule::Stall);
    let mut other_ends = full();
    other_ends.idr[0] &= !(1 << 26);
    let mut cd = two_halves();
    cd.0[0] &= !A.mask();
    assert!(cd.context(&other_ends, false).is_ok());
}

#[test]
fn what_is_disabled_has_no_rules() {
    let mut cd = two_halves();
    cd.0[0] = cd.0[0] & !TG1.mask() | EPD1.is(1) | T1SZ.is(50);
    cd.0[2] = 1 << 50;
    assert_eq!(cd.context(&full(), false).unwrap().halves[1], None);
    cd.0[0] |= EPD0.is(1) | ENDI.is(1);
    let context = cd.context(&full(), false).unwrap();
    assert_eq!(
        context.halves,
        [None, None],
        "and no tables have no endianness"
    );
}

#[test]
fn addresses_are_no_wider_than_the_unit() {
    let mut cd = two_halves();
    for (code, output) in [
        (0, AddressSize::Bits32),
        (3, AddressSize::Bits42),
        (5, AddressSize::Bits48),
        (6, AddressSize::Bits48),
        (7, AddressSize::Bits48),
    ] {
        cd.0[0] = cd.0[0] & !IPS.mask() | IPS.is(code);
        let context = cd.context(&full(), false);
        if output == AddressSize::Bits32 {
            assert_eq!(context, Err(CdRule::Ttb(0)));
        } else {
            assert_eq!(context.unwrap().output, output, "{code}");
        }
    }
}

#[test]
fn hd_alone_is_nothing() {
    let mut cd = two_halves();
    cd.0[0] |= HD.is(1);
    let context = cd.context(&full(), false).unwrap();
    assert_eq!(context.updates, HardwareUpdate::None);
    cd.0[0] = cd.0[0] & !HD.mask() | HA.is(1);
    let context = cd.context(&full(), false).unwrap();
    assert_eq!(context.updates, HardwareUpdate::Accessed);
}

#[test]
fn a_root_is_aligned_to_its_size() {
    for (granule, bits, len) in [
        (Granule::K4, 48, 0x1000),
        (Granule::K4, 39, 0x1000),
        (Granule::K4, 32, 0x20),
        (Granule::K4, 25, 0x80),
        (Granule::K16, 48, 0x10),
        (Granule::K64, 48, 0x200),
        (Granule::K64, 42, 0x1_0000),
    ] {
        assert_eq!(root_len(granule, bits), len, "{granule:?} {bits}");
    }
    let mut cd = two_halves();
    cd.0[1] = 0x1_0000_0ff0;
    let context = cd.context(&full(), false).unwrap();
    assert_eq!(context.halves[0].unwrap().root, 0x1_0000_0000);
}

#[test]
fn an_address_belongs_to_the_half_that_its_upper_bits_say() {
    let of = |cd: &Cd, address: u64| {
        let context = cd.context(&full(), false).unwrap();
        let lower = context.halves[0];
        let found = context.half_of(Iova::new(address));
        found.map(|(half, walked)| (Some(*half) == lower, walked.get()))
    };
    let cd = two_halves();
    assert_eq!(of(&cd, 0x1234), Some((true, 0x1234)));
    assert_eq!(
        of(&cd, 0x0000_ffff_ffff_ffff),
        Some((true, 0x0000_ffff_ffff_ffff))
    );
    assert_eq!(of(&cd, 0x0001_0000_0000_0000), None);
    assert_eq!(
        of(&cd, 0xffff_0000_0000_0000),
        Some((false, 0xffff_0000_0000_0000))
    );
    assert_eq!(of(&cd, 0xfffe_ffff_ffff_ffff), None);
    assert_eq!(of(&cd, 0xab00_0000_0000_1234), None);
    assert_eq!(of(&cd, 0x00ff_0000_0000_1234), None);
    let mut ignoring = cd;
    ignoring.0[0] |= TBI0.is(1);
    assert_eq!(of(&ignoring, 0xab00_0000_0000_1234), Some((true, 0x1234)));
    assert_eq!(of(&ignoring, 0xab01_0000_0000_1234), None);
    assert_eq!(
        of(&ignoring, 0xabff_0000_0000_1234),
        None,
        "that is the other half's"
    );
    ignoring.0[0] |= TBI1.is(1);
    assert_eq!(
        of(&ignoring, 0xabff_0000_0000_1234),
        Some((false, 0xffff_0000_0000_1234))
    );
    let mut lower_only = cd;
    lower_only.0[0] |= EPD1.is(1);
    assert_eq!(of(&lower_only, 0xffff_0000_0000_0000), None);
    let mut narrow = cd;
    narrow.0[0] = narrow.0[0] & !T0SZ.mask() | T0SZ.is(39);
    assert_eq!(of(&narrow, 0x1ff_ffff), Some((true, 0x1ff_ffff)));
    assert_eq!(of(&narrow, 0x200_0000), None);
}
