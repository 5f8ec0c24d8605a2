//! Event queues of virtual IOMMUs (§2.20, §6.2).

use swiommu_abi::Errno;

use super::Reference;
use super::objects::Object;
use super::viommu::Veventq;
use crate::reply::{Answer, Reply, words};

/// The type of the mock's events.
pub(crate) const MOCK_EVENTS: u32 = 0xbeef_beef;

const MAX_DEPTH: u32 = 1 << 19;
const HEADER: usize = 8;
const EVENT: usize = HEADER + 4;
const LOST: u32 = 1;

impl Reference {
    pub(crate) fn veventq_alloc(
        &mut self,
        viommu: u32,
        kind: u32,
        depth: u32,
        flags: u32,
        reserved: u32,
    ) -> Answer {
        if flags != 0 || reserved != 0 || kind == 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if depth == 0 || depth > MAX_DEPTH {
            return Err(Errno::EINVAL);
        }
        self.viommu(viommu)?;
        if self.queue_of(viommu, kind).is_some() {
            return Err(Errno::EEXIST);
        }
        let id = self.take_id();
        let queue = Veventq {
            viommu,
            kind,
            is_open: true,
            depth: depth as usize,
            events: Vec::new(),
            lost: None,
            next: 0,
        };
        self.settle(id, Ok(Object::Veventq(queue)))
    }

    fn queue_of(&self, viommu: u32, kind: u32) -> Option<u32> {
        let is_it = |object: &Object| matches!(object, Object::Veventq(q) if q.viommu == viommu && q.kind == kind);
        self.objects()
            .find(|(_, object)| is_it(object))
            .map(|(id, _)| id)
    }

    pub(crate) fn trigger_vevent(&mut self, device: u32) -> Answer {
        let guest = self.device(device)?.guest;
        let Some((viommu, virt_id)) = guest.filter(|(_, virt_id)| *virt_id != 0) else {
            return Err(Errno::ENOENT);
        };
        let id = self
            .queue_of(viommu, MOCK_EVENTS)
            .ok_or(Errno::EOPNOTSUPP)?;
        let queue = self.veventq_mut(id);
        let number = queue.next;
        queue.next = (number + 1) & 0x7fff_ffff;
        if queue.events.len() == queue.depth {
            queue.lost = Some(number);
        } else {
            queue.lost = None;
            let low = u32::try_from(virt_id & u64::from(u32::MAX)).unwrap_or(0);
            queue.events.push((number, low));
        }
        Ok(vec![])
    }

    /// Reads from an open queue.
    pub(crate) fn read_events(&mut self, id: u32, count: usize) -> Reply {
        if count < HEADER {
            return Err(Errno::EINVAL).into();
        }
        let queue = self.veventq_mut(id);
        let mut bytes = Vec::new();
        while !queue.events.is_empty() {
            if bytes.len() + EVENT > count {
                if bytes.is_empty() {
                    return Err(Errno::EINVAL).into();
                }
                return Ok(words(&bytes)).into();
            }
            let (number, device) = queue.events.remove(0);
            for word in [0, number, device] {
                bytes.extend(word.to_le_bytes());
            }
        }
        if let Some(number) = queue.lost
            && bytes.len() + HEADER <= count
        {
            queue.lost = None;
            for word in [LOST, number] {
                bytes.extend(word.to_le_bytes());
            }
        }
        Ok(words(&bytes)).into()
    }
}
