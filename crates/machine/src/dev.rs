//! The device nodes of contexts: `/dev/iommu`, and `/dev/vfio/vfio` in its place as the container of VFIO.

use std::sync::Arc;

use swiommu_files::{Caller, DeviceNumber, Node, OpenFlags, Opened, Refusal, Stat};
use swiommu_iommufd::{Context, ContextFile, RlimitMode};
use swiommu_mem::PhysicalMemory;
use swiommu_selftest::Selftest;

use crate::Contexts;

/// The major number of miscellaneous devices.
const MISC: u32 = 10;

/// `/dev/iommu`. Its minor number is assigned dynamically; this is a typical one.
pub(crate) const IOMMU: DeviceNumber = DeviceNumber {
    major: MISC,
    minor: 125,
};

/// `/dev/vfio/vfio` (`VFIO_MINOR`).
pub(crate) const VFIO: DeviceNumber = DeviceNumber {
    major: MISC,
    minor: 196,
};

/// A node of which every open makes a new context.
#[derive(Debug)]
pub(crate) struct ContextNode {
    pub(crate) path: &'static str,
    pub(crate) number: DeviceNumber,
    pub(crate) mode: u32,
    pub(crate) rlimit_mode: RlimitMode,
    pub(crate) memory: Arc<PhysicalMemory>,
    pub(crate) selftest: Arc<Selftest>,
    pub(crate) contexts: Arc<Contexts>,
}

impl Node for ContextNode {
    fn stat(&self) -> Stat {
        Stat::Device {
            number: self.number,
            mode: self.mode,
        }
    }

    fn open(&self, caller: &dyn Caller, _flags: OpenFlags) -> Result<Opened, Refusal> {
        let context = Context::with_mode(&self.memory, self.rlimit_mode);
        let context = Arc::new(context.extended(self.selftest.clone()));
        self.contexts.add(&context, caller.task());
        let file = ContextFile::new(context, self.path, self.number, self.mode);
        Ok(Opened::File(Arc::new(file)))
    }
}
