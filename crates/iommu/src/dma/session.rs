//! A DMA port as the memory of rust-vmm's device code.

use std::fmt;
use std::iter::{self, FusedIterator};
use std::sync::OnceLock;

use swiommu_addr::{Address, Iova, PaRange};
use swiommu_mem::AccessError;
use swiommu_pgtable::Access;
use vm_memory::guest_memory::GuestMemorySliceIterator;
use vm_memory::iommu::{Error as IommuError, IovaRange};
use vm_memory::{
    GuestAddress, GuestMemory, GuestMemoryBackend, GuestMemoryError, GuestMemoryRegion,
    GuestMemoryRegionBytes, GuestUsize, Permissions, VolatileSlice,
};

use super::entered::Entered;
use super::{DmaError, DmaPort};

impl DmaPort {
    /// Begins a session, in which code that is generic over vm-memory's `GuestMemory` does DMA through this port. Its guest
    /// addresses are IOVAs.
    pub fn session(&mut self) -> DmaSession<'_> {
        DmaSession {
            privilege: self.privilege,
            entered: self.enter(),
            fault: OnceLock::new(),
        }
    }
}

/// A span of time in which slices that were translated stay usable: it implements vm-memory's `GuestMemory`.
///
/// A slice can be used long after it was looked up, so the session is inside the port's epoch from beginning to end, and slices
/// cannot outlive it. An unmap, detach or invalidation waits for all of it; after a second it says in the log which port is in
/// the way. So a session is for one batch of work that is bounded: what one doorbell announced, up to a number of buffers, and
/// nothing that waits for somebody. A device then drops it and begins another, which sees what was changed in between.
///
/// Nobody is asked for a page that is not there, because whoever brings it may have to unmap something first. The device finds
/// the first such fault in [`fault`](Self::fault), drops the session, has the port ask (a [`DmaPort::access`] of the page does),
/// and begins again.
///
/// Memory that is not mapped in this process cannot be handed out (`HostAddressNotAvailable`).
///
/// ```
/// use swiommu_iommu::{DmaError, DmaPort};
/// use vm_memory::{Bytes, GuestAddress, GuestMemoryError};
///
/// /// Any code of rust-vmm: it knows nothing of an IOMMU.
/// fn increment(memory: &impl vm_memory::GuestMemory, at: GuestAddress) -> Result<(), GuestMemoryError> {
///     let value: u32 = memory.read_obj(at)?;
///     memory.write_obj(value + 1, at)
/// }
///
/// fn doorbell(port: &mut DmaPort) -> Option<DmaError> {
///     let session = port.session();
///     increment(&session, GuestAddress(0x1000)).err()?;
///     session.fault().cloned()
/// }
/// ```
pub struct DmaSession<'a> {
    privilege: Access,
    entered: Entered<'a>,
    fault: OnceLock<DmaError>,
}

impl DmaSession<'_> {
    /// The first request that failed, with its address and reason. vm-memory's errors do not always tell.
    pub fn fault(&self) -> Option<&DmaError> {
        self.fault.get()
    }

    /// The longest piece from `iova` on that lies in one page, at most `len` bytes.
    fn slice(
        &self,
        iova: Iova,
        len: usize,
        wanted: Access,
    ) -> Result<VolatileSlice<'_>, GuestMemoryError> {
        let found = self.entered.translate(iova, wanted).and_then(|translated| {
            let at = translated.resolve(iova);
            let memory = PaRange::from_len(at, translated.rest(iova).min(len as u64));
            let slice = memory.and_then(|memory| self.entered.memory.slice(memory));
            slice.ok_or(DmaError::Memory {
                iova,
                error: AccessError::NoMemory(at),
            })
        });
        found
            .map(VolatileSlice::from)
            .map_err(|error| self.failed(error, iova, len))
    }

    /// Notes a failure, and says it in vm-memory's words.
    fn failed(&self, error: DmaError, iova: Iova, length: usize) -> GuestMemoryError {
        let base = GuestAddress(iova.get());
        let said = match &error {
            DmaError::Fault { fault, .. } => {
                GuestMemoryError::IommuError(IommuError::CannotResolve {
                    iova_range: IovaRange { base, length },
                    reason: fault.to_string(),
                })
            }
            DmaError::Overflow { .. } => GuestMemoryError::GuestAddressOverflow,
            _ => GuestMemoryError::HostAddressNotAvailable,
        };
        let _the_first_stays = self.fault.set(error);
        said
    }
}

impl GuestMemory for DmaSession<'_> {
    type PhysicalMemory = NoBackend;
    type Bitmap = ();

    fn check_range(&self, addr: GuestAddress, count: usize, access: Permissions) -> bool {
        self.get_slices(addr, count, access)
            .is_ok_and(|mut slices| slices.all(|slice| slice.is_ok()))
    }

    fn get_slices(
        &self,
        addr: GuestAddress,
        count: usize,
        access: Permissions,
    ) -> Result<impl GuestMemorySliceIterator<'_, ()>, GuestMemoryError> {
        let iova = Iova::new(addr.0);
        let len = count as u64;
        if len > 0 && iova.checked_add(len - 1).is_none() {
            return Err(self.failed(DmaError::Overflow { iova, len }, iova, count));
        }
        let mut wanted = Access::empty();
        wanted.set(Access::READ, access.allow(Permissions::Read));
        wanted.set(Access::WRITE, access.has_write());
        Ok(Slices {
            session: self,
            iova,
            rest: count,
            wanted: wanted & self.privilege,
        })
    }
}

impl fmt::Debug for DmaSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaSession")
            .field("fault", &self.fault.get())
            .finish_non_exhaustive()
    }
}

/// The pieces of a range of IOVAs, one for each page; it ends with the first that fails.
struct Slices<'a> {
    session: &'a DmaSession<'a>,
    iova: Iova,
    /// Bytes that are still to come.
    rest: usize,
    wanted: Access,
}

impl<'a> Iterator for Slices<'a> {
    type Item = Result<VolatileSlice<'a>, GuestMemoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest == 0 {
            return None;
        }
        let slice = self.session.slice(self.iova, self.rest, self.wanted);
        let len = slice.as_ref().map_or(self.rest, VolatileSlice::len);
        self.rest -= len;
        self.iova = self.iova.wrapping_add(len as u64);
        Some(slice)
    }
}

impl FusedIterator for Slices<'_> {}

impl<'a> GuestMemorySliceIterator<'a, ()> for Slices<'a> {}

/// The memory behind a session's IOMMU, as far as its code may reach it directly: not at all, so it has no value.
#[derive(Clone, Copy, Debug)]
pub enum NoBackend {}

impl GuestMemoryBackend for NoBackend {
    type R = Self;

    fn iter(&self) -> impl Iterator<Item = &Self> {
        iter::empty()
    }
}

impl GuestMemoryRegion for NoBackend {
    type B = ();

    fn len(&self) -> GuestUsize {
        match *self {}
    }

    fn start_addr(&self) -> GuestAddress {
        match *self {}
    }

    fn bitmap(&self) {
        match *self {}
    }
}

impl GuestMemoryRegionBytes for NoBackend {}
