//! `HWPT_NESTED`: a guest's page table in front of a nesting parent.

use std::sync::{Arc, OnceLock};

use swiommu_iommu::NestedDomain;

use super::{HwptFlags, HwptPaging};
use crate::fault::Fault;
use crate::object::{Header, Held};
use crate::viommu::Viommu;

/// A guest's page table. It has no IOAS of its own: its parent's is the one that counts.
#[derive(Debug)]
pub(crate) struct HwptNested {
    pub(crate) header: Header,
    pub(crate) on: NestedOn,
    pub(crate) domain: Arc<dyn NestedDomain>,
    pub(crate) flags: HwptFlags,
    /// Where page requests go, once that is known.
    pub(crate) fault: OnceLock<Held<Fault>>,
}

/// What a guest's page table was made on.
#[derive(Debug)]
pub(crate) enum NestedOn {
    /// The nesting parent itself.
    Paging(Held<HwptPaging>),
    /// A virtual IOMMU, which has a nesting parent.
    Viommu(Held<Viommu>),
}

impl HwptNested {
    /// The second stage.
    pub(crate) fn parent(&self) -> &HwptPaging {
        match &self.on {
            NestedOn::Paging(parent) => parent,
            NestedOn::Viommu(viommu) => &viommu.parent,
        }
    }
}
