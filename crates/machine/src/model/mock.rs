//! The mock of the kernel's selftest.

use std::sync::Arc;

use swiommu_abi::test_cmd::MockFlagsDevice;
use swiommu_iommu::{Endpoint, GroupId, Unit};
use swiommu_selftest::{MockEndpoint, MockUnit};

use super::{BuiltUnit, Ground, UnitKind};
use crate::description::PciAddress;
use crate::description::setting::{Kind, Setting};

/// The settings of the mock: there are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MockSettings;

impl Kind for MockSettings {
    const NAME: &'static str = "mock";
    const MEANING: &'static str = "the mock IOMMU of the kernel's selftest; its devices do no DMA";
    const SETTINGS: &'static [Setting<Self>] = &[];
}

impl UnitKind for MockSettings {
    fn build(&self, ground: &Ground) -> Box<dyn BuiltUnit> {
        Box::new(Mock(ground.selftest.unit().clone()))
    }
}

#[derive(Debug)]
struct Mock(Arc<MockUnit>);

impl BuiltUnit for Mock {
    fn unit(&self) -> Arc<dyn Unit> {
        self.0.clone()
    }

    fn endpoint(&self, _address: PciAddress, group: GroupId) -> Arc<dyn Endpoint> {
        MockEndpoint::new(&self.0, group, MockFlagsDevice::PASID)
    }

    fn summary(&self) -> Vec<String> {
        vec![
            "page tables of 2 KiB granule; nesting, vIOMMUs, event queues, hardware queues"
                .to_owned(),
        ]
    }
}
