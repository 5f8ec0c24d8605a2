//! What a PASID-table entry does to requests.

use std::fmt;
use std::sync::Arc;

use swiommu_addr::{Gpa, Iova, Pa};
use swiommu_pgtable::fmt::X86_64;
use swiommu_pgtable::{Access, Destination, Root, WalkFault, Walker};

use super::domain::{of_domain, tag};
use super::refused::Refused;
use super::spec::{FaultReason, FirstStage, FirstStageFlags, PasidEntry};
use super::unit::Shared;
use super::{SourceId, VtdFirstStage, VtdNested, VtdSecondStage};
use crate::two_stage::{
    EntryPlace, GuestFault, GuestMemory, LocatedTables, in_the_guests_words, through_both,
    trace_guest, trace_host,
};
use crate::{
    Fault, Hit, Marks, Pasid, Scope, Stage, Tag, TagMatch, Trace, Translate, Translated, Ways,
};

/// Requests of a source, or of one of its PASIDs, by its PASID-table entry.
pub(super) struct Requester {
    source: SourceId,
    pasid: Pasid,
    entry: PasidEntry,
    stages: Stages,
    /// The requests that the entry enables at all.
    permitted: Access,
    /// The guest's table, as the entry says that it is walked.
    guest: Option<(X86_64, Root<Gpa>)>,
    /// Whose what is cached is.
    tag: Tag,
    shared: Arc<Shared>,
}

/// The tables that an entry points to.
pub(super) enum Stages {
    First(Arc<VtdFirstStage>),
    Second(Arc<VtdSecondStage>),
    Nested(Arc<VtdNested>),
}

impl Requester {
    pub(super) fn new(source: SourceId, pasid: Pasid, entry: PasidEntry, stages: Stages) -> Self {
        let (shared, tagged) = match &stages {
            Stages::First(first) => (&first.table.shared, pasid.0),
            Stages::Second(second) => (&second.table.shared, 0),
            Stages::Nested(nested) => (&nested.second.table.shared, pasid.0),
        };
        let first = entry.first();
        Self {
            source,
            pasid,
            entry,
            permitted: permitted(first, &stages),
            guest: first.map(|first| (first_stage_format(first), guest_root(first))),
            tag: tag(entry.domain(), tagged),
            shared: shared.clone(),
            stages,
        }
    }

    /// What Linux invalidates when it takes the entry away: for a first stage of its own what is cached for the PASID, else the domain.
    pub(super) fn torn_down(&self) -> Scope {
        match self.stages {
            Stages::First(_) => Scope::tags(TagMatch::exact(self.tag.number())),
            Stages::Second(_) | Stages::Nested(_) => of_domain(self.entry.domain()),
        }
    }

    /// What is refused before any walk.
    fn gate(&self, wanted: Access) -> Result<(), FaultReason> {
        if wanted.intersects(Access::EXECUTE) {
            return Err(FaultReason::ExecuteDisabled);
        }
        self.entry.first().ok_or(FaultReason::PasidEntryInvalid)?;
        if !self.permitted.contains(wanted) {
            return Err(FaultReason::SupervisorDisabled);
        }
        Ok(())
    }

    /// Walks the tables.
    fn walk_tables(&self, iova: Iova, wanted: Access) -> Result<Translated, Refused> {
        self.gate(wanted)?;
        match &self.stages {
            Stages::First(first) => {
                let walker = first.table.domain.table().walker();
                let found = self.ways().walk(&walker, iova, wanted);
                let found = found.map_err(|fault| Refused::first_stage(&fault))?;
                Ok(single(found, wanted))
            }
            Stages::Second(second) => {
                let walker = second.walker().ok_or(FaultReason::PasidEntryInvalid)?;
                let found = self.ways().walk(&walker, iova, wanted);
                let found = found.map_err(|fault| Refused::second_stage(&fault))?;
                Ok(single(found, wanted))
            }
            Stages::Nested(nested) => self.walk_nested(nested, iova, wanted),
        }
    }

    /// The walk that would be, if the entry says what its stages are.
    fn traced(&self, iova: Iova) -> Option<Trace> {
        Some(match &self.stages {
            Stages::First(first) => {
                trace_host(&first.table.domain.table().walker(), Stage::First, iova)
            }
            Stages::Second(second) => trace_host(&second.walker()?, Stage::Second, iova),
            Stages::Nested(nested) => {
                let first = self.entry.first()?;
                let second = nested.second.walker()?;
                let (format, root) = (first_stage_format(first), guest_root(first));
                trace_guest(format, root, &second, &self.shared.memory, iova)
            }
        })
    }

    /// Walks the tables, and says in the log what is wrong. Apart, so that most walks cost little.
    #[cold]
    #[inline(never)]
    fn walk_or_fault(&self, iova: Iova, wanted: Access) -> Result<Translated, Fault> {
        self.walk_tables(iova, wanted).map_err(|refused| {
            let (source, pasid, code) = (self.source, self.pasid, refused.reason.code());
            tracing::debug!(%source, %pasid, %iova, code, "DMA fault: {refused}");
            let reason = refused.to_string();
            if refused.reason.can_be_requested() {
                Fault::requestable(reason)
            } else {
                Fault::abort(reason)
            }
        })
    }

    fn ways(&self) -> Ways<'_> {
        self.shared.caches.structures.begin_walk(self.tag)
    }

    /// The end of most walks: tables of leaves that are known, leaves that need no mark and permit what is wanted. `None` says nothing; this
    /// is the short cut past [`walk_tables`](Self::walk_tables).
    #[inline]
    fn walk_at_once(&self, iova: Iova, wanted: Access) -> Option<Translated> {
        if !self.permitted.contains(wanted) {
            return None;
        }
        match &self.stages {
            Stages::First(first) => Some(single(first.leaf(self.tag, iova, wanted)?, wanted)),
            Stages::Second(second) => Some(single(second.leaf(iova, wanted)?, wanted)),
            Stages::Nested(nested) => {
                let (format, _) = self.guest.as_ref()?;
                let tables = LocatedTables(&self.shared.memory);
                let structures = &self.shared.caches.structures;
                let inner = structures.leaf(self.tag, format, &tables, iova, wanted)?;
                let inner = inner.destination;
                let gpa = inner.resolve(iova).gpa();
                let outer = nested.second.leaf(Iova::new(gpa.get()), wanted)?;
                Some(combined(&inner, gpa, &outer, wanted))
            }
        }
    }

    /// Walks a guest's first stage, each table of it through the second, and then the second for where it leads.
    fn walk_nested(
        &self,
        nested: &VtdNested,
        iova: Iova,
        wanted: Access,
    ) -> Result<Translated, Refused> {
        let invalid = FaultReason::PasidEntryInvalid;
        let second = nested.second.walker().ok_or(invalid)?;
        let structures = &self.shared.caches.structures;
        let to_second = structures.begin_walk(nested.second.tag());
        let guest = GuestMemory::new(&second, to_second, &self.shared.memory);
        let (format, Root { table, levels }) = self.guest.ok_or(invalid)?;
        let table = EntryPlace::guest(table);
        let walker = Walker::new(format, guest, Root { table, levels }).ok_or(invalid)?;
        let inner = match self.ways().walk(&walker, iova, wanted) {
            // To be marked, an entry is walked to.
            Err(WalkFault::Entry {
                fault: GuestFault::Located,
                ..
            }) => walker.walk(iova, wanted).map(Destination::from),
            found => found,
        };
        let inner =
            inner.map_err(|fault| Refused::guest(&in_the_guests_words(fault, &walker, iova)))?;
        let gpa = inner.resolve(iova).gpa();
        let outer = guest
            .translate(gpa, wanted)
            .map_err(|fault| Refused::behind_guest(&fault, iova, gpa))?;
        Ok(combined(&inner, gpa, &outer, wanted))
    }
}

/// The requests that an entry enables, whatever the tables permit.
fn permitted(first: Option<FirstStage>, stages: &Stages) -> Access {
    let data = Access::READ | Access::WRITE;
    let supervisor = first.is_some_and(|first| first.flags.contains(FirstStageFlags::SRE));
    match stages {
        Stages::First(_) | Stages::Nested(_) if !supervisor => data & Access::USER,
        _ => data,
    }
}

/// What the walks of both stages found.
#[inline]
fn combined(
    inner: &Destination<EntryPlace>,
    gpa: Gpa,
    outer: &Destination<Pa>,
    wanted: Access,
) -> Translated {
    let found = through_both((inner.size, inner.access), gpa, outer);
    unless_clean(found, wanted)
}

/// What the walk of the only stage found.
#[inline]
fn single(found: Destination<Pa>, wanted: Access) -> Translated {
    unless_clean(found.into(), wanted)
}

/// A leaf that was walked for reading may not be marked dirty yet, so a later write must walk again.
#[inline]
fn unless_clean(mut found: Translated, wanted: Access) -> Translated {
    if !wanted.writes() {
        found.access.remove(Access::WRITE);
    }
    found
}

fn guest_root(first: FirstStage) -> Root<Gpa> {
    let five_level = first.flags.contains(FirstStageFlags::FIVE_LEVEL);
    Root {
        table: first.guest_root(),
        levels: if five_level { 5 } else { 4 },
    }
}

fn first_stage_format(first: FirstStage) -> X86_64 {
    let mut format = if first.flags.contains(FirstStageFlags::FIVE_LEVEL) {
        X86_64::five_level()
    } else {
        X86_64::four_level()
    };
    if first.flags.contains(FirstStageFlags::WPE) {
        format = format.with_write_protect();
    }
    if first.flags.contains(FirstStageFlags::EAFE) {
        format = format.with_extended_accessed_flag();
    }
    format
}

impl Translate for Requester {
    fn cached(&self, iova: Iova, wanted: Access) -> Option<Hit> {
        let hit = self.shared.caches.tlb.lookup(self.tag, iova)?;
        hit.permitting(wanted)
    }

    fn walk(&self, iova: Iova, wanted: Access) -> Result<Translated, Fault> {
        let walk = self.shared.caches.tlb.begin_walk();
        let mut found = match self.walk_at_once(iova, wanted) {
            Some(found) => found,
            None => self.walk_or_fault(iova, wanted)?,
        };
        // What finds the entry again has not passed the gate.
        found.access &= self.permitted;
        walk.insert(self.tag, iova, &found, Marks::NONE);
        Ok(found)
    }

    fn trace(&self, iova: Iova) -> Trace {
        self.traced(iova)
            .unwrap_or_else(|| Trace::without_walk(Err(FaultReason::PasidEntryInvalid.to_string())))
    }
}

impl fmt::Debug for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requester")
            .field("source", &self.source)
            .field("pasid", &self.pasid)
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}
