//! Fault queues (§2.16, §6.1).

use swiommu_abi::Errno;

use super::Reference;
use super::objects::Object;
use crate::reply::{Answer, Reply, words};

const MESSAGE: usize = 40;
const PASID_VALID: u32 = 1;
const LAST_PAGE: u32 = 2;

#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) is_open: bool,
    /// What waits to be read or answered, in the order of coming.
    requests: Vec<Request>,
}

/// A page request, which is a group of its own.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) device: u32,
    pub(crate) pasid: u32,
    pub(crate) group: u32,
    pub(crate) perm: u32,
    pub(crate) address: u64,
    /// The PASID of the attachment that it came through.
    attached: u32,
    /// Its cookie, once it was read.
    cookie: Option<u32>,
}

impl Request {
    pub(crate) fn new(device: u32, pasid: u32, group: u32, perm: u32, address: u64) -> Self {
        Self {
            device,
            pasid,
            group,
            perm,
            address,
            attached: pasid,
            cookie: None,
        }
    }

    fn message(&self, cookie: u32) -> Vec<u8> {
        let flags = LAST_PAGE | if self.pasid == 0 { 0 } else { PASID_VALID };
        let mut message = Vec::new();
        for word in [flags, self.device, self.pasid, self.group, self.perm, 0] {
            message.extend(word.to_le_bytes());
        }
        message.extend(self.address.to_le_bytes());
        message.extend(0_u32.to_le_bytes());
        message.extend(cookie.to_le_bytes());
        message
    }
}

impl Reference {
    pub(crate) fn fault_alloc(&mut self, flags: u32) -> Answer {
        if flags != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let id = self.take_id();
        let fault = Fault {
            is_open: true,
            requests: Vec::new(),
        };
        self.settle(id, Ok(Object::Fault(fault)))
    }

    /// Gives a page request to the queue of the page table that it is about, if that has one.
    pub(crate) fn trigger_iopf(&mut self, mut request: Request) -> Answer {
        let device = self.device(request.device)?;
        let hwpt = if let Some(hwpt) = device.attached.get(&request.pasid) {
            *hwpt
        } else {
            request.attached = 0;
            match device.attached.get(&0) {
                Some(rid) if self.nested(*rid).is_ok() => *rid,
                _ => return Ok(vec![]),
            }
        };
        if let Some(queue) = self.fault_of(hwpt) {
            self.fault_mut(queue).requests.push(request);
        }
        Ok(vec![])
    }

    fn fault_of(&self, hwpt: u32) -> Option<u32> {
        match self.object(hwpt) {
            Ok(Object::Paging(hwpt)) => hwpt.fault,
            Ok(Object::Nested(hwpt)) => hwpt.fault,
            _ => None,
        }
    }

    /// Ends the requests of an attachment.
    pub(crate) fn forget_faults(&mut self, hwpt: u32, device: u32, pasid: u32) {
        if let Some(queue) = self.fault_of(hwpt) {
            let requests = &mut self.fault_mut(queue).requests;
            requests.retain(|request| request.device != device || request.attached != pasid);
        }
    }

    /// Reads from an open queue.
    pub(crate) fn read_faults(&mut self, id: u32, count: usize) -> Reply {
        if !count.is_multiple_of(MESSAGE) {
            return Err(Errno::ESPIPE).into();
        }
        let requests = &mut self.fault_mut(id).requests;
        let mut bytes = Vec::new();
        while let Some(next) = requests.iter().position(|request| request.cookie.is_none()) {
            if bytes.len() + MESSAGE > count {
                if bytes.is_empty() {
                    return Err(Errno::EINVAL).into();
                }
                break;
            }
            let taken = |cookie| {
                requests
                    .iter()
                    .any(|request| request.cookie == Some(cookie))
            };
            let cookie = (1..=u32::MAX).find(|cookie| !taken(*cookie)).unwrap_or(0);
            bytes.extend(requests[next].message(cookie));
            requests[next].cookie = Some(cookie);
        }
        Ok(words(&bytes)).into()
    }

    /// Writes answers, and some bytes that are none, to an open queue. Tells how many bytes were taken.
    pub(crate) fn respond(&mut self, id: u32, answers: &[(u32, u32)], tail: usize) -> Reply {
        if !tail.is_multiple_of(8) {
            return Err(Errno::ESPIPE).into();
        }
        let requests = &mut self.fault_mut(id).requests;
        let mut taken = 0;
        // Whole answers of zeros may follow: they name no cookie.
        let zeros = std::iter::repeat_n((0, 0), tail / 8);
        for (cookie, code) in answers.iter().copied().chain(zeros) {
            let found = requests
                .iter()
                .position(|request| request.cookie == Some(cookie));
            match found {
                Some(at) if code <= 1 => requests.remove(at),
                _ if taken > 0 => break,
                _ => return Err(Errno::EINVAL).into(),
            };
            taken += 8;
        }
        Ok(vec![taken]).into()
    }
}
