//! The IOMMUs and devices of a machine.

use std::sync::Arc;

use swiommu_iommu::{Endpoint, GroupId, Unit};
use swiommu_vfio::Owners;

use crate::description::{Layout, NamedUnit, PlacedDevice};
use crate::model::{BuiltUnit, DeviceInstance, Ground};

/// An IOMMU of a machine.
#[derive(Debug)]
pub struct MachineUnit {
    described: NamedUnit,
    built: Box<dyn BuiltUnit>,
}

impl MachineUnit {
    /// Its name and its model.
    pub fn described(&self) -> &NamedUnit {
        &self.described
    }

    /// The unit.
    pub fn unit(&self) -> Arc<dyn Unit> {
        self.built.unit()
    }

    /// What it can do, in a few lines.
    pub fn summary(&self) -> Vec<String> {
        self.built.summary()
    }
}

/// A device of a machine.
#[derive(Debug)]
pub struct MachineDevice {
    described: PlacedDevice,
    vfio: Arc<swiommu_vfio::Device>,
    instance: DeviceInstance,
}

impl MachineDevice {
    /// Its model, and its place.
    pub fn described(&self) -> &PlacedDevice {
        &self.described
    }

    /// What VFIO makes of it.
    pub fn vfio(&self) -> &Arc<swiommu_vfio::Device> {
        &self.vfio
    }

    /// The device itself. A user in this process drives it: its registers are in no region of VFIO.
    pub fn instance(&self) -> &DeviceInstance {
        &self.instance
    }

    /// The device as its IOMMU sees it.
    pub fn endpoint(&self) -> &Arc<dyn Endpoint> {
        self.vfio.endpoint()
    }
}

/// Builds the units, and puts the devices behind them.
pub(crate) fn build(layout: Layout, ground: &Ground) -> (Vec<MachineUnit>, Vec<MachineDevice>) {
    let units = layout.units.into_iter().map(|described| MachineUnit {
        built: described.model.configurable().build(ground),
        described,
    });
    let units: Vec<MachineUnit> = units.collect();
    let owners = Owners::new();
    let devices = (0..).zip(layout.devices).filter_map(|(number, described)| {
        let group = GroupId(described.group.into());
        let unit = units.get(described.unit)?;
        let endpoint = unit.built.endpoint(described.address, group);
        Some(MachineDevice {
            instance: described.model.build(&endpoint),
            vfio: swiommu_vfio::Device::new(number, endpoint, &owners),
            described,
        })
    });
    let devices = devices.collect();
    (units, devices)
}
