//! What can be chosen of a unit.

use super::spec::AddressWidth;
use crate::Retention;

/// What can be chosen of a unit. The default is what QEMU and Linux expect of a server of today.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VtdSettings {
    /// How wide its widest second stage is (`aw`).
    pub width: AddressWidth,
    /// What its caches keep.
    pub caches: Retention,
    /// What its paging-structure caches keep, if not the same.
    pub structures: Option<Retention>,
    /// Whether it says that it has erratum 772415 of Sapphire Rapids: nesting parents have no read-only mappings.
    pub erratum_772415: bool,
}

impl Default for VtdSettings {
    fn default() -> Self {
        Self {
            width: AddressWidth::Bits48,
            caches: Retention::LegalMaximum,
            structures: None,
            erratum_772415: true,
        }
    }
}
