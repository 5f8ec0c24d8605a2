//! The scalable-mode PASID-table entry (9.6): how the requests of a source, or of one of its PASIDs, are translated.

use bitflags::bitflags;
use swiommu_addr::{Gpa, Pa};

use super::AddressWidth;

/// PASID Granular Translation Type, word 0 8:6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TranslationType {
    /// First stage only.
    FirstStage,
    /// Second stage only.
    SecondStage,
    /// First stage, whose tables are behind a second.
    Nested,
}

bitflags! {
    /// How a first stage is walked, as word 2 of the entry has it.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct FirstStageFlags: u64 {
        /// Supervisor requests are allowed.
        const SRE = 1 << 0;
        /// Five levels and 57-bit addresses instead of four and 48 (FSPM is 1).
        const FIVE_LEVEL = 1 << 2;
        /// Supervisor writes obey R/W.
        const WPE = 1 << 4;
        /// Walks set EA.
        const EAFE = 1 << 7;
    }
}

/// Where and how a first stage is walked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FirstStage {
    /// The root: a guest physical address in a nested entry, else a host physical one.
    pub root: u64,
    /// How.
    pub flags: FirstStageFlags,
}

/// Where and how a second stage is walked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SecondStage {
    /// The root.
    pub root: Pa,
    /// How wide its addresses are (AW).
    pub width: AddressWidth,
    /// Walks keep A and D (SSADE).
    pub accessed_dirty: bool,
}

/// A PASID-table entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PasidEntry(pub [u64; 8]);

/// Word 0.
const PRESENT: u64 = 1 << 0;
const AW_SHIFT: u32 = 2;
const AW: u64 = 7 << AW_SHIFT;
const PGTT_SHIFT: u32 = 6;
const PGTT: u64 = 7 << PGTT_SHIFT;
const PGTT_FIRST: u64 = 1;
const PGTT_SECOND: u64 = 2;
const PGTT_NESTED: u64 = 3;
const SSADE: u64 = 1 << 9;
/// Words 0 and 2.
const POINTER: u64 = !0xfff;
/// Word 1.
const DID: u64 = 0xffff;
const PAGE_WALK_SNOOP: u64 = 1 << 23;
const PAGE_SNOOP: u64 = 1 << 24;
/// Word 2: the bit of FSPM that makes its value reserved.
const FSPM_RESERVED: u64 = 1 << 3;

impl PasidEntry {
    /// An entry with a first stage of our own.
    pub fn first_stage(domain: u16, first: FirstStage) -> Self {
        let mut entry = Self::translating(PGTT_FIRST, domain);
        entry.set_first(first);
        entry
    }

    /// An entry with a second stage.
    pub fn second_stage(domain: u16, second: SecondStage) -> Self {
        let mut entry = Self::translating(PGTT_SECOND, domain);
        entry.set_second(second);
        entry
    }

    /// An entry with a guest's first stage behind a second.
    pub fn nested(domain: u16, first: FirstStage, second: SecondStage) -> Self {
        let mut entry = Self::translating(PGTT_NESTED, domain);
        entry.set_first(first);
        entry.set_second(second);
        entry
    }

    fn translating(pgtt: u64, domain: u16) -> Self {
        let mut words = [0; 8];
        words[0] = PRESENT | pgtt << PGTT_SHIFT;
        words[1] = u64::from(domain) | PAGE_WALK_SNOOP;
        Self(words)
    }

    fn set_first(&mut self, first: FirstStage) {
        self.0[2] = first.root & POINTER | first.flags.bits();
    }

    fn set_second(&mut self, second: SecondStage) {
        self.0[0] |= second.root.get() & POINTER | second.width.code() << AW_SHIFT;
        if second.accessed_dirty {
            self.0[0] |= SSADE;
        }
    }

    /// Forces accesses through a first stage to snoop (PGSNP).
    #[must_use]
    pub fn with_page_snoop(mut self) -> Self {
        self.0[1] |= PAGE_SNOOP;
        self
    }

    /// Whether it is there at all (P).
    pub fn is_present(&self) -> bool {
        self.0[0] & PRESENT != 0
    }

    /// The domain that tags what is cached (DID).
    pub fn domain(&self) -> u16 {
        (self.0[1] & DID) as u16
    }

    /// How requests are translated; `None` for a code that is reserved or not modelled.
    pub fn translation_type(&self) -> Option<TranslationType> {
        match (self.0[0] & PGTT) >> PGTT_SHIFT {
            PGTT_FIRST => Some(TranslationType::FirstStage),
            PGTT_SECOND => Some(TranslationType::SecondStage),
            PGTT_NESTED => Some(TranslationType::Nested),
            _ => None,
        }
    }

    /// The first stage, or `None` when FSPM is reserved.
    pub fn first(&self) -> Option<FirstStage> {
        let word = self.0[2];
        (word & FSPM_RESERVED == 0).then_some(FirstStage {
            root: word & POINTER,
            flags: FirstStageFlags::from_bits_truncate(word),
        })
    }

    /// The second stage, or `None` when AW is reserved.
    pub fn second(&self) -> Option<SecondStage> {
        let word = self.0[0];
        Some(SecondStage {
            root: Pa::new(word & POINTER),
            width: AddressWidth::from_code((word & AW) >> AW_SHIFT)?,
            accessed_dirty: word & SSADE != 0,
        })
    }
}

impl FirstStage {
    /// The root of a guest's table.
    pub fn guest_root(&self) -> Gpa {
        Gpa::new(self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: SecondStage = SecondStage {
        root: Pa::new(0x2_0000_0000),
        width: AddressWidth::Bits48,
        accessed_dirty: false,
    };
    const FIRST: FirstStage = FirstStage {
        root: 0x1_2345_6000,
        flags: FirstStageFlags::empty(),
    };

    /// hw-formats.md B.1, what Linux programs.
    #[test]
    fn nested_entries_are_as_linux_writes_them() {
        let plain = PasidEntry::nested(5, FIRST, SECOND);
        assert_eq!(
            plain.0[..4],
            [0x0000_0002_0000_00c9, 0x0080_0005, 0x1_2345_6000, 0]
        );
        let first = FirstStage {
            flags: FirstStageFlags::all(),
            ..FIRST
        };
        let second = SecondStage {
            accessed_dirty: true,
            ..SECOND
        };
        let all = PasidEntry::nested(5, first, second).with_page_snoop();
        assert_eq!(
            all.0[..4],
            [0x0000_0002_0000_02c9, 0x0180_0005, 0x1_2345_6095, 0]
        );
        assert_eq!((all.first(), all.second()), (Some(first), Some(second)));
        assert_eq!(all.translation_type(), Some(TranslationType::Nested));
        assert_eq!(all.domain(), 5);
    }

    #[test]
    fn reserved_codes_are_no_translation() {
        let mut entry = PasidEntry::second_stage(1, SECOND);
        assert!(entry.is_present() && entry.second().is_some());
        entry.0[0] |= AW;
        assert_eq!(entry.second(), None);
        entry.0[0] |= PGTT;
        assert_eq!(entry.translation_type(), None);
        entry.0[2] = FSPM_RESERVED;
        assert_eq!(entry.first(), None);
        assert!(!PasidEntry::default().is_present());
    }
}
