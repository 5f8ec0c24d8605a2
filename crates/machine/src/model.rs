//! The models that a machine can have. A new IOMMU is a module here, a variant of [`UnitModel`], and its line in each of the three
//! functions below it; a new device the same with [`DeviceModel`].

mod dma;
mod mock;
mod smmuv3;
mod vtd;

use std::fmt;
use std::sync::Arc;

pub use dma::DmaSettings;
pub use mock::MockSettings;
use swiommu_devices::DmaDevice;
use swiommu_iommu::smmuv3::SmmuSettings;
use swiommu_iommu::vtd::VtdSettings;
use swiommu_iommu::{Endpoint, Epochs, GroupId, Unit};
use swiommu_mem::PhysicalMemory;
use swiommu_selftest::Selftest;

use crate::description::PciAddress;
use crate::description::setting::Configurable;
use crate::description::text::print;

/// Which IOMMU a unit is, with its settings.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UnitModel {
    /// Intel VT-d in scalable mode.
    Vtd(VtdSettings),
    /// Arm SMMUv3.
    Smmuv3(SmmuSettings),
    /// The mock of the kernel's selftest.
    Mock(MockSettings),
}

impl UnitModel {
    pub(crate) fn all() -> [Self; 3] {
        [
            Self::Vtd(VtdSettings::default()),
            Self::Smmuv3(SmmuSettings::default()),
            Self::Mock(MockSettings),
        ]
    }

    /// What it is, in words.
    pub fn meaning(&self) -> &'static str {
        self.configurable().meaning()
    }

    pub(crate) fn configurable(&self) -> &dyn UnitKind {
        match self {
            Self::Vtd(settings) => settings,
            Self::Smmuv3(settings) => settings,
            Self::Mock(settings) => settings,
        }
    }

    pub(crate) fn configurable_mut(&mut self) -> &mut dyn UnitKind {
        match self {
            Self::Vtd(settings) => settings,
            Self::Smmuv3(settings) => settings,
            Self::Mock(settings) => settings,
        }
    }
}

/// The kind and its settings.
impl fmt::Display for UnitModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = self.configurable();
        print(model.kind(), &model.choices(), f)
    }
}

impl Default for UnitModel {
    fn default() -> Self {
        Self::Vtd(VtdSettings::default())
    }
}

/// A model of an IOMMU: what can be chosen, and how it is built.
pub(crate) trait UnitKind: Configurable {
    /// Builds a unit.
    fn build(&self, ground: &Ground) -> Box<dyn BuiltUnit>;
}

/// What units are built on.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) memory: Arc<PhysicalMemory>,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) selftest: Arc<Selftest>,
}

/// A unit that devices can be put behind.
pub(crate) trait BuiltUnit: Send + Sync + fmt::Debug {
    /// The unit.
    fn unit(&self) -> Arc<dyn Unit>;

    /// A new endpoint behind it.
    fn endpoint(&self, address: PciAddress, group: GroupId) -> Arc<dyn Endpoint>;

    /// What it can do, in a few lines.
    fn summary(&self) -> Vec<String>;
}

/// Which device it is, with its settings.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DeviceModel {
    /// A device for tests of DMA.
    Dma(DmaSettings),
}

impl DeviceModel {
    pub(crate) fn all() -> [Self; 1] {
        [Self::Dma(DmaSettings)]
    }

    pub(crate) fn configurable(&self) -> &dyn Configurable {
        match self {
            Self::Dma(settings) => settings,
        }
    }

    /// Builds the device that is behind an endpoint.
    pub(crate) fn build(&self, endpoint: &Arc<dyn Endpoint>) -> DeviceInstance {
        match self {
            Self::Dma(_) => DeviceInstance::Dma(dma::build(endpoint)),
        }
    }

    pub(crate) fn configurable_mut(&mut self) -> &mut dyn Configurable {
        match self {
            Self::Dma(settings) => settings,
        }
    }
}

/// A device that has been built.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeviceInstance {
    /// A device for tests of DMA. Behind a mock, its engines halt.
    Dma(DmaDevice),
}

/// The kind and its settings.
impl fmt::Display for DeviceModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = self.configurable();
        print(model.kind(), &model.choices(), f)
    }
}

impl Default for DeviceModel {
    fn default() -> Self {
        Self::Dma(DmaSettings)
    }
}
