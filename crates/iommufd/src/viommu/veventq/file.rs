//! The file of an event queue: events are read from it.

use std::sync::Arc;

use swiommu_abi::veventq::IommufdVeventHeader;
use swiommu_addr::{Address, HvaRange};
use swiommu_files::{Caller, File, Refusal, Stat, WaitQueue};
use zerocopy::IntoBytes;

use super::Veventq;
use crate::object::Held;
use crate::{Context, Error, copy};

/// `[iommufd-viommu-event]`. While it is open the queue cannot be destroyed, and the context stays.
#[derive(Debug)]
pub(crate) struct EventFile {
    // In the order of letting go: the queue must have lost its user when the context ends.
    veventq: Held<Veventq>,
    _context: Arc<Context>,
}

impl EventFile {
    pub(crate) fn new(veventq: Held<Veventq>, context: Arc<Context>) -> Self {
        Self {
            veventq,
            _context: context,
        }
    }
}

impl File for EventFile {
    fn name(&self) -> &'static str {
        "anon_inode:[iommufd-viommu-event]"
    }

    fn stat(&self) -> Stat {
        Stat::Anonymous
    }

    fn read(&self, caller: &dyn Caller, into: Option<HvaRange>) -> Result<usize, Refusal> {
        let len = into.map_or(Some(0), HvaRange::len);
        let room = len
            .and_then(|len| usize::try_from(len).ok())
            .unwrap_or(usize::MAX);
        let Some(into) = into.filter(|_| room >= size_of::<IommufdVeventHeader>()) else {
            return Err(Error::EventTooLarge(size_of::<IommufdVeventHeader>()).into());
        };
        let delivered = self.veventq.queue.deliver(room, |done, header, data| {
            let to = into.start().wrapping_add(done as u64);
            let bytes = [header.as_bytes(), data].concat();
            copy::to_user(caller, to, &bytes)
        })?;
        Ok(delivered)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(self.veventq.queue.wait_queue())
    }
}
