//! The device for tests of DMA.

use std::sync::Arc;

use swiommu_devices::DmaDevice;
use swiommu_iommu::Endpoint;

use crate::description::setting::{Kind, Setting};

/// Enough for threads to meet.
const ENGINES: u32 = 4;

/// The settings of a device for tests of DMA: there are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DmaSettings;

impl Kind for DmaSettings {
    const NAME: &'static str = "dma";
    const MEANING: &'static str =
        "an endpoint that can be bound and attached; its registers are for users in process";
    const SETTINGS: &'static [Setting<Self>] = &[];
}

/// The device behind an endpoint.
pub(super) fn build(endpoint: &Arc<dyn Endpoint>) -> DmaDevice {
    let endpoint = endpoint.clone();
    DmaDevice::new(ENGINES, move |pasid| endpoint.port(pasid))
}
