//! What an invalidation covers.

use swiommu_addr::IovaRange;

use super::Marks;
use super::entry::Entry;

/// The tags that agree with `value` in the bits of `mask`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TagMatch {
    /// The bits to find.
    pub value: u64,
    /// Which bits count.
    pub mask: u64,
}

impl TagMatch {
    /// Every tag.
    pub const ALL: Self = Self { value: 0, mask: 0 };

    /// One tag.
    pub const fn exact(tag: u64) -> Self {
        Self {
            value: tag,
            mask: u64::MAX,
        }
    }

    /// Whether the tag is one of them.
    #[inline]
    pub const fn matches(self, tag: u64) -> bool {
        (tag ^ self.value) & self.mask == 0
    }
}

/// What an invalidation covers: the entries that meet all of its conditions, and no other.
///
/// Architectures unite conditions ("this ASID, or global"): that is two invalidations, one for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Scope {
    /// Whose entries.
    pub tags: TagMatch,
    /// Pages that meet this range; `None` for all pages.
    pub range: Option<IovaRange>,
    /// Entries with all of these marks …
    pub with: Marks,
    /// … and none of these.
    pub without: Marks,
}

impl Scope {
    /// Everything.
    pub const ALL: Self = Self::tags(TagMatch::ALL);

    /// All entries of these tags.
    pub const fn tags(tags: TagMatch) -> Self {
        Self {
            tags,
            range: None,
            with: Marks::NONE,
            without: Marks::NONE,
        }
    }

    /// Of these, the pages that meet `range`.
    #[must_use]
    pub const fn within(self, range: IovaRange) -> Self {
        Self {
            range: Some(range),
            ..self
        }
    }

    /// Of these, the entries with `marks`.
    #[must_use]
    pub const fn with(self, marks: Marks) -> Self {
        Self {
            with: self.with.and(marks),
            ..self
        }
    }

    /// Of these, the entries without any of `marks`.
    #[must_use]
    pub const fn without(self, marks: Marks) -> Self {
        Self {
            without: self.without.and(marks),
            ..self
        }
    }

    pub(super) fn covers(&self, entry: &Entry) -> bool {
        let marks = entry.target.marks();
        self.tags.matches(entry.tag.number())
            && self
                .range
                .is_none_or(|range| range.overlaps(entry.page.range()))
            && marks.contains(self.with)
            && !marks.intersects(self.without)
    }
}
