//! One engine: it takes descriptors from its ring.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use swiommu_addr::{Address, Iova};
use swiommu_iommu::{DmaError, DmaPort, Pasid};
use zerocopy::{FromZeros, IntoBytes};

use super::request::{Outcome, Request};
use super::{Completion, Descriptor, Flags, Registers, Status, register};

/// The most descriptors that are done before the engine returns.
pub const BATCH: u32 = 64;

/// Ports that are kept for later descriptors: a driver can name a million PASIDs.
const PORTS: usize = 16;

/// Makes a port for requests with a PASID, if there can be such requests.
pub(super) type MakePort = Arc<dyn Fn(Pasid) -> Option<DmaPort> + Send + Sync>;

/// Whether there is more to do at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "descriptors may be waiting"]
pub enum Progress {
    /// Not before the driver writes a register.
    Idle,
    /// Descriptors are waiting: run the engine again.
    More,
}

/// Why an engine has halted. It stays so until it is disabled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Halt {
    /// The ring is not aligned, too large, passes 2^64-1, or has a PASID that the device cannot have.
    BadRing = 1,
    /// The doorbell says that more descriptors wait than the ring has.
    BadTail = 2,
    /// A descriptor could not be read.
    ReadFault = 3,
    /// A completion could not be written.
    WriteFault = 4,
}

/// What an engine knows that drivers cannot change.
pub(super) struct Engine {
    number: u32,
    make_port: MakePort,
    ports: BTreeMap<(Pasid, u8), DmaPort>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Disabled,
    Enabled(Ring),
    Halted,
}

/// A ring, as it was when the engine was enabled.
#[derive(Clone, Copy, Debug)]
struct Ring {
    start: Iova,
    size: u32,
    pasid: Pasid,
    /// Descriptors done.
    head: u32,
}

/// Why an engine takes no more descriptors.
struct Stop {
    halt: Halt,
    error: Option<DmaError>,
}

impl Stop {
    fn at(halt: Halt, error: DmaError) -> Self {
        let error = Some(error);
        Self { halt, error }
    }
}

impl Engine {
    pub(super) fn new(number: u32, make_port: MakePort) -> Self {
        Self {
            number,
            make_port,
            ports: BTreeMap::new(),
            state: State::Disabled,
        }
    }

    /// Takes up to [`BATCH`] descriptors.
    pub(super) fn run(&mut self, registers: &Registers) -> Progress {
        let at = register::engine(self.number);
        let load = |register| registers.load(at + register);
        if load(register::CONTROL) & register::ENABLE == 0 {
            self.state = State::Disabled;
            registers.store(at + register::STATUS, 0);
            return Progress::Idle;
        }
        if let State::Disabled = self.state {
            let ring = Ring::from_registers(load);
            match ring.filter(|ring| self.port(ring.pasid, Flags::empty()).is_some()) {
                Some(ring) => self.state = State::Enabled(ring),
                None => return self.halt(registers, Halt::BadRing, None),
            }
            registers.store(at + register::HEAD, 0);
            registers.store(at + register::STATUS, register::RUNNING);
        }
        for _ in 0..BATCH {
            let State::Enabled(ring) = &mut self.state else {
                return Progress::Idle;
            };
            let waiting = load(register::TAIL).wrapping_sub(ring.head);
            if waiting == 0 {
                return Progress::Idle;
            }
            if waiting > ring.size {
                return self.halt(registers, Halt::BadTail, None);
            }
            let taken = *ring;
            ring.head = ring.head.wrapping_add(1);
            if let Err(stop) = self.take(&taken) {
                return self.halt(registers, stop.halt, stop.error.as_ref());
            }
            registers.store(at + register::HEAD, taken.head.wrapping_add(1));
        }
        Progress::More
    }

    fn halt(&mut self, registers: &Registers, halt: Halt, error: Option<&DmaError>) -> Progress {
        let engine = self.number;
        let fault = error.map_or(0, |error| error.iova().get());
        let reason = error.map(ToString::to_string);
        tracing::debug!(engine, ?halt, reason, "the engine has halted");
        self.state = State::Halted;
        let at = register::engine(engine);
        let [low, high] = halves(fault);
        registers.store(at + register::FAULT_LOW, low);
        registers.store(at + register::FAULT_HIGH, high);
        let status = u32::from(halt as u8) << register::HALT_SHIFT;
        registers.store(at + register::STATUS, status);
        Progress::Idle
    }

    /// Reads a descriptor, does what it says, and writes its completion.
    fn take(&mut self, ring: &Ring) -> Result<(), Stop> {
        let at = ring.descriptor();
        let mut descriptor = Descriptor::new_zeroed();
        self.ring_port(ring)?
            .read(at, descriptor.as_mut_bytes())
            .map_err(|error| Stop::at(Halt::ReadFault, error))?;
        let request = Request::try_from(&descriptor).and_then(|request| {
            let port = self.port(request.pasid, request.flags);
            Ok((request, port.ok_or(Status::BadField)?))
        });
        let outcome = match request {
            Ok((request, port)) => request.carry_out(port),
            Err(status) => Outcome {
                status,
                done: 0,
                sum: 0,
                error: None,
            },
        };
        let engine = self.number;
        let fault = outcome.error.as_ref().map(DmaError::iova);
        if outcome.status != Status::Success {
            let status = outcome.status;
            let reason = outcome.error.map(|error| error.to_string());
            tracing::debug!(engine, %at, ?status, reason, "a descriptor failed");
        }
        let completion = Completion {
            fault: fault.map_or(0, Iova::get).into(),
            result: u64::from(outcome.sum).into(),
            done: outcome.done.into(),
            status: (outcome.status as u32).into(),
        };
        self.complete(ring, &completion)
    }

    /// Writes a completion, the status last: who sees it sees all the rest.
    fn complete(&mut self, ring: &Ring, completion: &Completion) -> Result<(), Stop> {
        let at = ring.descriptor().wrapping_add(Completion::OFFSET as u64);
        let (rest, status) = completion.as_bytes().split_at(Completion::LEN - 4);
        let port = self.ring_port(ring)?;
        let fault = |error| Stop::at(Halt::WriteFault, error);
        port.write(at, rest).map_err(fault)?;
        fence(Ordering::Release);
        port.write(at.wrapping_add(rest.len() as u64), status)
            .map_err(fault)
    }

    fn ring_port(&mut self, ring: &Ring) -> Result<&mut DmaPort, Stop> {
        let port = self.port(ring.pasid, Flags::empty());
        port.ok_or(Stop {
            halt: Halt::BadRing,
            error: None,
        })
    }

    /// The port for requests with a PASID; `None` if the device cannot have it.
    fn port(&mut self, pasid: Pasid, flags: Flags) -> Option<&mut DmaPort> {
        let key = (pasid, flags.bits());
        if self.ports.len() >= PORTS && !self.ports.contains_key(&key) {
            self.ports.clear();
        }
        match self.ports.entry(key) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(free) => {
                let port = (self.make_port)(pasid)?;
                Some(free.insert(if flags.contains(Flags::PRIVILEGED) {
                    port.privileged()
                } else {
                    port
                }))
            }
        }
    }
}

impl Ring {
    fn from_registers(load: impl Fn(u32) -> u32) -> Option<Self> {
        let [low, high] =
            [register::RING_LOW, register::RING_HIGH].map(|half| u64::from(load(half)));
        let start = Iova::new(high << 32 | low);
        let (log2, pasid) = (load(register::SIZE), load(register::PASID));
        let is_valid = start.get().is_multiple_of(Descriptor::LEN as u64)
            && log2 <= register::MAX_SIZE
            && pasid < super::request::PASIDS;
        let ring = Self {
            start,
            size: 1_u32.checked_shl(log2)?,
            pasid: Pasid(pasid),
            head: 0,
        };
        let bytes = u64::from(ring.size) * Descriptor::LEN as u64;
        (is_valid && start.checked_add(bytes - 1).is_some()).then_some(ring)
    }

    /// Where the next descriptor is.
    fn descriptor(&self) -> Iova {
        let index = u64::from(self.head % self.size);
        self.start.wrapping_add(index * Descriptor::LEN as u64)
    }
}

/// The lower and the upper half of an address.
fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, rest @ ..] = word.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes(rest)]
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("number", &self.number)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
