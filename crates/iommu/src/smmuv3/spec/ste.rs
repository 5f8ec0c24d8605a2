//! The stream table entry (5.2): how the requests of a stream are translated.

use bitflags::bitflags;
use swiommu_addr::{Gpa, Pa};
use swiommu_pgtable::HardwareUpdate;
use swiommu_pgtable::fmt::{AddressForm, ArmS2};

use super::{AddressSize, Granule, GuestSte, IdRegisters};
use crate::field::Field;

/// What is done to requests, word 0 3:1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Config {
    /// They are aborted, and no event tells.
    Abort,
    /// They are not translated.
    Bypass,
    /// Stage 1 only.
    Stage1,
    /// Stage 2 only.
    Stage2,
    /// Stage 1, whose tables are behind stage 2.
    Nested,
}

/// How CDs are found, word 0 5:4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CdTable {
    /// One table.
    Linear,
    /// A table of pointers to tables of 2^n CDs.
    TwoLevel {
        /// n.
        leaf_log2: u32,
    },
}

/// What is done to requests without a `SubstreamID` where there can be substreams, word 1 1:0 (`S1DSS`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DefaultSubstream {
    /// They are aborted.
    Terminate,
    /// They bypass stage 1.
    Bypass,
    /// They use the CD of substream 0, which nobody else may then use.
    Zero,
}

bitflags! {
    /// What an entry says about second stages, beside where they are.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Stage2Flags: u8 {
        /// Memory types are forced (`S2FWB`).
        const FORCED_WRITE_BACK = 1;
        /// Faults stall (`S2S`).
        const STALL = 2;
        /// The device may have translations of its own (`EATS`).
        const ATS = 4;
    }
}

/// Where and how a second stage is walked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stage2 {
    /// What tags cached translations.
    pub vmid: u16,
    /// Bits of an input address.
    pub input_bits: u8,
    /// How wide output addresses are.
    pub output: AddressSize,
    /// Where the walk begins, as SL0 has it.
    pub sl0: u8,
    /// The root.
    pub root: Pa,
    /// The rest.
    pub flags: Stage2Flags,
}

/// A stream table entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Ste(pub [u64; 8]);

/// Word 0.
const V: Field = Field::bit("V", 0);
const CONFIG: Field = Field::new("Config", 1, 3);
const S1FMT: Field = Field::new("S1Fmt", 4, 2);
const S1CONTEXTPTR: u64 = 0x00ff_ffff_ffff_ffc0;
const S1CDMAX: Field = Field::new("S1CDMax", 59, 5);
/// Word 1.
const S1DSS: Field = Field::new("S1DSS", 0, 2);
const MEV: Field = Field::bit("MEV", 19);
const S2FWB: Field = Field::bit("S2FWB", 25);
const S1STALLD: Field = Field::bit("S1STALLD", 27);
const EATS: Field = Field::new("EATS", 28, 2);
const EATS_FULL: u64 = 1;
const EATS_SPLIT: u64 = 2;
const STRW: Field = Field::new("STRW", 30, 2);
/// Word 2.
const S2VMID: Field = Field::new("S2VMID", 0, 16);
const S2T0SZ: Field = Field::new("S2T0SZ", 32, 6);
const S2SL0: Field = Field::new("S2SL0", 38, 2);
const S2IR0: Field = Field::new("S2IR0", 40, 2);
const S2OR0: Field = Field::new("S2OR0", 42, 2);
const S2SH0: Field = Field::new("S2SH0", 44, 2);
const S2TG: Field = Field::new("S2TG", 46, 2);
const S2PS: Field = Field::new("S2PS", 48, 3);
const S2AA64: Field = Field::bit("S2AA64", 51);
const S2ENDI: Field = Field::bit("S2ENDI", 52);
const S2PTW: Field = Field::bit("S2PTW", 54);
const S2HD: Field = Field::bit("S2HD", 55);
const S2HA: Field = Field::bit("S2HA", 56);
const S2S: Field = Field::bit("S2S", 57);
const S2R: Field = Field::bit("S2R", 58);
/// Word 3.
const S2TTB: u64 = 0x00ff_ffff_ffff_fff0;

/// Write-back, read- and write-allocate; inner shareable.
const CACHEABLE: u64 = 1;
const INNER_SHAREABLE: u64 = 3;

/// A rule that an entry breaks: `C_BAD_STE`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum SteRule {
    /// V is 0.
    #[error("V is 0")]
    Invalid,
    /// There is no such stage.
    #[error("Config has a stage that the unit lacks")]
    Stage,
    /// `S1STALLD`, and there are no stalls that it could forbid.
    #[error("S1STALLD is set, and STALL_MODEL is not 0")]
    S1Stalld,
    /// More substreams than there can be.
    #[error("S1CDMax exceeds IDR1.SSIDSIZE")]
    S1CdMax,
    /// CD tables cannot have two levels.
    #[error("S1Fmt has two levels, and IDR0.CD2L is 0")]
    S1Fmt,
    /// The CD table is at no address.
    #[error("S1ContextPtr is out of range")]
    S1ContextPtr,
    /// ATS with faults of stage 2 that stall, or of a kind that does not go with the rest.
    #[error("EATS is not possible with the rest")]
    Eats,
    /// The translation regime is reserved.
    #[error("STRW is reserved")]
    Strw,
    /// Stalls that there are not, or none where there is nothing else.
    #[error("S2S is not possible with STALL_MODEL")]
    S2S,
    /// Tables of 32-bit systems, or big-endian ones.
    #[error("S2AA64 or S2ENDI is not what the unit has")]
    S2Format,
    /// There is no such granule.
    #[error("S2TG is not a granule of the unit")]
    S2Tg,
    /// The input width is out of range.
    #[error("S2T0SZ is out of range")]
    S2T0sz,
    /// The walk cannot begin there.
    #[error("S2SL0 does not go with S2T0SZ and S2TG")]
    S2Sl0,
    /// The root is beyond S2PS.
    #[error("S2TTB is out of range")]
    S2Ttb,
    /// Marks that walks cannot make.
    #[error("S2HA or S2HD exceeds IDR0.HTTU")]
    S2Update,
    /// VMIDs are smaller.
    #[error("S2VMID is wider than VMIDs are")]
    S2Vmid,
}

impl Ste {
    /// Requests are aborted, and no event tells.
    pub fn abort() -> Self {
        Self([V.is(1), 0, 0, 0, 0, 0, 0, 0])
    }

    /// Second stage only.
    pub fn stage2(stage: &Stage2) -> Self {
        let flag = |flag| u64::from(stage.flags.contains(flag));
        let mut words = [0; 8];
        words[0] = V.is(1) | CONFIG.is(0b110);
        words[1] = S2FWB.is(flag(Stage2Flags::FORCED_WRITE_BACK))
            | EATS.is(EATS_FULL * flag(Stage2Flags::ATS));
        words[2] = S2VMID.is(stage.vmid.into())
            | S2T0SZ.is(64 - u64::from(stage.input_bits))
            | S2SL0.is(stage.sl0.into())
            | S2IR0.is(CACHEABLE)
            | S2OR0.is(CACHEABLE)
            | S2SH0.is(INNER_SHAREABLE)
            | S2PS.is(stage.output.code())
            | S2AA64.is(1)
            | S2PTW.is(1)
            | S2S.is(flag(Stage2Flags::STALL))
            | S2R.is(1);
        words[3] = stage.root.get() & S2TTB;
        Self(words)
    }

    /// A guest's first stage in front of a second. Events may be merged, so that a guest cannot flood the host with them.
    pub fn nested(guest: &GuestSte, stage: &Stage2) -> Self {
        let mut entry = Self::stage2(stage);
        let [word0, word1] = guest.words();
        entry.0[0] = word0 & !CONFIG.mask() | CONFIG.is(0b111);
        entry.0[1] |= word1 & !EATS.mask() | MEV.is(1);
        entry
    }

    /// Whether it is there at all (V).
    pub fn is_valid(&self) -> bool {
        V.is_set(self.0[0])
    }

    /// What is done to requests.
    pub fn config(&self) -> Config {
        match CONFIG.of(self.0[0]) {
            0b100 => Config::Bypass,
            0b101 => Config::Stage1,
            0b110 => Config::Stage2,
            0b111 => Config::Nested,
            _ => Config::Abort,
        }
    }

    /// How CDs are found.
    pub fn cd_table(&self) -> CdTable {
        match S1FMT.of(self.0[0]) {
            0b01 => CdTable::TwoLevel { leaf_log2: 6 },
            0b10 => CdTable::TwoLevel { leaf_log2: 10 },
            _ => CdTable::Linear,
        }
    }

    /// Where CDs are found, in a nested entry.
    pub fn context_pointer(&self) -> Gpa {
        Gpa::new(self.0[0] & S1CONTEXTPTR)
    }

    /// How many bits a `SubstreamID` has that has a CD; 0 when there is one CD.
    pub fn cd_max(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "a field of five bits")]
        let bits = S1CDMAX.of(self.0[0]) as u32;
        bits
    }

    /// What is done to requests without a `SubstreamID`.
    pub fn default_substream(&self) -> DefaultSubstream {
        match S1DSS.of(self.0[1]) {
            0b01 => DefaultSubstream::Bypass,
            0b10 => DefaultSubstream::Zero,
            _ => DefaultSubstream::Terminate,
        }
    }

    /// Whether faults of stage 1 must not stall.
    pub fn forbids_stalls(&self) -> bool {
        S1STALLD.is_set(self.0[1])
    }

    /// Whether the device may have translations of its own.
    pub fn ats(&self) -> bool {
        EATS.of(self.0[1]) == EATS_FULL
    }

    /// What tags cached translations.
    pub fn vmid(&self) -> u16 {
        #[expect(clippy::cast_possible_truncation, reason = "a field of 16 bits")]
        let vmid = S2VMID.of(self.0[2]) as u16;
        vmid
    }

    /// Whether faults of stage 2 stall.
    pub fn stage2_stalls(&self) -> bool {
        S2S.is_set(self.0[2])
    }

    /// Whether faults of stage 2 that do not stall are recorded.
    pub fn stage2_records(&self) -> bool {
        S2R.is_set(self.0[2])
    }

    /// The first rule that it breaks (5.5). A V of 0 comes first; a Config that aborts has no rules.
    pub fn broken_rule(&self, unit: &IdRegisters) -> Option<SteRule> {
        if !self.is_valid() {
            return Some(SteRule::Invalid);
        }
        let (stage1, stage2) = match self.config() {
            Config::Abort | Config::Bypass => return None,
            Config::Stage1 => (true, false),
            Config::Stage2 => (false, true),
            Config::Nested => (true, true),
        };
        if stage1 && !unit.stage1() || stage2 && !unit.stage2() {
            return Some(SteRule::Stage);
        }
        let of_stage1 = || stage1.then(|| self.broken_in_stage1(unit)).flatten();
        let of_stage2 = || stage2.then(|| self.broken_in_stage2(unit)).flatten();
        self.broken_ats(unit, stage2)
            .or_else(of_stage1)
            .or_else(of_stage2)
    }

    fn broken_ats(&self, unit: &IdRegisters, stage2: bool) -> Option<SteRule> {
        if !unit.ats() {
            return None;
        }
        let stalls = stage2 && self.stage2_stalls();
        let broken = match EATS.of(self.0[1]) {
            EATS_FULL => stalls,
            EATS_SPLIT => self.config() != Config::Nested || stalls || !unit.split_stage_ats(),
            _ => false,
        };
        broken.then_some(SteRule::Eats)
    }

    fn broken_in_stage1(&self, unit: &IdRegisters) -> Option<SteRule> {
        let substreams = unit.ssid_bits() != 0;
        let two_levels = self.cd_table() != CdTable::Linear && self.cd_max() != 0;
        let checks = [
            (
                self.forbids_stalls() && (!unit.can_stall() || unit.must_stall()),
                SteRule::S1Stalld,
            ),
            (
                substreams && self.cd_max() > unit.ssid_bits().into(),
                SteRule::S1CdMax,
            ),
            (
                substreams && two_levels && !unit.two_level_cd(),
                SteRule::S1Fmt,
            ),
            (
                !unit.output().holds(self.context_pointer().get()),
                SteRule::S1ContextPtr,
            ),
            // Of the regimes, the model has NS-EL1 alone, and that is all that is used with stage 2.
            (
                self.config() == Config::Stage1 && STRW.of(self.0[1]) != 0,
                SteRule::Strw,
            ),
        ];
        first_broken(&checks)
    }

    fn broken_in_stage2(&self, unit: &IdRegisters) -> Option<SteRule> {
        let word = self.0[2];
        let granule = Granule::from_lower_code(S2TG.of(word));
        let Some(granule) = granule.filter(|granule| unit.has_granule(*granule)) else {
            return Some(SteRule::S2Tg);
        };
        let output = AddressSize::capped(S2PS.of(word), unit.output());
        #[expect(clippy::cast_possible_truncation, reason = "a field of six bits")]
        let t0sz = S2T0SZ.of(word) as u8;
        let narrowest = 39;
        let widest = 64 - unit.output().bits();
        let stalls = self.stage2_stalls();
        let marks = match unit.updates() {
            HardwareUpdate::None => S2HA.mask() | S2HD.mask(),
            HardwareUpdate::Accessed => S2HD.mask(),
            HardwareUpdate::AccessedAndDirty => 0,
        };
        let checks = [
            (
                !S2AA64.is_set(word) || S2ENDI.is_set(word),
                SteRule::S2Format,
            ),
            (!(widest..=narrowest).contains(&t0sz), SteRule::S2T0sz),
            (
                !can_begin(granule, 64 - t0sz.min(63), output, S2SL0.of(word)),
                SteRule::S2Sl0,
            ),
            (!output.holds(self.0[3] & S2TTB), SteRule::S2Ttb),
            (
                stalls && !unit.can_stall() || !stalls && unit.must_stall(),
                SteRule::S2S,
            ),
            (word & marks != 0, SteRule::S2Update),
            (
                u32::from(self.vmid()) >> unit.vmid_bits() != 0,
                SteRule::S2Vmid,
            ),
        ];
        first_broken(&checks)
    }
}

/// Whether the walk of a second stage with this input width can begin where SL0 says: the architecture allows up to 16 tables at
/// the root.
fn can_begin(granule: Granule, input_bits: u8, output: AddressSize, sl0: u64) -> bool {
    fn of<const LOG2: u8>(input_bits: u8, output: AddressSize, sl0: u64) -> bool {
        let Some(format) = ArmS2::<LOG2>::new(AddressForm::Bits48, input_bits, output.bits())
        else {
            return false;
        };
        (1..=4)
            .filter_map(|levels| format.with_levels(levels))
            .chain([format])
            .any(|format| format.sl0().map(u64::from) == Some(sl0))
    }
    match granule {
        Granule::K4 => of::<12>(input_bits, output, sl0),
        Granule::K16 => of::<14>(input_bits, output, sl0),
        Granule::K64 => of::<16>(input_bits, output, sl0),
    }
}

fn first_broken<R: Copy>(checks: &[(bool, R)]) -> Option<R> {
    let broken = checks.iter().find(|(is_broken, _)| *is_broken);
    broken.map(|(_, rule)| *rule)
}

#[cfg(test)]
mod tests;
