//! What a stream table entry, and the structures behind it, do to requests.

mod trace;

use std::fmt;
use std::sync::Arc;

use swiommu_addr::{Address, Iova};
use swiommu_pgtable::Access;
use swiommu_pgtable::fmt::ArmS2;

use super::caches::{Found, Leaf, Tag, is_to_be_marked};
use super::descriptors::{EntryId, GuestStructures, Parsed};
use super::fault::{Handling, Wrong, event_of};
use super::recent::Recent;
use super::spec::{Class, Context, DefaultSubstream, EventId, Ste, SteRule, Transaction};
use super::unit::Shared;
use super::{SmmuStage1, SmmuStage2, SmmuViommu, StreamId, stage1};
use crate::two_stage::{GuestMemory, HostWalker};
use crate::{Fault, Pasid, Trace, Translate, Translated, VirtId};

/// Requests of a stream, or of one of its substreams.
pub(super) struct Requester {
    shared: Arc<Shared>,
    stream: StreamId,
    substream: Option<u32>,
    stages: Stages,
    guest: Option<Guest>,
    recent: Recent,
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

/// A guest's structures, behind a second stage.
pub(super) struct Nested {
    second: Arc<SmmuStage2>,
    ste: Ste,
    entry: EntryId,
    /// What is wrong with the entry, if anything.
    rule: Option<SteRule>,
}

impl Nested {
    pub(super) fn new(
        shared: &Shared,
        stream: StreamId,
        second: &Arc<SmmuStage2>,
        ste: Ste,
    ) -> Arc<Self> {
        Arc::new(Self {
            second: second.clone(),
            ste,
            entry: shared.caches.descriptors.entry(stream),
            rule: ste.broken_rule(&shared.registers),
        })
    }
}

/// Which descriptor a request uses.
enum Selected {
    Descriptor(u32),
    BypassStage1,
}

impl Requester {
    pub(super) fn new(
        shared: &Arc<Shared>,
        stream: StreamId,
        substream: Option<u32>,
        stages: Stages,
        guest: Option<Guest>,
    ) -> Self {
        Self {
            shared: shared.clone(),
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

    /// What is cached, where it permits what is wanted. The rest is for [`find`](Self::find).
    #[inline]
    fn cached(&self, iova: Iova, wanted: Access) -> Option<Translated> {
        let caches = &self.shared.caches;
        let found = match &self.stages {
            Stages::Stage1 { domain, .. } => caches.lookup(&[domain.tag()], iova),
            Stages::Stage2 { domain, .. } if self.substream.is_none() => {
                caches.lookup(&[domain.stage2_tag()], iova)
            }
            Stages::Nested(nested) => {
                let (asid, top_bytes) = self.recent.get(caches.descriptors.invalidations()?)?;
                let vmid = nested.second.vmid();
                let tags = [Tag::Asid { vmid, asid }, Tag::Global { vmid }];
                caches.lookup(&tags, top_bytes.canonical(iova))
            }
            _ => None,
        };
        let translated = found?.translated;
        translated.access.contains(wanted).then_some(translated)
    }

    fn find(&self, iova: Iova, wanted: Access) -> Result<Found, Wrong> {
        match &self.stages {
            Stages::Abort => Err(Wrong::nothing(&"the guest's entry aborts all requests")),
            Stages::NoDescriptor => Err(Wrong::new(
                EventId::BadCd,
                &"nothing is attached to the PASID",
            )),
            Stages::Stage1 { domain, context } => self.find_stage1(domain, context, iova, wanted),
            Stages::Stage2 { .. } if self.substream.is_some() => Err(Wrong::new(
                EventId::BadSubstreamId,
                &"the entry has no stage 1, so there are no substreams",
            )),
            Stages::Stage2 { domain, ste } => self.find_stage2(domain, ste, iova, wanted),
            Stages::Nested(nested) => self.find_nested(nested, iova, wanted),
        }
    }

    /// What is cached under one of the tags, or what `walk` finds: with its tag, and the leaf of stage 1.
    fn cached_or(
        &self,
        tags: &[Tag],
        iova: Iova,
        wanted: Access,
        walk: impl FnOnce() -> Result<(Tag, Found, Option<Leaf>), Wrong>,
    ) -> Result<Found, Wrong> {
        let caches = &self.shared.caches;
        let known = caches.lookup(tags, iova);
        if let Some(hit) = known
            && hit.translated.access.contains(wanted)
        {
            let translated = hit.translated;
            return Ok(Found {
                translated,
                clean: false,
            });
        }
        let miss = caches.begin_walk();
        let (tag, found, leaf) = walk()?;
        if known.is_some_and(|known| !is_to_be_marked(&known, wanted)) {
            return Err(Wrong::new(
                EventId::Permission,
                &"the tables permit it by now, but what is cached of them does not",
            ));
        }
        miss.insert(tag, iova, &found, leaf);
        Ok(found)
    }

    fn find_stage1(
        &self,
        domain: &SmmuStage1,
        context: &Context,
        iova: Iova,
        wanted: Access,
    ) -> Result<Found, Wrong> {
        let tag = domain.tag();
        let walk = || {
            let walked = domain.table.domain.table().walker().walk(iova, wanted);
            let walked = walked.map_err(|fault| Wrong::new(event_of(&fault), &fault))?;
            let translated = Translated {
                page: walked.address,
                size: walked.size,
                access: walked.access,
            };
            Ok((
                tag,
                Found::new(translated, wanted, domain.tracks_dirty()),
                None,
            ))
        };
        let found = self.cached_or(&[tag], iova, wanted, walk);
        found.map_err(|wrong| wrong.in_context(context))
    }

    fn find_stage2(
        &self,
        domain: &SmmuStage2,
        ste: &Ste,
        iova: Iova,
        wanted: Access,
    ) -> Result<Found, Wrong> {
        let tag = domain.stage2_tag();
        let walk = || {
            let walked = domain.table.domain.table().walker().walk(iova, wanted);
            let ipa = swiommu_addr::Gpa::new(iova.get());
            let walked = walked.map_err(|fault| Wrong::stage2(Class::Input, ipa, &fault))?;
            let translated = Translated {
                page: walked.address,
                size: walked.size,
                access: walked.access,
            };
            Ok((tag, Found::new(translated, wanted, false), None))
        };
        let found = self.cached_or(&[tag], iova, wanted, walk);
        found.map_err(|wrong| wrong.in_entry(ste))
    }

    fn find_nested(&self, nested: &Nested, iova: Iova, wanted: Access) -> Result<Found, Wrong> {
        if let Some(rule) = nested.rule {
            return Err(Wrong::new(EventId::BadSte, &rule));
        }
        let substream = match self.select(&nested.ste)? {
            Selected::Descriptor(substream) => substream,
            Selected::BypassStage1 => return self.bypass_stage1(nested, iova, wanted),
        };
        let walker: HostWalker<'_, ArmS2<12>> = nested.second.table.domain.table().walker();
        let structures = GuestStructures {
            stage2: self.guest_memory(&walker),
            memory: &self.shared.memory,
            unit: &self.shared.registers,
        };
        let invalidations = self.shared.caches.descriptors.invalidations();
        let parsed = self.descriptor(nested, substream, &structures)?;
        let context = parsed.as_ref().as_ref();
        let context = context.map_err(|rule| Wrong::new(EventId::BadCd, rule))?;
        if let Some(invalidations) = invalidations {
            self.recent.set(invalidations, context);
        }
        self.find_in_context(nested, context, &structures.stage2, iova, wanted)
            .map_err(|wrong| wrong.in_context(context).in_entry(&nested.ste))
    }

    /// The guest's memory behind a second stage. No walk caches are modelled.
    fn guest_memory<'a>(
        &'a self,
        stage2: &'a HostWalker<'a, ArmS2<12>>,
    ) -> GuestMemory<'a, ArmS2<12>> {
        let ways = self.shared.structures.begin_walk(0);
        GuestMemory::new(stage2, ways, &self.shared.memory)
    }

    /// The substream whose descriptor a request uses (`S1CDMax`, `S1DSS`).
    fn select(&self, ste: &Ste) -> Result<Selected, Wrong> {
        let max = if self.shared.registers.ssid_bits() == 0 {
            0
        } else {
            ste.cd_max()
        };
        let disabled = |text: &str| Err(Wrong::new(EventId::StreamDisabled, &text));
        match (self.substream, ste.default_substream()) {
            (Some(substream), _) if u64::from(substream) >> max != 0 || max == 0 => {
                Err(Wrong::new(
                    EventId::BadSubstreamId,
                    &format!("the entry has descriptors for {max} bits of SubstreamID"),
                ))
            }
            (Some(0), DefaultSubstream::Zero) => {
                disabled("substream 0 is for requests without a SubstreamID")
            }
            (Some(substream), _) => Ok(Selected::Descriptor(substream)),
            (None, _) if max == 0 => Ok(Selected::Descriptor(0)),
            (None, DefaultSubstream::Terminate) => {
                disabled("the entry terminates requests without a SubstreamID")
            }
            (None, DefaultSubstream::Bypass) => Ok(Selected::BypassStage1),
            (None, DefaultSubstream::Zero) => Ok(Selected::Descriptor(0)),
        }
    }

    fn descriptor(
        &self,
        nested: &Nested,
        substream: u32,
        structures: &GuestStructures<'_>,
    ) -> Result<Arc<Parsed>, Wrong> {
        let descriptors = &self.shared.caches.descriptors;
        if let Some(cached) = descriptors.lookup(nested.entry, substream) {
            return Ok(cached);
        }
        descriptors
            .fetch(nested.entry, substream, &nested.ste, structures)
            .map_err(|none| Wrong::descriptor(&none).in_entry(&nested.ste))
    }

    fn bypass_stage1(&self, nested: &Nested, iova: Iova, wanted: Access) -> Result<Found, Wrong> {
        let size = self.shared.registers.output();
        if !size.holds(iova.get()) {
            return Err(Wrong::new(
                EventId::AddressSize,
                &format!(
                    "{iova} bypasses stage 1 and has more than {} bits",
                    size.bits()
                ),
            ));
        }
        self.find_stage2(&nested.second, &nested.ste, iova, wanted)
    }

    /// Walks a guest's first stage, each table of it through the second, and then the second for where it leads.
    fn find_in_context(
        &self,
        nested: &Nested,
        context: &Context,
        guest: &GuestMemory<'_, ArmS2<12>>,
        iova: Iova,
        wanted: Access,
    ) -> Result<Found, Wrong> {
        let Some((half, address)) = context.half_of(iova) else {
            return Err(Wrong::new(
                EventId::Translation,
                &format!("{iova} is not an input address of the descriptor"),
            ));
        };
        let (vmid, asid) = (nested.ste.vmid(), context.asid);
        let (own, global) = (Tag::Asid { vmid, asid }, Tag::Global { vmid });
        let walk = || {
            let inner = stage1::walk(context, half, *guest, address, wanted)
                .ok_or_else(|| Wrong::new(EventId::BadCd, &"no such tables exist"))?
                .map_err(|fault| Wrong::stage1(&fault))?;
            let ipa = inner.ipa();
            let outer = guest
                .translate(ipa, wanted)
                .map_err(|fault| Wrong::stage2(Class::Input, ipa, &fault))?;
            let size = inner.size().min(outer.size);
            let translated = Translated {
                page: outer.resolve(Iova::new(ipa.get())).align_down(size),
                size,
                access: inner.access() & outer.access,
            };
            let tag = if inner.is_global() { global } else { own };
            let found = Found::new(translated, wanted, inner.marks);
            Ok((tag, found, Some(inner.leaf())))
        };
        self.cached_or(&[own, global], address, wanted, walk)
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

    /// Looks for what is not cached. Apart, so that a hit costs little.
    #[cold]
    #[inline(never)]
    fn miss(&self, iova: Iova, wanted: Access) -> Result<Translated, Fault> {
        let found = self.find(iova, wanted);
        let found = found.map_err(|wrong| self.refuse(wrong, iova, wanted))?;
        Ok(found.translated)
    }
}

impl Translate for Requester {
    fn translate(&self, iova: Iova, wanted: Access) -> Result<Translated, Fault> {
        match self.cached(iova, wanted) {
            Some(translated) => Ok(translated),
            None => self.miss(iova, wanted),
        }
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
