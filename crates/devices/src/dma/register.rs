//! The registers, laid out as in BAR 0: a page for the device, and one for each engine.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

/// What [`ID`] reads as: the letters `SWDM`.
pub const ID_VALUE: u32 = u32::from_le_bytes(*b"SWDM");
/// What [`VERSION`] reads as.
pub const VERSION_VALUE: u32 = 1;

/// Read-only: [`ID_VALUE`].
pub const ID: u32 = 0x00;
/// Read-only: [`VERSION_VALUE`].
pub const VERSION: u32 = 0x04;
/// Read-only: how many engines there are.
pub const ENGINES: u32 = 0x08;

/// The bytes of a page of registers.
pub const PAGE: u32 = 0x1000;

/// Where the registers of an engine start; the following are offsets within them.
pub const fn engine(number: u32) -> u32 {
    (number + 1) * PAGE
}

/// The IOVA of the ring, bits 31:0. It is a multiple of 64.
pub const RING_LOW: u32 = 0x00;
/// The IOVA of the ring, bits 63:32.
pub const RING_HIGH: u32 = 0x04;
/// The ring has 2 to this power descriptors: 0 to [`MAX_SIZE`].
pub const SIZE: u32 = 0x08;
/// The PASID that the ring is read and written with; 0 for none.
pub const PASID: u32 = 0x0c;
/// [`ENABLE`].
pub const CONTROL: u32 = 0x10;
/// Read-only: [`RUNNING`], and in bits 15:8 why the engine has halted ([`Halt`](super::Halt)).
pub const STATUS: u32 = 0x14;
/// The doorbell: how many descriptors the driver has written since the engine was enabled, modulo 2^32.
pub const TAIL: u32 = 0x18;
/// Read-only: how many of them are done.
pub const HEAD: u32 = 0x1c;
/// Read-only: the address that could not be accessed when the engine halted, bits 31:0.
pub const FAULT_LOW: u32 = 0x20;
/// Read-only: the same, bits 63:32.
pub const FAULT_HIGH: u32 = 0x24;

/// The largest [`SIZE`].
pub const MAX_SIZE: u32 = 12;
/// In [`CONTROL`]: the engine takes descriptors.
pub const ENABLE: u32 = 1;
/// In [`STATUS`]: the engine is enabled, and has not halted.
pub const RUNNING: u32 = 1;
/// In [`STATUS`]: where the reason of a halt is.
pub const HALT_SHIFT: u32 = 8;

/// The registers of a device. Drivers may write all of them at any time, like memory; the device looks only at those that are
/// the driver's.
pub struct Registers {
    words: Box<[AtomicU32]>,
}

impl Registers {
    pub(super) fn new(engines: u32) -> Self {
        let words = engine(engines) / 4;
        let registers = Self {
            words: (0..words).map(|_| AtomicU32::new(0)).collect(),
        };
        registers.store(ID, ID_VALUE);
        registers.store(VERSION, VERSION_VALUE);
        registers.store(ENGINES, engines);
        registers
    }

    /// Reads the register at an offset in bytes; 0 where there is none.
    pub fn load(&self, offset: u32) -> u32 {
        self.word(offset)
            .map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Writes the register at an offset in bytes, if there is one.
    pub fn store(&self, offset: u32, value: u32) {
        if let Some(word) = self.word(offset) {
            word.store(value, Ordering::Release);
        }
    }

    fn word(&self, offset: u32) -> Option<&AtomicU32> {
        let aligned = offset.is_multiple_of(4);
        self.words.get(offset as usize / 4).filter(|_| aligned)
    }
}

impl fmt::Debug for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registers")
            .field("bytes", &size_of_val(&*self.words))
            .finish_non_exhaustive()
    }
}
