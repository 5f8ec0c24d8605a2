//! The memory of clients, by system calls only.

#![expect(unsafe_code, reason = "process_vm_readv(2) and process_vm_writev(2)")]

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use swiommu_addr::{Hva, HvaRange};
use swiommu_mem::{
    Access, AddressSpace, DetachCause, Fault, Locked, PhysicalMemory, Run, SpaceId, Uid,
};
use swiommu_supervisor::Spaces;

/// The address spaces that were asked for, by process. Each `execve` makes a new one.
#[derive(Debug)]
pub(crate) struct ProcessSpaces {
    memory: Arc<PhysicalMemory>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    spaces: HashMap<i32, Arc<ProcessSpace>>,
    last: u64,
}

impl ProcessSpaces {
    pub(crate) fn new(memory: Arc<PhysicalMemory>) -> Self {
        Self {
            memory,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spaces for ProcessSpaces {
    fn get(&self, pid: i32) -> io::Result<Arc<dyn AddressSpace>> {
        let mut known = self.known();
        known.last += 1;
        let id = SpaceId(known.last);
        let space = known.spaces.entry(pid).or_insert_with(|| {
            Arc::new(ProcessSpace {
                id,
                pid,
                locked: Locked::default(),
                memory: self.memory.clone(),
            })
        });
        Ok(space.clone())
    }

    fn known(&self, pid: i32) -> Option<Arc<dyn AddressSpace>> {
        Some(self.known().spaces.get(&pid)?.clone())
    }

    fn execing(&self, pid: i32) {
        self.known().spaces.remove(&pid);
    }

    fn exiting(&self, pid: i32) {
        self.known().spaces.remove(&pid);
    }

    fn forget_dead(&self) {}

    fn detach(&self, pid: i32, range: HvaRange, cause: DetachCause) {
        crate::served::detached(pid, range, cause);
    }
}

#[derive(Debug)]
pub(crate) struct ProcessSpace {
    id: SpaceId,
    pid: i32,
    locked: Locked,
    memory: Arc<PhysicalMemory>,
}

impl AddressSpace for ProcessSpace {
    fn id(&self) -> SpaceId {
        self.id
    }

    fn memory(&self) -> &Arc<PhysicalMemory> {
        &self.memory
    }

    fn user(&self) -> Uid {
        Uid(0)
    }

    fn read(&self, from: Hva, into: &mut [u8]) -> Result<(), Fault> {
        let local = libc::iovec {
            iov_base: into.as_mut_ptr().cast(),
            iov_len: into.len(),
        };
        let remote = remote(from, into.len());
        // SAFETY: the local vector is a live exclusive slice.
        let copied = unsafe {
            libc::process_vm_readv(self.pid, &raw const local, 1, &raw const remote, 1, 0)
        };
        complete(copied, from, into.len())
    }

    fn write(&self, to: Hva, from: &[u8]) -> Result<(), Fault> {
        let local = libc::iovec {
            iov_base: from.as_ptr().cast_mut().cast(),
            iov_len: from.len(),
        };
        let remote = remote(to, from.len());
        // SAFETY: the local vector is a live slice, which is only read.
        let copied = unsafe {
            libc::process_vm_writev(self.pid, &raw const local, 1, &raw const remote, 1, 0)
        };
        complete(copied, to, from.len())
    }

    fn resolve(&self, pages: HvaRange, _: Access) -> Result<Vec<Run>, Fault> {
        Err(Fault::Unmapped(pages.start()))
    }

    fn is_alive(&self) -> bool {
        true
    }

    fn memlock_limit(&self) -> Option<u64> {
        None
    }

    fn locked(&self) -> &Locked {
        &self.locked
    }
}

fn remote(at: Hva, len: usize) -> libc::iovec {
    libc::iovec {
        iov_base: std::ptr::without_provenance_mut(usize::try_from(at.get()).expect("64 bits")),
        iov_len: len,
    }
}

fn complete(copied: isize, at: Hva, wanted: usize) -> Result<(), Fault> {
    if copied == wanted.cast_signed() {
        Ok(())
    } else {
        Err(Fault::Unmapped(at))
    }
}
