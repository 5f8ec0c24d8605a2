//! The Capability Register and the Extended Capability Register.

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
    /// Number of Domains, 2:0: 2^(2 ND + 4).
    const ND: u64 = 6;
    /// Supported Adjusted Guest Address Widths, 12:8: bit 9 for 39, 10 for 48, 11 for 57 bits.
    const SAGAW_SHIFT: u32 = 8;
    /// Maximum Guest Address Width, 21:16: the width less 1.
    const MGAW_SHIFT: u32 = 16;
    /// Zero Length Read, 22.
    const ZLR: u64 = 1 << 22;
    /// Fault-recording Register Offset, 33:24, in units of 16 bytes.
    const FRO_SHIFT: u32 = 24;
    const FRO: u64 = 0x22;
    /// Second Stage Large Page Support, 37:34: 2 MiB and 1 GiB.
    const SSLPS: u64 = 3 << 34;
    /// Page Selective Invalidation, 39.
    const PSI: u64 = 1 << 39;
    /// Maximum Address Mask Value, 53:48.
    const MAMV: u64 = 18 << 48;
    /// Write and Read Draining, 54 and 55.
    const DWD_DRD: u64 = 3 << 54;
    /// First Stage 1-GiB Page Support, 56.
    const FS1GP: u64 = 1 << 56;
    /// First Stage 5-level Paging Support, 60.
    const FS5LP: u64 = 1 << 60;
    /// Enhanced Set Root Table Pointer Support, and that of interrupts, 63 and 62.
    const ESRTPS_ESIRTPS: u64 = 3 << 62;

    /// That of a unit whose widest second stage is this wide. First stages of five levels come with the widest.
    pub const fn new(width: AddressWidth) -> Self {
        let sagaw: u64 = match width {
            AddressWidth::Bits39 => 0b0010,
            AddressWidth::Bits48 => 0b0110,
            AddressWidth::Bits57 => 0b1110,
        };
        let five_level = match width {
            AddressWidth::Bits57 => Self::FS5LP,
            _ => 0,
        };
        Self(
            Self::ND
                | sagaw << Self::SAGAW_SHIFT
                | (width.bits() as u64 - 1) << Self::MGAW_SHIFT
                | Self::ZLR
                | Self::FRO << Self::FRO_SHIFT
                | Self::SSLPS
                | Self::PSI
                | Self::MAMV
                | Self::DWD_DRD
                | Self::FS1GP
                | five_level
                | Self::ESRTPS_ESIRTPS,
        )
    }

    /// Whether first stages can have five levels.
    pub const fn five_level_first_stage(self) -> bool {
        self.0 & Self::FS5LP != 0
    }

    /// Whether first stages can have leaves of 1 GiB.
    pub const fn first_stage_1g(self) -> bool {
        self.0 & Self::FS1GP != 0
    }
}

/// The Extended Capability Register (11.4.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ExtendedCapability(pub u64);

impl ExtendedCapability {
    /// Page-walk Coherency.
    const C: u64 = 1 << 0;
    /// Queued Invalidation.
    const QI: u64 = 1 << 1;
    /// Device-TLBs.
    const DT: u64 = 1 << 2;
    /// Pass Through.
    const PT: u64 = 1 << 6;
    /// Snoop Control.
    const SC: u64 = 1 << 7;
    /// IOTLB Register Offset, 17:8, in units of 16 bytes.
    const IRO: u64 = 0xf << 8;
    /// Nested translation.
    const NEST: u64 = 1 << 26;
    /// Page Request Support.
    const PRS: u64 = 1 << 29;
    /// Supervisor Requests.
    const SRS: u64 = 1 << 31;
    /// Extended Accessed Flag.
    const EAFS: u64 = 1 << 34;
    /// PASID Size Supported, 39:35: the bits less 1.
    const PSS: u64 = 19 << 35;
    /// Process Address Space ID Support.
    const PASID: u64 = 1 << 40;
    /// Page-request Drain Support.
    const PDS: u64 = 1 << 42;
    /// Scalable Mode Translation Support.
    const SMTS: u64 = 1 << 43;
    /// Second Stage Accessed/Dirty Support.
    const SSADS: u64 = 1 << 45;
    /// Second Stage Translation Support.
    const SSTS: u64 = 1 << 46;
    /// First Stage Translation Support.
    const FSTS: u64 = 1 << 47;
    /// Scalable-Mode Page-walk Coherency.
    const SMPWC: u64 = 1 << 48;

    /// That of every unit of this model.
    pub const MODEL: Self = Self(
        Self::C
            | Self::QI
            | Self::DT
            | Self::PT
            | Self::SC
            | Self::IRO
            | Self::NEST
            | Self::PRS
            | Self::SRS
            | Self::EAFS
            | Self::PSS
            | Self::PASID
            | Self::PDS
            | Self::SMTS
            | Self::SSADS
            | Self::SSTS
            | Self::FSTS
            | Self::SMPWC,
    );

    /// Whether supervisor requests can be allowed.
    pub const fn supervisor_requests(self) -> bool {
        self.0 & Self::SRS != 0
    }

    /// Whether walks can keep the extended accessed flag.
    pub const fn extended_accessed_flag(self) -> bool {
        self.0 & Self::EAFS != 0
    }
}

/// A field of a register: its name, its lowest bit, its width in bits.
type Field = (&'static str, u32, u32);

/// The fields of the Capability Register that the model sets.
const CAP: [Field; 14] = [
    ("ND", 0, 3),
    ("SAGAW", 8, 5),
    ("MGAW", 16, 6),
    ("ZLR", 22, 1),
    ("FRO", 24, 10),
    ("SSLPS", 34, 4),
    ("PSI", 39, 1),
    ("MAMV", 48, 6),
    ("DWD", 54, 1),
    ("DRD", 55, 1),
    ("FS1GP", 56, 1),
    ("FS5LP", 60, 1),
    ("ESIRTPS", 62, 1),
    ("ESRTPS", 63, 1),
];

/// The fields of the Extended Capability Register that the model sets.
const ECAP: [Field; 18] = [
    ("C", 0, 1),
    ("QI", 1, 1),
    ("DT", 2, 1),
    ("PT", 6, 1),
    ("SC", 7, 1),
    ("IRO", 8, 10),
    ("NEST", 26, 1),
    ("PRS", 29, 1),
    ("SRS", 31, 1),
    ("EAFS", 34, 1),
    ("PSS", 35, 5),
    ("PASID", 40, 1),
    ("PDS", 42, 1),
    ("SMTS", 43, 1),
    ("SSADS", 45, 1),
    ("SSTS", 46, 1),
    ("FSTS", 47, 1),
    ("SMPWC", 48, 1),
];

fn fields(register: u64, fields: &'static [Field]) -> impl Iterator<Item = (&'static str, u64)> {
    fields
        .iter()
        .map(move |(name, low, width)| (*name, register >> low & ((1 << width) - 1)))
}

impl Capability {
    /// The fields by name.
    pub fn fields(self) -> impl Iterator<Item = (&'static str, u64)> {
        fields(self.0, &CAP)
    }
}

impl ExtendedCapability {
    /// The fields by name.
    pub fn fields(self) -> impl Iterator<Item = (&'static str, u64)> {
        fields(self.0, &ECAP)
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
        let rebuilt = |fields: &[Field], register: u64| {
            let mask: u64 = fields
                .iter()
                .map(|(_, low, width)| ((1 << width) - 1) << low)
                .sum();
            register & !mask
        };
        assert_eq!((rebuilt(&CAP, cap.0), rebuilt(&ECAP, ecap.0)), (0, 0));
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
