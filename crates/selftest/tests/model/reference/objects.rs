//! Objects: their numbers, their types, and who uses whom. Nobody counts users: they are looked for.

use swiommu_abi::Errno;

use super::Reference;
use super::access::AccessOf;
use super::device::Device;
use super::fault::Fault;
use super::hwpt::{Nested, PASID, Paging, Parent};
use super::ioas::Ioas;
use super::viommu::{HwQueue, Vdevice, Veventq, Viommu};
use crate::reply::Answer;
use crate::step::{Pick, Sort};

#[derive(Clone, Debug)]
pub(crate) enum Object {
    Ioas(Ioas),
    Paging(Paging),
    Nested(Nested),
    Device(Device),
    /// The mock device, by its DEVICE.
    Stdev(u32),
    Access(AccessOf),
    Fault(Fault),
    Viommu(Viommu),
    Vdevice(Vdevice),
    Veventq(Veventq),
    HwQueue(HwQueue),
}

/// What a number stands for.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    /// An object in the making.
    Taken,
    Living(Object),
    Tombstone,
}

macro_rules! kinds {
    ($($kind:ident, $kind_mut:ident, $variant:ident, $type:ty;)*) => {
        impl Reference {
            $(
                pub(crate) fn $kind(&self, id: u32) -> Result<&$type, Errno> {
                    match self.slots.get(&id) {
                        Some(Slot::Living(Object::$variant(object))) => Ok(object),
                        _ => Err(Errno::ENOENT),
                    }
                }

                #[allow(dead_code, reason = "not every kind changes")]
                pub(crate) fn $kind_mut(&mut self, id: u32) -> &mut $type {
                    match self.slots.get_mut(&id) {
                        Some(Slot::Living(Object::$variant(object))) => object,
                        _ => panic!("the reference lost object {id}"),
                    }
                }
            )*
        }
    };
}

kinds! {
    ioas, ioas_mut, Ioas, Ioas;
    paging, paging_mut, Paging, Paging;
    nested, nested_mut, Nested, Nested;
    device, device_mut, Device, Device;
    stdev, stdev_mut, Stdev, u32;
    fault, fault_mut, Fault, Fault;
    viommu, viommu_mut, Viommu, Viommu;
    vdevice, vdevice_mut, Vdevice, Vdevice;
    veventq, veventq_mut, Veventq, Veventq;
}

fn is_of(sort: Sort, object: &Object) -> bool {
    match (sort, object) {
        (Sort::Parent, Object::Paging(hwpt)) => hwpt.is_nesting_parent(),
        (Sort::ForDirty, Object::Paging(hwpt)) => hwpt.tracks_dirty(),
        (Sort::ForPasids, object) => object.is_for_pasids(),
        (Sort::Ioas, Object::Ioas(_))
        | (Sort::Viommu, Object::Viommu(_))
        | (Sort::Nested, Object::Nested(_)) => true,
        _ => false,
    }
}

impl Object {
    /// Whether it is a page table that was allocated for PASIDs.
    pub(crate) fn is_for_pasids(&self) -> bool {
        match self {
            Object::Paging(hwpt) => hwpt.flags & PASID != 0,
            Object::Nested(hwpt) => hwpt.flags & PASID != 0,
            _ => false,
        }
    }
}

impl Reference {
    /// Takes the lowest free number.
    pub(crate) fn take_id(&mut self) -> u32 {
        let mut id = 1;
        while self.slots.contains_key(&id) {
            id += 1;
        }
        self.slots.insert(id, Slot::Taken);
        self.highest = self.highest.max(id);
        id
    }

    /// Makes an object under the number that was taken for it, or gives the number back.
    pub(crate) fn settle(&mut self, id: u32, object: Result<Object, Errno>) -> Answer {
        match object {
            Ok(object) => {
                self.slots.insert(id, Slot::Living(object));
                Ok(vec![id.into()])
            }
            Err(errno) => {
                self.slots.remove(&id);
                Err(errno)
            }
        }
    }

    pub(crate) fn object(&self, id: u32) -> Result<&Object, Errno> {
        match self.slots.get(&id) {
            Some(Slot::Living(object)) => Ok(object),
            _ => Err(Errno::ENOENT),
        }
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = (u32, &Object)> {
        self.slots.iter().filter_map(|(id, slot)| match slot {
            Slot::Living(object) => Some((*id, object)),
            Slot::Taken | Slot::Tombstone => None,
        })
    }

    /// The number that a pick means.
    pub(crate) fn pick(&self, pick: Pick, suits: impl Fn(&Object) -> bool) -> u32 {
        let nth = |n: usize, ids: Vec<u32>| {
            let index = n.checked_rem(ids.len())?;
            ids.get(index).copied()
        };
        let found = match pick {
            Pick::Nth(n) => {
                let suiting = self.objects().filter(|(_, object)| suits(object));
                nth(n, suiting.map(|(id, _)| id).collect())
            }
            Pick::Of(sort, n) => {
                let sorted = self.objects().filter(|(_, object)| is_of(sort, object));
                nth(n, sorted.map(|(id, _)| id).collect())
            }
            Pick::Any(n) => nth(n, self.objects().map(|(id, _)| id).collect()),
            Pick::Gone(n) => {
                let gone = |id: &u32| self.object(*id).is_err();
                nth(n, (1..=self.highest + 1).filter(gone).collect())
            }
            Pick::Id(id) => Some(id),
        };
        found.unwrap_or(0)
    }

    /// Whether anything uses an object.
    pub(crate) fn is_used(&self, id: u32) -> bool {
        let Ok(object) = self.object(id) else {
            return false;
        };
        let by_another = self.objects().any(|(_, other)| match other {
            Object::Paging(hwpt) => hwpt.ioas == id || hwpt.fault == Some(id),
            Object::Nested(hwpt) => {
                let parent = match hwpt.on {
                    Parent::Paging(parent) | Parent::Viommu(parent) => parent,
                };
                parent == id || hwpt.fault == Some(id)
            }
            Object::Device(device) => device.attached.values().any(|hwpt| *hwpt == id),
            Object::Access(access) => self.ioas_of_access(*access) == Some(id),
            Object::Viommu(viommu) => viommu.parent == id,
            Object::Vdevice(vdevice) => vdevice.viommu == id,
            Object::Veventq(queue) => queue.viommu == id,
            Object::HwQueue(queue) => queue.viommu == id,
            Object::Ioas(_) | Object::Stdev(_) | Object::Fault(_) => false,
        });
        let by_its_driver = matches!(object, Object::Device(_) | Object::Access(_));
        let by_its_file = match object {
            Object::Fault(fault) => fault.is_open,
            Object::Veventq(queue) => queue.is_open,
            _ => false,
        };
        let by_the_next_queue = match object {
            Object::HwQueue(queue) => self.objects().any(|(_, other)| match other {
                Object::HwQueue(next) => {
                    next.viommu == queue.viommu && next.index == queue.index + 1
                }
                _ => false,
            }),
            _ => false,
        };
        by_another || by_its_driver || by_its_file || by_the_next_queue
    }

    pub(crate) fn destroy(&mut self, id: u32) -> Answer {
        let object = self.object(id)?.clone();
        if self.is_used(id) {
            return Err(Errno::EBUSY);
        }
        self.slots.remove(&id);
        match object {
            Object::Ioas(_) if self.vfio_ioas == Some(id) => self.vfio_ioas = None,
            Object::Paging(hwpt) => self.unlink(id, hwpt.ioas),
            Object::Stdev(device) => self.unplug(device),
            Object::HwQueue(queue) => {
                self.slots.remove(&queue.access);
            }
            _ => {}
        }
        Ok(vec![])
    }

    /// Destroys an automatic page table that nobody uses any more.
    pub(crate) fn retire(&mut self, hwpt: u32) {
        if self.paging(hwpt).is_ok_and(|hwpt| hwpt.automatic) && !self.is_used(hwpt) {
            let ioas = self.paging(hwpt).map(|hwpt| hwpt.ioas);
            self.slots.remove(&hwpt);
            if let Ok(ioas) = ioas {
                self.unlink(hwpt, ioas);
            }
        }
    }
}
