//! The identification registers (6.3.1 to 6.3.8): what a unit can do.

use swiommu_pgtable::HardwareUpdate;

use super::{AddressSize, Granule};
use crate::field::Field;
use crate::smmuv3::{SmmuFeatures, SmmuSettings};

/// `SMMU_IDR0` to `SMMU_IDR5`, `SMMU_IIDR` and `SMMU_AIDR`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IdRegisters {
    /// `SMMU_IDR0` to `SMMU_IDR5`.
    pub idr: [u32; 6],
    /// `SMMU_IIDR`: who made it. Nobody.
    pub iidr: u32,
    /// `SMMU_AIDR`: which version of the architecture.
    pub aidr: u32,
}

/// Stages.
const S2P: Field = Field::bit("S2P", 0);
const S1P: Field = Field::bit("S1P", 1);
/// Table formats: 2 is `AArch64`.
const TTF: Field = Field::new("TTF", 2, 2);
const COHACC: Field = Field::bit("COHACC", 4);
/// 1: AF is kept; 2: the dirty state too.
const HTTU: Field = Field::new("HTTU", 6, 2);
const ATS: Field = Field::bit("ATS", 10);
/// Split-stage ATS.
const NS1ATS: Field = Field::bit("NS1ATS", 11);
const ASID16: Field = Field::bit("ASID16", 12);
const VMID16: Field = Field::bit("VMID16", 18);
const CD2L: Field = Field::bit("CD2L", 19);
/// 2: tables are little-endian.
const TTENDIAN: Field = Field::new("TTENDIAN", 21, 2);
/// 0: faults stall or terminate; 1: they terminate; 2: they stall.
const STALL_MODEL: Field = Field::new("STALL_MODEL", 24, 2);
/// 1: terminating is aborting.
const TERM_MODEL: Field = Field::bit("TERM_MODEL", 26);
/// 1: stream tables of two levels.
const ST_LEVEL: Field = Field::new("ST_LEVEL", 27, 2);

const SIDSIZE: Field = Field::new("SIDSIZE", 0, 6);
const SSIDSIZE: Field = Field::new("SSIDSIZE", 6, 5);
const EVTQS: Field = Field::new("EVTQS", 16, 5);
const CMDQS: Field = Field::new("CMDQS", 21, 5);

const HAD: Field = Field::bit("HAD", 2);
const XNX: Field = Field::bit("XNX", 4);
const FWB: Field = Field::bit("FWB", 8);
const RIL: Field = Field::bit("RIL", 10);
const BBML: Field = Field::new("BBML", 11, 2);

const OAS: Field = Field::new("OAS", 0, 3);
const GRAN4K: Field = Field::bit("GRAN4K", 4);
const GRAN16K: Field = Field::bit("GRAN16K", 5);
const GRAN64K: Field = Field::bit("GRAN64K", 6);
const STALL_MAX: Field = Field::new("STALL_MAX", 16, 16);

/// The fields of `SMMU_IDR0` to `SMMU_IDR5` that the model may set.
const FIELDS: [&[Field]; 6] = [
    &[
        S2P,
        S1P,
        TTF,
        COHACC,
        HTTU,
        ATS,
        ASID16,
        VMID16,
        CD2L,
        TTENDIAN,
        STALL_MODEL,
        TERM_MODEL,
        ST_LEVEL,
    ],
    &[SIDSIZE, SSIDSIZE, EVTQS, CMDQS],
    &[],
    &[HAD, XNX, FWB, RIL, BBML],
    &[],
    &[OAS, GRAN4K, GRAN16K, GRAN64K, STALL_MAX],
];

/// No `SubstreamID` is longer.
const MOST_SSID_BITS: u8 = 20;

/// How many transactions can be stalled at a time.
pub(crate) const MOST_STALLED: u32 = 256;

impl IdRegisters {
    /// Those of a unit with these settings.
    pub fn new(settings: &SmmuSettings) -> Self {
        let has = |features| u64::from(settings.has(features));
        let stalls = settings.has(SmmuFeatures::STALL);
        let httu = match settings.updates {
            HardwareUpdate::None => 0,
            HardwareUpdate::Accessed => 1,
            HardwareUpdate::AccessedAndDirty => 2,
        };
        let idr0 = S2P.is(has(SmmuFeatures::STAGE2))
            | S1P.is(has(SmmuFeatures::STAGE1))
            | TTF.is(2)
            | COHACC.is(has(SmmuFeatures::COHERENT))
            | HTTU.is(httu)
            | ATS.is(has(SmmuFeatures::ATS))
            | ASID16.is(has(SmmuFeatures::ASID16))
            | VMID16.is(has(SmmuFeatures::VMID16))
            | CD2L.is(has(SmmuFeatures::TWO_LEVEL_CD))
            | TTENDIAN.is(2)
            | STALL_MODEL.is(u64::from(!stalls))
            | TERM_MODEL.is(1)
            | ST_LEVEL.is(1);
        let idr1 = SIDSIZE.is(16)
            | SSIDSIZE.is(settings.ssid_bits.min(MOST_SSID_BITS).into())
            | EVTQS.is(19)
            | CMDQS.is(19);
        let idr3 = HAD.is(1)
            | XNX.is(1)
            | FWB.is(has(SmmuFeatures::FORCED_WRITE_BACK))
            | RIL.is(has(SmmuFeatures::RANGE_INVALIDATION))
            | BBML.is(2);
        let idr5 = OAS.is(settings.output.code())
            | GRAN4K.is(1)
            | GRAN16K.is(has(SmmuFeatures::GRANULE_16K))
            | GRAN64K.is(has(SmmuFeatures::GRANULE_64K))
            | STALL_MAX.is(if stalls { MOST_STALLED.into() } else { 0 });
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the fields are of 32-bit registers"
        )]
        let idr = [idr0, idr1, 0, idr3, 0, idr5].map(|register| register as u32);
        Self {
            idr,
            iidr: 0,
            aidr: 2,
        }
    }

    fn field(&self, register: usize, field: Field) -> u64 {
        field.of(self.idr[register].into())
    }

    fn bit(&self, register: usize, field: Field) -> bool {
        self.field(register, field) != 0
    }

    /// Whether there is stage 1 (`S1P`).
    pub fn stage1(&self) -> bool {
        self.bit(0, S1P)
    }

    /// Whether there is stage 2 (`S2P`).
    pub fn stage2(&self) -> bool {
        self.bit(0, S2P)
    }

    /// What walks may mark (`HTTU`).
    pub fn updates(&self) -> HardwareUpdate {
        match self.field(0, HTTU) {
            0 => HardwareUpdate::None,
            1 => HardwareUpdate::Accessed,
            _ => HardwareUpdate::AccessedAndDirty,
        }
    }

    /// Whether devices may have translations of their own (`ATS`).
    pub fn ats(&self) -> bool {
        self.bit(0, ATS)
    }

    /// Whether they may have those of stage 1 alone (`NS1ATS` is 0).
    pub fn split_stage_ats(&self) -> bool {
        self.ats() && !self.bit(0, NS1ATS)
    }

    /// Bits of an ASID.
    pub fn asid_bits(&self) -> u8 {
        if self.bit(0, ASID16) { 16 } else { 8 }
    }

    /// Bits of a VMID.
    pub fn vmid_bits(&self) -> u8 {
        if self.bit(0, VMID16) { 16 } else { 8 }
    }

    /// Whether CD tables can have two levels (`CD2L`).
    pub fn two_level_cd(&self) -> bool {
        self.bit(0, CD2L)
    }

    /// Whether faults can stall (`STALL_MODEL` is not 1).
    pub fn can_stall(&self) -> bool {
        self.field(0, STALL_MODEL) != 1
    }

    /// Whether faults cannot but stall (`STALL_MODEL` is 2).
    pub fn must_stall(&self) -> bool {
        self.field(0, STALL_MODEL) == 2
    }

    /// Whether terminating can be nothing but aborting (`TERM_MODEL`).
    pub fn always_aborts(&self) -> bool {
        self.bit(0, TERM_MODEL)
    }

    /// Bits of a `SubstreamID`; 0 without substreams.
    pub fn ssid_bits(&self) -> u8 {
        #[expect(clippy::cast_possible_truncation, reason = "a field of five bits")]
        let bits = self.field(1, SSIDSIZE) as u8;
        bits
    }

    /// Whether hierarchical permissions can be switched off (`HAD`).
    pub fn hierarchy_can_be_ignored(&self) -> bool {
        self.bit(3, HAD)
    }

    /// Whether memory types of stage 2 can be forced (`FWB`).
    pub fn forced_write_back(&self) -> bool {
        self.bit(3, FWB)
    }

    /// Whether commands can cover ranges (`RIL`).
    pub fn range_invalidation(&self) -> bool {
        self.bit(3, RIL)
    }

    /// How wide physical addresses are, and intermediate ones.
    pub fn output(&self) -> AddressSize {
        AddressSize::capped(self.field(5, OAS), AddressSize::Bits48)
    }

    /// Whether there are tables of a granule.
    pub fn has_granule(&self, granule: Granule) -> bool {
        self.bit(
            5,
            match granule {
                Granule::K4 => GRAN4K,
                Granule::K16 => GRAN16K,
                Granule::K64 => GRAN64K,
            },
        )
    }

    /// The fields of `SMMU_IDR0` to `SMMU_IDR5` by register and name.
    pub fn fields(self) -> impl Iterator<Item = (usize, &'static str, u64)> {
        FIELDS
            .into_iter()
            .enumerate()
            .flat_map(move |(register, fields)| {
                fields
                    .iter()
                    .map(move |field| (register, field.name, self.field(register, *field)))
            })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> SmmuSettings {
        SmmuSettings {
            updates: HardwareUpdate::AccessedAndDirty,
            features: SmmuFeatures::all(),
            ..SmmuSettings::default()
        }
    }

    /// The table of docs/models/smmuv3.md names every field that some setting makes other than zero, and no other.
    #[test]
    fn the_documented_features_are_those_of_the_registers() {
        let text = include_str!("../../../../../docs/models/smmuv3.md");
        let documented: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.split('|').nth(3))
            .flat_map(|column| column.split(','))
            .map(|field| field.trim().to_owned())
            .filter(|field| field.starts_with("IDR"))
            .collect();
        let reported: BTreeSet<String> = [all(), SmmuSettings::default()]
            .iter()
            .flat_map(|settings| IdRegisters::new(settings).fields())
            .filter(|(_, _, value)| *value != 0)
            .map(|(register, name, _)| format!("IDR{register}.{name}"))
            .collect();
        assert_eq!(documented, reported);
        // And the fields are all that there is.
        for (register, value) in IdRegisters::new(&all()).idr.into_iter().enumerate() {
            let known: u64 = FIELDS[register].iter().map(|field| field.mask()).sum();
            assert_eq!(u64::from(value) & !known, 0, "IDR{register}");
        }
    }

    /// hw-formats.md F.2, without what is not modelled: `MSI`, `PRI` and `ATTR_TYPES_OVR`.
    #[test]
    fn the_registers_are_those_that_guests_expect() {
        const MSI: u32 = 1 << 13;
        const PRI: u32 = 1 << 16;
        const ATTR_TYPES_OVR: u32 = 1 << 27;
        let plain = IdRegisters::new(&SmmuSettings::default());
        assert_eq!(plain.idr[0] | MSI, 0x0d4c_341b);
        assert_eq!(plain.idr[1] | ATTR_TYPES_OVR, 0x0a73_0510);
        assert_eq!(plain.idr[2..], [0, 0x1514, 0, 0x75]);
        let stalling = IdRegisters::new(&SmmuSettings {
            features: SmmuFeatures::all(),
            ..SmmuSettings::default()
        });
        assert_eq!(stalling.idr[0] | MSI | PRI, 0x0c4d_341b);
    }

    #[test]
    fn a_register_says_what_was_set() {
        let bare = IdRegisters::new(&SmmuSettings {
            output: AddressSize::Bits40,
            ssid_bits: 0,
            features: SmmuFeatures::STAGE2,
            ..SmmuSettings::default()
        });
        assert!(bare.stage2() && !bare.stage1() && !bare.ats() && !bare.two_level_cd());
        assert_eq!(
            (bare.asid_bits(), bare.vmid_bits(), bare.ssid_bits()),
            (8, 8, 0)
        );
        assert_eq!(bare.output(), AddressSize::Bits40);
        assert!(bare.has_granule(Granule::K4) && !bare.has_granule(Granule::K16));
        assert_eq!(
            IdRegisters::new(&all()).updates(),
            HardwareUpdate::AccessedAndDirty
        );
    }
}
