//! The client as a served file sees it.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::thread::{CapabilitySet, capabilities};
use swiommu_abi::Errno;
use swiommu_files::{
    Caller, Capability, Descriptor, FdNumber, File, InstallFlags, OpenFlags, Task,
};
use swiommu_mem::{AddressSpace, FileId, FileRange};

use crate::calls::Service;
use crate::config::CapabilitySource;
use crate::errno::errno;
use crate::filter::EVENT_FDS;
use crate::listener::{CloseOnExec, Notification};
use crate::mappings;
use crate::threads::Thread;

/// The link `/proc/TID/ns/user` of the initial user namespace, whose inode number is fixed (`PROC_USER_INIT_INO`).
const INITIAL_USER_NAMESPACE: &[u8] = b"user:[4026531837]";

/// One trapped call of a client.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    service: &'a Service,
    notification: &'a Notification,
    thread: &'a Thread,
    task: Task,
    space: &'a Arc<dyn AddressSpace>,
    fd: Option<FdNumber>,
}

impl<'a> Client<'a> {
    /// The client that waits for this notification, which is about this descriptor if any.
    pub(crate) fn new(
        service: &'a Service,
        notification: &'a Notification,
        thread: &'a Thread,
        fd: Option<FdNumber>,
    ) -> Result<Self, Errno> {
        let space = service
            .threads
            .space(&service.listener, notification, thread)?;
        Ok(Self {
            service,
            notification,
            thread,
            task: thread.task()?,
            space,
            fd,
        })
    }

    /// Opens a served file in the client's table.
    pub(crate) fn open(
        &self,
        file: Arc<dyn File>,
        flags: OpenFlags,
        at: Option<FdNumber>,
    ) -> Result<FdNumber, Errno> {
        let placeholder = self.service.table.add(file, flags)?;
        // Our own copy is closed on return, before the call is answered: the last close is the client's.
        self.give(placeholder.as_fd(), flags, at)
    }

    /// Opens a served file in the client's table under a number on which `read` and `write` are trapped.
    pub(crate) fn open_events(
        &self,
        file: Arc<dyn File>,
        flags: OpenFlags,
    ) -> Result<FdNumber, Errno> {
        let number = self.free_event_number()?;
        self.open(file, flags, Some(number))
            .map_err(|errno| match errno {
                // The number lies above the client's RLIMIT_NOFILE.
                Errno::EBADF => Errno::EMFILE,
                other => other,
            })
    }

    /// Gives the client a descriptor of an open file of ours.
    pub(crate) fn give(
        &self,
        file: BorrowedFd<'_>,
        flags: OpenFlags,
        at: Option<FdNumber>,
    ) -> Result<FdNumber, Errno> {
        let close_on_exec = if flags.contains(OpenFlags::CLOEXEC) {
            CloseOnExec::Yes
        } else {
            CloseOnExec::No
        };
        self.service
            .listener
            .add_fd(self.notification, file, at, close_on_exec)
    }

    /// A free number on which `read` and `write` are trapped.
    fn free_event_number(&self) -> Result<FdNumber, Errno> {
        EVENT_FDS
            .map(FdNumber)
            .find(|number| self.thread.identify(*number) == Err(Errno::ENOENT))
            .ok_or(Errno::EMFILE)
    }

    fn has_on_host(&self, capability: Capability) -> bool {
        let wanted = match capability {
            Capability::IpcLock => CapabilitySet::IPC_LOCK,
            Capability::SysResource => CapabilitySet::SYS_RESOURCE,
            Capability::SysRawio => CapabilitySet::SYS_RAWIO,
        };
        let effective = capabilities(Pid::from_raw(self.task.tid));
        effective.is_ok_and(|sets| sets.effective.contains(wanted))
            && self
                .thread
                .link("ns/user")
                .is_ok_and(|namespace| namespace == INITIAL_USER_NAMESPACE)
    }

    /// A duplicate of a descriptor that is not ours.
    fn duplicate(&self, fd: FdNumber) -> Result<Descriptor, Errno> {
        let process = Pid::from_raw(self.task.pid).ok_or(Errno::ESRCH)?;
        let process = pidfd_open(process, PidfdFlags::empty()).map_err(errno)?;
        if !self.service.listener.is_waiting(self.notification.id) {
            return Err(Errno::ESRCH);
        }
        let file = pidfd_getfd(process, fd.0, PidfdGetfdFlags::empty()).map_err(errno)?;
        Ok(Descriptor::Native(file))
    }
}

impl Caller for Client<'_> {
    fn task(&self) -> Task {
        self.task
    }

    fn fd(&self) -> Option<FdNumber> {
        self.fd
    }

    fn space(&self) -> &Arc<dyn AddressSpace> {
        self.space
    }

    fn capable(&self, capability: Capability) -> bool {
        match self.service.capabilities.source(capability) {
            CapabilitySource::Grant => true,
            CapabilitySource::Host => self.has_on_host(capability),
        }
    }

    fn descriptor(&self, fd: FdNumber) -> Result<Descriptor, Errno> {
        if fd.0 < 0 {
            return Err(Errno::EBADF);
        }
        let identity = self.thread.identify(fd).map_err(|_| Errno::EBADF)?;
        match self.service.table.get(identity) {
            Some(served) => Ok(Descriptor::Served(served.file)),
            None => self.duplicate(fd),
        }
    }

    fn maps(&self, file: FileId, bytes: FileRange) -> bool {
        mappings::is_mapped(file, bytes)
    }

    fn install(&self, file: Arc<dyn File>, flags: InstallFlags) -> Result<FdNumber, Errno> {
        let mut open = OpenFlags::READ | OpenFlags::WRITE;
        open.set(OpenFlags::CLOEXEC, flags.contains(InstallFlags::CLOEXEC));
        if !flags.contains(InstallFlags::EVENTS) {
            return self.open(file, open, None);
        }
        self.open_events(file, open)
    }
}
