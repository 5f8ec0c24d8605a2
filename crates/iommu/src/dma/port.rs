//! A device's access to memory.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use swiommu_addr::{Address, Iova, IovaRange, Pa, PaRange};
use swiommu_mem::{AccessError, AtomicInteger, PhysicalMemory, VolatileSlice};
use swiommu_pgtable::Access;

use super::entered::Entered;
use super::{Attachments, DmaError, Translate, Translated};
use crate::{Pasid, Reader, Trace};

/// At most this many bytes are copied under one guard, so that nobody who unmaps waits for long.
const PIECE: u64 = 64 * 1024;

/// How often an access asks for its pages before it gives up.
const REQUESTS: u32 = 64;

/// Asks for a page that was not there, by the device's page request interface or by stalling. Returns whether to try again.
pub type AskForPage = Box<dyn FnMut(Iova, Access) -> bool + Send>;

/// A device's access to memory: the requests of one requester, with one PASID or without. One thread uses it at a time; a
/// device has as many as it has engines.
pub struct DmaPort {
    memory: Arc<PhysicalMemory>,
    attachments: Arc<Attachments>,
    pasid: Pasid,
    reader: Reader,
    /// What was attached at `version`.
    translate: Arc<dyn Translate>,
    version: u64,
    /// Reads, writes and so on as a user, or as a privileged requester.
    pub(super) privilege: Access,
    ask: Option<AskForPage>,
}

impl DmaPort {
    /// A port for the requests of an endpoint with this PASID. The name is for the log.
    pub fn new(
        memory: &Arc<PhysicalMemory>,
        attachments: &Arc<Attachments>,
        pasid: Pasid,
        name: impl Into<String>,
    ) -> Self {
        // The version first: a change in between is noticed by the first access.
        let version = attachments.version();
        Self {
            memory: memory.clone(),
            attachments: attachments.clone(),
            pasid,
            reader: attachments.epochs().reader(name),
            translate: attachments.get(pasid),
            version,
            privilege: Access::USER,
            ask: None,
        }
    }

    /// Makes its requests those of a privileged requester (`PCIe`: privileged-mode requested).
    #[must_use]
    pub fn privileged(mut self) -> Self {
        self.privilege = Access::PRIVILEGED;
        self
    }

    /// Asks for pages that are not there, where the fault allows it.
    #[must_use]
    pub fn asking(mut self, ask: AskForPage) -> Self {
        self.ask = Some(ask);
        self
    }

    /// Reads memory.
    ///
    /// # Errors
    /// [`DmaError`]; bytes before the failing one may have been read.
    pub fn read(&mut self, iova: Iova, into: &mut [u8]) -> Result<(), DmaError> {
        let wanted = Access::READ & self.privilege;
        self.each(iova, into.len() as u64, wanted, |memory, at, bytes| {
            memory.read(at, &mut into[bytes])
        })
    }

    /// Writes memory.
    ///
    /// # Errors
    /// [`DmaError`]; bytes before the failing one may have been written.
    pub fn write(&mut self, iova: Iova, from: &[u8]) -> Result<(), DmaError> {
        let wanted = Access::WRITE & self.privilege;
        self.each(iova, from.len() as u64, wanted, |memory, at, bytes| {
            memory.write(at, &from[bytes])
        })
    }

    /// Hands the memory behind a range to `visit`, piece by piece and in order, without copying. Memory that is not mapped in
    /// this process cannot be handed out: [`AccessError::NoMemory`].
    ///
    /// # Errors
    /// [`DmaError`]; pieces before the failing one have been handed out.
    pub fn access(
        &mut self,
        iova: Iova,
        len: u64,
        wanted: Access,
        mut visit: impl FnMut(VolatileSlice<'_>),
    ) -> Result<(), DmaError> {
        let wanted = wanted & self.privilege;
        self.each(iova, len, wanted, |memory, at, bytes| {
            let range = PaRange::from_len(at, bytes.len() as u64);
            let slice = range.and_then(|range| memory.slice(range));
            visit(slice.ok_or(AccessError::NoMemory(at))?);
            Ok(())
        })
    }

    /// The walk that a request for `iova` would take if nothing were cached, as the tables are now.
    pub fn trace(&mut self, iova: Iova) -> Trace {
        self.enter().trace(iova)
    }

    /// Where an IOVA leads for a request that wants `wanted`, and may do there: a translation request, without an access. By the time
    /// that it returns, it may be so no longer.
    ///
    /// # Errors
    /// [`DmaError::Fault`]. The page is not asked for.
    #[inline]
    pub fn translate(&mut self, iova: Iova, wanted: Access) -> Result<Translated, DmaError> {
        let wanted = wanted & self.privilege;
        self.enter().translate(iova, wanted)
    }

    /// Reads scattered pieces, one behind the other.
    ///
    /// # Errors
    /// As [`read`](Self::read); when `into` is shorter than the pieces, the rest of them is not read.
    pub fn gather(&mut self, pieces: &[IovaRange], into: &mut [u8]) -> Result<(), DmaError> {
        let mut rest = into;
        for piece in pieces {
            let (now, later) = rest.split_at_mut(fitting(*piece, rest.len()));
            self.read(piece.start(), now)?;
            rest = later;
        }
        Ok(())
    }

    /// Writes scattered pieces, one behind the other.
    ///
    /// # Errors
    /// As [`write`](Self::write); when `from` is shorter than the pieces, the rest of them is not written.
    pub fn scatter(&mut self, pieces: &[IovaRange], from: &[u8]) -> Result<(), DmaError> {
        let mut rest = from;
        for piece in pieces {
            let (now, later) = rest.split_at(fitting(*piece, rest.len()));
            self.write(piece.start(), now)?;
            rest = later;
        }
        Ok(())
    }

    /// Replaces the value at `iova` by `new` if it is `old`, in one step. Returns what was there. It counts as a write, also when
    /// nothing changes, as an `AtomicOp` of `PCIe` does.
    ///
    /// # Errors
    /// [`DmaError`], with nothing changed.
    pub fn compare_exchange<T: AtomicInteger>(
        &mut self,
        iova: Iova,
        old: T,
        new: T,
    ) -> Result<T, DmaError> {
        self.update(iova, |value| (value == old).then_some(new))
    }

    /// Adds to the value at `iova`, in one step. Returns what was there.
    ///
    /// # Errors
    /// [`DmaError`], with nothing changed.
    pub fn fetch_add<T: AtomicInteger>(&mut self, iova: Iova, add: T) -> Result<T, DmaError> {
        self.update(iova, |value: T| Some(value.wrapping_add(add)))
    }

    /// Replaces the value at `iova`, in one step. Returns what was there.
    ///
    /// # Errors
    /// [`DmaError`], with nothing changed.
    pub fn swap<T: AtomicInteger>(&mut self, iova: Iova, new: T) -> Result<T, DmaError> {
        self.update(iova, |_| Some(new))
    }

    fn update<T: AtomicInteger>(
        &mut self,
        iova: Iova,
        change: impl Fn(T) -> Option<T>,
    ) -> Result<T, DmaError> {
        let size = size_of::<T>();
        if !iova.get().is_multiple_of(size as u64) {
            return Err(DmaError::Unaligned { iova, size });
        }
        let wanted = (Access::READ | Access::WRITE) & self.privilege;
        let mut found = T::default();
        self.each(iova, size as u64, wanted, |memory, at, _| {
            found = memory.update(at, &change)?;
            Ok(())
        })?;
        Ok(found)
    }

    /// Walks the memory behind a range, which often lies in one page.
    #[inline]
    fn each(
        &mut self,
        start: Iova,
        len: u64,
        wanted: Access,
        mut visit: impl FnMut(&PhysicalMemory, Pa, Range<usize>) -> Result<(), AccessError>,
    ) -> Result<(), DmaError> {
        let Some(last) = len.checked_sub(1) else {
            return Ok(());
        };
        if start.checked_add(last).is_none() {
            return Err(DmaError::Overflow { iova: start, len });
        }
        let begun = {
            let entered = self.enter();
            let mut begun = Ok(());
            if let Some(found) = entered.find(start, wanted, &mut begun)
                && len <= PIECE
                && len <= found.rest(start)
            {
                let visited = visit(entered.memory, found.resolve(start), 0..host(len));
                return visited.map_err(|error| DmaError::Memory { iova: start, error });
            }
            begun
        };
        self.each_of_several(begun, start, len, wanted, &mut visit)
    }

    /// Walks the memory behind a range in pieces, each under a guard and in one page; at once, or after a page that did not come.
    #[cold]
    #[inline(never)]
    fn each_of_several(
        &mut self,
        begun: Result<(), DmaError>,
        start: Iova,
        len: u64,
        wanted: Access,
        visit: &mut Visit<'_>,
    ) -> Result<(), DmaError> {
        let mut stopped = begun;
        let mut done = 0;
        let mut requests = 0;
        loop {
            if let Err(error) = stopped {
                let DmaError::Fault { iova, fault, .. } = &error else {
                    return Err(error);
                };
                requests += 1;
                let ask = self.ask.as_mut().filter(|_| fault.can_be_requested());
                let comes = requests <= REQUESTS && ask.is_some_and(|ask| ask(*iova, wanted));
                if !comes {
                    return Err(error);
                }
            }
            if done == len {
                return Ok(());
            }
            let until = len.min(done + PIECE);
            stopped = self.piece(start, &mut done, until, wanted, visit);
        }
    }

    /// Enters the epoch, and looks what is attached.
    #[inline]
    pub(super) fn enter(&mut self) -> Entered<'_> {
        let guard = self.reader.enter();
        let version = self.attachments.version();
        if version != self.version {
            self.translate = get_attached(&self.attachments, self.pasid);
            self.version = version;
        }
        Entered::new(&self.memory, &*self.translate, guard)
    }

    /// The part that happens under one guard. `done` counts what was visited.
    fn piece(
        &mut self,
        start: Iova,
        done: &mut u64,
        until: u64,
        wanted: Access,
        visit: &mut Visit<'_>,
    ) -> Result<(), DmaError> {
        let entered = self.enter();
        while *done < until {
            let iova = start.wrapping_add(*done);
            let found = entered.translate(iova, wanted)?;
            let now = found.rest(iova).min(until - *done);
            let bytes = host(*done)..host(*done + now);
            let visited = visit(entered.memory, found.resolve(iova), bytes);
            visited.map_err(|error| DmaError::Memory { iova, error })?;
            *done += now;
        }
        Ok(())
    }
}

/// What is done with a piece: memory, and the bytes of the access that are there.
type Visit<'a> = dyn FnMut(&PhysicalMemory, Pa, Range<usize>) -> Result<(), AccessError> + 'a;

/// Apart, so that what is done each time is short.
#[cold]
#[inline(never)]
fn get_attached(attachments: &Attachments, pasid: Pasid) -> Arc<dyn Translate> {
    attachments.get(pasid)
}

/// How many bytes of a piece a buffer of `room` bytes takes.
fn fitting(piece: IovaRange, room: usize) -> usize {
    let len = usize::try_from(piece.len_minus_one()).unwrap_or(usize::MAX);
    room.min(len.saturating_add(1))
}

/// Bytes of a buffer in this process, so no more than it can address.
fn host(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl fmt::Debug for DmaPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaPort")
            .field("pasid", &self.pasid)
            .field("translate", &self.translate)
            .finish_non_exhaustive()
    }
}
