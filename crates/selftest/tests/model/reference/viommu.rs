//! Virtual IOMMUs, their devices and hardware queues (§2.17, §2.18, §2.21, §7, §9.8).

use swiommu_abi::Errno;

use super::Reference;
use super::access::AccessOf;
use super::objects::Object;
use super::range::Range;
use crate::ground::PAGE;
use crate::reply::Answer;
use crate::step::{Data, Memory};

/// The type of the mock's virtual IOMMUs, and of its queues.
pub(crate) const MOCK: u32 = 0xdead_beef;

const REGION: u64 = 2 * PAGE;
const QUEUES: u32 = 2;

#[derive(Clone, Debug)]
pub(crate) struct Viommu {
    pub(crate) parent: u32,
    /// Where its pages can be mapped, if it has any.
    pub(crate) region: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Vdevice {
    pub(crate) viommu: u32,
    pub(crate) device: u32,
    pub(crate) virt_id: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Veventq {
    pub(crate) viommu: u32,
    pub(crate) kind: u32,
    pub(crate) is_open: bool,
    pub(crate) depth: usize,
    /// The numbers of events, and the devices they are about.
    pub(crate) events: Vec<(u32, u32)>,
    /// The number of the last lost event, as long as that is worth telling.
    pub(crate) lost: Option<u32>,
    pub(crate) next: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct HwQueue {
    pub(crate) viommu: u32,
    pub(crate) index: u32,
    pub(crate) access: u32,
    pub(crate) ioas: u32,
    /// The IOVAs of its pages.
    pub(crate) pages: Range,
}

impl Reference {
    pub(crate) fn viommu_alloc(
        &mut self,
        device: u32,
        parent: u32,
        kind: u32,
        flags: u32,
        data: Data,
    ) -> Answer {
        if flags != 0 || kind == 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        self.device(device)?;
        if kind != MOCK {
            return Err(Errno::EOPNOTSUPP);
        }
        if !self.paging(parent)?.is_nesting_parent() {
            return Err(Errno::EINVAL);
        }
        let id = self.take_id();
        if data.len == 0 {
            return self.settle(
                id,
                Ok(Object::Viommu(Viommu {
                    parent,
                    region: None,
                })),
            );
        }
        if !(8..=24).contains(&data.len) {
            return self.settle(id, Err(Errno::EINVAL));
        }
        if data.at != Memory::Scratch {
            return self.settle(id, Err(Errno::EFAULT));
        }
        let mut offset = PAGE;
        while self.objects().any(|(_, object)| match object {
            Object::Viommu(other) => other.region.is_some_and(|at| at.abs_diff(offset) < REGION),
            _ => false,
        }) {
            offset += PAGE;
        }
        let viommu = Viommu {
            parent,
            region: Some(offset),
        };
        self.settle(id, Ok(Object::Viommu(viommu)))?;
        // The struct afterwards, as far as it reaches: the number given, the same number, the offset and the length.
        let reaches = |from: u32, value: u64| match data.len.saturating_sub(from) {
            0 => 0,
            bytes if bytes >= 8 => value,
            bytes => value & ((1 << (8 * bytes)) - 1),
        };
        let number = data.words[0].into();
        Ok(vec![
            id.into(),
            number,
            number,
            reaches(8, offset),
            reaches(16, REGION),
        ])
    }

    pub(crate) fn vdevice_alloc(&mut self, viommu: u32, device: u32, virt_id: u64) -> Answer {
        self.viommu(viommu)?;
        self.device(device)?;
        let taken = self.objects().any(|(_, object)| match object {
            Object::Vdevice(other) => {
                other.device == device || (other.viommu == viommu && other.virt_id == virt_id)
            }
            _ => false,
        });
        if taken {
            return Err(Errno::EEXIST);
        }
        let id = self.take_id();
        self.settle(
            id,
            Ok(Object::Vdevice(Vdevice {
                viommu,
                device,
                virt_id,
            })),
        )
    }

    pub(crate) fn vdevice_of(&self, device: u32) -> Option<u32> {
        let is_its = |object: &Object| matches!(object, Object::Vdevice(v) if v.device == device);
        self.objects()
            .find(|(_, object)| is_its(object))
            .map(|(id, _)| id)
    }

    pub(crate) fn hw_queue_alloc(
        &mut self,
        viommu: u32,
        kind: u32,
        index: u32,
        (base, len): (u64, u64),
        flags: u32,
    ) -> Answer {
        if flags != 0 || kind == 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let bytes = Range::new(base, len)?;
        let parent = self.viommu(viommu)?.parent;
        if kind != MOCK {
            return Err(Errno::EOPNOTSUPP);
        }
        if bytes.last > u64::MAX - PAGE {
            return Err(Errno::ERANGE);
        }
        let ioas = self.paging(parent)?.ioas;
        let pages = Range {
            first: bytes.first / PAGE * PAGE,
            last: bytes.last | (PAGE - 1),
        };
        let id = self.take_id();
        let access = self.take_id();
        let checked = self.check_queue(viommu, index, ioas, pages);
        let queue = HwQueue {
            viommu,
            index,
            access,
            ioas,
            pages,
        };
        let object = checked.map(|()| Object::HwQueue(queue));
        let inner = if object.is_ok() {
            Ok(Object::Access(AccessOf::Queue(ioas)))
        } else {
            Err(Errno::ENOENT)
        };
        let _ = self.settle(access, inner);
        self.settle(id, object)
    }

    fn check_queue(&self, viommu: u32, index: u32, ioas: u32, pages: Range) -> Result<(), Errno> {
        self.check_areas(ioas, PAGE)?;
        let (parts, is_whole) = self.ioas(ioas)?.cover_start(pages);
        for (area, _) in &parts {
            if !area.readable {
                return Err(Errno::EPERM);
            }
        }
        if !is_whole {
            return Err(Errno::ENOENT);
        }
        let scattered = |pair: &[(super::ioas::Area, Range)]| {
            pair[1].0.behind(pair[1].1.first) != pair[0].0.behind(pair[0].1.last).wrapping_add(1)
        };
        if parts.windows(2).any(scattered) {
            return Err(Errno::EFAULT);
        }
        if index >= QUEUES {
            return Err(Errno::EINVAL);
        }
        let exists = |index: u32| {
            self.objects().any(|(_, object)| match object {
                Object::HwQueue(other) => other.viommu == viommu && other.index == index,
                _ => false,
            })
        };
        if exists(index) {
            return Err(Errno::EEXIST);
        }
        if index > 0 && !exists(index - 1) {
            return Err(Errno::EIO);
        }
        Ok(())
    }

    /// Whether a hardware queue lies in an area.
    pub(crate) fn is_locked(&self, ioas: u32, area: Range) -> bool {
        self.objects().any(|(_, object)| match object {
            Object::HwQueue(queue) => queue.ioas == ioas && queue.pages.meets(area),
            _ => false,
        })
    }
}
