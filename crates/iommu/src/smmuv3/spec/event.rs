//! Event records (7.3): what went wrong with a transaction, as the event queue tells it.

use swiommu_addr::{Gpa, Iova};
use swiommu_pgtable::Access;

use crate::field::Field;

/// What went wrong, by the number that records have for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, thiserror::Error)]
#[repr(u8)]
pub enum EventId {
    /// The stream table entry breaks a rule.
    #[error("C_BAD_STE (0x04)")]
    BadSte = 0x04,
    /// Requests without a `SubstreamID`, or with 0, are not for this stream.
    #[error("F_STREAM_DISABLED (0x06)")]
    StreamDisabled = 0x06,
    /// There is no context descriptor for the `SubstreamID`.
    #[error("C_BAD_SUBSTREAMID (0x08)")]
    BadSubstreamId = 0x08,
    /// There is no memory where the context descriptor should be.
    #[error("F_CD_FETCH (0x09)")]
    CdFetch = 0x09,
    /// The context descriptor breaks a rule.
    #[error("C_BAD_CD (0x0a)")]
    BadCd = 0x0a,
    /// There is no memory where a table should be.
    #[error("F_WALK_EABT (0x0b)")]
    WalkExternalAbort = 0x0b,
    /// A table entry is not valid, or the address is not in range.
    #[error("F_TRANSLATION (0x10)")]
    Translation = 0x10,
    /// A table entry has an address that is too wide.
    #[error("F_ADDR_SIZE (0x11)")]
    AddressSize = 0x11,
    /// A leaf is not marked as accessed.
    #[error("F_ACCESS (0x12)")]
    Access = 0x12,
    /// A leaf does not permit it.
    #[error("F_PERMISSION (0x13)")]
    Permission = 0x13,
}

impl EventId {
    /// The number in a record.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether it is a fault of a walk, which can stall, and which is recorded only if the CD or the STE says so.
    pub const fn is_translation_fault(self) -> bool {
        matches!(
            self,
            Self::Translation | Self::AddressSize | Self::Access | Self::Permission
        )
    }

    /// Whether Linux hands such a record on to the guest.
    pub const fn is_for_guests(self) -> bool {
        !matches!(self, Self::CdFetch | Self::WalkExternalAbort)
    }
}

/// What was being accessed when a walk faulted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// A context descriptor.
    Cd,
    /// A table of stage 1, to read it or to mark an entry.
    Table {
        /// What was done to it.
        access: Access,
    },
    /// What the transaction was for.
    Input,
}

/// Which stage faulted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultStage {
    /// Stage 1.
    One,
    /// Stage 2.
    Two {
        /// The address that it was to translate.
        ipa: Gpa,
    },
}

/// Who asked for what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Transaction {
    /// The `StreamID`.
    pub stream: u32,
    /// The `SubstreamID`, if it had one.
    pub substream: Option<u32>,
    /// The address.
    pub address: Iova,
    /// The access, one kind of it.
    pub access: Access,
}

/// An event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Event {
    /// What went wrong.
    pub id: EventId,
    /// With what.
    pub transaction: Transaction,
    /// In which stage.
    pub stage: FaultStage,
    /// While accessing what.
    pub class: Class,
    /// The tag of the stalled transaction, if it is stalled.
    pub stall: Option<u16>,
}

/// Word 0.
const ID: Field = Field::new("Event number", 0, 8);
const SSV: Field = Field::bit("SSV", 11);
const SUBSTREAM: Field = Field::new("SubstreamID", 12, 20);
const STREAM: Field = Field::new("StreamID", 32, 32);
/// Word 1.
const STAG: Field = Field::new("STAG", 0, 16);
const STALL: Field = Field::bit("Stall", 31);
const PNU: Field = Field::bit("PnU", 33);
const IND: Field = Field::bit("InD", 34);
const RNW: Field = Field::bit("RnW", 35);
const S2: Field = Field::bit("S2", 39);
const CLASS: Field = Field::new("CLASS", 40, 2);
const TTRNW: Field = Field::bit("TTRnW", 44);
/// Word 3.
const IPA: u64 = 0x00ff_ffff_ffff_f000;

impl Event {
    /// The record. Of the records that stay with the host, it has no fetch address.
    pub fn words(&self) -> [u64; 4] {
        let Transaction {
            stream,
            substream,
            address,
            access,
        } = self.transaction;
        // Here alone, the number is there without saying so.
        let has_flag = substream.is_some() && self.id != EventId::BadSubstreamId;
        let mut words = [
            ID.is(self.id.code().into())
                | SSV.is(has_flag.into())
                | SUBSTREAM.is(substream.unwrap_or(0).into())
                | STREAM.is(stream.into()),
            0,
            0,
            0,
        ];
        if !self.id.is_translation_fault() {
            return words;
        }
        let writes = access.writes();
        let (class, table_read) = match self.class {
            Class::Cd => (0, false),
            Class::Table { access } => (1, !access.writes()),
            Class::Input => (2, false),
        };
        words[1] = PNU.is(access.intersects(Access::PRIVILEGED).into())
            | IND.is((access.intersects(Access::EXECUTE) && !writes).into())
            | RNW.is((!writes).into())
            | CLASS.is(class);
        if let Some(tag) = self.stall {
            words[1] |= STALL.is(1) | STAG.is(tag.into());
        }
        if self.id == EventId::Permission {
            words[1] |= TTRNW.is(table_read.into());
        }
        words[2] = address.get();
        if let FaultStage::Two { ipa } = self.stage {
            words[1] |= S2.is(1);
            words[3] = ipa.get() & IPA;
        }
        words
    }
}

#[cfg(test)]
mod tests;
