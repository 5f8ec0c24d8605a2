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
mod description;
mod dev;
mod model;
mod parts;

use std::io;
use std::sync::Arc;

pub use contexts::{Contexts, OpenContext};
pub use description::{
    BadAddress, Choice, Description, DescriptionError, DeviceDescription, Entry, FaultInjection,
    Layout, NamedUnit, PciAddress, PlacedDevice, TomlError, TomlProblem, UnitDescription,
};
pub use model::{DeviceInstance, DeviceModel, DmaSettings, MockSettings, UnitModel};
pub use parts::{MachineDevice, MachineUnit};
use swiommu_files::Paths;
use swiommu_iommu::Epochs;
use swiommu_iommufd::RlimitMode;
use swiommu_mem::{Config, PhysicalMemory};
use swiommu_selftest::Selftest;
use swiommu_vfio::DeviceNode;

use dev::ContextNode;
use model::Ground;

/// A machine.
#[derive(Debug)]
pub struct Machine {
    memory: Arc<PhysicalMemory>,
    contexts: Arc<Contexts>,
    units: Vec<MachineUnit>,
    devices: Vec<MachineDevice>,
    paths: Paths,
}

/// Why there is no machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// The description contradicts itself.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// The host does not give what is needed.
    #[error("cannot reserve what the machine needs of the host: {0}")]
    Host(#[from] io::Error),
}

impl Machine {
    /// Builds the machine.
    ///
    /// # Errors
    /// When the description contradicts itself, or the host does not give the address space for its physical memory.
    pub fn new(description: &Description) -> Result<Self, MachineError> {
        let layout = description.layout()?;
        let memory = PhysicalMemory::new(Config {
            memlock: description.memlock,
            ..Config::default()
        })?;
        let epochs = Epochs::new();
        let selftest = Selftest::new(&memory, &epochs);
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
        let ground = Ground {
            memory: memory.clone(),
            epochs,
            selftest,
        };
        let (units, devices) = parts::build(layout, &ground);
        for device in &devices {
            let node = DeviceNode(device.vfio().clone());
            paths.add(device.vfio().path(), Arc::new(node));
        }
        if description.fault_injection == FaultInjection::Present {
            debugfs::add_to(&mut paths)?;
        }
        Ok(Self {
            memory,
            contexts,
            units,
            devices,
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

    /// Its IOMMUs.
    pub fn units(&self) -> &[MachineUnit] {
        &self.units
    }

    /// Its devices: the first is `/dev/vfio/devices/vfio0`.
    pub fn devices(&self) -> &[MachineDevice] {
        &self.devices
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
