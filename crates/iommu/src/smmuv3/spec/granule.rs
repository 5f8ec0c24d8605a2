//! Granules and address sizes, by the codes that fields have for them.

/// The size of the smallest page of a table, and of its tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Granule {
    /// 4 KiB.
    K4,
    /// 16 KiB.
    K16,
    /// 64 KiB.
    K64,
}

impl Granule {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::K4, Self::K16, Self::K64];

    /// Its size as a power of two.
    pub const fn log2(self) -> u8 {
        match self {
            Self::K4 => 12,
            Self::K16 => 14,
            Self::K64 => 16,
        }
    }

    /// From CD.TG0 or STE.S2TG.
    pub const fn from_lower_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::K4),
            1 => Some(Self::K64),
            2 => Some(Self::K16),
            _ => None,
        }
    }

    /// From CD.TG1, which has other codes.
    pub const fn from_upper_code(code: u64) -> Option<Self> {
        match code {
            1 => Some(Self::K16),
            2 => Some(Self::K4),
            3 => Some(Self::K64),
            _ => None,
        }
    }

    /// As commands have it (TG of `CMD_TLBI_NH_VA`), which have 0 for "not said".
    pub const fn command_code(self) -> u8 {
        match self {
            Self::K4 => 1,
            Self::K16 => 2,
            Self::K64 => 3,
        }
    }

    /// From the TG of a command; `None` when it does not say.
    pub const fn from_command_code(code: u64) -> Option<Self> {
        match code {
            1 => Some(Self::K4),
            2 => Some(Self::K16),
            3 => Some(Self::K64),
            _ => None,
        }
    }

    /// What an entry at a level of the manual's, 3 being the lowest, covers is 2^n bytes.
    pub const fn entry_log2(self, level: u8) -> u8 {
        self.log2() + (self.log2() - 3) * (3 - level)
    }
}

/// How wide output addresses are (`IDR5.OAS`, CD.IPS, STE.S2PS).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AddressSize {
    /// 32 bits.
    Bits32,
    /// 36 bits.
    Bits36,
    /// 40 bits.
    Bits40,
    /// 42 bits.
    Bits42,
    /// 44 bits.
    Bits44,
    /// 48 bits.
    Bits48,
}

impl AddressSize {
    /// Those that are modelled, by their code. 52 bits have code 6.
    pub const ALL: [Self; 6] = [
        Self::Bits32,
        Self::Bits36,
        Self::Bits40,
        Self::Bits42,
        Self::Bits44,
        Self::Bits48,
    ];

    /// Bits of an address.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Bits32 => 32,
            Self::Bits36 => 36,
            Self::Bits40 => 40,
            Self::Bits42 => 42,
            Self::Bits44 => 44,
            Self::Bits48 => 48,
        }
    }

    /// As fields have it.
    pub const fn code(self) -> u64 {
        self as u64
    }

    /// What a field means where addresses have at most `most`: larger sizes and reserved codes are that.
    pub fn capped(code: u64, most: Self) -> Self {
        let known = Self::ALL.into_iter().find(|size| size.code() == code);
        known.unwrap_or(most).min(most)
    }

    /// From a number of bits.
    pub fn from_bits(bits: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|size| u32::from(size.bits()) == bits)
    }

    /// Whether an address has no bit above.
    pub const fn holds(self, address: u64) -> bool {
        address >> self.bits() == 0
    }
}
