//! `/dev/iommu` as an open file.

use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_files::{Arg, Caller, DeviceNumber, File, MmapRequest, Refusal, Stat};

use crate::Context;

/// The open file of a context. The context lives as long as the file, and longer when something else keeps it open.
#[derive(Debug)]
pub struct ContextFile {
    context: Arc<Context>,
    path: &'static str,
    stat: Stat,
}

impl ContextFile {
    /// The character device with this path, number and mode.
    pub fn new(context: Arc<Context>, path: &'static str, number: DeviceNumber, mode: u32) -> Self {
        Self {
            context,
            path,
            stat: Stat::Device { number, mode },
        }
    }

    /// The context.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }
}

impl File for ContextFile {
    fn name(&self) -> &str {
        self.path
    }

    fn stat(&self) -> Stat {
        self.stat
    }

    fn ioctl(&self, caller: &dyn Caller, request: u32, arg: Arg) -> Result<i32, Refusal> {
        self.context.ioctl(caller, request, arg)
    }

    /// Nothing of a context has memory to map yet, and an offset without a region is `ENXIO` (§7.5).
    fn mmap(&self, _caller: &dyn Caller, request: &MmapRequest) -> Result<(), Refusal> {
        let offset = request.offset;
        Err(Refusal::new(
            Errno::ENXIO,
            format!("no region to map starts at offset {offset:#x}"),
        ))
    }
}
