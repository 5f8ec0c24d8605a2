//! Arm SMMUv3.

use std::sync::Arc;

use swiommu_iommu::smmuv3::spec::AddressSize;
use swiommu_iommu::smmuv3::{
    DeviceFeatures, SmmuEndpoint, SmmuFeatures, SmmuSettings, SmmuUnit, StreamId,
};
use swiommu_iommu::{Endpoint, GroupId, Unit};
use swiommu_pgtable::HardwareUpdate;

use super::{BuiltUnit, Ground, UnitKind};
use crate::description::PciAddress;
use crate::description::setting::{Kind, RETENTIONS, SWITCH, Setting, on_or_off, switch};

/// A feature that a unit has or lacks.
macro_rules! feature {
    ($name:literal, $feature:ident, $meaning:literal) => {
        Setting {
            name: $name,
            values: SWITCH,
            meaning: $meaning,
            get: |settings| {
                Some(on_or_off(
                    settings.features.contains(SmmuFeatures::$feature),
                ))
            },
            set: |settings, text| {
                settings.features.set(SmmuFeatures::$feature, switch(text)?);
                Some(())
            },
        }
    };
}

impl Kind for SmmuSettings {
    const NAME: &'static str = "smmuv3";
    const MEANING: &'static str = "Arm SMMUv3";
    const SETTINGS: &'static [Setting<Self>] = &[
        Setting {
            name: "oas",
            values: "32, 36, 40, 42, 44 or 48",
            meaning: "the bits of physical addresses, and of those that a second stage translates",
            get: |settings| Some(settings.output.bits().to_string()),
            set: |settings, text| {
                let bits: u8 = text.parse().ok()?;
                let mut sizes = AddressSize::ALL.into_iter();
                settings.output = sizes.find(|size| size.bits() == bits)?;
                Some(())
            },
        },
        Setting {
            name: "ssid-bits",
            values: "0 to 20",
            meaning: "the bits of a SubstreamID, which is a PASID",
            get: |settings| Some(settings.ssid_bits.to_string()),
            set: |settings, text| {
                settings.ssid_bits = text.parse().ok().filter(|bits| *bits <= 20)?;
                Some(())
            },
        },
        Setting {
            name: "httu",
            values: "off, access or dirty",
            meaning: "what walks of first stages mark in entries",
            get: |settings| {
                let updates = match settings.updates {
                    HardwareUpdate::None => "off",
                    HardwareUpdate::Accessed => "access",
                    HardwareUpdate::AccessedAndDirty => "dirty",
                };
                Some(updates.to_owned())
            },
            set: |settings, text| {
                settings.updates = match text {
                    "off" => HardwareUpdate::None,
                    "access" => HardwareUpdate::Accessed,
                    "dirty" => HardwareUpdate::AccessedAndDirty,
                    _ => return None,
                };
                Some(())
            },
        },
        Setting {
            name: "caches",
            values: RETENTIONS,
            meaning: "how long it keeps what it has walked",
            get: |settings| Some(settings.caches.to_string()),
            set: |settings, text| {
                settings.caches = text.parse().ok()?;
                Some(())
            },
        },
        feature!("stage1", STAGE1, "whether it has stage 1"),
        feature!(
            "stage2",
            STAGE2,
            "whether it has stage 2; nesting takes both"
        ),
        feature!(
            "coherent",
            COHERENT,
            "whether it is coherent, as IOMMUFD demands"
        ),
        feature!(
            "ats",
            ATS,
            "whether devices may cache translations, and then they do"
        ),
        feature!(
            "stall",
            STALL,
            "whether faults can wait, and then those of devices do"
        ),
        feature!(
            "ril",
            RANGE_INVALIDATION,
            "whether ranges can be invalidated"
        ),
        feature!(
            "fwb",
            FORCED_WRITE_BACK,
            "whether stage 2 forces write-back, without which there are no vIOMMUs"
        ),
        feature!(
            "cd2l",
            TWO_LEVEL_CD,
            "whether tables of context descriptors can have two levels"
        ),
        feature!("asid16", ASID16, "whether an ASID has 16 bits instead of 8"),
        feature!("vmid16", VMID16, "whether a VMID has 16 bits instead of 8"),
        feature!(
            "gran16k",
            GRANULE_16K,
            "whether guests' tables can have a granule of 16 KiB"
        ),
        feature!(
            "gran64k",
            GRANULE_64K,
            "whether guests' tables can have a granule of 64 KiB"
        ),
    ];
}

impl UnitKind for SmmuSettings {
    fn build(&self, ground: &Ground) -> Box<dyn BuiltUnit> {
        let unit = SmmuUnit::new(&ground.memory, &ground.epochs, *self);
        Box::new(Smmu(unit))
    }
}

#[derive(Debug)]
struct Smmu(Arc<SmmuUnit>);

impl BuiltUnit for Smmu {
    fn unit(&self) -> Arc<dyn Unit> {
        self.0.clone()
    }

    /// Its `StreamID` is its requester ID, as firmware has it that maps them one to one.
    fn endpoint(&self, address: PciAddress, group: GroupId) -> Arc<dyn Endpoint> {
        let stream = StreamId(address.requester().into());
        let features = DeviceFeatures::all();
        SmmuEndpoint::with_features(&self.0, stream, group, features)
    }

    fn summary(&self) -> Vec<String> {
        let registers = self.0.registers();
        let idr = registers.idr.map(|register| format!("{register:#010x}"));
        let settings = self.0.settings();
        let both = SmmuFeatures::STAGE1 | SmmuFeatures::STAGE2;
        let guests = both | SmmuFeatures::FORCED_WRITE_BACK;
        let nesting = if settings.features.contains(guests) {
            "nesting on a vIOMMU"
        } else {
            "no nesting"
        };
        vec![
            format!("registers IDR0 to IDR5 {}", idr.join(" ")),
            format!("addresses of {} bits; {nesting}", settings.output.bits()),
        ]
    }
}
