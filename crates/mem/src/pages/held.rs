//! Which pages of an object are pinned, and by how many.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use swiommu_addr::{Address, Pa, PaRange, PageSize};

use crate::extents::{ExtentMap, Piece, Value};

/// Pinned pages with the same users.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pinned {
    pub(super) pa: Pa,
    pub(super) users: NonZeroU32,
    pub(super) page: PageSize,
}

impl Value for Pinned {
    fn skip(self, numbers: u64) -> Self {
        Self {
            pa: self.pa.wrapping_add(numbers),
            ..self
        }
    }
}

/// The memory of a piece that is pinned so.
pub(super) fn memory(piece: &Piece<Pinned>, pinned: Pinned) -> PaRange {
    let last = pinned.pa.wrapping_add(piece.last - piece.first);
    PaRange::new(pinned.pa, last).unwrap_or_else(PaRange::full)
}

/// The pinned pages of an object, by position: virtual address or file offset.
///
/// Most objects are pinned as a whole, in one run. Those take no more than this, which is small because every area has one.
#[derive(Debug, Default)]
pub(super) enum Held {
    #[default]
    Nothing,
    /// All pages are a run with these users.
    Whole {
        pa: Pa,
        users: NonZeroU32,
        page: PageSize,
    },
    /// These are.
    Extents(Box<ExtentMap<Pinned>>),
}

impl Held {
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// Looks at the pinned pages of an object whose pages are `whole`.
    pub(super) fn look<T>(
        &self,
        whole: RangeInclusive<u64>,
        look: impl FnOnce(&ExtentMap<Pinned>) -> T,
    ) -> T {
        match self {
            Self::Extents(extents) => look(extents),
            _ => look(&self.as_extents(whole)),
        }
    }

    /// Replaces what is pinned of `range`, piece by piece, in an object whose pages are `whole`.
    pub(super) fn update(
        &mut self,
        whole: RangeInclusive<u64>,
        range: RangeInclusive<u64>,
        mut new_value: impl FnMut(Piece<Pinned>) -> Option<Pinned>,
    ) {
        let value = match *self {
            Self::Nothing => None,
            Self::Whole { pa, users, page } => Some(Pinned { pa, users, page }),
            Self::Extents(ref mut extents) => {
                extents.update(range, new_value);
                if extents.is_empty() {
                    *self = Self::Nothing;
                }
                return;
            }
        };
        if range == whole {
            let (first, last) = range.into_inner();
            *self = match new_value(Piece { first, last, value }) {
                None => Self::Nothing,
                Some(Pinned { pa, users, page }) => Self::Whole { pa, users, page },
            };
            return;
        }
        let mut extents = self.as_extents(whole);
        extents.update(range, new_value);
        *self = if extents.is_empty() {
            Self::Nothing
        } else {
            Self::Extents(Box::new(extents))
        };
    }

    /// The extents, unless they are kept as such.
    fn as_extents(&self, whole: RangeInclusive<u64>) -> ExtentMap<Pinned> {
        let mut extents = ExtentMap::default();
        if let Self::Whole { pa, users, page } = *self {
            extents.update(whole, |_| Some(Pinned { pa, users, page }));
        }
        extents
    }
}
