//! Walks for people to read.

use swiommu_addr::Iova;
use swiommu_pgtable::Access;

use super::nested::{Nested, Selected};
use super::{Requester, Stages};
use crate::smmuv3::descriptors::{Descriptors, GuestStructures};
use crate::smmuv3::fault::Wrong;
use crate::smmuv3::spec::EventId;
use crate::smmuv3::stage1;
use crate::two_stage::{GuestMemory, trace_host};
use crate::{Retention, Stage, Structures, Trace};

impl Requester {
    /// The walk that would be, or why there is none.
    pub(super) fn traced(&self, iova: Iova) -> Result<Trace, Wrong> {
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
                let miss = self.shared.caches.begin_walk();
                let found = self.find(&miss, iova, Access::USER_READ)?;
                Ok(Trace::without_walk(Ok(found)))
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
        let nothing_known = Structures::new(Retention::Off);
        let ways = nothing_known.begin_walk(0);
        let structures = GuestStructures {
            stage2: GuestMemory::new(&walker, ways, &self.shared.memory),
            memory: &self.shared.memory,
            unit: &self.shared.registers,
        };
        let parsed = Descriptors::new(Retention::Off)
            .fetch(nested.entry, substream, &nested.ste, &structures)
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
}
