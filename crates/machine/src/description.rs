//! What a machine has.

mod address;
mod entry;
mod error;
mod layout;
pub(crate) mod setting;
pub(crate) mod text;
mod toml;

#[cfg(test)]
mod tests;

pub use address::{BadAddress, PciAddress};
pub use entry::{DeviceDescription, Entry, UnitDescription};
pub use error::DescriptionError;
pub use layout::{Layout, NamedUnit, PlacedDevice};
pub use setting::Choice;
use swiommu_mem::MemlockPolicy;
pub use toml::{TomlError, TomlProblem};

use crate::model::{DeviceModel, UnitModel};

/// What a machine has. Without anything said there is one VT-d unit, and a device behind it.
#[derive(Clone, PartialEq, Debug)]
pub struct Description {
    /// The IOMMUs, beside the mock of the kernel's selftest, which is always there for `IOMMU_TEST_CMD`.
    pub units: Vec<UnitDescription>,
    /// The devices, in the order of their numbers.
    pub devices: Vec<DeviceDescription>,
    /// What happens when a client pins more than its `RLIMIT_MEMLOCK`.
    pub memlock: MemlockPolicy,
    /// Whether there is `/sys/kernel/debug` as a kernel with fault injection has it.
    pub fault_injection: FaultInjection,
}

/// Whether programs find the kernel's interface of fault injection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FaultInjection {
    /// As the host has it: mostly not.
    #[default]
    Absent,
    /// They do.
    Present,
}

impl Description {
    /// A machine with these IOMMUs and devices: where there is no IOMMU, with a VT-d unit; where there is no device, with one behind
    /// each IOMMU.
    pub fn of(mut units: Vec<UnitDescription>, mut devices: Vec<DeviceDescription>) -> Self {
        if units.is_empty() {
            units.push(UnitDescription {
                name: None,
                model: UnitModel::default(),
            });
        }
        if devices.is_empty() {
            let behind = |(n, unit): (usize, &UnitDescription)| DeviceDescription {
                model: DeviceModel::default(),
                unit: Some(unit.name.clone().unwrap_or_else(|| format!("iommu{n}"))),
                address: None,
                group: None,
            };
            devices.extend(units.iter().enumerate().map(behind));
        }
        Self {
            units,
            devices,
            memlock: MemlockPolicy::default(),
            fault_injection: FaultInjection::default(),
        }
    }

    /// What it means, with nothing left open.
    ///
    /// # Errors
    /// When its parts contradict each other.
    pub fn layout(&self) -> Result<Layout, DescriptionError> {
        Layout::of(self).map_err(|(_, error)| error)
    }
}

impl Default for Description {
    fn default() -> Self {
        Self::of(Vec::new(), Vec::new())
    }
}
