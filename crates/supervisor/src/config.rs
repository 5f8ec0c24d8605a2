//! What to run, and what it may see.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use swiommu_files::{Capability, Paths};
use swiommu_injection::Countdown;

use crate::{InjectedByThread, Spaces};

/// What [`run`](crate::run) runs.
#[derive(Debug)]
pub struct Config {
    /// The program: a path, or a name to be looked up in `PATH`.
    pub program: OsString,
    /// Its arguments, without the program's name.
    pub arguments: Vec<OsString>,
    /// The files that exist for it beside the host's.
    pub paths: Arc<Paths>,
    /// Where its memory is found.
    pub spaces: Arc<dyn Spaces>,
    /// Which capabilities it has.
    pub capabilities: Capabilities,
    /// Whether calls that give memory back are watched.
    pub memory_watch: MemoryWatch,
    /// Whether set-user-ID programs keep their meaning.
    pub new_privileges: NewPrivileges,
    /// Which fallible steps of its calls are made to fail.
    pub fault_injection: FaultInjection,
    /// What else to do once the program runs: from then on, and not before, this process may have threads.
    pub on_start: OnStart,
}

impl Config {
    /// A program without arguments, with the host's capabilities, the memory watch on and no new privileges.
    pub fn new(program: impl Into<OsString>, paths: Arc<Paths>, spaces: Arc<dyn Spaces>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            paths,
            spaces,
            capabilities: Capabilities::default(),
            memory_watch: MemoryWatch::On,
            new_privileges: NewPrivileges::Deny,
            fault_injection: FaultInjection::Off,
            on_start: OnStart::default(),
        }
    }
}

/// Where the answer to "does the calling thread have this capability?" comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CapabilitySource {
    /// The thread's effective set, when its user namespace is the initial one.
    #[default]
    Host,
    /// It has the capability.
    Grant,
}

/// The capability policy of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// `CAP_IPC_LOCK`.
    pub ipc_lock: CapabilitySource,
    /// `CAP_SYS_RESOURCE`.
    pub sys_resource: CapabilitySource,
    /// `CAP_SYS_RAWIO`.
    pub sys_rawio: CapabilitySource,
}

impl Capabilities {
    /// Where the answer for this capability comes from.
    pub fn source(&self, capability: Capability) -> CapabilitySource {
        match capability {
            Capability::IpcLock => self.ipc_lock,
            Capability::SysResource => self.sys_resource,
            Capability::SysRawio => self.sys_rawio,
        }
    }
}

/// Whether `munmap`, `mremap`, `mmap` with `MAP_FIXED`, `madvise`, `brk` and `shmdt` are trapped, so that memory which the
/// program gives back while it is mapped for DMA keeps its last content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryWatch {
    /// They are trapped, and continue natively.
    On,
    /// They are not.
    Off,
}

/// What is done once the program runs.
#[derive(Default)]
pub struct OnStart(Option<Box<dyn FnOnce()>>);

impl OnStart {
    /// Does this.
    pub fn new(action: impl FnOnce() + 'static) -> Self {
        Self(Some(Box::new(action)))
    }

    pub(crate) fn run(self) {
        if let Some(action) = self.0 {
            action();
        }
    }
}

impl fmt::Debug for OnStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnStart({})", self.0.is_some())
    }
}

/// Which fallible steps of the program's calls are made to fail.
#[derive(Clone, Debug, Default)]
pub enum FaultInjection {
    /// None.
    #[default]
    Off,
    /// One, counted over all calls of all threads.
    OneOfAll(Arc<Countdown>),
    /// What each thread chooses by its `/proc/PID/task/TID/fail-nth`, which exists then.
    ByThread(Arc<InjectedByThread>),
}

/// Whether `execve(2)` may give new privileges (`PR_SET_NO_NEW_PRIVS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewPrivileges {
    /// Set-user-ID programs run without their owner's rights, which is the same for every user who runs the supervisor.
    Deny,
    /// Set-user-ID programs keep their meaning. Needs `CAP_SYS_ADMIN`, and such programs escape supervision.
    Allow,
}
