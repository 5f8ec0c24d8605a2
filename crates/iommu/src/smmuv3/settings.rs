//! What can be chosen of a unit.

use bitflags::bitflags;
use swiommu_pgtable::HardwareUpdate;

use super::spec::AddressSize;
use crate::Retention;

bitflags! {
    /// What a unit has beside what every unit has.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct SmmuFeatures: u32 {
        /// Stage 1 (`S1P`).
        const STAGE1 = 1;
        /// Stage 2 (`S2P`). Nesting needs both.
        const STAGE2 = 2;
        /// Coherent accesses to tables and structures (`COHACC`). IOMMUFD takes no device without it.
        const COHERENT = 4;
        /// ATS, for endpoints that have it.
        const ATS = 8;
        /// Stalls, for endpoints that can be stalled (`STALL_MODEL` 0 instead of 1).
        const STALL = 16;
        /// Invalidations of ranges (`RIL`).
        const RANGE_INVALIDATION = 32;
        /// Memory types of stage 2 that stage 1 cannot weaken (`FWB`), without which there are no virtual IOMMUs.
        const FORCED_WRITE_BACK = 64;
        /// CD tables of two levels (`CD2L`).
        const TWO_LEVEL_CD = 128;
        /// ASIDs of 16 bits instead of 8.
        const ASID16 = 256;
        /// VMIDs of 16 bits instead of 8.
        const VMID16 = 512;
        /// Granules of 16 KiB for guests' tables, beside those of 4 KiB.
        const GRANULE_16K = 1024;
        /// Granules of 64 KiB for guests' tables.
        const GRANULE_64K = 2048;
    }
}

/// What can be chosen of a unit. The default is what QEMU and Linux expect of a server of today.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SmmuSettings {
    /// How wide physical addresses are (`oas`). A second stage translates as many bits. Memory that lies higher cannot be mapped
    /// (`ERANGE`); with 32 and 36 bits, that is all.
    pub output: AddressSize,
    /// How many bits a `SubstreamID` has, 0 to 20.
    pub ssid_bits: u8,
    /// What walks of first stages may mark (`HTTU`). With [`AccessedAndDirty`](HardwareUpdate::AccessedAndDirty), devices claim dirty
    /// tracking; QEMU then asks for nesting parents with it, which Linux' driver refuses.
    pub updates: HardwareUpdate,
    /// What its caches keep.
    pub caches: Retention,
    /// What else it has.
    pub features: SmmuFeatures,
}

impl SmmuSettings {
    pub(super) fn has(&self, features: SmmuFeatures) -> bool {
        self.features.contains(features)
    }

    /// Whether guests' first stages can be put in front of second stages.
    pub(super) fn nests(&self) -> bool {
        self.has(SmmuFeatures::STAGE1 | SmmuFeatures::STAGE2)
    }
}

impl Default for SmmuSettings {
    fn default() -> Self {
        Self {
            output: AddressSize::Bits48,
            ssid_bits: 20,
            updates: HardwareUpdate::None,
            caches: Retention::LegalMaximum,
            features: SmmuFeatures::all().difference(SmmuFeatures::STALL),
        }
    }
}
