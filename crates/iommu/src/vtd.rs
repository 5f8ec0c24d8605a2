//! Intel VT-d in scalable mode.
//!
//! [`VtdUnit`] allocates first-stage and second-stage page tables and puts guests' first stages in front of the latter;
//! [`VtdEndpoint`] is a device behind it. What a request does is said by its PASID-table entry ([`spec::PasidEntry`]), whose bytes
//! are those that Linux programs; leaves that were walked are kept in the unit's IOTLB, tagged by domain and PASID.
//!
//! docs/models/vtd.md says what is modelled and what is not.

pub mod spec;

mod domain;
mod endpoint;
mod nested;
mod refused;
mod settings;
mod translate;
mod unit;

#[cfg(test)]
mod tests;

pub use domain::{VtdFirstStage, VtdSecondStage};
pub use endpoint::{SourceId, VtdEndpoint};
pub use nested::VtdNested;
pub use settings::VtdSettings;
pub use unit::VtdUnit;
