//! A machine: memory, IOMMUs, devices, and the files under which a client finds them.
//!
//! [`Description`] says what the machine has, [`Machine`] is it. The paths of a machine go to the supervisor, which shows them
//! to a program; an in-process user opens them itself:
//!
//! ```
//! use swiommu_machine::{Description, Machine};
//! use swiommu_files::{Local, OpenFlags, Opened};
//! use swiommu_mem::LocalSpace;
//!
//! let machine = Machine::new(&Description::default())?;
//! let client = Local::new(LocalSpace::new(machine.memory())?);
//! let node = machine.paths().get("/dev/iommu".as_ref()).unwrap();
//! let Opened::File(iommufd) = node.open(&client, OpenFlags::READ | OpenFlags::WRITE)? else {
//!     unreachable!("a device is a file");
//! };
//! assert_eq!(iommufd.name(), "/dev/iommu");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod contexts;
mod debugfs;
mod dev;

use std::io;
use std::sync::Arc;

pub use contexts::{Contexts, OpenContext};
use swiommu_files::Paths;
use swiommu_iommu::Epochs;
use swiommu_iommufd::RlimitMode;
use swiommu_mem::{Config, MemlockPolicy, PhysicalMemory};
use swiommu_selftest::Selftest;

use dev::ContextNode;

/// What a machine has.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// What happens when a client pins more than its `RLIMIT_MEMLOCK`.
    pub memlock: MemlockPolicy,
    /// Whether there is `/sys/kernel/debug` as a kernel with fault injection has it.
    pub fault_injection: FaultInjection,
}

/// Whether programs find the kernel's interface of fault injection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FaultInjection {
    /// As the host has it: mostly not.
    #[default]
    Absent,
    /// They do.
    Present,
}

/// A machine with the mock IOMMU of the kernel's selftest.
#[derive(Debug)]
pub struct Machine {
    memory: Arc<PhysicalMemory>,
    contexts: Arc<Contexts>,
    paths: Paths,
}

impl Machine {
    /// Builds the machine.
    ///
    /// # Errors
    /// When the host does not give the address space for its physical memory.
    pub fn new(description: &Description) -> io::Result<Self> {
        let memory = PhysicalMemory::new(Config {
            memlock: description.memlock,
            ..Config::default()
        })?;
        let selftest = Selftest::new(&memory, &Epochs::new());
        let contexts = Arc::new(Contexts::default());
        let mut paths = Paths::new();
        for (path, number, mode, rlimit_mode) in [
            ("/dev/iommu", dev::IOMMU, 0o660, RlimitMode::User),
            ("/dev/vfio/vfio", dev::VFIO, 0o666, RlimitMode::Mm),
        ] {
            let node = ContextNode {
                path,
                number,
                mode,
                rlimit_mode,
                memory: memory.clone(),
                selftest: selftest.clone(),
                contexts: contexts.clone(),
            };
            paths.add(path, Arc::new(node));
        }
        if description.fault_injection == FaultInjection::Present {
            debugfs::add_to(&mut paths)?;
        }
        Ok(Self {
            memory,
            contexts,
            paths,
        })
    }

    /// Its physical memory.
    pub fn memory(&self) -> &Arc<PhysicalMemory> {
        &self.memory
    }

    /// The contexts that are open.
    pub fn contexts(&self) -> &Arc<Contexts> {
        &self.contexts
    }

    /// The files that a client sees in addition to the host's.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The files, to be changed: wrapped by who watches them, or added to.
    pub fn paths_mut(&mut self) -> &mut Paths {
        &mut self.paths
    }
}
