//! Where the memory of clients is found.

use std::fmt;
use std::io;
use std::sync::Arc;

use swiommu_addr::HvaRange;
use swiommu_mem::{AddressSpace, DetachCause, Process, Processes};

/// The address spaces of processes.
pub trait Spaces: Send + Sync + fmt::Debug {
    /// The memory of the process with this id now.
    ///
    /// # Errors
    /// When the process is gone or may not be looked at.
    fn get(&self, pid: i32) -> io::Result<Arc<dyn AddressSpace>>;

    /// The memory of the process with this id, when it has been asked for before.
    fn known(&self, pid: i32) -> Option<Arc<dyn AddressSpace>>;

    /// Called before an `execve` of this process continues.
    fn execing(&self, pid: i32);

    /// Called before an `exit_group` of this process continues.
    fn exiting(&self, pid: i32);

    /// Called when processes may have been killed.
    fn forget_dead(&self);

    /// Called before the process gives memory back.
    fn detach(&self, pid: i32, range: HvaRange, cause: DetachCause);
}

impl Spaces for Processes {
    fn get(&self, pid: i32) -> io::Result<Arc<dyn AddressSpace>> {
        Ok(Processes::get(self, pid)?)
    }

    fn known(&self, pid: i32) -> Option<Arc<dyn AddressSpace>> {
        Some(Processes::known(self, pid)?)
    }

    fn execing(&self, pid: i32) {
        Processes::execing(self, pid);
    }

    fn exiting(&self, pid: i32) {
        Processes::exiting(self, pid);
    }

    fn forget_dead(&self) {
        Processes::forget_dead(self);
    }

    fn detach(&self, pid: i32, range: HvaRange, cause: DetachCause) {
        if let Some(process) = Processes::known(self, pid) {
            Process::detach(&process, range, cause);
        }
    }
}
