//! A guest's structures in front of a second stage.

use std::sync::Arc;

use swiommu_addr::{Iova, Pa};
use swiommu_pgtable::fmt::ArmS2;
use swiommu_pgtable::{Access, Destination};

use super::{Requester, Stages};
use crate::Translated;
use crate::smmuv3::caches::{Found, Miss, Tag};
use crate::smmuv3::descriptors::{EntryId, GuestStructures, Parsed};
use crate::smmuv3::fault::Wrong;
use crate::smmuv3::spec::{Class, Context, DefaultSubstream, EventId, Ste, SteRule};
use crate::smmuv3::stage1::FirstStage;
use crate::smmuv3::unit::Shared;
use crate::smmuv3::{SmmuStage2, StreamId, stage1};
use crate::two_stage::{GuestMemory, HostWalker, through_both};

/// A guest's structures, behind a second stage.
pub(in crate::smmuv3) struct Nested {
    pub(super) second: Arc<SmmuStage2>,
    pub(super) ste: Ste,
    pub(super) entry: EntryId,
    /// What is wrong with the entry, if anything.
    pub(super) rule: Option<SteRule>,
}

impl Nested {
    pub(in crate::smmuv3) fn new(
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
pub(super) enum Selected {
    Descriptor(u32),
    BypassStage1,
}

impl Requester {
    pub(super) fn find_nested(
        &self,
        nested: &Nested,
        miss: &Miss<'_>,
        iova: Iova,
        wanted: Access,
    ) -> Result<Translated, Wrong> {
        if let Some(rule) = nested.rule {
            return Err(Wrong::new(EventId::BadSte, &rule));
        }
        let substream = match self.select(&nested.ste)? {
            Selected::Descriptor(substream) => substream,
            Selected::BypassStage1 => return self.bypass_stage1(nested, miss, iova, wanted),
        };
        let walker: HostWalker<'_, ArmS2<12>> = nested.second.table.domain.table().walker();
        let to_second = miss.ways(nested.second.tag());
        let structures = GuestStructures {
            stage2: GuestMemory::new(&walker, to_second, &self.shared.memory),
            memory: &self.shared.memory,
            unit: &self.shared.registers,
        };
        let invalidations = self.shared.caches.descriptors.invalidations();
        let parsed = self.descriptor(nested, substream, &structures)?;
        let context = parsed.as_ref().as_ref();
        let context = context.map_err(|rule| Wrong::new(EventId::BadCd, rule))?;
        self.recent.set(invalidations, context);
        let request = (iova, wanted);
        self.find_in_context(nested, context, &structures.stage2, miss, request)
            .map_err(|wrong| wrong.in_context(context).in_entry(&nested.ste))
    }

    /// The end of most walks: a known descriptor, a known table of the guest's leaves and one of the second stage, and nothing cached so
    /// far, to be marked or to be refused. `None` says nothing; this is the short cut past [`find_nested`](Self::find_nested).
    #[inline]
    pub(super) fn find_at_once(
        &self,
        miss: &Miss<'_>,
        iova: Iova,
        wanted: Access,
    ) -> Option<Translated> {
        let Stages::Nested(nested) = &self.stages else {
            return None;
        };
        let caches = &self.shared.caches;
        if nested.rule.is_some() || caches.has_globals() {
            return None;
        }
        let Selected::Descriptor(substream) = self.select(&nested.ste).ok()? else {
            return None;
        };
        let invalidations = caches.descriptors.invalidations();
        let parsed = caches.descriptors.lookup(nested.entry, substream)?;
        let context = parsed.as_ref().as_ref().ok()?;
        self.recent.set(invalidations, context);
        let (half, address) = context.half_of(iova)?;
        let (vmid, asid) = (nested.ste.vmid(), context.asid);
        let own = Tag::Asid { vmid, asid };
        let structures = (caches.structures(), own.into());
        let memory = &self.shared.memory;
        let inner = stage1::leaf(context, half, memory, structures, (address, wanted))?;
        if inner.is_global() {
            return None;
        }
        let outer = nested.second.leaf(inner.ipa(), wanted)?;
        let found = combined(&inner, &outer);
        miss.insert_new(own, address, &found, inner.leaf())
            .then_some(found.translated)
    }

    /// The substream whose descriptor a request uses (`S1CDMax`, `S1DSS`).
    pub(super) fn select(&self, ste: &Ste) -> Result<Selected, Wrong> {
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

    fn bypass_stage1(
        &self,
        nested: &Nested,
        miss: &Miss<'_>,
        iova: Iova,
        wanted: Access,
    ) -> Result<Translated, Wrong> {
        let size = self.shared.registers.output();
        if !size.holds(iova.get()) {
            let bits = size.bits();
            return Err(Wrong::new(
                EventId::AddressSize,
                &format!("{iova} bypasses stage 1 and has more than {bits} bits"),
            ));
        }
        let found = self.find_stage2(&nested.second, miss, iova, wanted);
        found.map_err(|wrong| wrong.in_entry(&nested.ste))
    }

    /// Walks a guest's first stage, each table of it through the second, and then the second for where it leads.
    fn find_in_context(
        &self,
        nested: &Nested,
        context: &Context,
        guest: &GuestMemory<'_, ArmS2<12>>,
        miss: &Miss<'_>,
        (iova, wanted): (Iova, Access),
    ) -> Result<Translated, Wrong> {
        let Some((half, address)) = context.half_of(iova) else {
            return Err(Wrong::new(
                EventId::Translation,
                &format!("{iova} is not an input address of the descriptor"),
            ));
        };
        let (vmid, asid) = (nested.ste.vmid(), context.asid);
        let (own, global) = (Tag::Asid { vmid, asid }, Tag::Global { vmid });
        let tags: &[Tag] = if self.shared.caches.has_globals() {
            &[own, global]
        } else {
            &[own]
        };
        self.cached_or(miss, tags, (address, wanted), || {
            let tables = stage1::Tables {
                context,
                half,
                memory: *guest,
                ways: miss.ways(own),
            };
            let inner = tables
                .walk(address, wanted)
                .ok_or_else(|| Wrong::new(EventId::BadCd, &"no such tables exist"))?
                .map_err(|fault| Wrong::stage1(&fault))?;
            let ipa = inner.ipa();
            let outer = guest
                .translate(ipa, wanted)
                .map_err(|fault| Wrong::stage2(Class::Input, ipa, &fault))?;
            let tag = if inner.is_global() { global } else { own };
            Ok((tag, combined(&inner, &outer), Some(inner.leaf())))
        })
    }
}

/// What the walks of both stages found.
#[inline]
fn combined(inner: &FirstStage, outer: &Destination<Pa>) -> Found {
    let translated = through_both((inner.size(), inner.access()), inner.ipa(), outer);
    Found::new(translated, inner.is_clean())
}
