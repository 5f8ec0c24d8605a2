//! The memory of other processes.

mod directory;
mod kind;
mod maps;
mod mm;
mod open;
mod registry;
mod resolve;
mod vm;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use swiommu_addr::{Hva, HvaRange};

pub(crate) use mm::{Mm, Unreachable};
pub use registry::Processes;

use directory::ProcDir;
use kind::FileSystems;

use crate::{
    Access, AddressSpace, DetachCause, Fault, Locked, PhysicalMemory, Run, Runs, SpaceId, Uid,
};

/// The `mm` of another process: what it has mapped, who pays, whether it lives.
///
/// It ends with an exec, and when the last process that has it exits.
#[derive(Debug)]
pub struct Process {
    memory: Arc<PhysicalMemory>,
    directory: ProcDir,
    mm: Arc<Mm>,
    systems: Arc<FileSystems>,
    locked: Locked,
    /// Owner of `/proc/PID` when the real user was last read: when it changes, so may have the user.
    owner: AtomicU32,
    user: AtomicU32,
    /// The limit as last read, for when the process is gone.
    memlock_limit: AtomicU64,
}

impl Process {
    fn open(
        memory: &Arc<PhysicalMemory>,
        systems: &Arc<FileSystems>,
        pid: i32,
    ) -> io::Result<Self> {
        let directory = ProcDir::open(pid)?;
        let mm = Mm::open(memory.new_space(), &directory)?;
        if !mm.is_alive() {
            // It has executed between two of the opens.
            return Err(rustix::io::Errno::SRCH.into());
        }
        let owner = directory.owner()?;
        let user = directory.status_field("Uid:").unwrap_or(owner);
        let limit = vm::memlock_limit(pid).unwrap_or(Some(0));
        Ok(Self {
            memory: memory.clone(),
            directory,
            mm: Arc::new(mm),
            systems: systems.clone(),
            locked: Locked::default(),
            owner: AtomicU32::new(owner),
            user: AtomicU32::new(user),
            memlock_limit: AtomicU64::new(limit.unwrap_or(u64::MAX)),
        })
    }

    /// The process (`tgid`) by which the `mm` was first met.
    pub fn pid(&self) -> i32 {
        self.directory.pid()
    }

    /// To be called before the process' own call of this kind continues: what is pinned of the range goes on for DMA as it is
    /// now, and the process' further use of these addresses is other memory.
    pub fn detach(&self, range: HvaRange, cause: DetachCause) {
        self.memory.detach(&self.mm, range, cause);
    }

    /// To be called before `execve` or `exit_group` continues: what is pinned is saved, in case the `mm` goes.
    pub fn prepare_leave(&self, cause: DetachCause) {
        self.memory.prepare_leave(&self.mm, cause);
    }

    fn fault(&self, at: Hva, access: Access) -> Fault {
        match self.mm.maps().at_or_above(at) {
            Err(maps::Gone) => Fault::Gone,
            Ok(Some(vma)) if vma.range.contains(at) => Fault::Denied { at, access },
            Ok(_) => Fault::Unmapped(at),
        }
    }
}

impl AddressSpace for Process {
    fn id(&self) -> SpaceId {
        self.mm.id()
    }

    fn memory(&self) -> &Arc<PhysicalMemory> {
        &self.memory
    }

    fn user(&self) -> Uid {
        if let Ok(owner) = self.directory.owner()
            && self.owner.swap(owner, Ordering::Relaxed) != owner
            && let Some(user) = self.directory.status_field("Uid:")
        {
            self.user.store(user, Ordering::Relaxed);
        }
        Uid(self.user.load(Ordering::Relaxed))
    }

    fn read(&self, from: Hva, into: &mut [u8]) -> Result<(), Fault> {
        match vm::read(self.pid(), from, into) {
            done if done == into.len() => Ok(()),
            done => Err(self.fault(Hva::new(from.get() + done as u64), Access::Read)),
        }
    }

    fn write(&self, to: Hva, from: &[u8]) -> Result<(), Fault> {
        match vm::write(self.pid(), to, from) {
            done if done == from.len() => Ok(()),
            done => Err(self.fault(Hva::new(to.get() + done as u64), Access::Write)),
        }
    }

    fn resolve(&self, pages: HvaRange, access: Access) -> Result<Vec<Run>, Fault> {
        Ok(self.resolve_pages(pages, access)?.into_vec())
    }

    fn resolve_runs(&self, pages: HvaRange, access: Access) -> Result<Runs, Fault> {
        self.resolve_pages(pages, access)
    }

    fn is_alive(&self) -> bool {
        self.mm.is_alive()
    }

    fn memlock_limit(&self) -> Option<u64> {
        if let Ok(limit) = vm::memlock_limit(self.pid()) {
            let limit = limit.unwrap_or(u64::MAX);
            self.memlock_limit.store(limit, Ordering::Relaxed);
        }
        let limit = self.memlock_limit.load(Ordering::Relaxed);
        (limit != u64::MAX).then_some(limit)
    }

    fn locked(&self) -> &Locked {
        &self.locked
    }
}
