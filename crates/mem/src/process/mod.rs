//! The memory of other processes.

use std::io;
use std::sync::Arc;

use swiommu_addr::{Hva, HvaRange};

use crate::{Access, AddressSpace, Fault, Locked, PhysicalMemory, Run, SpaceId, Uid};

/// The call by which a process gives memory back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DetachCause {
    /// `munmap(2)`.
    Munmap,
    /// `mremap(2)`, of the old range and of a fixed new one.
    Mremap,
    /// `mmap(2)` with `MAP_FIXED`.
    MapFixed,
    /// `madvise(2)` with `MADV_DONTNEED` or the like: private memory only.
    Madvise,
    /// `brk(2)` downwards.
    Brk,
    /// `execve(2)`.
    Exec,
    /// `exit_group(2)`.
    Exit,
}

/// The `mm` of another process.
#[derive(Debug)]
pub struct Process {
    id: SpaceId,
}

impl Process {
    /// The process id by which it was first met.
    pub fn pid(&self) -> i32 {
        unimplemented!()
    }

    /// To be called before the process' own call of this kind continues.
    pub fn detach(&self, range: HvaRange, cause: DetachCause) {
        unimplemented!("{range} {cause:?}")
    }

    /// To be called before `execve` or `exit_group` continues: saves what is pinned, in case the `mm` goes.
    pub fn leave(&self, cause: DetachCause) {
        unimplemented!("{cause:?}")
    }
}

impl AddressSpace for Process {
    fn id(&self) -> SpaceId {
        self.id
    }

    fn user(&self) -> Uid {
        unimplemented!()
    }

    fn read(&self, from: Hva, into: &mut [u8]) -> Result<(), Fault> {
        unimplemented!("{from} {into:?}")
    }

    fn write(&self, to: Hva, from: &[u8]) -> Result<(), Fault> {
        unimplemented!("{to} {from:?}")
    }

    fn resolve(&self, pages: HvaRange, access: Access) -> Result<Vec<Run>, Fault> {
        unimplemented!("{pages} {access:?}")
    }

    fn is_alive(&self) -> bool {
        unimplemented!()
    }

    fn memlock_limit(&self) -> Option<u64> {
        unimplemented!()
    }

    fn locked(&self) -> &Locked {
        unimplemented!()
    }
}

/// The processes of one machine, by process id.
#[derive(Debug)]
pub struct Processes {}

impl Processes {
    /// No processes yet.
    pub fn new(memory: &Arc<PhysicalMemory>) -> Arc<Self> {
        unimplemented!("{memory:?}")
    }

    /// The memory of the process with this id (`tgid`) now: the same object as before unless it has executed or is another process.
    ///
    /// # Errors
    /// When the process is gone or may not be looked at.
    pub fn get(&self, pid: i32) -> io::Result<Arc<Process>> {
        unimplemented!("{pid}")
    }

    /// To be called before an `execve` of this process continues.
    pub fn execing(&self, pid: i32) {
        unimplemented!("{pid}")
    }

    /// To be called when this process is known to have exited.
    pub fn exited(&self, pid: i32) {
        unimplemented!("{pid}")
    }

    /// All known processes whose memory is alive.
    pub fn live(&self) -> Vec<Arc<Process>> {
        unimplemented!()
    }
}
