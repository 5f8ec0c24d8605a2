//! The device for tests of DMA.

use crate::description::setting::{Kind, Setting};

/// The settings of a device for tests of DMA: there are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DmaSettings;

impl Kind for DmaSettings {
    const NAME: &'static str = "dma";
    const MEANING: &'static str = "an endpoint that can be bound and attached, without registers";
    const SETTINGS: &'static [Setting<Self>] = &[];
}
