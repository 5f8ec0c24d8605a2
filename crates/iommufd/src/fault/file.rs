//! The file of a fault queue: page requests are read from it, responses written to it.

use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_abi::fault::{IommuHwptPageResponse, IommuHwptPgfault};
use swiommu_addr::{Address, HvaRange};
use swiommu_files::{Caller, File, Refusal, Stat, WaitQueue};
use zerocopy::IntoBytes;

use super::Fault;
use crate::object::Held;
use crate::{Context, copy};

/// `[iommufd-pgfault]`. While it is open the queue cannot be destroyed, and the context stays.
#[derive(Debug)]
pub(crate) struct FaultFile {
    // In the order of letting go: the queue must have lost its user when the context ends.
    fault: Held<Fault>,
    _context: Arc<Context>,
}

impl FaultFile {
    pub(crate) fn new(fault: Held<Fault>, context: Arc<Context>) -> Self {
        Self {
            fault,
            _context: context,
        }
    }
}

fn whole<T>(range: Option<HvaRange>) -> Result<usize, Refusal> {
    let len = range
        .map_or(Some(0), HvaRange::len)
        .and_then(|len| usize::try_from(len).ok());
    let len = len.unwrap_or(usize::MAX);
    if !len.is_multiple_of(size_of::<T>()) {
        let rule = format!(
            "{len} bytes are no whole number of {} bytes",
            size_of::<T>()
        );
        return Err(Refusal::new(Errno::ESPIPE, rule));
    }
    Ok(len / size_of::<T>())
}

impl File for FaultFile {
    fn name(&self) -> &'static str {
        "anon_inode:[iommufd-pgfault]"
    }

    fn stat(&self) -> Stat {
        Stat::Anonymous
    }

    fn read(&self, caller: &dyn Caller, into: Option<HvaRange>) -> Result<usize, Refusal> {
        let room = whole::<IommuHwptPgfault>(into)?;
        let delivered = self.fault.queue.deliver(room, |first, messages| {
            let Some(into) = into else {
                return Ok(());
            };
            let to = into
                .start()
                .wrapping_add((first * size_of::<IommuHwptPgfault>()) as u64);
            copy::to_user(caller, to, messages.as_bytes())
        })?;
        Ok(delivered * size_of::<IommuHwptPgfault>())
    }

    fn write(&self, caller: &dyn Caller, from: Option<HvaRange>) -> Result<usize, Refusal> {
        let count = whole::<IommuHwptPageResponse>(from)?;
        let Some(from) = from else {
            return Ok(0);
        };
        for n in 0..count {
            let done = n * size_of::<IommuHwptPageResponse>();
            let at = from.start().wrapping_add(done as u64);
            let mut response = IommuHwptPageResponse::default();
            let answered = copy::from_user(caller, at, response.as_mut_bytes())
                .and_then(|()| self.fault.queue.respond(response));
            match answered {
                Ok(()) => {}
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count * size_of::<IommuHwptPageResponse>())
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(self.fault.queue.wait_queue())
    }
}
