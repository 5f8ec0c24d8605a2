//! `HWPT_NESTED`: a guest's page table in front of a nesting parent.

use std::sync::Arc;

use swiommu_iommu::NestedDomain;

use super::{HwptFlags, HwptPaging};
use crate::object::{Header, Held};

/// A guest's page table. It has no IOAS of its own: its parent's is the one that counts.
#[derive(Debug)]
pub(crate) struct HwptNested {
    pub(crate) header: Header,
    pub(crate) parent: Held<HwptPaging>,
    pub(crate) domain: Arc<dyn NestedDomain>,
    pub(crate) flags: HwptFlags,
}
