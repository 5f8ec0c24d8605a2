//! Groups of page requests: waiting, or delivered and not yet answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use swiommu_abi::fault::{
    IommuHwptPageResponse, IommuHwptPgfault, IommuHwptPgfaultFlags, IommufdPageResponseCode,
};
use swiommu_files::{Readiness, WaitQueue};
use swiommu_iommu::{Endpoint, PageRequest, PageResponse, Pasid};

use crate::Error;
use crate::object::ObjectId;

/// Where a group came from: the attachment, and whom to answer.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The DEVICE.
    pub(crate) device: ObjectId,
    /// The PASID that the page table is attached for.
    pub(crate) attached: Pasid,
    pub(crate) endpoint: Arc<dyn Endpoint>,
}

/// A complete group of page requests, which is delivered and answered as a whole.
#[derive(Debug)]
pub(crate) struct FaultGroup {
    pub(crate) source: Source,
    pub(crate) requests: Vec<PageRequest>,
}

impl FaultGroup {
    pub(crate) fn respond(&self, response: PageResponse) {
        if let Some(last) = self.requests.last() {
            self.source
                .endpoint
                .respond(last.pasid, last.group, response);
        }
    }

    /// The group as the client reads it.
    fn messages(&self, cookie: u32) -> Vec<IommuHwptPgfault> {
        let last = self.requests.len().saturating_sub(1);
        let message = |(n, request): (usize, &PageRequest)| {
            let mut flags = IommuHwptPgfaultFlags::empty();
            flags.set(IommuHwptPgfaultFlags::PASID_VALID, !request.pasid.is_none());
            flags.set(IommuHwptPgfaultFlags::LAST_PAGE, n == last);
            IommuHwptPgfault {
                flags: flags.bits(),
                dev_id: self.source.device.0,
                pasid: request.pasid.0,
                grpid: request.group,
                perm: request.perm.bits(),
                addr: request.address.get(),
                cookie,
                ..IommuHwptPgfault::default()
            }
        };
        self.requests.iter().enumerate().map(message).collect()
    }
}

/// The page requests of the devices that are attached to page tables with this queue.
#[derive(Debug)]
pub(crate) struct FaultQueue {
    groups: Mutex<Groups>,
    /// Responses can always be written. Changes under the lock of `groups`.
    wait_queue: WaitQueue,
}

impl Default for FaultQueue {
    fn default() -> Self {
        Self {
            groups: Mutex::default(),
            wait_queue: WaitQueue::new(Readiness::OUT),
        }
    }
}

#[derive(Debug, Default)]
struct Groups {
    waiting: VecDeque<FaultGroup>,
    /// By cookie.
    delivered: BTreeMap<u32, FaultGroup>,
}

impl Groups {
    fn lowest_free_cookie(&self) -> u32 {
        let taken = (1_u32..)
            .zip(self.delivered.keys())
            .take_while(|(n, used)| n == *used);
        u32::try_from(taken.count())
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    }
}

impl FaultQueue {
    pub(crate) fn push(&self, group: FaultGroup) {
        let mut groups = self.groups.lock();
        groups.waiting.push_back(group);
        self.wait_queue.wake(Readiness::IN);
    }

    /// How many groups are to be read, and how many to be answered.
    pub(crate) fn groups(&self) -> (usize, usize) {
        let groups = self.groups.lock();
        (groups.waiting.len(), groups.delivered.len())
    }

    pub(crate) fn wait_queue(&self) -> &WaitQueue {
        &self.wait_queue
    }

    /// Says so when none is left to read.
    fn settle(&self, groups: &Groups) {
        if groups.waiting.is_empty() {
            self.wait_queue.clear(Readiness::IN);
        }
    }

    /// Delivers whole groups, first come first served, for which there is `room` for messages. Returns how many were delivered.
    ///
    /// # Errors
    /// `EINVAL` when the first group does not fit; the error of `write` when the first cannot be written. A group that could not be
    /// written waits again, as the first.
    pub(crate) fn deliver(
        &self,
        room: usize,
        mut write: impl FnMut(usize, &[IommuHwptPgfault]) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let mut groups = self.groups.lock();
        let mut done = 0;
        while let Some(group) = groups.waiting.pop_front() {
            if group.requests.len() > room - done {
                groups.waiting.push_front(group);
                if done == 0 {
                    return Err(Error::FaultGroupTooLarge);
                }
                break;
            }
            let cookie = groups.lowest_free_cookie();
            let messages = group.messages(cookie);
            if let Err(error) = write(done, &messages) {
                groups.waiting.push_front(group);
                return if done == 0 { Err(error) } else { Ok(done) };
            }
            done += messages.len();
            groups.delivered.insert(cookie, group);
        }
        self.settle(&groups);
        Ok(done)
    }

    /// Answers a delivered group.
    ///
    /// # Errors
    /// `EINVAL` for a code that is none, and then for a cookie that is not waiting for an answer.
    pub(crate) fn respond(&self, response: IommuHwptPageResponse) -> Result<(), Error> {
        let code = match IommufdPageResponseCode(response.code) {
            IommufdPageResponseCode::SUCCESS => PageResponse::Success,
            IommufdPageResponseCode::INVALID => PageResponse::Invalid,
            _ => {
                return Err(Error::BadValue {
                    field: "code",
                    value: response.code.into(),
                });
            }
        };
        let group = self.groups.lock().delivered.remove(&response.cookie);
        let unknown = Error::BadValue {
            field: "cookie",
            value: response.cookie.into(),
        };
        group.ok_or(unknown)?.respond(code);
        Ok(())
    }

    /// Forgets the groups of an attachment that has ended, and answers them.
    pub(crate) fn forget(&self, device: ObjectId, attached: Pasid) {
        self.forget_if(|source| source.device == device && source.attached == attached);
    }

    /// Forgets everything, and answers it.
    pub(crate) fn forget_all(&self) {
        self.forget_if(|_| true);
    }

    fn forget_if(&self, gone: impl Fn(&Source) -> bool) {
        let forgotten: Vec<FaultGroup> = {
            let mut groups = self.groups.lock();
            let (mut forgotten, waiting): (Vec<_>, Vec<_>) = groups
                .waiting
                .drain(..)
                .partition(|group| gone(&group.source));
            groups.waiting = waiting.into();
            forgotten.extend(
                groups
                    .delivered
                    .extract_if(.., |_, g| gone(&g.source))
                    .map(|(_, g)| g),
            );
            self.settle(&groups);
            forgotten
        };
        for group in forgotten {
            group.respond(PageResponse::Invalid);
        }
    }
}
