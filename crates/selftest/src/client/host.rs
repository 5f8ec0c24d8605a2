//! What a client runs on: memory, the mock IOMMU, processes.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_addr::{Address, Hva, HvaRange, PageSize};
use swiommu_files::{
    Caller, Capability, DeviceNumber, FdNumber, File, InstallFlags, Local, Refusal,
};
use swiommu_iommu::Epochs;
use swiommu_iommufd::{Context, ContextFile};
use swiommu_mem::{AddressSpace, Config, LocalSpace, PAGE, PhysicalMemory};

use super::{Client, Result};
use crate::Selftest;

/// A machine with memory and the mock IOMMU.
#[derive(Clone, Debug)]
pub struct Host {
    memory: Arc<PhysicalMemory>,
    selftest: Arc<Selftest>,
}

impl Host {
    /// A machine that enforces `RLIMIT_MEMLOCK`.
    ///
    /// # Errors
    /// When the host does not give the address space.
    pub fn new() -> io::Result<Self> {
        Self::with_memory(Config::default())
    }

    /// A machine whose memory behaves like this.
    ///
    /// # Errors
    /// When the host does not give the address space.
    pub fn with_memory(config: Config) -> io::Result<Self> {
        let memory = PhysicalMemory::new(config)?;
        let selftest = Selftest::new(&memory, &Epochs::new());
        Ok(Self { memory, selftest })
    }

    /// Its memory.
    pub fn memory(&self) -> &Arc<PhysicalMemory> {
        &self.memory
    }

    /// The driver of its mock IOMMU.
    pub fn selftest(&self) -> &Arc<Selftest> {
        &self.selftest
    }

    /// A process of user 0 with all capabilities and no memory limit.
    ///
    /// # Errors
    /// When it cannot get memory.
    pub fn process(&self) -> io::Result<Arc<Process>> {
        self.process_with(&[
            Capability::IpcLock,
            Capability::SysResource,
            Capability::SysRawio,
        ])
    }

    /// A process of user 0 with these capabilities and no memory limit.
    ///
    /// # Errors
    /// When it cannot get memory.
    pub fn process_with(&self, capabilities: &[Capability]) -> io::Result<Arc<Process>> {
        let space = LocalSpace::new(&self.memory)?;
        let descriptors = capabilities
            .iter()
            .fold(Local::new(space.clone()), |local, &capability| {
                local.with(capability)
            });
        Ok(Arc::new(Process {
            host: self.clone(),
            space,
            descriptors,
        }))
    }
}

/// A process: memory, capabilities, open files.
#[derive(Debug)]
pub struct Process {
    host: Host,
    space: Arc<LocalSpace>,
    descriptors: Local,
}

impl Process {
    /// The machine it runs on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its memory.
    pub fn space(&self) -> &Arc<LocalSpace> {
        &self.space
    }

    /// Its open files, and itself as the caller of an operation.
    pub fn descriptors(&self) -> &Local {
        &self.descriptors
    }

    /// Opens `/dev/iommu`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn open(self: &Arc<Self>) -> Result<Client> {
        const NUMBER: DeviceNumber = DeviceNumber {
            major: 10,
            minor: 125,
        };
        let context = Context::new(&self.host.memory).extended(self.host.selftest.clone());
        let file = ContextFile::new(Arc::new(context), "/dev/iommu", NUMBER, 0o660);
        Client::new(self, self.install(Arc::new(file))?)
    }

    /// Opens a file of ours.
    pub(crate) fn install(&self, file: Arc<dyn File>) -> Result<FdNumber> {
        let fd = self.descriptors.install(file, InstallFlags::CLOEXEC);
        fd.map_err(|errno| Refusal::new(errno, "no descriptor"))
    }

    /// Opens a file of the host.
    pub fn open_native(&self, file: OwnedFd) -> FdNumber {
        self.descriptors.open_native(file)
    }

    /// Closes a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn close(&self, fd: FdNumber) -> Result<()> {
        let closed = self.descriptors.close(fd);
        closed.map_err(|errno| Refusal::new(errno, "no such descriptor"))
    }

    /// `read(2)` of at most `len` bytes.
    ///
    /// # Errors
    /// `EBADF`, and the file's.
    pub fn read(self: &Arc<Self>, fd: FdNumber, len: usize) -> Result<Vec<u8>> {
        let buffer = self.buffer(PAGE.bytes().max(len as u64))?;
        let range = HvaRange::from_len(buffer.at(0), len as u64);
        let done = self.file(fd)?.read(&self.descriptors, range)?;
        let mut bytes = vec![0; done];
        buffer.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// `write(2)`. Returns how many bytes were taken.
    ///
    /// # Errors
    /// `EBADF`, and the file's.
    pub fn write(self: &Arc<Self>, fd: FdNumber, bytes: &[u8]) -> Result<usize> {
        let buffer = self.buffer(PAGE.bytes().max(bytes.len() as u64))?;
        buffer.write(0, bytes)?;
        let range = HvaRange::from_len(buffer.at(0), bytes.len() as u64);
        self.file(fd)?.write(&self.descriptors, range)
    }

    /// An open file of ours.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn file(&self, fd: FdNumber) -> Result<Arc<dyn File>> {
        let file = self.descriptors.served(fd);
        file.ok_or_else(|| Refusal::new(Errno::EBADF, "no such descriptor"))
    }

    /// New zeroed memory of `len` bytes, page aligned.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn buffer(self: &Arc<Self>, len: u64) -> Result<Buffer> {
        self.buffer_of(len, PAGE)
    }

    /// New zeroed memory in pages of this size: larger ones are what hugetlb memory looks like.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn buffer_of(self: &Arc<Self>, len: u64, page: PageSize) -> Result<Buffer> {
        let range = self.space.allocate_pages(len, page);
        Ok(Buffer {
            process: self.clone(),
            range: range.map_err(|error| Refusal::new(Errno::ENOMEM, error))?,
        })
    }
}

/// Memory of a process. It is unmapped when this is dropped.
#[derive(Debug)]
pub struct Buffer {
    process: Arc<Process>,
    range: HvaRange,
}

impl Buffer {
    /// The address of a byte of it, or of one beyond.
    pub fn at(&self, offset: u64) -> Hva {
        self.range.start().wrapping_add(offset)
    }

    /// Its bytes.
    #[expect(clippy::len_without_is_empty, reason = "a buffer is never empty")]
    pub fn len(&self) -> u64 {
        self.range.len_minus_one() + 1
    }

    /// Its addresses.
    pub fn range(&self) -> HvaRange {
        self.range
    }

    /// Copies out.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let read = self.process.space.read(self.at(offset), into);
        read.map_err(|fault| Refusal::new(Errno::EFAULT, fault))
    }

    /// Copies in.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn write(&self, offset: u64, from: &[u8]) -> Result<()> {
        let written = self.process.space.write(self.at(offset), from);
        written.map_err(|fault| Refusal::new(Errno::EFAULT, fault))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.process.space.unmap(self.range);
    }
}
