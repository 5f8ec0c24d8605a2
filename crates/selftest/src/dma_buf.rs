//! Dma-bufs of the mock: `DMABUF_GET` and `DMABUF_REVOKE`.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use swiommu_abi::Errno;
use swiommu_abi::test_cmd::{DmabufGet, DmabufRevoke, IommuTestCmd};
use swiommu_addr::PaRange;
use swiommu_files::{Descriptor, DmaBuf, DmaBufImporter, FdNumber, File, InstallFlags, Stat};
use swiommu_iommufd::{Call, Outcome};
use swiommu_mem::{Access, AddressSpace, LocalSpace, PAGE, PhysicalMemory};

use crate::Error;

/// The most pages of one buffer.
const MOST_PAGES: u64 = 512;
/// `O_CLOEXEC`.
const CLOEXEC: u32 = 0o2_000_000;

/// Memory that stands for a device's, and that the mock may take back.
#[derive(Debug)]
pub struct MockDmaBuf {
    /// What the memory belongs to, as long as the buffer lives.
    _space: Arc<LocalSpace>,
    memory: PaRange,
    revoked: AtomicBool,
    importers: Mutex<Vec<Weak<dyn DmaBufImporter>>>,
}

impl MockDmaBuf {
    fn new(memory: &Arc<PhysicalMemory>, len: u64) -> Result<Arc<Self>, Error> {
        let space = LocalSpace::new(memory).map_err(|_| Error::NoMemory)?;
        let range = space.allocate(len).map_err(|_| Error::NoMemory)?;
        let runs = space.resolve(range, Access::Write)?;
        match runs.as_slice() {
            [whole] => Ok(Arc::new(Self {
                memory: whole.memory,
                _space: space,
                revoked: AtomicBool::new(false),
                importers: Mutex::default(),
            })),
            _ => Err(Error::NoMemory),
        }
    }

    /// Sets whether the buffer can be had. Either way all who have it lose it.
    fn set_revoked(&self, revoked: bool) {
        let importers = {
            let mut importers = self.importers.lock();
            self.revoked.store(revoked, Ordering::Release);
            std::mem::take(&mut *importers)
        };
        for importer in importers.iter().filter_map(Weak::upgrade) {
            importer.revoke();
        }
    }
}

impl DmaBuf for MockDmaBuf {
    fn len(&self) -> u64 {
        self.memory.len_minus_one() + 1
    }

    fn attach(&self, importer: Weak<dyn DmaBufImporter>) -> Result<PaRange, Errno> {
        let mut importers = self.importers.lock();
        if self.revoked.load(Ordering::Acquire) {
            return Err(Errno::ENODEV);
        }
        importers.retain(|importer| importer.strong_count() > 0);
        importers.push(importer);
        Ok(self.memory)
    }
}

/// The file of a mock dma-buf.
#[derive(Debug)]
struct DmaBufFile(Arc<MockDmaBuf>);

impl File for DmaBufFile {
    fn name(&self) -> &'static str {
        "/dmabuf:"
    }

    fn stat(&self) -> Stat {
        Stat::Anonymous
    }

    fn dma_buf(&self) -> Option<Arc<dyn DmaBuf>> {
        Some(self.0.clone())
    }
}

/// Makes a buffer and opens it for the caller. The result of the call is the descriptor: the kernel's own test takes it for that,
/// although the kernel returns 0 and fails it.
pub(crate) fn get(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let DmabufGet { length, open_flags } = cmd.body.get();
    let len = u64::from(length).next_multiple_of(PAGE.bytes());
    if len == 0 || len > MOST_PAGES * PAGE.bytes() {
        return Err(Error::DmaBufLength(length));
    }
    let buf = MockDmaBuf::new(call.context().memory(), len)?;
    let mut flags = InstallFlags::empty();
    flags.set(InstallFlags::CLOEXEC, open_flags & CLOEXEC != 0);
    let fd = call.install(Arc::new(DmaBufFile(buf)), flags)?;
    Ok(Outcome::value(fd.0).installed())
}

/// Takes a buffer back, or lets it be had again.
pub(crate) fn revoke(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let DmabufRevoke { dmabuf_fd, revoked } = cmd.body.get();
    let fd = FdNumber(dmabuf_fd);
    let file = match call.caller().descriptor(fd) {
        Ok(Descriptor::Served(file)) if file.dma_buf().is_some() => file,
        Ok(_) => return Err(Error::NotDmaBuf(fd)),
        Err(errno) => return Err(Error::Descriptor { fd, errno }),
    };
    let file: Arc<dyn Any + Send + Sync> = file;
    let mock = file
        .downcast::<DmaBufFile>()
        .map_err(|_| Error::ForeignDmaBuf(fd))?;
    mock.0.set_revoked(revoked != 0);
    Ok(Outcome::DONE)
}
