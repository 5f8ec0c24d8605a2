//! VEVENTQ: what a virtual IOMMU reports to its guest (§6.2).

mod file;
mod queue;

use std::sync::Arc;

pub(crate) use queue::EventQueue;
use swiommu_files::{FdNumber, InstallFlags};

use super::Viommu;
use crate::Error;
use crate::ioctl::Call;
use crate::object::{Draft, Headed, Header, Held, Object, ObjectId};

/// The largest depth of a queue.
const MAX_DEPTH: u32 = 1 << 19;

/// An event queue as an object.
#[derive(Debug)]
pub(crate) struct Veventq {
    pub(crate) header: Header,
    pub(crate) viommu: Held<Viommu>,
    pub(crate) event_type: u32,
    pub(crate) queue: EventQueue,
}

/// `IOMMU_VEVENTQ_ALLOC`: makes a queue, and opens its file for the caller.
pub(crate) fn alloc(
    call: &Call<'_>,
    viommu: ObjectId,
    event_type: u32,
    depth: u32,
) -> Result<(Draft, FdNumber), Error> {
    if depth == 0 || depth > MAX_DEPTH {
        return Err(Error::BadValue {
            field: "veventq_depth",
            value: depth.into(),
        });
    }
    let state = call.state();
    let viommu = state.objects.get::<Viommu>(viommu)?;
    let reservation = state.objects.reserve(state)?;
    let mut queues = viommu.events.queues.lock();
    if queues
        .get(&event_type)
        .is_some_and(|queue| queue.strong_count() > 0)
    {
        let viommu = viommu.header().id();
        return Err(Error::HasVeventq { viommu, event_type });
    }
    let header = Header::new(reservation.id());
    let queue = EventQueue::new(depth);
    let veventq = Arc::new(Veventq {
        header,
        viommu: viommu.clone(),
        event_type,
        queue,
    });
    let file = file::EventFile::new(Held::new(veventq.clone()), call.context().clone());
    let flags = InstallFlags::CLOEXEC | InstallFlags::EVENTS;
    let fd = call.install(Arc::new(file), flags)?;
    queues.insert(event_type, Arc::downgrade(&veventq));
    drop(queues);
    Ok((Draft::new(reservation, Object::Veventq(veventq)), fd))
}

impl Veventq {
    /// Makes room for another queue of the type.
    pub(crate) fn teardown(&self) {
        self.viommu.events.queues.lock().remove(&self.event_type);
    }
}
