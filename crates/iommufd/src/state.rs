//! What the objects of one context share.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use swiommu_iommu::GroupId;
use swiommu_mem::PhysicalMemory;

use crate::device::Group;
use crate::object::{Kind, Object, ObjectId, Table};
use crate::viommu::Regions;

/// Who pays for pinned memory (`IOMMU_OPTION_RLIMIT_MODE`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RlimitMode {
    /// The real user of the mapping process.
    #[default]
    User,
    /// The address space of the mapping process.
    Mm,
}

/// The insides of a context. Objects refer to it; it does not keep the context open.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) objects: Table,
    pub(crate) memory: Arc<PhysicalMemory>,
    pub(crate) rlimit_mode: Mutex<RlimitMode>,
    /// Held for writing by `CHANGE_PROCESS`, for reading by whatever makes an IOAS.
    pub(crate) ioas_creation: RwLock<()>,
    /// What clients map of the context's file.
    pub(crate) regions: Arc<Regions>,
    groups: Mutex<BTreeMap<GroupId, Weak<Group>>>,
    vfio_ioas: Mutex<Option<ObjectId>>,
}

impl State {
    pub(crate) fn new(memory: Arc<PhysicalMemory>, rlimit_mode: RlimitMode) -> Arc<Self> {
        Arc::new(Self {
            objects: Table::default(),
            memory,
            rlimit_mode: Mutex::new(rlimit_mode),
            ioas_creation: RwLock::default(),
            regions: Arc::default(),
            groups: Mutex::default(),
            vfio_ioas: Mutex::default(),
        })
    }

    /// The group with this number, as long as a device of it is bound.
    pub(crate) fn group(&self, id: GroupId) -> Arc<Group> {
        let mut groups = self.groups.lock();
        groups.retain(|_, group| group.strong_count() > 0);
        if let Some(group) = groups.get(&id).and_then(Weak::upgrade) {
            return group;
        }
        let group = Arc::new(Group::default());
        groups.insert(id, Arc::downgrade(&group));
        group
    }

    pub(crate) fn vfio_ioas(&self) -> Option<ObjectId> {
        *self.vfio_ioas.lock()
    }

    pub(crate) fn set_vfio_ioas(&self, ioas: Option<ObjectId>) {
        *self.vfio_ioas.lock() = ioas;
    }

    /// The association ends with the IOAS (§1.5).
    pub(crate) fn forget_vfio_ioas(&self, ioas: ObjectId) {
        let mut current = self.vfio_ioas.lock();
        if *current == Some(ioas) {
            *current = None;
        }
    }

    /// Destroys an object with the device that it belongs to. Its number is never given out again (§1.5).
    pub(crate) fn entomb(&self, id: ObjectId) {
        if let Some(object) = self.objects.entomb(id) {
            object.teardown(self);
        }
    }

    /// Destroys an object now if nobody uses it; otherwise it lives on.
    pub(crate) fn destroy_if_idle<T: Kind>(&self, object: &Arc<T>) {
        if let Some(object) = self.objects.remove_if_idle(object) {
            object.teardown(self);
        }
    }

    /// Destroys everything, leaves first: passes over ascending numbers until nothing more can go (§1.6).
    pub(crate) fn teardown(&self) {
        loop {
            let before: Vec<Object> = self.objects.list();
            let mut progress = false;
            for object in before {
                let id = object.header().id();
                drop(object);
                if let Ok(object) = self.objects.remove_idle(id) {
                    object.teardown(self);
                    progress = true;
                }
            }
            if !progress {
                break;
            }
        }
    }
}
