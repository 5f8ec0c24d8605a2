//! The core behind its ioctl entry, asked the same as the reference.

mod access;
mod guest;
mod hwpt;
mod ioas;
mod vfio;

use std::collections::BTreeMap;
use std::sync::Arc;

use swiommu_abi::test_cmd::{IOMMU_TEST_CMD, IommuTestCmd, IommuTestOp, TestBody};
use swiommu_abi::{Errno, UapiStruct};
use swiommu_addr::{Hva, HvaRange};
use swiommu_files::FdNumber;
use swiommu_mem::{Access, AddressSpace, Protection};
use swiommu_selftest::client::{Buffer, Client, Host, Process};

use crate::ground::{Ground, PAGE};
use crate::reference::Reference;
use crate::reply::Reply;
use crate::step::{Pick, Step};

/// A machine with a process whose memory is laid out for programs. Many programs run on it, one after the other.
pub(crate) struct World {
    host: Host,
    process: Arc<Process>,
    buffer: Buffer,
    pub(crate) ground: Ground,
}

/// So large that it starts where a large page does.
const ROOM: u64 = 4 << 20;
/// Where the scratch pages are in it.
const SCRATCH_AT: u64 = 2 << 20;

impl World {
    pub(crate) fn new() -> Self {
        let host = Host::new().unwrap();
        let process = host.process().unwrap();
        let buffer = process.buffer(ROOM).unwrap();
        let space = process.space();
        let part = |start, end| HvaRange::from_len(buffer.at(start), end - start).unwrap();
        let (end, scratch_end) = (Ground::PAGES * PAGE, SCRATCH_AT + Ground::SCRATCH);
        let whole = space.resolve(part(0, end), Access::Write).unwrap();
        assert_eq!(whole.len(), 1, "the buffer is contiguous");
        space.unmap(part(end, SCRATCH_AT));
        space.unmap(part(scratch_end, ROOM));
        space.protect(part(Ground::WRITABLE * PAGE, end), Protection::Read);
        let ground = Ground {
            buffer: buffer.at(0).get(),
            physical: whole[0].memory.start().get(),
            scratch: buffer.at(SCRATCH_AT).get(),
        };
        Self {
            host,
            process,
            buffer,
            ground,
        }
    }

    /// A fresh context.
    pub(crate) fn open(&self) -> Real<'_> {
        Real {
            world: self,
            client: self.process.open().unwrap(),
            accesses: Vec::new(),
            queues: BTreeMap::new(),
        }
    }

    /// Bytes of the buffer.
    pub(crate) fn content(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.buffer
            .read(address - self.ground.buffer, &mut bytes)
            .unwrap();
        bytes
    }

    /// Makes the bytes zero again that a program has written. Pages that are read-only have been so all along.
    pub(crate) fn clean<'a>(&self, written: impl Iterator<Item = (u64, &'a [u8])>) {
        for (address, bytes) in written {
            let at = address - self.ground.buffer;
            let writable = (Ground::WRITABLE * PAGE).saturating_sub(at);
            let len = bytes.len().min(usize::try_from(writable).unwrap());
            self.buffer.write(at, &vec![0; len]).unwrap();
        }
    }

    /// Pages that are pinned. Without an open context there are none.
    pub(crate) fn pinned_pages(&self) -> u64 {
        self.host.memory().pinned_pages()
    }
}

/// A context of the core, and the descriptors that belong to it.
pub(crate) struct Real<'a> {
    world: &'a World,
    client: Client,
    /// The accesses in the order of their making.
    accesses: Vec<FdNumber>,
    /// The open fault and event queues by their objects.
    queues: BTreeMap<u32, FdNumber>,
}

impl Drop for Real<'_> {
    fn drop(&mut self) {
        for fd in self.accesses.drain(..).chain(self.queues.values().copied()) {
            // Those that the program closed are closed already.
            let _ = self.world.process.close(fd);
        }
    }
}

type Result<T> = std::result::Result<T, Errno>;

impl Real<'_> {
    /// Makes a call, whose arguments get their numbers from the reference as it was before the step.
    pub(crate) fn run(&mut self, step: &Step, names: &Reference) -> Option<Reply> {
        let reply = match step {
            Step::Destroy { .. }
            | Step::IoasAlloc { .. }
            | Step::IovaRanges { .. }
            | Step::AllowIovas { .. }
            | Step::AddReserved { .. }
            | Step::Map { .. }
            | Step::Unmap { .. }
            | Step::Copy { .. }
            | Step::ChangeProcess { .. }
            | Step::IommuOption { .. }
            | Step::VfioIoas { .. } => self.run_ioas(step, names),
            Step::VfioMap { .. }
            | Step::VfioUnmap { .. }
            | Step::VfioExtension { .. }
            | Step::VfioSetIommu { .. } => self.run_vfio(step, names),
            Step::MockDomain { .. }
            | Step::Replace { .. }
            | Step::PasidAttach { .. }
            | Step::PasidReplace { .. }
            | Step::PasidDetach { .. }
            | Step::PasidCheck { .. }
            | Step::HwptAlloc { .. }
            | Step::HwInfo { .. }
            | Step::SetDirtyTracking { .. }
            | Step::GetDirtyBitmap { .. }
            | Step::Dirty { .. }
            | Step::CheckMap { .. }
            | Step::CheckRefs { .. }
            | Step::CheckIotlb { .. }
            | Step::CheckCache { .. } => self.run_hwpt(step, names),
            Step::Invalidate { .. }
            | Step::FaultAlloc { .. }
            | Step::TriggerIopf { .. }
            | Step::ReadFaults { .. }
            | Step::Respond { .. }
            | Step::CloseFault { .. }
            | Step::ViommuAlloc { .. }
            | Step::VdeviceAlloc { .. }
            | Step::VeventqAlloc { .. }
            | Step::TriggerVevent { .. }
            | Step::ReadEvents { .. }
            | Step::CloseVeventq { .. }
            | Step::HwQueueAlloc { .. } => return self.run_guest(step, names),
            Step::CreateAccess { .. }
            | Step::CloseAccess { .. }
            | Step::AccessReplace { .. }
            | Step::AccessPages { .. }
            | Step::UnpinPages { .. }
            | Step::AccessRw { .. } => return self.run_access(step, names),
        };
        Some(reply)
    }

    /// A call that leaves its struct alone when it fails.
    fn call<T: UapiStruct>(&self, request: u32, mut cmd: T) -> Result<T> {
        let before = cmd.as_bytes().to_vec();
        match self.client.ioctl(request, &mut cmd) {
            Ok(_) => Ok(cmd),
            Err(refusal) => {
                assert_eq!(cmd.as_bytes(), before, "a failed call writes nothing back");
                Err(refusal.errno())
            }
        }
    }

    fn test<T: UapiStruct>(&self, op: IommuTestOp, id: u32, body: T) -> Result<T> {
        let cmd = IommuTestCmd {
            size: IommuTestCmd::SIZE,
            op: op.0,
            id,
            body: TestBody::new(body),
            ..Default::default()
        };
        Ok(self.call(IOMMU_TEST_CMD, cmd)?.body.get())
    }

    /// Puts bytes into the scratch pages, and zeros behind them up to a length.
    fn place(&self, bytes: &[u8], len: usize) {
        let mut room = bytes.to_vec();
        room.resize(
            bytes
                .len()
                .max(len)
                .min(usize::try_from(Ground::SCRATCH).unwrap()),
            0,
        );
        self.world.buffer.write(SCRATCH_AT, &room).unwrap();
    }

    fn scratch(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len.min(usize::try_from(Ground::SCRATCH).unwrap())];
        self.world.buffer.read(SCRATCH_AT, &mut bytes).unwrap();
        bytes
    }

    /// The descriptor of an access; one of another file when none is meant.
    fn access(&self, pick: Pick, names: &Reference) -> u32 {
        let handle = names.open_access(pick);
        let fd = handle.map_or(self.client.fd(), |handle| self.accesses[handle]);
        fd.0.cast_unsigned()
    }

    fn file_read(&self, fd: FdNumber, count: usize) -> Result<Vec<u8>> {
        let file = self.world.process.file(fd).unwrap();
        let range = HvaRange::from_len(Hva::new(self.world.ground.scratch), count as u64);
        let done = file.read(self.world.process.descriptors(), range);
        Ok(self.scratch(done.map_err(|refusal| refusal.errno())?))
    }

    fn file_write(&self, fd: FdNumber, bytes: &[u8]) -> Result<usize> {
        self.place(bytes, 0);
        let file = self.world.process.file(fd).unwrap();
        let range = HvaRange::from_len(Hva::new(self.world.ground.scratch), bytes.len() as u64);
        let done = file.write(self.world.process.descriptors(), range);
        done.map_err(|refusal| refusal.errno())
    }
}

/// The size field of a struct.
fn size<T: UapiStruct>() -> u32 {
    T::SIZE
}
