//! Arm SMMUv3.
//!
//! [`SmmuUnit`] allocates stage-1 and stage-2 page tables; [`SmmuEndpoint`] is a device behind it, by its `StreamID`; [`SmmuViommu`] is
//! a guest's slice, in which the guest's own stream table entries ([`SmmuNested`]), commands and events are. What a request does is
//! said by the stream table entry of its stream ([`spec::Ste`]) and the context descriptor of its substream ([`spec::Cd`]), whose bytes
//! are those that Linux programs, or that lie in the guest's memory. Leaves that were walked are kept in the unit's TLB, tagged by VMID
//! and ASID; descriptors in a cache of their own.
//!
//! docs/models/smmuv3.md says what is modelled and what is not.

pub mod spec;

mod caches;
mod descriptors;
mod domain;
mod endpoint;
mod fault;
mod nested;
mod recent;
mod settings;
mod stage1;
mod translate;
mod unit;
mod viommu;

#[cfg(test)]
mod tests;

pub use domain::{SmmuStage1, SmmuStage2};
pub use endpoint::{DeviceFeatures, SmmuEndpoint, StreamId};
pub use nested::SmmuNested;
pub use settings::{SmmuFeatures, SmmuSettings};
pub use unit::SmmuUnit;
pub use viommu::SmmuViommu;
