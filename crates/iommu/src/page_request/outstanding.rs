//! The page requests of a device: it asks for a page and waits for the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use swiommu_addr::Iova;
use swiommu_pgtable::Access;

use crate::{
    PageRequest, PageRequestHandler, PageRequestPerm, PageRequestPosition, PageResponse, Pasid,
};

/// How long a device waits for an answer before it gives up: nobody may wait for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// The page requests of one device.
#[derive(Debug)]
pub(crate) struct Outstanding {
    /// How many numbers groups have.
    numbers: u32,
    handler: Mutex<Option<Arc<dyn PageRequestHandler>>>,
    next_group: AtomicU32,
    /// Groups that were asked for, and their answers.
    groups: Mutex<BTreeMap<(Pasid, u32), Option<PageResponse>>>,
    answered: Condvar,
}

impl Outstanding {
    /// None yet. Groups are numbered from 0 to `numbers - 1`, and again from 0.
    pub(crate) fn new(numbers: u32) -> Arc<Self> {
        Arc::new(Self {
            numbers,
            handler: Mutex::default(),
            next_group: AtomicU32::new(0),
            groups: Mutex::default(),
            answered: Condvar::new(),
        })
    }

    pub(crate) fn set_handler(&self, handler: Option<Arc<dyn PageRequestHandler>>) {
        *self.handler.lock() = handler;
    }

    pub(crate) fn respond(&self, pasid: Pasid, group: u32, response: PageResponse) {
        if let Some(answer) = self.groups.lock().get_mut(&(pasid, group)) {
            *answer = Some(response);
            self.answered.notify_all();
        }
    }

    /// Asks for an address, in a group of its own, and waits for the answer.
    pub(crate) fn ask(&self, pasid: Pasid, iova: Iova, wanted: Access) -> PageResponse {
        let Some(handler) = self.handler.lock().clone() else {
            return PageResponse::Invalid;
        };
        let group = self.next_group.fetch_add(1, Ordering::Relaxed) % self.numbers;
        let key = (pasid, group);
        self.groups.lock().insert(key, None);
        handler.handle(PageRequest {
            pasid,
            group,
            perm: perm(wanted),
            address: iova,
            position: PageRequestPosition::Last,
        });
        let mut groups = self.groups.lock();
        while groups.get(&key).is_some_and(Option::is_none) {
            if self.answered.wait_for(&mut groups, PATIENCE).timed_out() {
                tracing::warn!(%pasid, group, %iova, "nobody answers a page request: giving up");
                break;
            }
        }
        let answer = groups.remove(&key).flatten();
        answer.unwrap_or(PageResponse::Invalid)
    }
}

fn perm(wanted: Access) -> PageRequestPerm {
    let mut perm = PageRequestPerm::empty();
    perm.set(PageRequestPerm::READ, wanted.intersects(Access::READ));
    perm.set(PageRequestPerm::WRITE, wanted.intersects(Access::WRITE));
    perm.set(PageRequestPerm::EXEC, wanted.intersects(Access::EXECUTE));
    perm.set(PageRequestPerm::PRIV, wanted.intersects(Access::PRIVILEGED));
    perm
}
