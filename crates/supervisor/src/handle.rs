//! A node opened with `O_PATH`.

use std::path::Path;
use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_addr::HvaRange;
use swiommu_files::{Arg, Caller, File, MmapRequest, Node, Refusal, Stat};

/// A handle on a node's name: it shows what the node is, and can be opened through `/proc/self/fd`.
///
/// The kernel does not let us install a descriptor that really is `O_PATH`, so this one acts like it.
#[derive(Debug)]
pub(crate) struct Handle {
    name: String,
    node: Arc<dyn Node>,
}

impl Handle {
    pub(crate) fn new(path: &Path, node: Arc<dyn Node>) -> Self {
        Self {
            name: path.to_string_lossy().into_owned(),
            node,
        }
    }

    fn refusal(&self) -> Refusal {
        let reason = format!("{} was opened with O_PATH", self.name);
        Refusal::new(Errno::EBADF, reason)
    }
}

impl File for Handle {
    fn name(&self) -> &str {
        &self.name
    }

    fn stat(&self) -> Stat {
        self.node.stat()
    }

    fn ioctl(&self, _: &dyn Caller, _: u32, _: Arg) -> Result<i32, Refusal> {
        Err(self.refusal())
    }

    fn read(&self, _: &dyn Caller, _: Option<HvaRange>) -> Result<usize, Refusal> {
        Err(self.refusal())
    }

    fn write(&self, _: &dyn Caller, _: Option<HvaRange>) -> Result<usize, Refusal> {
        Err(self.refusal())
    }

    fn mmap(&self, _: &dyn Caller, _: &MmapRequest) -> Result<(), Refusal> {
        Err(self.refusal())
    }
}
