//! A device, and the node under which clients find it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use swiommu_files::{Caller, DeviceNumber, Node, OpenFlags, Opened, Refusal, Stat};
use swiommu_iommu::Endpoint;

use crate::bound::Bound;
use crate::{DeviceFile, Owners};

/// The major number of VFIO's device files. It is assigned dynamically; this is a typical one.
const MAJOR: u32 = 511;

/// The permission bits of a device file, until an administrator changes them.
const MODE: u32 = 0o600;

/// A device as VFIO knows it: an endpoint that one open file at a time can bind.
#[derive(Debug)]
pub struct Device {
    number: u32,
    path: String,
    endpoint: Arc<dyn Endpoint>,
    owners: Arc<Owners>,
    opened: AtomicU64,
    bound: Mutex<Option<(Opener, Bound)>>,
}

/// Which open file of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Opener(u64);

impl Device {
    /// The device `/dev/vfio/devices/vfioN` of this number. All devices of a machine have the same owners of their groups.
    pub fn new(number: u32, endpoint: Arc<dyn Endpoint>, owners: &Arc<Owners>) -> Arc<Self> {
        Arc::new(Self {
            number,
            path: format!("/dev/vfio/devices/vfio{number}"),
            endpoint,
            owners: owners.clone(),
            opened: AtomicU64::new(0),
            bound: Mutex::default(),
        })
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The endpoint that is bound.
    pub fn endpoint(&self) -> &Arc<dyn Endpoint> {
        &self.endpoint
    }

    /// What `stat` shows.
    pub fn stat(&self) -> Stat {
        Stat::Device {
            number: DeviceNumber {
                major: MAJOR,
                minor: self.number,
            },
            mode: MODE,
        }
    }

    pub(crate) fn owners(&self) -> &Arc<Owners> {
        &self.owners
    }

    pub(crate) fn opener(&self) -> Opener {
        Opener(self.opened.fetch_add(1, Ordering::Relaxed))
    }

    /// Whoever binds, attaches, detaches or closes does so one after the other.
    pub(crate) fn bound(&self) -> MutexGuard<'_, Option<(Opener, Bound)>> {
        self.bound.lock()
    }
}

/// The node of a device: it can be opened any number of times, and bound by one of them.
#[derive(Debug)]
pub struct DeviceNode(pub Arc<Device>);

impl Node for DeviceNode {
    fn stat(&self) -> Stat {
        self.0.stat()
    }

    fn open(&self, _caller: &dyn Caller, _flags: OpenFlags) -> Result<Opened, Refusal> {
        Ok(Opened::File(Arc::new(DeviceFile::new(&self.0))))
    }
}
