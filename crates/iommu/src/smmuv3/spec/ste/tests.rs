use super::*;
use crate::smmuv3::{SmmuFeatures, SmmuSettings};

const ROOT: Pa = Pa::new(0x2_0000_0000);

/// hw-formats.md B.2: VMID 7, 4 KiB, 44 bits.
const STAGE2: Stage2 = Stage2 {
    vmid: 7,
    input_bits: 44,
    output: AddressSize::Bits44,
    sl0: 2,
    root: ROOT,
    flags: Stage2Flags::FORCED_WRITE_BACK,
};

/// A linear table of one descriptor at 0x80000000; one of two levels, 2^16 descriptors, ATS, and no stalls.
const LINEAR: [u64; 2] = [0x8000_000b, 0xd6];
const TWO_LEVEL: [u64; 2] = [0x8000_0000_8000_002b, 0x1800_00d6];

fn unit(change: impl FnOnce(&mut SmmuSettings)) -> IdRegisters {
    let mut settings = SmmuSettings {
        features: SmmuFeatures::all(),
        ..SmmuSettings::default()
    };
    change(&mut settings);
    IdRegisters::new(&settings)
}

fn nested(words: [u64; 2]) -> Ste {
    Ste::nested(&GuestSte::new(words).unwrap(), &STAGE2)
}

/// hw-formats.md B.2, what Linux programs.
#[test]
fn entries_are_as_linux_writes_them() {
    let second = Ste::stage2(&STAGE2);
    assert_eq!(
        second.0[..4],
        [0xd, 0x0200_0000, 0x044c_3594_0000_0007, 0x2_0000_0000]
    );
    assert_eq!(second.config(), Config::Stage2);
    let entry = nested(LINEAR);
    assert_eq!(
        entry.0,
        [
            0x8000_000f,
            0x0208_00d6,
            0x044c_3594_0000_0007,
            0x2_0000_0000,
            0,
            0,
            0,
            0
        ]
    );
    assert_eq!(entry.config(), Config::Nested);
    assert_eq!((entry.vmid(), entry.cd_max()), (7, 0));
    assert_eq!(entry.context_pointer(), Gpa::new(0x8000_0000));
    assert_eq!(entry.cd_table(), CdTable::Linear);
    assert_eq!(entry.default_substream(), DefaultSubstream::Zero);
    assert!(!entry.stage2_stalls() && entry.stage2_records());
    assert_eq!(Ste::abort().0[0], 1);
    assert_eq!(Ste::abort().config(), Config::Abort);
}

#[test]
fn a_guests_table_of_two_levels() {
    let entry = nested(TWO_LEVEL);
    assert_eq!(entry.cd_table(), CdTable::TwoLevel { leaf_log2: 10 });
    assert_eq!(entry.cd_max(), 16);
    assert!(entry.forbids_stalls());
    assert!(!entry.ats(), "the host decides, by what the device has");
    let stage2 = Stage2 {
        flags: Stage2Flags::ATS,
        ..STAGE2
    };
    let guest = GuestSte::new(TWO_LEVEL).unwrap();
    assert!(guest.ats() && Ste::nested(&guest, &stage2).ats());
}

#[test]
fn a_config_of_a_low_code_aborts() {
    for (code, config) in [
        (0, Config::Abort),
        (1, Config::Abort),
        (3, Config::Abort),
        (4, Config::Bypass),
        (5, Config::Stage1),
    ] {
        let entry = Ste([V.is(1) | CONFIG.is(code), 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(entry.config(), config, "{code}");
    }
}

#[test]
fn each_rule_can_be_broken() {
    let plain = unit(|_| {});
    let terminate_only = unit(|settings| settings.features.remove(SmmuFeatures::STALL));
    let linear = nested(LINEAR);
    assert_eq!(linear.broken_rule(&plain), None);
    assert_eq!(linear.broken_rule(&terminate_only), None);
    let change = |word: usize, clear: u64, set: u64| {
        let mut entry = linear;
        entry.0[word] = entry.0[word] & !clear | set;
        entry
    };
    let without = |features| unit(move |settings| settings.features.remove(features));
    let stalls = change(2, 0, S2S.mask());
    let two_levels = change(0, 0, S1FMT.is(1) | S1CDMAX.is(8));
    let many = change(0, 0, S1CDMAX.is(21));
    let forbids = change(1, 0, S1STALLD.mask());
    let ats = |entry: Ste, code| {
        let mut entry = entry;
        entry.0[1] |= EATS.is(code);
        entry
    };
    let no_stage1 = without(SmmuFeatures::STAGE1);
    let no_stage2 = without(SmmuFeatures::STAGE2);
    let small_vmids = without(SmmuFeatures::VMID16);
    let cases: &[(&str, Ste, &IdRegisters, SteRule)] = &[
        ("V", change(0, 1, 0), &plain, SteRule::Invalid),
        ("S1P", linear, &no_stage1, SteRule::Stage),
        ("S2P", linear, &no_stage2, SteRule::Stage),
        ("S1STALLD", forbids, &terminate_only, SteRule::S1Stalld),
        ("S1CDMax", many, &plain, SteRule::S1CdMax),
        (
            "S1Fmt",
            two_levels,
            &without(SmmuFeatures::TWO_LEVEL_CD),
            SteRule::S1Fmt,
        ),
        (
            "S1ContextPtr",
            change(0, 0, 1 << 48),
            &plain,
            SteRule::S1ContextPtr,
        ),
        ("EATS full", ats(stalls, 1), &plain, SteRule::Eats),
        (
            "EATS split, stage 2 alone",
            ats(Ste::stage2(&STAGE2), 2),
            &plain,
            SteRule::Eats,
        ),
        ("EATS split", ats(stalls, 2), &plain, SteRule::Eats),
        (
            "STRW",
            change(0, CONFIG.mask(), CONFIG.is(5)).with_regime(1),
            &plain,
            SteRule::Strw,
        ),
        ("S2S", stalls, &terminate_only, SteRule::S2S),
        (
            "S2AA64",
            change(2, S2AA64.mask(), 0),
            &plain,
            SteRule::S2Format,
        ),
        (
            "S2ENDI",
            change(2, 0, S2ENDI.mask()),
            &plain,
            SteRule::S2Format,
        ),
        ("S2TG", change(2, 0, S2TG.is(3)), &plain, SteRule::S2Tg),
        (
            "S2TG of a granule that is not there",
            change(2, 0, S2TG.is(1)),
            &without(SmmuFeatures::GRANULE_64K),
            SteRule::S2Tg,
        ),
        (
            "S2T0SZ",
            change(2, S2T0SZ.mask(), S2T0SZ.is(40)),
            &plain,
            SteRule::S2T0sz,
        ),
        (
            "S2T0SZ, wider than addresses",
            change(2, S2T0SZ.mask(), S2T0SZ.is(15)),
            &plain,
            SteRule::S2T0sz,
        ),
        ("S2SL0", change(2, S2SL0.mask(), 0), &plain, SteRule::S2Sl0),
        ("S2TTB", change(3, 0, 1 << 44), &plain, SteRule::S2Ttb),
        ("S2HA", change(2, 0, S2HA.mask()), &plain, SteRule::S2Update),
        ("S2HD", change(2, 0, S2HD.mask()), &plain, SteRule::S2Update),
        ("S2VMID", change(2, 0, 0x100), &small_vmids, SteRule::S2Vmid),
    ];
    for (name, entry, unit, rule) in cases {
        assert_eq!(entry.broken_rule(unit), Some(*rule), "{name}");
    }
}

/// A unit that cannot but stall, and one without split-stage ATS.
#[test]
fn what_an_entry_must_say_is_a_matter_of_the_unit() {
    let mut stalls_always = unit(|_| {});
    stalls_always.idr[0] |= 2 << 24;
    assert_eq!(
        nested(LINEAR).broken_rule(&stalls_always),
        Some(SteRule::S2S)
    );
    let mut forbids = nested(LINEAR);
    forbids.0[1] |= S1STALLD.mask();
    forbids.0[2] |= S2S.mask();
    assert_eq!(forbids.broken_rule(&stalls_always), Some(SteRule::S1Stalld));
    let mut split = nested(LINEAR);
    split.0[1] |= EATS.is(2);
    let plain = unit(|_| {});
    assert_eq!(split.broken_rule(&plain), None);
    let mut whole_only = plain;
    whole_only.idr[0] |= 1 << 11;
    assert_eq!(split.broken_rule(&whole_only), Some(SteRule::Eats));
}

impl Ste {
    fn with_regime(mut self, code: u64) -> Self {
        self.0[1] |= STRW.is(code);
        self
    }
}

#[test]
fn a_second_stage_is_no_wider_than_addresses() {
    let narrow = unit(|settings| settings.output = AddressSize::Bits44);
    assert_eq!(nested(LINEAR).broken_rule(&narrow), None);
    let mut wide = nested(LINEAR);
    wide.0[2] = wide.0[2] & !S2T0SZ.mask() | S2T0SZ.is(16);
    assert_eq!(wide.broken_rule(&unit(|_| {})), None);
    assert_eq!(wide.broken_rule(&narrow), Some(SteRule::S2T0sz));
}

#[test]
fn what_is_not_used_has_no_rules() {
    let terminate_only = unit(|settings| settings.features.remove(SmmuFeatures::STALL));
    let no_substreams = unit(|settings| settings.ssid_bits = 0);
    let mut many = nested(LINEAR);
    many.0[0] |= S1CDMAX.is(21);
    assert_eq!(many.broken_rule(&no_substreams), None);
    let mut aborting = Ste::abort();
    aborting.0[1] |= S1STALLD.mask();
    assert_eq!(aborting.broken_rule(&terminate_only), None);
    let mut two_levels_of_one = nested(LINEAR);
    two_levels_of_one.0[0] |= S1FMT.is(2);
    let no_levels = unit(|settings| settings.features.remove(SmmuFeatures::TWO_LEVEL_CD));
    assert_eq!(two_levels_of_one.broken_rule(&no_levels), None);
    let mut with_ats = nested(LINEAR);
    with_ats.0[1] |= EATS.is(1);
    with_ats.0[2] |= S2S.mask();
    let no_ats = unit(|settings| settings.features.remove(SmmuFeatures::ATS));
    assert_eq!(with_ats.broken_rule(&no_ats), None);
}

/// Every width that a second stage can have begins where Linux lets it (hw-formats.md A.4).
#[test]
fn walks_begin_where_the_architecture_lets_them() {
    use AddressSize::{Bits36, Bits40, Bits42, Bits44, Bits48};
    let legal = [
        (Granule::K4, 36, Bits36, 1),
        (Granule::K4, 40, Bits40, 1),
        (Granule::K4, 42, Bits42, 1),
        (Granule::K4, 44, Bits44, 2),
        (Granule::K4, 48, Bits48, 2),
        (Granule::K16, 36, Bits36, 1),
        (Granule::K16, 44, Bits44, 2),
        (Granule::K64, 42, Bits42, 1),
        (Granule::K64, 48, Bits48, 2),
    ];
    for (granule, bits, output, sl0) in legal {
        assert!(can_begin(granule, bits, output, sl0), "{granule:?} {bits}");
        assert!(!can_begin(granule, bits, output, 0), "{granule:?} {bits}");
    }
    assert!(
        !can_begin(Granule::K4, 36, Bits36, 2),
        "the root would have no index"
    );
}

/// hw-formats.md B.2, what Linux accepts from a guest.
#[test]
fn a_guest_may_say_what_is_its_own() {
    let refused = |words| GuestSte::new(words).unwrap_err();
    for bit in 0..64 {
        let (word0, word1) = (1_u64 << bit, 1_u64 << bit);
        let allowed0 = 0xf80f_ffff_ffff_ffff_u64 & word0 != 0;
        let allowed1 = 0x0000_0000_3800_00ff_u64 & word1 != 0;
        let is_bits = |error| matches!(error, super::super::GuestSteError::Bits { .. });
        if !allowed0 {
            assert!(is_bits(refused([word0 | 0xb, 0])), "word 0, bit {bit}");
        }
        if !allowed1 {
            assert!(is_bits(refused([0xb, word1])), "word 1, bit {bit}");
        }
        // Without V, nothing counts.
        let invalid = GuestSte::new([word0 & !1, word1]).unwrap();
        assert_eq!(invalid.words(), [0, 0]);
        assert_eq!(invalid.config(), super::super::GuestConfig::Abort);
    }
    for code in [1, 2, 3, 6, 7] {
        let error = refused([1 | code << 1, 0]);
        assert_eq!(error, super::super::GuestSteError::Config(code));
    }
    for code in [2, 3] {
        let error = refused([0xb, code << 28]);
        assert_eq!(error, super::super::GuestSteError::Eats(code));
    }
    // The bits come before the Config, and that before EATS.
    assert!(matches!(
        refused([1 | 7 << 1, 1 << 40 | 2 << 28]),
        super::super::GuestSteError::Bits { word: 1, .. }
    ));
    assert_eq!(
        refused([1 | 7 << 1, 2 << 28]),
        super::super::GuestSteError::Config(7)
    );
    assert!(
        !GuestSte::new([0x9, 1 << 28]).unwrap().ats(),
        "bypass has no ATS"
    );
}
