//! What the VT-d specification (rev. 4.1) defines, in its terms.

mod capability;
mod fault;
mod pasid_entry;
mod s1_invalidate;

pub use capability::{AddressWidth, Capability, ExtendedCapability};
pub use fault::FaultReason;
pub use pasid_entry::{FirstStage, FirstStageFlags, PasidEntry, SecondStage, TranslationType};
pub use s1_invalidate::S1Invalidation;
