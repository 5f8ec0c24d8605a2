//! A caller in our own process: for the library's users, tests and fuzzers.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use swiommu_abi::Errno;
use swiommu_mem::AddressSpace;

use crate::{Caller, Capability, Descriptor, FdNumber, File, InstallFlags, Task};

/// A caller with a descriptor table of its own, whose memory is any address space.
pub struct Local {
    task: Task,
    space: Arc<dyn AddressSpace>,
    capabilities: Vec<Capability>,
    descriptors: Mutex<BTreeMap<i32, Open>>,
}

enum Open {
    Served(Arc<dyn File>),
    Native(OwnedFd),
}

impl Local {
    /// A caller with this memory, no capabilities and no open files.
    pub fn new(space: Arc<dyn AddressSpace>) -> Self {
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        Self {
            task: Task { pid, tid: pid },
            space,
            capabilities: Vec::new(),
            descriptors: Mutex::default(),
        }
    }

    /// The same caller with one more capability.
    #[must_use]
    pub fn with(mut self, capability: Capability) -> Self {
        self.capabilities.push(capability);
        self
    }

    /// Opens a host file in the caller's table.
    pub fn open_native(&self, file: OwnedFd) -> FdNumber {
        self.open(Open::Native(file))
    }

    /// The served file behind a descriptor.
    pub fn served(&self, fd: FdNumber) -> Option<Arc<dyn File>> {
        match self.table().get(&fd.0)? {
            Open::Served(file) => Some(file.clone()),
            Open::Native(_) => None,
        }
    }

    /// Closes a descriptor. The file is released when this was its last reference.
    ///
    /// # Errors
    /// `EBADF` when the number is not open.
    pub fn close(&self, fd: FdNumber) -> Result<(), Errno> {
        // The entry is dropped after the table's lock: a release may take long and may call back.
        let closed = self.table().remove(&fd.0);
        closed.map(drop).ok_or(Errno::EBADF)
    }

    fn open(&self, entry: Open) -> FdNumber {
        let mut table = self.table();
        let free = (0..)
            .zip(table.keys())
            .take_while(|(free, used)| free == *used)
            .count();
        let number = i32::try_from(free).unwrap_or(i32::MAX);
        table.insert(number, entry);
        FdNumber(number)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, Open>> {
        self.descriptors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("task", &self.task)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

impl Caller for Local {
    fn task(&self) -> Task {
        self.task
    }

    fn space(&self) -> &Arc<dyn AddressSpace> {
        &self.space
    }

    fn capable(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }

    fn descriptor(&self, fd: FdNumber) -> Result<Descriptor, Errno> {
        match self.table().get(&fd.0).ok_or(Errno::EBADF)? {
            Open::Served(file) => Ok(Descriptor::Served(file.clone())),
            Open::Native(file) => {
                let copy = file
                    .try_clone()
                    .map_err(|error| error.raw_os_error().map_or(Errno::EMFILE, Errno::from))?;
                Ok(Descriptor::Native(copy))
            }
        }
    }

    fn install(&self, file: Arc<dyn File>, _flags: InstallFlags) -> Result<FdNumber, Errno> {
        Ok(self.open(Open::Served(file)))
    }
}
