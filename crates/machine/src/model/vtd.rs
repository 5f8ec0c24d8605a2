//! Intel VT-d.

use std::sync::Arc;

use swiommu_iommu::vtd::spec::AddressWidth;
use swiommu_iommu::vtd::{SourceId, VtdEndpoint, VtdSettings, VtdUnit};
use swiommu_iommu::{Endpoint, GroupId, Unit};

use super::{BuiltUnit, Ground, UnitKind};
use crate::description::PciAddress;
use crate::description::setting::{Kind, RETENTIONS, SWITCH, Setting, on_or_off, switch};

impl Kind for VtdSettings {
    const NAME: &'static str = "vtd";
    const MEANING: &'static str = "Intel VT-d in scalable mode";
    const SETTINGS: &'static [Setting<Self>] = &[
        Setting {
            name: "aw",
            values: "39, 48 or 57",
            meaning: "the bits of the widest addresses that a second stage translates",
            get: |settings| Some(settings.width.bits().to_string()),
            set: |settings, text| {
                settings.width = match text {
                    "39" => AddressWidth::Bits39,
                    "48" => AddressWidth::Bits48,
                    "57" => AddressWidth::Bits57,
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
        Setting {
            name: "structures",
            values: RETENTIONS,
            meaning: "the same for its paging-structure caches, if they differ",
            get: |settings| settings.structures.map(|caches| caches.to_string()),
            set: |settings, text| {
                settings.structures = Some(text.parse().ok()?);
                Some(())
            },
        },
        Setting {
            name: "erratum-772415",
            values: SWITCH,
            meaning: "whether it says that nesting parents have no read-only mappings",
            get: |settings| Some(on_or_off(settings.erratum_772415)),
            set: |settings, text| {
                settings.erratum_772415 = switch(text)?;
                Some(())
            },
        },
    ];
}

impl UnitKind for VtdSettings {
    fn build(&self, ground: &Ground) -> Box<dyn BuiltUnit> {
        Box::new(Vtd(VtdUnit::new(&ground.memory, &ground.epochs, *self)))
    }
}

#[derive(Debug)]
struct Vtd(Arc<VtdUnit>);

impl BuiltUnit for Vtd {
    fn unit(&self) -> Arc<dyn Unit> {
        self.0.clone()
    }

    fn endpoint(&self, address: PciAddress, group: GroupId) -> Arc<dyn Endpoint> {
        VtdEndpoint::new(&self.0, SourceId(address.requester()), group)
    }

    fn summary(&self) -> Vec<String> {
        let settings = self.0.settings();
        let (cap, ecap) = (settings.capability(), settings.extended_capability());
        let levels = if cap.five_level_first_stage() { 5 } else { 4 };
        vec![
            format!("registers CAP {:#018x}, ECAP {:#018x}", cap.0, ecap.0),
            format!(
                "second stage of {} bits, first stage of {levels} levels; nesting on a page table",
                settings.width.bits()
            ),
        ]
    }
}
