//! The Capability Register and the Extended Capability Register.

use crate::field::Field;

/// How wide the addresses of a second stage are (PASID entry AW).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AddressWidth {
    /// 39 bits, three levels.
    Bits39,
    /// 48 bits, four levels.
    Bits48,
    /// 57 bits, five levels.
    Bits57,
}

impl AddressWidth {
    /// Bits of an address.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Bits39 => 39,
            Self::Bits48 => 48,
            Self::Bits57 => 57,
        }
    }

    /// As the PASID entry's AW field has it.
    pub const fn code(self) -> u64 {
        match self {
            Self::Bits39 => 1,
            Self::Bits48 => 2,
            Self::Bits57 => 3,
        }
    }

    /// From the PASID entry's AW field.
    pub const fn from_code(code: u64) -> Option<Self> {
        match code {
            1 => Some(Self::Bits39),
            2 => Some(Self::Bits48),
            3 => Some(Self::Bits57),
            _ => None,
        }
    }

    /// From a number of bits.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        match bits {
            39 => Some(Self::Bits39),
            48 => Some(Self::Bits48),
            57 => Some(Self::Bits57),
            _ => None,
        }
    }
}

/// The Capability Register (11.4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Capability(pub u64);

impl Capability {
    /// Number of Domains: 2^(2 ND + 4).
    const ND: Field = Field::new("ND", 0, 3);
    /// Supported Adjusted Guest Address Widths: bit 1 for 39, 2 for 48, 3 for 57 bits.
    const SAGAW: Field = Field::new("SAGAW", 8, 5);
    /// Maximum Guest Address Width: the width less 1.
    const MGAW: Field = Field::new("MGAW", 16, 6);
    /// Zero Length Read.
    const ZLR: Field = Field::bit("ZLR", 22);
    /// Fault-recording Register Offset, in units of 16 bytes.
    const FRO: Field = Field::new("FRO", 24, 10);
    /// Second Stage Large Page Support: 2 MiB and 1 GiB.
    const SSLPS: Field = Field::new("SSLPS", 34, 4);
    /// Page Selective Invalidation.
    const PSI: Field = Field::bit("PSI", 39);
    /// Maximum Address Mask Value.
    const MAMV: Field = Field::new("MAMV", 48, 6);
    /// Write Draining.
    const DWD: Field = Field::bit("DWD", 54);
    /// Read Draining.
    const DRD: Field = Field::bit("DRD", 55);
    /// First Stage 1-GiB Page Support.
    const FS1GP: Field = Field::bit("FS1GP", 56);
    /// First Stage 5-level Paging Support.
    const FS5LP: Field = Field::bit("FS5LP", 60);
    /// Enhanced Set Interrupt Remap Table Pointer Support.
    const ESIRTPS: Field = Field::bit("ESIRTPS", 62);
    /// Enhanced Set Root Table Pointer Support.
    const ESRTPS: Field = Field::bit("ESRTPS", 63);

    /// All that the model sets.
    const FIELDS: [Field; 14] = [
        Self::ND,
        Self::SAGAW,
        Self::MGAW,
        Self::ZLR,
        Self::FRO,
        Self::SSLPS,
        Self::PSI,
        Self::MAMV,
        Self::DWD,
        Self::DRD,
        Self::FS1GP,
        Self::FS5LP,
        Self::ESIRTPS,
        Self::ESRTPS,
    ];

    /// That of a unit whose widest second stage is this wide. First stages of five levels come with the widest.
    pub const fn new(width: AddressWidth) -> Self {
        let (sagaw, five_level) = match width {
            AddressWidth::Bits39 => (0b0010, 0),
            AddressWidth::Bits48 => (0b0110, 0),
            AddressWidth::Bits57 => (0b1110, 1),
        };
        Self(
            Self::ND.is(6)
                | Self::SAGAW.is(sagaw)
                | Self::MGAW.is(width.bits() as u64 - 1)
                | Self::ZLR.is(1)
                | Self::FRO.is(0x22)
                | Self::SSLPS.is(3)
                | Self::PSI.is(1)
                | Self::MAMV.is(18)
                | Self::DWD.is(1)
                | Self::DRD.is(1)
                | Self::FS1GP.is(1)
                | Self::FS5LP.is(five_level)
                | Self::ESIRTPS.is(1)
                | Self::ESRTPS.is(1),
        )
    }

    /// Whether first stages can have five levels.
    pub const fn five_level_first_stage(self) -> bool {
        Self::FS5LP.of(self.0) != 0
    }

    /// The fields by name.
    pub fn fields(self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::FIELDS
            .into_iter()
            .map(move |field| (field.name, field.of(self.0)))
    }
}

/// The Extended Capability Register (11.4.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ExtendedCapability(pub u64);

impl ExtendedCapability {
    /// Supervisor Requests.
    const SRS: Field = Field::bit("SRS", 31);
    /// Extended Accessed Flag.
    const EAFS: Field = Field::bit("EAFS", 34);

    /// All that the model sets, and to what.
    const FIELDS: [(Field, u64); 18] = [
        // Page-walk Coherency, Queued Invalidation, Device-TLBs, Pass Through, Snoop Control.
        (Field::bit("C", 0), 1),
        (Field::bit("QI", 1), 1),
        (Field::bit("DT", 2), 1),
        (Field::bit("PT", 6), 1),
        (Field::bit("SC", 7), 1),
        // IOTLB Register Offset, in units of 16 bytes.
        (Field::new("IRO", 8, 10), 0xf),
        // Nested translation, Page Request Support.
        (Field::bit("NEST", 26), 1),
        (Field::bit("PRS", 29), 1),
        (Self::SRS, 1),
        (Self::EAFS, 1),
        // PASID Size Supported: the bits less 1.
        (Field::new("PSS", 35, 5), 19),
        // Process Address Space ID Support, Page-request Drain Support.
        (Field::bit("PASID", 40), 1),
        (Field::bit("PDS", 42), 1),
        // Scalable Mode Translation Support; Second Stage Accessed/Dirty, Second Stage and First Stage Translation Support.
        (Field::bit("SMTS", 43), 1),
        (Field::bit("SSADS", 45), 1),
        (Field::bit("SSTS", 46), 1),
        (Field::bit("FSTS", 47), 1),
        // Scalable-Mode Page-walk Coherency.
        (Field::bit("SMPWC", 48), 1),
    ];

    /// That of every unit of this model.
    pub const MODEL: Self = {
        let (mut register, mut n) = (0, 0);
        while n < Self::FIELDS.len() {
            let (field, value) = Self::FIELDS[n];
            register |= field.is(value);
            n += 1;
        }
        Self(register)
    };

    /// Whether supervisor requests can be allowed.
    pub const fn supervisor_requests(self) -> bool {
        Self::SRS.of(self.0) != 0
    }

    /// Whether walks can keep the extended accessed flag.
    pub const fn extended_accessed_flag(self) -> bool {
        Self::EAFS.of(self.0) != 0
    }

    /// The fields by name.
    pub fn fields(self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::FIELDS
            .into_iter()
            .map(move |(field, _)| (field.name, field.of(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The table of docs/models/vtd.md names every field that is not zero, and no other.
    #[test]
    fn the_documented_features_are_those_of_the_registers() {
        let text = include_str!("../../../../../docs/models/vtd.md");
        let documented: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.split('|').nth(3))
            .flat_map(|column| column.split(','))
            .map(|field| field.trim().to_owned())
            .filter(|field| field.starts_with("CAP.") || field.starts_with("ECAP."))
            .collect();
        let (cap, ecap) = (
            Capability::new(AddressWidth::Bits57),
            ExtendedCapability::MODEL,
        );
        let named = |register: &str, (name, _): (&str, u64)| format!("{register}.{name}");
        let set = |(_, value): &(&str, u64)| *value != 0;
        let reported: BTreeSet<String> = (cap.fields().filter(set).map(|f| named("CAP", f)))
            .chain(ecap.fields().filter(set).map(|f| named("ECAP", f)))
            .collect();
        assert_eq!(documented, reported);
        // And the fields are all that there is.
        let known: u64 = Capability::FIELDS.map(Field::mask).iter().sum();
        let extended: u64 = ExtendedCapability::FIELDS
            .map(|(field, _)| field.mask())
            .iter()
            .sum();
        assert_eq!((cap.0 & !known, ecap.0 & !extended), (0, 0));
    }

    /// hw-formats.md F.1.
    #[test]
    fn the_registers_are_those_that_guests_expect() {
        assert_eq!(
            Capability::new(AddressWidth::Bits57).0,
            0xd1d2_008c_2278_0e06
        );
        assert_eq!(
            Capability::new(AddressWidth::Bits48).0,
            0xc1d2_008c_226f_0606
        );
        assert_eq!(ExtendedCapability::MODEL.0, 0x0001_ed9c_a400_0fc7);
    }
}
