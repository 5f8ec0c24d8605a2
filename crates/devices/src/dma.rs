//! The DMA test device: it copies, fills and sums memory, as descriptors say that it reads from a ring in memory.
//!
//! docs/devices/dma.md is its manual. Each engine has a ring of its own and can be run by a thread of its own.
//!
//! ```
//! use std::sync::Arc;
//!
//! use swiommu_addr::{Address, Iova};
//! use swiommu_devices::DmaDevice;
//! use swiommu_devices::dma::{Completion, Descriptor, Progress, Status, register};
//! use swiommu_iommu::Endpoint;
//!
//! # fn write(at: Iova, bytes: &[u8]) {}
//! # fn read(at: Iova) -> [u8; 24] { [0; 24] }
//! fn fill(endpoint: Arc<dyn Endpoint>) {
//!     let device = DmaDevice::new(1, move |pasid| endpoint.port(pasid));
//!     let (registers, engine) = (device.registers(), register::engine(0));
//!     registers.store(engine + register::RING_LOW, 0x1000);
//!     registers.store(engine + register::SIZE, 4);
//!     registers.store(engine + register::CONTROL, register::ENABLE);
//!
//!     let descriptor = Descriptor::fill(Iova::new(0x8000), 64, 0xabab_abab_abab_abab);
//!     write(Iova::new(0x1000), &descriptor.to_bytes());
//!     while device.doorbell(0, 1) == Progress::More {}
//!     let done = Completion::from_bytes(&read(Iova::new(0x1000 + 40)));
//!     assert_eq!(done.status(), Some(Status::Success));
//! }
//! ```

mod crc32c;
mod descriptor;
mod device;
mod engine;
pub mod register;
mod request;
#[cfg(test)]
mod tests;

pub use descriptor::{Completion, Descriptor, Flags, Opcode, Status};
pub use device::{DmaDevice, MAX_ENGINES};
pub use engine::{BATCH, Halt, Progress};
pub use register::Registers;
pub use request::MAX_LENGTH;
