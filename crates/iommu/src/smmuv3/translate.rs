//! What a stream table entry, and the structures behind it, do to requests.

use std::fmt;
use std::sync::Arc;

use swiommu_addr::{Address, Iova};
use swiommu_pgtable::Access;
use swiommu_pgtable::fmt::ArmS2;

use super::caches::{Found, Leaf, Tag, is_to_be_marked};
use super::descriptors::{Descriptors, GuestStructures, Parsed};
use super::fault::{Handling, Wrong, event_of};
use super::spec::{
    Class, Context, DefaultSubstream, Event, EventId, FaultStage, Ste, SteRule, Transaction,
};
use super::unit::Shared;
use super::{SmmuStage1, SmmuStage2, SmmuViommu, StreamId, stage1};
use crate::two_stage::{GuestMemory, HostWalker, trace_host};
use crate::{Fault, Marks, Pasid, Retention, Stage, Tlb, Trace, Translate, Translated, VirtId};

/// Requests of a stream, or of one of its substreams.
pub(super) struct Requester {
    pub(super) shared: Arc<Shared>,
    pub(super) stream: StreamId,
    pub(super) substream: Option<u32>,
    pub(super) stages: Stages,
    pub(super) guest: Option<Guest>,
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
    /// What is wrong with the entry, if anything.
    rule: Option<SteRule>,
    /// The device's own cache, while the guest lets it have one.
    atc: Option<Arc<Tlb>>,
}

impl Nested {
    pub(super) fn new(
        shared: &Shared,
        second: &Arc<SmmuStage2>,
        ste: Ste,
        atc: Option<Arc<Tlb>>,
    ) -> Self {
        Self {
            second: second.clone(),
            ste,
            rule: ste.broken_rule(&shared.registers),
            atc: atc.filter(|_| ste.ats()),
        }
    }
}

/// What tags the entries of a device's own cache.
pub(super) fn atc_tag(substream: Option<u32>) -> u64 {
    const HAS_SUBSTREAM: u64 = 1 << 32;
    substream.map_or(0, |substream| u64::from(substream) | HAS_SUBSTREAM)
}

/// Which descriptor a request uses.
enum Selected {
    Descriptor(u32),
    BypassStage1,
}

impl Requester {
    fn find(&self, iova: Iova, wanted: Access) -> Result<Found, Wrong> {
        match &self.stages {
            Stages::Abort => Err(Wrong::silent(&"the guest's entry aborts all requests")),
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
        let tag = Tag::Stage2 {
            vmid: domain.vmid(),
        };
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
        let parsed = self.descriptor(nested, substream, &structures)?;
        let context = parsed
            .as_ref()
            .as_ref()
            .map_err(|rule| Wrong::new(EventId::BadCd, rule))?;
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
        if let Some(cached) = descriptors.lookup(self.stream, substream) {
            return Ok(cached);
        }
        descriptors
            .fetch(self.stream, substream, &nested.ste, structures)
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

    /// The walk that would be, or why there is none.
    fn traced(&self, iova: Iova) -> Result<Trace, Wrong> {
        match &self.stages {
            Stages::Stage1 { domain, .. } => {
                let walker = domain.table.domain.table().walker();
                Ok(trace_host(&walker, Stage::First, iova))
            }
            Stages::Stage2 { domain, .. } if self.substream.is_none() => {
                let walker = domain.table.domain.table().walker();
                Ok(trace_host(&walker, Stage::Second, iova))
            }
            Stages::Nested(nested) => self.trace_nested(nested, iova),
            // There is no walk, whatever the access.
            _ => {
                let found = self.find(iova, Access::USER_READ)?;
                Ok(Trace::without_walk(Ok(found.translated)))
            }
        }
    }

    fn trace_nested(&self, nested: &Nested, iova: Iova) -> Result<Trace, Wrong> {
        if let Some(rule) = nested.rule {
            return Err(Wrong::new(EventId::BadSte, &rule));
        }
        let walker = nested.second.table.domain.table().walker();
        let Selected::Descriptor(substream) = self.select(&nested.ste)? else {
            return Ok(trace_host(&walker, Stage::Second, iova));
        };
        let structures = GuestStructures {
            stage2: self.guest_memory(&walker),
            memory: &self.shared.memory,
            unit: &self.shared.registers,
        };
        let parsed = Descriptors::new(Retention::Off)
            .fetch(self.stream, substream, &nested.ste, &structures)
            .map_err(|none| Wrong::descriptor(&none))?;
        let context = parsed.as_ref().as_ref();
        let context = context.map_err(|rule| Wrong::new(EventId::BadCd, rule))?;
        let trace = context.half_of(iova).and_then(|(half, address)| {
            stage1::trace(context, half, &walker, &self.shared.memory, address)
        });
        trace.ok_or_else(|| {
            let text = format!("{iova} is not an input address of the descriptor");
            Wrong::new(EventId::Translation, &text)
        })
    }

    /// Tells whoever has to know, and what becomes of the request.
    fn refuse(&self, wrong: Wrong, iova: Iova, wanted: Access) -> Fault {
        let (stream, substream) = (self.stream, self.substream);
        let Wrong {
            id,
            stage,
            class,
            text,
            handling,
        } = wrong;
        tracing::debug!(%stream, substream, %iova, code = id.code(), "DMA fault: {text}");
        let reason = format!("{id}: {text}");
        if handling == Handling::Stall {
            return Fault::requestable(reason);
        }
        let for_guest = id.is_for_guests() && stage == FaultStage::One;
        if let Some(guest) = &self.guest
            && for_guest
            && handling == Handling::Record
        {
            let transaction = Transaction {
                stream: stream.0,
                substream,
                address: iova,
                access: wanted,
            };
            let event = Event {
                id,
                transaction,
                stage,
                class,
                stall: None,
            };
            guest.viommu.report(guest.id, event);
        }
        Fault::abort(reason)
    }

    fn atc(&self) -> Option<&Tlb> {
        match &self.stages {
            Stages::Nested(nested) => nested.atc.as_deref(),
            _ => None,
        }
    }
}

impl Translate for Requester {
    #[inline]
    fn translate(&self, iova: Iova, wanted: Access) -> Result<Translated, Fault> {
        let find = || {
            let found = self.find(iova, wanted);
            found.map_err(|wrong| self.refuse(wrong, iova, wanted))
        };
        let Some(atc) = self.atc() else {
            return Ok(find()?.translated);
        };
        let tag = atc_tag(self.substream);
        if let Some(hit) = atc.lookup(tag, iova)
            && hit.translated.access.contains(wanted)
        {
            return Ok(hit.translated);
        }
        // The device asks the unit, and where that has no answer, it makes the request untranslated, so that the fault is told.
        let walk = atc.begin_walk();
        let translated = find()?.translated;
        walk.insert(tag, iova, &translated, Marks::NONE);
        Ok(translated)
    }

    fn trace(&self, iova: Iova) -> Trace {
        let traced = self.traced(iova);
        traced.unwrap_or_else(|wrong| {
            Trace::without_walk(Err(format!("{}: {}", wrong.id, wrong.text)))
        })
    }

    fn of_pasid(self: Arc<Self>, pasid: Pasid) -> Option<Arc<dyn Translate>> {
        let stages = match &self.stages {
            Stages::Stage1 { .. } => Stages::NoDescriptor,
            other => other.clone(),
        };
        Some(Arc::new(Self {
            shared: self.shared.clone(),
            stream: self.stream,
            substream: Some(pasid.0),
            stages,
            guest: self.guest.clone(),
        }))
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
