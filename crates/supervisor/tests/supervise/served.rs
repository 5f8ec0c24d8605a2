//! The files that the tests serve.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use swiommu_abi::Errno;
use swiommu_addr::HvaRange;
use swiommu_files::{
    Arg, Caller, Capability, Descriptor, DeviceNumber, FdNumber, File, InstallFlags, MmapFlags,
    MmapRequest, Node, OpenFlags, Opened, Paths, Readiness, Refusal, Stat,
};
use swiommu_injection::{Step, step};
use swiommu_mem::DetachCause;

use crate::queue::Queue;

/// Requests of the test device, from `_IO(';', 0x80)` on.
pub(crate) mod request {
    /// Adds one to the `u32` that the argument points to; returns 7.
    pub(crate) const ADD_ONE: u32 = 0x3B80;
    /// How many files are open, this one included.
    pub(crate) const ALIVE: u32 = 0x3B81;
    /// Opens an anonymous file; the argument is 1 for close-on-exec, 2 for an event file.
    pub(crate) const INSTALL: u32 = 0x3B82;
    /// Sleeps for so many milliseconds.
    pub(crate) const SLEEP: u32 = 0x3B83;
    /// What the descriptor is: 1 served, 2 native.
    pub(crate) const KIND: u32 = 0x3B84;
    /// Whether the caller has `CAP_SYS_RESOURCE`.
    pub(crate) const CAPABLE: u32 = 0x3B85;
    /// A fault of the file.
    pub(crate) const PANIC: u32 = 0x3B86;
    /// The descriptor that the call was made on.
    pub(crate) const FD: u32 = 0x3B87;
    /// The address space' number.
    pub(crate) const SPACE: u32 = 0x3B88;
    /// Copies the `u32` that the argument points to, sleeps for so many milliseconds, and writes it back.
    pub(crate) const COPY_SLOWLY: u32 = 0x3B89;
    /// The calling thread.
    pub(crate) const TID: u32 = 0x3B8A;
    /// How often memory was given back since the last time this was asked.
    pub(crate) const DETACHED: u32 = 0x3B8B;
    /// A number of this open file alone.
    pub(crate) const SERIAL: u32 = 0x3B8C;
    /// Opens a queue of events; the argument is 1 for one that is ready for writing.
    pub(crate) const INSTALL_QUEUE: u32 = 0x3B8D;
    /// Takes three fallible steps; returns 3.
    pub(crate) const THREE_STEPS: u32 = 0x3B8F;
    /// Of a queue: adds an event. Returns its number.
    pub(crate) const RAISE: u32 = 0x3B8E;
}

pub(crate) const DEVICE: DeviceNumber = DeviceNumber {
    major: 10,
    minor: 124,
};

/// The one part of a device's memory that can be mapped.
pub(crate) const REGION: Region = Region {
    offset: 4096,
    len: 8192,
};

pub(crate) struct Region {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

static OPENED: AtomicU64 = AtomicU64::new(0);
static ALIVE: AtomicU64 = AtomicU64::new(0);
static DETACHED: Mutex<VecDeque<(i32, HvaRange, DetachCause)>> = Mutex::new(VecDeque::new());

pub(crate) fn opened() -> u64 {
    OPENED.load(Ordering::SeqCst)
}

pub(crate) fn alive() -> u64 {
    ALIVE.load(Ordering::SeqCst)
}

pub(crate) fn detached(pid: i32, range: HvaRange, cause: DetachCause) {
    let mut detached = DETACHED.lock().unwrap_or_else(PoisonError::into_inner);
    detached.push_back((pid, range, cause));
}

/// The test device at two paths, one of which has a directory that the host lacks, and a text.
pub(crate) fn paths() -> Paths {
    let mut paths = Paths::new();
    paths.add("/dev/iommu", Arc::new(Device("/dev/iommu")));
    paths.add(
        "/dev/swiommu-test/device",
        Arc::new(Device("/dev/swiommu-test/device")),
    );
    paths.add("/sys/swiommu-test/text", Arc::new(Text));
    paths
}

#[derive(Debug)]
struct Device(&'static str);

impl Node for Device {
    fn stat(&self) -> Stat {
        Stat::Device {
            number: DEVICE,
            mode: 0o660,
        }
    }

    fn open(&self, _: &dyn Caller, _: OpenFlags) -> Result<Opened, Refusal> {
        let device = Counted {
            memory: Some(memory().map_err(|errno| refuse(errno.raw_os_error().into()))?),
            ..Counted::new(self.0, self.stat())
        };
        Ok(Opened::File(Arc::new(device)))
    }
}

/// Sized and sealed, as the supervisor wants it.
fn memory() -> rustix::io::Result<OwnedFd> {
    let memory = memfd_create("device", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&memory, REGION.offset + REGION.len)?;
    fcntl_add_seals(
        &memory,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    Ok(memory)
}

#[derive(Debug)]
struct Text;

pub(crate) const TEXT: &str = "0x1234\n";

impl Node for Text {
    fn stat(&self) -> Stat {
        Stat::Regular {
            size: TEXT.len() as u64,
            mode: 0o444,
        }
    }

    fn open(&self, _: &dyn Caller, _: OpenFlags) -> Result<Opened, Refusal> {
        Ok(Opened::Text(TEXT.into()))
    }
}

/// A file that is counted from its opening to its release.
#[derive(Debug)]
pub(crate) struct Counted {
    name: &'static str,
    stat: Stat,
    memory: Option<OwnedFd>,
    alive: Alive,
}

/// Counts.
#[derive(Debug)]
struct Alive {
    serial: u64,
}

impl Counted {
    pub(crate) fn new(name: &'static str, stat: Stat) -> Self {
        ALIVE.fetch_add(1, Ordering::SeqCst);
        let serial = OPENED.fetch_add(1, Ordering::SeqCst);
        Self {
            name,
            stat,
            memory: None,
            alive: Alive { serial },
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) fn refuse(errno: Errno) -> Refusal {
    Refusal::new(errno, "as the test wants")
}

fn small(value: u64) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

impl File for Counted {
    fn name(&self) -> &str {
        self.name
    }

    fn stat(&self) -> Stat {
        self.stat
    }

    fn ioctl(&self, caller: &dyn Caller, request: u32, arg: Arg) -> Result<i32, Refusal> {
        let mut word = [0; 4];
        match request {
            request::ADD_ONE => {
                let space = caller.space();
                space
                    .read(arg.pointer(), &mut word)
                    .map_err(|_| refuse(Errno::EFAULT))?;
                let more = u32::from_ne_bytes(word).wrapping_add(1).to_ne_bytes();
                space
                    .write(arg.pointer(), &more)
                    .map_err(|_| refuse(Errno::EFAULT))?;
                Ok(7)
            }
            request::THREE_STEPS => {
                for one in [Step::Lookup, Step::Pin, Step::Table] {
                    step(one).map_err(|injected| refuse(injected.errno()))?;
                }
                Ok(3)
            }
            request::ALIVE => Ok(small(alive())),
            request::INSTALL => {
                let mut flags = InstallFlags::empty();
                flags.set(InstallFlags::CLOEXEC, arg.number() & 1 != 0);
                flags.set(InstallFlags::EVENTS, arg.number() & 2 != 0);
                let file = Arc::new(Counted::new("anon_inode:[test]", Stat::Anonymous));
                let fd = caller.install(file, flags).map_err(refuse)?;
                Ok(fd.0)
            }
            request::INSTALL_QUEUE => {
                let mut ready = Readiness::empty();
                ready.set(Readiness::OUT, arg.number() == 1);
                let queue = Arc::new(Queue::new(ready));
                let fd = caller
                    .install(queue, InstallFlags::EVENTS)
                    .map_err(refuse)?;
                Ok(fd.0)
            }
            request::SLEEP => {
                thread::sleep(Duration::from_millis(arg.number()));
                Ok(0)
            }
            request::KIND => {
                let fd = FdNumber(i32::try_from(arg.number().cast_signed()).unwrap_or(-1));
                match caller.descriptor(fd).map_err(refuse)? {
                    Descriptor::Served(_) => Ok(1),
                    Descriptor::Native(_) => Ok(2),
                }
            }
            request::CAPABLE => Ok(i32::from(caller.capable(Capability::SysResource))),
            request::PANIC => panic!("as the test wants"),
            request::FD => Ok(caller.fd().map_or(-1, |fd| fd.0)),
            request::SPACE => Ok(small(caller.space().id().0)),
            request::COPY_SLOWLY => {
                let space = caller.space();
                space
                    .read(arg.pointer(), &mut word)
                    .map_err(|_| refuse(Errno::EFAULT))?;
                thread::sleep(Duration::from_millis(u32::from_ne_bytes(word).into()));
                space
                    .write(arg.pointer(), &word)
                    .map_err(|_| refuse(Errno::EFAULT))?;
                Ok(0)
            }
            request::TID => Ok(caller.task().tid),
            request::DETACHED => {
                let mut detached = DETACHED.lock().unwrap_or_else(PoisonError::into_inner);
                let pid = caller.task().pid;
                let before = detached.len();
                detached.retain(|(other, ..)| *other != pid);
                Ok(small((before - detached.len()) as u64))
            }
            request::SERIAL => Ok(small(self.alive.serial)),
            _ => Err(refuse(Errno::ENOTTY)),
        }
    }

    fn read(&self, caller: &dyn Caller, into: Option<HvaRange>) -> Result<usize, Refusal> {
        let Some(into) = into else { return Ok(0) };
        let bytes = b"event";
        let len = bytes
            .len()
            .min(usize::try_from(into.len_minus_one()).unwrap_or(0) + 1);
        caller
            .space()
            .write(into.start(), &bytes[..len])
            .map_err(|_| refuse(Errno::EFAULT))?;
        Ok(len)
    }

    fn write(&self, caller: &dyn Caller, from: Option<HvaRange>) -> Result<usize, Refusal> {
        let Some(from) = from else { return Ok(0) };
        let mut bytes = vec![0; usize::try_from(from.len_minus_one()).unwrap_or(0) + 1];
        caller
            .space()
            .read(from.start(), &mut bytes)
            .map_err(|_| refuse(Errno::EFAULT))?;
        if bytes.iter().any(|byte| *byte != b'x') {
            return Err(refuse(Errno::EINVAL));
        }
        Ok(bytes.len())
    }

    fn mmap(&self, _: &dyn Caller, request: &MmapRequest) -> Result<(), Refusal> {
        if !request.flags.contains(MmapFlags::SHARED) {
            return Err(refuse(Errno::EINVAL));
        }
        if request.flags.contains(MmapFlags::EXEC) {
            return Err(refuse(Errno::EPERM));
        }
        if (request.offset, request.len) != (REGION.offset, REGION.len) {
            return Err(refuse(Errno::ENXIO));
        }
        Ok(())
    }

    fn memory(&self) -> Option<BorrowedFd<'_>> {
        self.memory.as_ref().map(AsFd::as_fd)
    }
}
