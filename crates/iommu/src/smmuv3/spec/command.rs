//! Commands of the command queue (4), as a guest may issue them (`IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3`).

use swiommu_addr::{Iova, IovaRange};

use super::{Granule, IdRegisters};
use crate::field::Field;

/// A guest's command.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Command {
    /// `CMD_TLBI_NH_ALL`, and `CMD_TLBI_NSNH_ALL`, which is no more for a guest: all of stage 1.
    TlbiAll,
    /// `CMD_TLBI_NH_ASID`: what is not global of an ASID.
    TlbiAsid {
        /// Which.
        asid: u16,
    },
    /// `CMD_TLBI_NH_VA`, and `CMD_TLBI_NH_VAA` for all ASIDs: addresses, also global ones.
    TlbiVa {
        /// Which ASID; `None` for all.
        asid: Option<u16>,
        /// Which addresses.
        cover: Cover,
    },
    /// `CMD_CFGI_CD`: a context descriptor.
    CfgiCd {
        /// The `StreamID`.
        stream: u32,
        /// The `SubstreamID`.
        substream: u32,
        /// Whether the table above stays.
        leaf: bool,
    },
    /// `CMD_CFGI_CD_ALL`: all context descriptors of a stream.
    CfgiCdAll {
        /// The `StreamID`.
        stream: u32,
    },
    /// `CMD_ATC_INV`: what the device has cached itself.
    AtcInv {
        /// The `StreamID`.
        stream: u32,
        /// Of which substreams.
        substreams: Substreams,
        /// Which addresses.
        range: IovaRange,
    },
}

/// What `CMD_ATC_INV` concerns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Substreams {
    /// Requests without a `SubstreamID`.
    None,
    /// One `SubstreamID`.
    One(u32),
    /// All requests with a `SubstreamID`.
    All,
}

/// The addresses that a `CMD_TLBI_NH_VA` covers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cover {
    /// Which.
    pub range: IovaRange,
    /// Only entries of tables of this granule, where the command says.
    pub granule: Option<Granule>,
    /// Only leaves of this level of the manual's, 3 being the lowest, where the command says.
    pub level: Option<u8>,
    /// Whether only leaves are concerned, and no tables above.
    pub leaf: bool,
}

/// Why a guest's command is refused (`EIO`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// Guests have no such command.
    #[error("command {0:#04x} is not for guests")]
    Opcode(u64),
    /// It has bits that it must not have.
    #[error("word {word} has {bits:#x}, which the command must not have")]
    Bits {
        /// The word.
        word: usize,
        /// Those bits.
        bits: u64,
    },
    /// A range that the architecture does not have.
    #[error("the range is reserved: TG {tg}, NUM {num}, SCALE {scale}, TTL {ttl}")]
    Range {
        /// Its granule.
        tg: u64,
        /// How many.
        num: u64,
        /// How many bits that is shifted.
        scale: u64,
        /// The level.
        ttl: u64,
    },
    /// There is no ATS.
    #[error("the unit has no ATS")]
    NoAts,
    /// More than everything.
    #[error("Size is {0}")]
    Size(u64),
    /// All substreams, and at the same time requests without one.
    #[error("Global without SSV")]
    Global,
}

const TLBI_NH_ALL: u64 = 0x10;
const TLBI_NH_ASID: u64 = 0x11;
const TLBI_NH_VA: u64 = 0x12;
const TLBI_NH_VAA: u64 = 0x13;
const TLBI_NSNH_ALL: u64 = 0x30;
const CFGI_CD: u64 = 0x05;
const CFGI_CD_ALL: u64 = 0x06;
const ATC_INV: u64 = 0x40;

/// Word 0.
const OPCODE: Field = Field::new("Opcode", 0, 8);
const GLOBAL: Field = Field::bit("Global", 9);
const SSV: Field = Field::bit("SSV", 11);
const NUM: Field = Field::new("NUM", 12, 5);
const SUBSTREAM: Field = Field::new("SubstreamID", 12, 20);
/// The sixth bit is for tables of 52-bit addresses.
const SCALE: Field = Field::new("SCALE", 20, 5);
const VMID: Field = Field::new("VMID", 32, 16);
const STREAM: Field = Field::new("StreamID", 32, 32);
const ASID: Field = Field::new("ASID", 48, 16);
/// Word 1.
const LEAF: Field = Field::bit("Leaf", 0);
const SIZE: Field = Field::new("Size", 0, 6);
const TTL: Field = Field::new("TTL", 8, 2);
const TG: Field = Field::new("TG", 10, 2);
const ADDRESS: u64 = !0xfff;
const PAGE_LOG2: u32 = 12;
/// A Size that is the whole address space.
const EVERYTHING: u64 = 52;

impl Command {
    /// What a guest's command says. The VMID in it is the guest's own, and of no account.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn of_guest(words: [u64; 2], unit: &IdRegisters) -> Result<Self, CommandError> {
        let opcode = OPCODE.of(words[0]);
        let allowed = allowed(opcode, unit)?;
        for word in 0..2 {
            let bits = words[word] & !allowed[word];
            if bits != 0 {
                return Err(CommandError::Bits { word, bits });
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "a field of 16 bits")]
        let asid = ASID.of(words[0]) as u16;
        #[expect(clippy::cast_possible_truncation, reason = "fields of 32 and 20 bits")]
        let (stream, substream) = (STREAM.of(words[0]) as u32, SUBSTREAM.of(words[0]) as u32);
        Ok(match opcode {
            TLBI_NH_ASID => Self::TlbiAsid { asid },
            TLBI_NH_VA | TLBI_NH_VAA => Self::TlbiVa {
                asid: (opcode == TLBI_NH_VA).then_some(asid),
                cover: Cover::of(words, unit)?,
            },
            CFGI_CD => Self::CfgiCd {
                stream,
                substream,
                leaf: LEAF.is_set(words[1]),
            },
            CFGI_CD_ALL => Self::CfgiCdAll { stream },
            ATC_INV => Self::AtcInv {
                stream,
                substreams: match (SSV.is_set(words[0]), GLOBAL.is_set(words[0])) {
                    (false, true) => return Err(CommandError::Global),
                    (false, false) => Substreams::None,
                    (true, false) => Substreams::One(substream),
                    (true, true) => Substreams::All,
                },
                range: atc_range(words[1])?,
            },
            // What is allowed at all.
            _ => Self::TlbiAll,
        })
    }
}

/// The bits that a command may have.
fn allowed(opcode: u64, unit: &IdRegisters) -> Result<[u64; 2], CommandError> {
    let asid = ASID.is((1 << unit.asid_bits()) - 1);
    let has_substreams = unit.ssid_bits() != 0;
    let substream = if has_substreams { SUBSTREAM.mask() } else { 0 };
    let address = ADDRESS | LEAF.mask();
    let (range0, range1) = if unit.range_invalidation() {
        (NUM.mask() | SCALE.mask(), TTL.mask() | TG.mask())
    } else {
        (0, 0)
    };
    let [word0, word1] = match opcode {
        TLBI_NSNH_ALL => [0, 0],
        TLBI_NH_ALL => [VMID.mask(), 0],
        TLBI_NH_ASID => [VMID.mask() | asid, 0],
        TLBI_NH_VA => [VMID.mask() | asid | range0, address | range1],
        TLBI_NH_VAA => [VMID.mask() | range0, address | range1],
        CFGI_CD => [STREAM.mask() | substream, LEAF.mask()],
        CFGI_CD_ALL => [STREAM.mask(), 0],
        ATC_INV if !unit.ats() => return Err(CommandError::NoAts),
        ATC_INV => {
            let flags = if has_substreams {
                SSV.mask() | GLOBAL.mask()
            } else {
                0
            };
            [STREAM.mask() | substream | flags, SIZE.mask() | ADDRESS]
        }
        other => return Err(CommandError::Opcode(other)),
    };
    Ok([word0 | OPCODE.mask(), word1])
}

impl Cover {
    fn of(words: [u64; 2], unit: &IdRegisters) -> Result<Self, CommandError> {
        let leaf = LEAF.is_set(words[1]);
        let start = words[1] & ADDRESS;
        let whole = |start, len_less_1| range(start, len_less_1);
        if !unit.range_invalidation() {
            return Ok(Self {
                range: whole(start, 0),
                granule: None,
                level: None,
                leaf,
            });
        }
        let (tg, ttl) = (TG.of(words[1]), TTL.of(words[1]));
        let (num, scale) = (NUM.of(words[0]), SCALE.of(words[0]));
        let reserved = CommandError::Range {
            tg,
            num,
            scale,
            ttl,
        };
        let Some(granule) = Granule::from_command_code(tg) else {
            if num != 0 || scale != 0 || ttl != 0 {
                return Err(reserved);
            }
            return Ok(Self {
                range: whole(start, 0),
                granule: None,
                level: None,
                leaf,
            });
        };
        // Leaves of 64 GiB take 52-bit addresses.
        let no_such_leaf = granule == Granule::K16 && ttl == 1;
        if no_such_leaf || num == 0 && scale == 0 && ttl == 0 {
            return Err(reserved);
        }
        let page = 1_u64 << granule.log2();
        let len = ((num + 1) << scale) << granule.log2();
        #[expect(clippy::cast_possible_truncation, reason = "a field of two bits")]
        let level = (ttl != 0).then_some(ttl as u8);
        Ok(Self {
            range: whole(start & !(page - 1), len - 1),
            granule: Some(granule),
            level,
            leaf,
        })
    }
}

fn atc_range(word: u64) -> Result<IovaRange, CommandError> {
    let size = SIZE.of(word);
    if size > EVERYTHING {
        return Err(CommandError::Size(size));
    }
    if size == EVERYTHING {
        return Ok(IovaRange::full());
    }
    let mask = (1 << PAGE_LOG2 << size) - 1;
    Ok(range(word & ADDRESS & !mask, mask))
}

/// So many bytes and one more, or as many as there are.
fn range(start: u64, len_less_1: u64) -> IovaRange {
    let last = start.saturating_add(len_less_1);
    IovaRange::new(Iova::new(start), Iova::new(last)).unwrap_or(IovaRange::full())
}

#[cfg(test)]
mod tests;
