//! What is measured, and what it must reach.

use crate::table::Goal;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    MapNew,
    MapExisting,
    UnmapWhole,
    UnmapPartial,
    MapPage,
    UnmapPage,
    TranslateDependent,
    TranslateIndependent,
    DirtyNone,
    DirtySome,
}

impl Operation {
    pub(crate) const ALL: [Self; 10] = [
        Self::MapNew,
        Self::MapExisting,
        Self::UnmapWhole,
        Self::UnmapPartial,
        Self::MapPage,
        Self::UnmapPage,
        Self::TranslateDependent,
        Self::TranslateIndependent,
        Self::DirtyNone,
        Self::DirtySome,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MapNew => "map 1 GiB, new tables, a PTE",
            Self::MapExisting => "map 1 GiB, existing tables, a PTE",
            Self::UnmapWhole => "unmap 1 GiB, whole tables, a PTE",
            Self::UnmapPartial => "unmap 1 GiB, partial tables, a PTE",
            Self::MapPage => "map one page",
            Self::UnmapPage => "unmap one page",
            Self::TranslateDependent => "translate, hot, latency",
            Self::TranslateIndependent => "translate, hot, throughput",
            Self::DirtyNone => "read dirty, 0 %, a PTE",
            Self::DirtySome => "read and clear dirty, 1 %, a PTE",
        }
    }

    /// The goal in nanoseconds, or beside the best peer.
    pub(crate) fn goal(self) -> Goal {
        match self {
            Self::MapNew => Goal::Ratio(0.2),
            Self::MapExisting => Goal::Ratio(0.4),
            Self::UnmapWhole => Goal::Ratio(2.0),
            Self::UnmapPartial => Goal::Ratio(0.35),
            Self::MapPage => Goal::Ratio(2.5),
            Self::UnmapPage => Goal::Ratio(4.0),
            Self::TranslateDependent | Self::TranslateIndependent => Goal::Ratio(1.1),
            Self::DirtyNone | Self::DirtySome => Goal::Figure(0.6),
        }
    }

    /// The goal in instructions.
    pub(crate) fn instructions(self) -> Goal {
        Goal::Figure(match self {
            Self::MapNew => 6.0,
            Self::MapExisting => 14.0,
            Self::UnmapWhole => 1.0,
            Self::UnmapPartial => 9.0,
            Self::MapPage | Self::UnmapPage => 100.0,
            Self::TranslateDependent | Self::TranslateIndependent => 60.0,
            Self::DirtyNone | Self::DirtySome => 8.0,
        })
    }
}
