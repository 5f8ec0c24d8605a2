//! `HW_QUEUE`: a queue in guest memory that the hardware reads by itself (§2.21, §7.4).

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use swiommu_addr::{Address, Gpa, Iova, IovaRange, Pa};
use swiommu_injection::{Step, step};
use swiommu_iommu::HwQueueRequest;
use swiommu_mem::PAGE;
use swiommu_sabotage::Fault;

use super::{Queues, Viommu};
use crate::Error;
use crate::access::{AccessKind, Hold, NoClient, Pinned, SoftwareAccess};
use crate::object::{Draft, Headed, Header, Held, Object, ObjectId};
use crate::state::State;

/// A hardware queue as an object. Its memory is pinned, and the areas that it lies in cannot be unmapped.
#[derive(Debug)]
pub(crate) struct HwQueue {
    pub(crate) header: Header,
    pub(crate) viommu: Held<Viommu>,
    pub(crate) index: u32,
    /// The queue below it, which cannot go before it.
    _lower: Option<Held<HwQueue>>,
    // In the order of letting go.
    pinned: Mutex<Option<Pinned>>,
    _access: SoftwareAccess,
}

/// What queue to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) viommu: ObjectId,
    pub(crate) queue_type: u32,
    pub(crate) index: u32,
    pub(crate) base: Gpa,
    pub(crate) len: u64,
}

/// `IOMMU_HW_QUEUE_ALLOC`, from the checks of its length on.
pub(crate) fn alloc(state: &Arc<State>, wanted: Wanted) -> Result<Draft, Error> {
    let Wanted {
        queue_type,
        index,
        base,
        len,
        ..
    } = wanted;
    let bytes = crate::ioas::checked_range(Iova::new(base.get()), len)?;
    let viommu = state.objects.get::<Viommu>(wanted.viommu)?;
    viommu.driver.check_queue_type(queue_type)?;
    let pages = bytes.align_out(PAGE);
    if pages.end().is_none() {
        return Err(Error::QueueOutOfRange(bytes));
    }
    let reservation = state.objects.reserve(state)?;
    let no_client: Weak<NoClient> = Weak::new();
    let access = SoftwareAccess::new(state, AccessKind::Pins, no_client)?;
    access.attach(viommu.parent.ioas.header().id())?;
    let pinned = access.hold(pages, swiommu_mem::Access::Read, Hold::Lock)?;
    let memory = contiguous(&pinned, pages)?.wrapping_add(base.get() - pages.start().get());
    let request = HwQueueRequest {
        queue_type,
        index,
        base,
        len,
        memory,
    };
    let mut queues = viommu.queues.lock();
    let lower = index.checked_sub(1).and_then(|lower| queues.get(&lower));
    let lower = lower.and_then(Weak::upgrade).and_then(|lower| {
        let held = Held::of_open(lower.clone());
        if held.is_none() {
            lower.leave(&mut queues);
        }
        held
    });
    step(Step::Driver)?;
    viommu.driver.add_queue(&request)?;
    let queue = Arc::new(HwQueue {
        header: Header::new(reservation.id()),
        viommu: viommu.clone(),
        index,
        _lower: lower.filter(|_| !Fault::ForgetLowerQueue.is_on()),
        pinned: Mutex::new(Some(pinned)),
        _access: access,
    });
    queues.insert(index, Arc::downgrade(&queue));
    drop(queues);
    Ok(Draft::new(reservation, Object::HwQueue(queue)))
}

/// Where pinned pages lie, if that is one piece.
fn contiguous(pinned: &Pinned, pages: IovaRange) -> Result<Pa, Error> {
    let mut runs = pinned.memory();
    let first = runs.next().ok_or(Error::QueueScattered(pages))?.memory;
    let mut next = first.end();
    for run in runs {
        if Some(run.memory.start()) != next {
            return Err(Error::QueueScattered(pages));
        }
        next = run.memory.end();
    }
    Ok(first.start())
}

impl HwQueue {
    /// Takes the queue away from the hardware, and then lets its memory go.
    pub(crate) fn teardown(&self) {
        self.leave(&mut self.viommu.queues.lock());
        drop(self.pinned.lock().take());
    }

    /// Takes the queue away from the hardware, unless that is done.
    fn leave(&self, queues: &mut Queues) {
        let is_it = |queue: &Weak<Self>| std::ptr::eq(queue.as_ptr(), self);
        if queues.get(&self.index).is_some_and(is_it) {
            queues.remove(&self.index);
            self.viommu.driver.remove_queue(self.index);
        }
    }
}
