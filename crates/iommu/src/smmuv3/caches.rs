//! What a unit caches, and what of it an invalidation covers (3.17, 16.2).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use swiommu_addr::{Iova, PageSize};
use swiommu_pgtable::Access;
use swiommu_sabotage::Fault as Sabotage;

use super::descriptors::Descriptors;
use super::spec::{Cover, Granule};
use crate::{Cached, Marks, Retention, Scope, Structures, TagMatch, Translated, Walk, Ways};

/// What tags a cached translation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Tag {
    /// Of stage 1, or of both, of one ASID.
    Asid { vmid: u16, asid: u16 },
    /// Of stage 1, or of both, for all ASIDs.
    Global { vmid: u16 },
    /// Of stage 2 alone.
    Stage2 { vmid: u16 },
}

/// What has no tag yet.
const UNKNOWN: u64 = u64::MAX;

/// First stages of our own have no second, and this VMID.
pub(super) const NO_VMID: u16 = 0;

const VMID: u64 = 0xffff;
const ASID_SHIFT: u32 = 16;
const GLOBAL: u64 = 1 << 32;
const STAGE2: u64 = 1 << 33;

impl Tag {
    #[inline]
    fn word(self) -> u64 {
        match self {
            Self::Asid { vmid, asid } => u64::from(vmid) | u64::from(asid) << ASID_SHIFT,
            Self::Global { vmid } => u64::from(vmid) | GLOBAL,
            Self::Stage2 { vmid } => u64::from(vmid) | STAGE2,
        }
    }

    /// Everything with this tag.
    pub(super) fn all(self) -> Scope {
        Scope::tags(TagMatch::exact(self.word()))
    }
}

/// Everything of stage 1, or of both, with this VMID.
pub(super) fn of_stage1(vmid: u16) -> Scope {
    Scope::tags(TagMatch {
        value: vmid.into(),
        mask: VMID | STAGE2,
    })
}

impl From<Tag> for crate::Tag {
    #[inline]
    fn from(tag: Tag) -> Self {
        Self::new(tag.word())
    }
}

/// The leaf of stage 1 that an entry comes from. The entry itself is smaller where that of stage 2 is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Leaf {
    pub(super) granule: Granule,
    /// As the manual counts: 3 is the lowest.
    pub(super) level: u8,
}

/// An entry for reading, of a leaf that a write has yet to mark.
const CLEAN: Marks = Marks::number(0);
/// The granule of stage 1, as commands have it, and the level of the leaf.
const GRANULE: [Marks; 2] = [Marks::number(1), Marks::number(2)];
const LEVEL: [Marks; 2] = [Marks::number(3), Marks::number(4)];

/// The entries that have this number in these two marks.
fn numbered(scope: Scope, marks: [Marks; 2], number: u8) -> Scope {
    let mut scope = scope;
    for (bit, mark) in marks.into_iter().enumerate() {
        scope = if number >> bit & 1 == 1 {
            scope.with(mark)
        } else {
            scope.without(mark)
        };
    }
    scope
}

impl Leaf {
    fn marks(self) -> Marks {
        let mut marks = Marks::NONE;
        let numbers = [(GRANULE, self.granule.command_code()), (LEVEL, self.level)];
        for (names, number) in numbers {
            for (bit, mark) in names.into_iter().enumerate() {
                if number >> bit & 1 == 1 {
                    marks = marks.and(mark);
                }
            }
        }
        marks
    }

    fn size(self) -> PageSize {
        PageSize::from_log2(self.granule.entry_log2(self.level))
    }

    fn of(self, scope: Scope) -> Scope {
        let scope = numbered(scope, GRANULE, self.granule.command_code());
        numbered(scope, LEVEL, self.level)
    }

    /// Every leaf that there can be.
    fn all() -> impl Iterator<Item = Self> {
        let of = |granule| (1..=3).map(move |level| Self { granule, level });
        Granule::ALL.into_iter().flat_map(of)
    }

    /// One bit for each leaf that there can be.
    fn bit(self) -> u32 {
        1 << (u32::from(self.granule.command_code()) * 4 + u32::from(self.level))
    }
}

/// The caches of one unit.
#[derive(Debug)]
pub(super) struct Caches {
    /// The TLB and the walk caches.
    walked: crate::Caches,
    pub(super) descriptors: Descriptors,
    /// The leaves of which parts were cached apart: invalidating an address of such a leaf concerns all parts.
    split: AtomicU32,
    /// Whether anything was ever cached for all ASIDs. Few guests have that, and who has not need not look for it.
    globals: AtomicBool,
}

/// A walk whose result may be cached.
pub(super) struct Miss<'a> {
    caches: &'a Caches,
    walk: Walk<'a>,
    ways: Ways<'a>,
    split: u32,
}

impl Caches {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            walked: crate::Caches::new(retention, retention),
            descriptors: Descriptors::new(retention),
            split: AtomicU32::new(0),
            globals: AtomicBool::new(false),
        }
    }

    /// Whether something may be cached for all ASIDs.
    pub(super) fn has_globals(&self) -> bool {
        self.globals.load(Ordering::Acquire)
    }

    /// Begins to look for what is not cached: before anything is read from memory.
    pub(super) fn begin_walk(&self) -> Miss<'_> {
        Miss {
            walk: self.walked.tlb.begin_walk(),
            ways: self.walked.structures.begin_walk(UNKNOWN),
            split: self.split.load(Ordering::Acquire),
            caches: self,
        }
    }

    /// The walk caches.
    pub(super) fn structures(&self) -> &Structures {
        &self.walked.structures
    }

    /// What is cached under a tag.
    #[inline]
    pub(super) fn lookup(&self, tag: impl Into<crate::Tag>, iova: Iova) -> Option<Cached> {
        self.walked.tlb.lookup(tag, iova)
    }

    /// Forgets the translations that `scope` covers, and the tables on the way to them.
    pub(super) fn invalidate(&self, scope: &Scope) {
        self.walked.invalidate(scope);
    }

    /// Forgets what a `CMD_TLBI_NH_VA` covers, or a `CMD_TLBI_NH_VAA` without an ASID.
    pub(super) fn invalidate_addresses(&self, vmid: u16, asid: Option<u16>, cover: &Cover) {
        let owners = match asid {
            Some(asid) => vec![Tag::Asid { vmid, asid }.all(), Tag::Global { vmid }.all()],
            None => vec![of_stage1(vmid)],
        };
        for scope in owners {
            if !cover.leaf || Sabotage::ForgetTables.is_on() {
                let tables = &self.walked.structures;
                tables.invalidate(&scope.within(cover.range));
            }
            let mut direct = scope.within(cover.range);
            if let Some(granule) = cover.granule {
                direct = numbered(direct, GRANULE, granule.command_code());
            }
            if let Some(level) = cover.level {
                direct = numbered(direct, LEVEL, level);
            }
            self.walked.invalidate_leaves(&direct);
            // Only now: the first part of such a leaf is cached if nothing was invalidated before, and its bit was set before it was.
            let split = self.split.load(Ordering::Acquire);
            let is_concerned = |leaf: &Leaf| {
                leaf.bit() & split != 0
                    && cover.granule.is_none_or(|granule| granule == leaf.granule)
                    && cover.level.is_none_or(|level| level == leaf.level)
            };
            for leaf in Leaf::all().filter(is_concerned) {
                let whole = cover.range.align_out(leaf.size());
                self.walked.invalidate_leaves(&leaf.of(scope.within(whole)));
            }
        }
    }
}

impl Miss<'_> {
    /// What is known of the ways to leaves of tables that have this tag.
    pub(super) fn ways(&self, tag: Tag) -> Ways<'_> {
        self.ways.tagged(tag)
    }

    /// Caches what was found for an address. `leaf` is that of stage 1.
    pub(super) fn insert(&self, tag: Tag, iova: Iova, found: &Found, leaf: Option<Leaf>) {
        let (walk, marks) = self.prepare(tag, found, leaf);
        walk.insert(tag, iova, &found.translated, marks);
    }

    /// The same, but what is cached already stays. Returns whether there was nothing.
    pub(super) fn insert_new(&self, tag: Tag, iova: Iova, found: &Found, leaf: Leaf) -> bool {
        let (walk, marks) = self.prepare(tag, found, Some(leaf));
        walk.insert_new(tag, iova, &found.translated, marks)
    }

    /// How it is cached, once it is known what has to be known of it.
    fn prepare(&self, tag: Tag, found: &Found, leaf: Option<Leaf>) -> (Walk<'_>, Marks) {
        if let Tag::Global { .. } = tag {
            self.caches.globals.store(true, Ordering::Release);
        }
        let mut marks = if found.clean { CLEAN } else { Marks::NONE };
        if let Some(leaf) = leaf {
            marks = marks.and(leaf.marks());
            if found.translated.size < leaf.size() && self.split & leaf.bit() == 0 {
                self.caches.split.fetch_or(leaf.bit(), Ordering::AcqRel);
                // Who invalidates at this moment may not know of it yet.
                return (self.walk.outrun_by_any(), marks);
            }
        }
        (self.walk, marks)
    }
}

/// What a walk has found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) translated: Translated,
    /// Whether a write has to mark it first.
    clean: bool,
}

impl Found {
    /// A leaf that a write has yet to mark is found again by that.
    pub(super) fn new(mut translated: Translated, clean: bool) -> Self {
        if clean {
            translated.access.remove(Access::WRITE);
        }
        Self { translated, clean }
    }
}

/// Whether a cached translation has to be walked again for an access that it does not permit.
pub(super) fn is_to_be_marked(cached: &Cached, wanted: Access) -> bool {
    wanted.writes() && cached.marks.contains(CLEAN)
}
