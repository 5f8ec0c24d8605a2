//! What a stream table entry, and the structures behind it, do to requests.

mod nested;
mod trace;

use std::fmt;
use std::sync::Arc;

use swiommu_addr::{Gpa, Iova};
use swiommu_pgtable::Access;

use super::caches::{Found, Leaf, Miss, Tag, is_to_be_marked};
use super::fault::{Handling, Wrong, event_of};
use super::recent::Recent;
use super::spec::{Class, Context, EventId, Ste, Transaction};
use super::unit::Shared;
use super::{SmmuStage1, SmmuStage2, SmmuViommu, StreamId, stage1};
use crate::{Fault, Hit, Pasid, Trace, Translate, Translated, VirtId};

pub(super) use nested::Nested;

/// Requests of a stream, or of one of its substreams.
pub(super) struct Requester {
    shared: Arc<Shared>,
    stream: StreamId,
    substream: Option<u32>,
    stages: Stages,
    guest: Option<Guest>,
    tagged: Tagged,
    recent: Recent,
}

/// Whose what is cached is.
#[derive(Clone, Copy)]
enum Tagged {
    /// One of our tables'.
    Own(crate::Tag),
    /// A guest's, with the ASID of its descriptor.
    Guest { vmid: u16 },
    /// Nothing is cached.
    Nothing,
}

/// Who hears of events that concern a guest, and what the stream is to it.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) viommu: Arc<SmmuViommu>,
    pub(super) id: VirtId,
}

/// What an entry leads to.
#[derive(Clone)]
pub(super) enum Stages {
    /// A guest's entry that aborts.
    Abort,
    /// A descriptor of ours.
    Stage1 {
        domain: Arc<SmmuStage1>,
        context: Context,
    },
    /// A descriptor of ours that is not there.
    NoDescriptor,
    /// A second stage alone.
    Stage2 { domain: Arc<SmmuStage2>, ste: Ste },
    /// A guest's structures.
    Nested(Arc<Nested>),
}

impl Requester {
    pub(super) fn new(
        shared: &Arc<Shared>,
        stream: StreamId,
        substream: Option<u32>,
        stages: Stages,
        guest: Option<Guest>,
    ) -> Self {
        let tagged = match &stages {
            Stages::Stage1 { domain, .. } => Tagged::Own(domain.tag().into()),
            Stages::Stage2 { domain, .. } if substream.is_none() => {
                Tagged::Own(domain.tag().into())
            }
            Stages::Nested(nested) => Tagged::Guest {
                vmid: nested.second.vmid(),
            },
            _ => Tagged::Nothing,
        };
        Self {
            shared: shared.clone(),
            tagged,
            stream,
            substream,
            stages,
            guest,
            recent: Recent::default(),
        }
    }

    /// The second stage of a device that may have translations of its own.
    pub(super) fn second_of_own_cache(&self) -> Option<&Arc<SmmuStage2>> {
        match &self.stages {
            Stages::Nested(nested) if nested.ste.ats() => Some(&nested.second),
            _ => None,
        }
    }

    /// The tag under which a translation is most likely cached, and the address.
    #[inline]
    fn likely(&self, iova: Iova) -> Option<(crate::Tag, Iova)> {
        match self.tagged {
            Tagged::Own(tag) => Some((tag, iova)),
            Tagged::Guest { vmid } => {
                let invalidations = self.shared.caches.descriptors.invalidations();
                let (asid, top_bytes) = self.recent.get(invalidations)?;
                let tag = Tag::Asid { vmid, asid };
                Some((tag.into(), top_bytes.canonical(iova)))
            }
            Tagged::Nothing => None,
        }
    }

    /// Looks for what is not cached, and caches it by `miss`, which was begun before.
    fn find(&self, miss: &Miss<'_>, iova: Iova, wanted: Access) -> Result<Translated, Wrong> {
        match &self.stages {
            Stages::Abort => Err(Wrong::nothing(&"the guest's entry aborts all requests")),
            Stages::NoDescriptor => Err(Wrong::new(
                EventId::BadCd,
                &"nothing is attached to the PASID",
            )),
            Stages::Stage1 { domain, context } => {
                let found = self.find_stage1(domain, miss, iova, wanted);
                found.map_err(|wrong| wrong.in_context(context))
            }
            Stages::Stage2 { .. } if self.substream.is_some() => Err(Wrong::new(
                EventId::BadSubstreamId,
                &"the entry has no stage 1, so there are no substreams",
            )),
            Stages::Stage2 { domain, ste } => {
                let found = self.find_stage2(domain, miss, iova, wanted);
                found.map_err(|wrong| wrong.in_entry(ste))
            }
            Stages::Nested(nested) => self.find_nested(nested, miss, iova, wanted),
        }
    }

    /// What is cached under one of the tags, or what `walk` finds: with its tag, and the leaf of stage 1.
    fn cached_or(
        &self,
        miss: &Miss<'_>,
        tags: &[Tag],
        (iova, wanted): (Iova, Access),
        walk: impl FnOnce() -> Result<(Tag, Found, Option<Leaf>), Wrong>,
    ) -> Result<Translated, Wrong> {
        let caches = &self.shared.caches;
        let known = tags.iter().find_map(|tag| caches.lookup(*tag, iova));
        if let Some(found) = known.and_then(|hit| hit.permitting(wanted)) {
            return Ok(found.into());
        }
        let (tag, found, leaf) = walk()?;
        if known.is_some_and(|known| !is_to_be_marked(&known, wanted)) {
            return Err(Wrong::new(
                EventId::Permission,
                &"the tables permit it by now, but what is cached of them does not",
            ));
        }
        miss.insert(tag, iova, &found, leaf);
        Ok(found.translated)
    }

    fn find_stage1(
        &self,
        domain: &SmmuStage1,
        miss: &Miss<'_>,
        iova: Iova,
        wanted: Access,
    ) -> Result<Translated, Wrong> {
        let tag = domain.tag();
        self.cached_or(miss, &[tag], (iova, wanted), || {
            let table = domain.table.domain.table().walker();
            let found = miss.ways(tag).walk_for(iova, &table, iova, wanted);
            let found = found.map_err(|fault| Wrong::new(event_of(&fault), &fault))?;
            let clean = domain.tracks_dirty() && stage1::is_clean(found.entry);
            Ok((tag, Found::new(found.destination.into(), clean), None))
        })
    }

    fn find_stage2(
        &self,
        domain: &SmmuStage2,
        miss: &Miss<'_>,
        iova: Iova,
        wanted: Access,
    ) -> Result<Translated, Wrong> {
        let tag = domain.tag();
        self.cached_or(miss, &[tag], (iova, wanted), || {
            let table = domain.table.domain.table().walker();
            let walked = miss.ways(tag).walk(&table, iova, wanted);
            let ipa = Gpa::new(iova.get());
            let walked = walked.map_err(|fault| Wrong::stage2(Class::Input, ipa, &fault))?;
            Ok((tag, Found::new(walked.into(), false), None))
        })
    }

    /// Tells whoever has to know. Returns what becomes of the request.
    fn refuse(&self, wrong: Wrong, iova: Iova, wanted: Access) -> Fault {
        let (stream, substream) = (self.stream, self.substream);
        tracing::debug!(%stream, substream, %iova, "DMA fault: {}", wrong.reason);
        match wrong.handling {
            Handling::Stall => return Fault::requestable(wrong.reason),
            Handling::Record => {
                let transaction = Transaction {
                    stream: stream.0,
                    substream,
                    address: iova,
                    access: wanted,
                };
                if let (Some(event), Some(guest)) = (wrong.event(transaction), &self.guest) {
                    guest.viommu.report(guest.id, event);
                }
            }
            Handling::Silent => {}
        }
        Fault::abort(wrong.reason)
    }
}

impl Translate for Requester {
    fn cached(&self, iova: Iova, wanted: Access) -> Option<Hit> {
        let (tag, address) = self.likely(iova)?;
        self.shared.caches.lookup(tag, address)?.permitting(wanted)
    }

    fn walk(&self, iova: Iova, wanted: Access) -> Result<Translated, Fault> {
        // Before a descriptor is looked at: who changes that invalidates both, and may be done with it when the walk begins.
        let miss = self.shared.caches.begin_walk();
        if let Some(found) = self.find_at_once(&miss, iova, wanted) {
            return Ok(found);
        }
        let found = self.find(&miss, iova, wanted);
        found.map_err(|wrong| self.refuse(wrong, iova, wanted))
    }

    fn trace(&self, iova: Iova) -> Trace {
        let traced = self.traced(iova);
        traced.unwrap_or_else(|wrong| Trace::without_walk(Err(wrong.reason)))
    }

    fn of_pasid(self: Arc<Self>, pasid: Pasid) -> Option<Arc<dyn Translate>> {
        let stages = match &self.stages {
            Stages::Stage1 { .. } => Stages::NoDescriptor,
            other => other.clone(),
        };
        let (substream, guest) = (Some(pasid.0), self.guest.clone());
        let requester = Self::new(&self.shared, self.stream, substream, stages, guest);
        Some(Arc::new(requester))
    }
}

impl fmt::Debug for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages = match &self.stages {
            Stages::Abort => "abort",
            Stages::Stage1 { .. } => "stage 1",
            Stages::NoDescriptor => "no descriptor",
            Stages::Stage2 { .. } => "stage 2",
            Stages::Nested(_) => "nested",
        };
        f.debug_struct("Requester")
            .field("stream", &self.stream)
            .field("substream", &self.substream)
            .field("stages", &stages)
            .finish_non_exhaustive()
    }
}
