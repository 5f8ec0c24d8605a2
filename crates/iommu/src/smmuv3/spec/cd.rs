//! The context descriptor (5.4): where and how first stages are walked.

use swiommu_addr::Pa;
use swiommu_pgtable::HardwareUpdate;

use super::{AddressSize, Context, Granule, Half, IdRegisters, TopBytes};
use crate::field::Field;

/// A context descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Cd(pub [u64; 8]);

/// Word 0.
const T0SZ: Field = Field::new("T0SZ", 0, 6);
const TG0: Field = Field::new("TG0", 6, 2);
const IR0: Field = Field::new("IR0", 8, 2);
const OR0: Field = Field::new("OR0", 10, 2);
const SH0: Field = Field::new("SH0", 12, 2);
const EPD0: Field = Field::bit("EPD0", 14);
const ENDI: Field = Field::bit("ENDI", 15);
const T1SZ: Field = Field::new("T1SZ", 16, 6);
const TG1: Field = Field::new("TG1", 22, 2);
const EPD1: Field = Field::bit("EPD1", 30);
const V: Field = Field::bit("V", 31);
const IPS: Field = Field::new("IPS", 32, 3);
const AFFD: Field = Field::bit("AFFD", 35);
const WXN: Field = Field::bit("WXN", 36);
const TBI0: Field = Field::bit("TBI0", 38);
const TBI1: Field = Field::bit("TBI1", 39);
const PAN: Field = Field::bit("PAN", 40);
const AA64: Field = Field::bit("AA64", 41);
const HD: Field = Field::bit("HD", 42);
const HA: Field = Field::bit("HA", 43);
const S: Field = Field::bit("S", 44);
const R: Field = Field::bit("R", 45);
const A: Field = Field::bit("A", 46);
const ASET: Field = Field::bit("ASET", 47);
const ASID: Field = Field::new("ASID", 48, 16);
/// Words 1 and 2.
const HAD: Field = Field::bit("HAD", 1);
const HAFT: Field = Field::bit("HAFT", 3);
const TTB: u64 = 0x00ff_ffff_ffff_fff0;

/// Write-back, read- and write-allocate; inner shareable.
const CACHEABLE: u64 = 1;
const INNER_SHAREABLE: u64 = 3;
/// MAIR as Linux programs it: Normal Non-cacheable, Normal Write-Back, Device-nGnRE, and what its constant's sign makes of the rest.
const MAIR: u64 = 0xffff_ffff_f404_ff44;

/// The narrowest inputs and the widest.
const TXSZ: std::ops::RangeInclusive<u64> = 16..=39;

/// A first stage of our own, as Linux describes one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stage1 {
    /// What tags cached translations.
    pub asid: u16,
    /// Bits of an input address.
    pub input_bits: u8,
    /// How wide output addresses are.
    pub output: AddressSize,
    /// The root.
    pub root: Pa,
    /// What walks mark.
    pub updates: HardwareUpdate,
    /// Whether the device is stalled by faults.
    pub stalls: bool,
}

/// A rule that a descriptor breaks: `C_BAD_CD`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum CdRule {
    /// V is 0.
    #[error("V is 0")]
    Invalid,
    /// Faults stall where they must not, or do not where there is nothing else.
    #[error("S is not possible with STALL_MODEL or S1STALLD")]
    Stall,
    /// A is 0, and terminating is aborting.
    #[error("A is 0, and TERM_MODEL is 1")]
    Terminate,
    /// The tables are those of 32-bit systems.
    #[error("AA64 is 0")]
    Aa64,
    /// The tables are big-endian.
    #[error("ENDI is set")]
    Endianness,
    /// Marks that walks cannot make.
    #[error("HA, HD or HAFT exceeds IDR0.HTTU")]
    Update,
    /// ASIDs are smaller.
    #[error("ASID is wider than ASIDs are")]
    Asid,
    /// An input width is out of range.
    #[error("T{0}SZ is out of range")]
    TxSz(u8),
    /// There is no such granule.
    #[error("TG{0} is not a granule of the unit")]
    Granule(u8),
    /// A root is at no address.
    #[error("TTB{0} is out of range")]
    Ttb(u8),
}

impl Cd {
    /// That of a first stage of our own.
    pub fn stage1(stage: &Stage1) -> Self {
        let (ha, hd) = match stage.updates {
            HardwareUpdate::None => (0, 0),
            HardwareUpdate::Accessed => (1, 0),
            HardwareUpdate::AccessedAndDirty => (1, 1),
        };
        let mut words = [0; 8];
        words[0] = T0SZ.is(64 - u64::from(stage.input_bits))
            | IR0.is(CACHEABLE)
            | OR0.is(CACHEABLE)
            | SH0.is(INNER_SHAREABLE)
            | EPD1.is(1)
            | V.is(1)
            | IPS.is(stage.output.code())
            | AA64.is(1)
            | HA.is(ha)
            | HD.is(hd)
            | S.is(stage.stalls.into())
            | R.is(1)
            | A.is(1)
            | ASET.is(1)
            | ASID.is(stage.asid.into());
        words[1] = stage.root.get() & TTB;
        words[3] = MAIR;
        Self(words)
    }

    /// What it says; `forbids_stalls` is `STE.S1STALLD`.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn context(&self, unit: &IdRegisters, forbids_stalls: bool) -> Result<Context, CdRule> {
        let word = self.0[0];
        if !V.is_set(word) {
            return Err(CdRule::Invalid);
        }
        let stalls = S.is_set(word);
        if stalls && (forbids_stalls || !unit.can_stall()) || !stalls && unit.must_stall() {
            return Err(CdRule::Stall);
        }
        if !A.is_set(word) && unit.always_aborts() {
            return Err(CdRule::Terminate);
        }
        if !AA64.is_set(word) {
            return Err(CdRule::Aa64);
        }
        let enabled = [!EPD0.is_set(word), !EPD1.is_set(word)];
        if ENDI.is_set(word) && enabled.contains(&true) {
            return Err(CdRule::Endianness);
        }
        let asid = ASID.of(word);
        if asid >> unit.asid_bits() != 0 {
            return Err(CdRule::Asid);
        }
        let mut context = Context {
            #[expect(clippy::cast_possible_truncation, reason = "a field of 16 bits")]
            asid: asid as u16,
            halves: [None; 2],
            top_bytes: TopBytes([TBI0.is_set(word), TBI1.is_set(word)]),
            output: AddressSize::capped(IPS.of(word), unit.output()),
            updates: self.updates(unit)?,
            access_flag_ignored: AFFD.is_set(word),
            write_execute_never: WXN.is_set(word),
            privileged_access_never: PAN.is_set(word),
            stalls,
            records: R.is_set(word),
        };
        for half in [0, 1] {
            if enabled[usize::from(half)] {
                context.halves[usize::from(half)] = Some(self.half(half, &context, unit)?);
            }
        }
        Ok(context)
    }

    fn updates(&self, unit: &IdRegisters) -> Result<HardwareUpdate, CdRule> {
        let word = self.0[0];
        let (accessed, dirty) = (HA.is_set(word), HD.is_set(word));
        let possible = match unit.updates() {
            HardwareUpdate::None => !accessed && !dirty,
            HardwareUpdate::Accessed => !dirty,
            HardwareUpdate::AccessedAndDirty => true,
        };
        if !possible || HAFT.is_set(self.0[1]) && !accessed {
            return Err(CdRule::Update);
        }
        Ok(match (accessed, dirty) {
            (true, true) => HardwareUpdate::AccessedAndDirty,
            (true, false) => HardwareUpdate::Accessed,
            // HD alone is reserved, and is nothing.
            (false, _) => HardwareUpdate::None,
        })
    }

    fn half(&self, half: u8, context: &Context, unit: &IdRegisters) -> Result<Half, CdRule> {
        let word = self.0[0];
        let (txsz, granule, table) = if half == 0 {
            let granule = Granule::from_lower_code(TG0.of(word));
            (T0SZ.of(word), granule, self.0[1])
        } else {
            let granule = Granule::from_upper_code(TG1.of(word));
            (T1SZ.of(word), granule, self.0[2])
        };
        if !TXSZ.contains(&txsz) {
            return Err(CdRule::TxSz(half));
        }
        #[expect(clippy::cast_possible_truncation, reason = "a field of six bits")]
        let input_bits = 64 - txsz as u8;
        let granule = granule.filter(|granule| unit.has_granule(*granule));
        let granule = granule.ok_or(CdRule::Granule(half))?;
        let root = table & TTB & !(root_len(granule, input_bits) - 1);
        if !context.output.holds(root) {
            return Err(CdRule::Ttb(half));
        }
        Ok(Half {
            root,
            input_bits,
            granule,
            hierarchy_ignored: unit.hierarchy_can_be_ignored() && HAD.is_set(table),
        })
    }
}

/// How many bytes a root has: what is left to its index. It is aligned to that.
fn root_len(granule: Granule, input_bits: u8) -> u64 {
    let index_bits = granule.log2() - 3;
    let below = (input_bits - granule.log2() - 1) / index_bits * index_bits;
    8 << (input_bits - granule.log2() - below)
}

#[cfg(test)]
mod tests;
