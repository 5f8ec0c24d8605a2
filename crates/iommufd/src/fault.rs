//! FAULT: a queue of page requests that user space answers (§6.1).

mod file;
mod queue;

use std::sync::Arc;

pub(crate) use queue::{FaultGroup, FaultQueue, Source};
use swiommu_files::{FdNumber, InstallFlags};

use crate::ioctl::Call;
use crate::object::{Draft, Header, Held, Object};
use crate::{Context, Error};

/// A fault queue as an object.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) header: Header,
    pub(crate) queue: FaultQueue,
}

/// `IOMMU_FAULT_QUEUE_ALLOC`: makes a queue, and opens its file for the caller.
pub(crate) fn alloc(call: &Call<'_>) -> Result<(Draft, FdNumber), Error> {
    let context: &Arc<Context> = call.context();
    let reservation = context.state.objects.reserve(&context.state)?;
    let header = Header::new(reservation.id());
    let fault = Arc::new(Fault {
        header,
        queue: FaultQueue::default(),
    });
    let file = file::FaultFile::new(Held::new(fault.clone()), context.clone());
    let flags = InstallFlags::CLOEXEC | InstallFlags::EVENTS;
    let fd = call.install(Arc::new(file), flags)?;
    Ok((Draft::new(reservation, Object::Fault(fault)), fd))
}
