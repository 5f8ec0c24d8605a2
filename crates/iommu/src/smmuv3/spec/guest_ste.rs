//! What a guest may say in a stream table entry of its own (`IOMMU_HWPT_DATA_ARM_SMMUV3`).

use crate::field::Field;

/// What the guest wants done to requests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GuestConfig {
    /// They are aborted. An entry whose V is 0 is such a one too.
    Abort,
    /// They bypass stage 1.
    Bypass,
    /// They go through the guest's stage 1.
    Stage1,
}

/// Words 0 and 1 of a guest's entry, as far as the host lets it choose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GuestSte {
    words: [u64; 2],
    config: GuestConfig,
}

/// What a guest may not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GuestSteError {
    /// Bits that are the host's, or reserved.
    #[error("word {word} has {bits:#x}, which a guest has no say in")]
    Bits {
        /// The word.
        word: usize,
        /// Those bits.
        bits: u64,
    },
    /// Config has a second stage, or is reserved.
    #[error("Config is {0:#b}, where a guest has abort, bypass and stage 1")]
    Config(u64),
    /// ATS of a kind that guests do not have.
    #[error("EATS is {0:#b}, where a guest has none and full ATS")]
    Eats(u64),
}

const V: u64 = 1;
const CONFIG: Field = Field::new("Config", 1, 3);
const EATS: Field = Field::new("EATS", 28, 2);
/// V, Config, `S1Fmt`, `S1ContextPtr` up to bit 51, `S1CDMax`; S1DSS, S1CIR, S1COR, S1CSH, S1STALLD, EATS.
const ALLOWED: [u64; 2] = [0xf80f_ffff_ffff_ffff, 0x3800_00ff];

impl GuestSte {
    /// Takes what a guest says, by the rules of Linux' driver and in their order. Of an entry whose V is 0, nothing else counts.
    ///
    /// # Errors
    /// The rule that it breaks; `EIO` to the client.
    pub fn new(words: [u64; 2]) -> Result<Self, GuestSteError> {
        if words[0] & V == 0 {
            return Ok(Self {
                words: [0; 2],
                config: GuestConfig::Abort,
            });
        }
        for word in 0..2 {
            let bits = words[word] & !ALLOWED[word];
            if bits != 0 {
                return Err(GuestSteError::Bits { word, bits });
            }
        }
        let config = match CONFIG.of(words[0]) {
            0b000 => GuestConfig::Abort,
            0b100 => GuestConfig::Bypass,
            0b101 => GuestConfig::Stage1,
            other => return Err(GuestSteError::Config(other)),
        };
        match EATS.of(words[1]) {
            0 | 1 => Ok(Self { words, config }),
            other => Err(GuestSteError::Eats(other)),
        }
    }

    /// The words.
    pub fn words(&self) -> [u64; 2] {
        self.words
    }

    /// What is wanted.
    pub fn config(&self) -> GuestConfig {
        self.config
    }

    /// Whether the guest lets the device have translations of its own. It then invalidates them too.
    pub fn ats(&self) -> bool {
        self.config == GuestConfig::Stage1 && EATS.of(self.words[1]) == 1
    }
}
