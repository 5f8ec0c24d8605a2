//! What a format must say besides, so that a table can be walked as the hardware walks it.

use swiommu_addr::Pa;

use crate::{Access, Entry, Format};

/// A format with what the hardware asks of entries, and does to them, on the walk of a request.
///
/// The meaning of an entry is [`Format::decode`], for the owner of a table and for its reader; this trait adds who may do
/// what, and the bits that the hardware keeps. What depends on the context in which a unit walks (is XD enabled? may the
/// walk set A?) is part of the configuration that a value of the format describes.
pub trait HardwareWalk: Format {
    /// What an entry that points to a table permits below it.
    fn table_access(&self, entry: u64) -> Access {
        let _ = entry;
        Access::all()
    }

    /// What a leaf permits by itself.
    fn leaf_access(&self, entry: u64) -> Access;

    /// What the path permits of what every one of its entries does, where a format draws a conclusion from the whole: who may
    /// write something may not always execute it.
    fn path_access(&self, all: Access) -> Access {
        all
    }

    /// An entry that points to a table, as the hardware leaves it after a walk through it.
    fn walked_table(&self, entry: u64) -> u64 {
        entry
    }

    /// A leaf as the hardware leaves it after this access, or `None` where it would have to be marked and the hardware may
    /// not: an access-flag fault. That comes before a permission fault, so a format in which it is the other way round has
    /// `None` only for what the leaf permits.
    fn walked_leaf(&self, entry: u64, wanted: Access) -> Option<u64>;

    /// Where a leaf of the smallest size leads that needs no mark for this access, and what the path permits, of which `path` is what the
    /// entries above do. `None` says nothing; this is the short cut of a walk past all the other questions.
    #[inline]
    fn plain_leaf(&self, entry: u64, path: Access, wanted: Access) -> Option<(Pa, Access)> {
        let Entry::Leaf(leaf) = self.decode(entry, 0) else {
            return None;
        };
        let plain = leaf.size == Self::GRANULE && self.walked_leaf(entry, wanted) == Some(entry);
        plain.then(|| (leaf.pa, self.path_access(path & self.leaf_access(entry))))
    }

    /// The memory type that a leaf at this level names.
    fn memory_type(&self, entry: u64, level: u8) -> MemoryType {
        let _ = (entry, level);
        MemoryType(0)
    }
}

/// A memory type, by the number that its format has for it.
///
/// | format | number |
/// |---|---|
/// | x86-64 | index into the PAT: PAT, PCD, PWT (2:0) |
/// | VT-d second stage | IPAT, EMT (3:0) |
/// | Arm stage 1 | `AttrIndx`: index into MAIR |
/// | Arm stage 2 | `MemAttr` |
/// | RISC-V | PBMT |
/// | AMD v1 | FC |
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct MemoryType(pub u8);

/// Which of the two marks of a leaf the hardware keeps up to date.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum HardwareUpdate {
    /// Neither.
    #[default]
    None,
    /// That it was accessed.
    Accessed,
    /// That it was accessed, and that it was written.
    AccessedAndDirty,
}

impl HardwareUpdate {
    /// The bits that a walk for `wanted` sets in an entry, of those that say that it was accessed and that it was written.
    #[inline]
    pub(crate) const fn marks(self, wanted: Access, accessed: u64, dirty: u64) -> u64 {
        match self {
            Self::None => 0,
            Self::AccessedAndDirty if wanted.writes() => accessed | dirty,
            Self::Accessed | Self::AccessedAndDirty => accessed,
        }
    }
}
