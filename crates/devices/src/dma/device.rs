//! The device: its registers and its engines.

use std::sync::Arc;

use parking_lot::Mutex;
use swiommu_iommu::{DmaPort, Pasid};

use super::engine::{Engine, MakePort};
use super::{Progress, Registers, register};

/// The most engines of a device.
pub const MAX_ENGINES: u32 = 16;

/// A DMA test device.
#[derive(Debug)]
pub struct DmaDevice {
    registers: Registers,
    engines: Vec<Mutex<Engine>>,
}

impl DmaDevice {
    /// A device with 1 to [`MAX_ENGINES`] engines (what is beyond is not made), all disabled. `ports` makes the ports that it
    /// reaches memory through, such as those of an [`Endpoint`](swiommu_iommu::Endpoint::port).
    pub fn new(
        engines: u32,
        ports: impl Fn(Pasid) -> Option<DmaPort> + Send + Sync + 'static,
    ) -> Self {
        let engines = engines.clamp(1, MAX_ENGINES);
        let ports: MakePort = Arc::new(ports);
        Self {
            registers: Registers::new(engines),
            engines: (0..engines)
                .map(|number| Mutex::new(Engine::new(number, ports.clone())))
                .collect(),
        }
    }

    /// Its registers.
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Has an engine look at its registers and take descriptors, [`BATCH`](super::BATCH) at most. Threads may run different
    /// engines at once.
    pub fn run(&self, engine: u32) -> Progress {
        let found = self.engines.get(engine as usize);
        found.map_or(Progress::Idle, |engine| engine.lock().run(&self.registers))
    }

    /// Writes an engine's doorbell, and runs it once.
    pub fn doorbell(&self, engine: u32, tail: u32) -> Progress {
        if engine < MAX_ENGINES {
            let at = register::engine(engine) + register::TAIL;
            self.registers.store(at, tail);
        }
        self.run(engine)
    }
}
