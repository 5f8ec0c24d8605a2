//! What a program is made of.

use arbitrary::Arbitrary;

use crate::call::Call;
use crate::operands::{Below, Fd, Len, Memory};

/// The most steps of a program that are run: what an input costs is bounded.
const STEPS: usize = 64;

/// Processes that programs run in.
pub const PROCESSES: u32 = 3;

/// A random program.
#[derive(Arbitrary, Debug)]
pub struct Program {
    /// Whether descriptors that are open at the end are closed from the last one on.
    pub last_first: bool,
    steps: Vec<Step>,
}

impl Program {
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().take(STEPS)
    }
}

/// What one process does.
#[derive(Arbitrary, Debug)]
pub struct Step {
    pub process: Below<PROCESSES>,
    pub action: Action,
}

#[derive(Arbitrary, Debug)]
pub enum Action {
    /// Calls, on a descriptor that need not be of `/dev/iommu`.
    Ioctl {
        fd: Fd,
        call: Call,
        place: Place,
        twist: Option<Twist>,
    },
    /// The same, mostly on the first context and with a struct that can be read and written.
    Plainly { call: Call },
    /// Opens `/dev/iommu`.
    Open,
    /// Gives a descriptor to another process.
    Pass { fd: Fd, to: Below<PROCESSES> },
    Close { fd: Fd },
    /// Unmaps memory that may be mapped for DMA.
    Unmap { at: Memory, len: Len },
    /// Changes what memory allows.
    Protect { at: Memory, len: Len, allow: Allow },
    /// Maps the memory of another process in place of one's own.
    Share { from: Below<PROCESSES>, at: Memory, len: Len },
    /// Sets `RLIMIT_MEMLOCK`.
    Limit { pages: Option<Below<24>> },
    /// Changes the size of the file that MAP_FILE maps.
    Truncate { len: Len },
    Exit,
}

/// Where the struct of a call is.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Place {
    /// Where it can be read and written.
    Writable,
    /// Where it can only be read.
    ReadOnly,
    /// So many bytes before the end of what is mapped.
    BeforeEnd(Below<80>),
    /// So many of its bytes can only be read; the others can be written.
    HalfReadOnly(Below<80>),
    /// In memory that is mapped for DMA.
    Data(Memory),
    /// Anywhere.
    Wild(u64),
}

/// A number in a struct that is something else than it should be.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Twist {
    pub word: Below<24>,
    pub value: Value,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Value {
    Small(Below<80>),
    Bit(Below<32>),
    Any(u32),
}

impl Value {
    pub fn get(self) -> u32 {
        match self {
            Self::Small(value) => value.0,
            Self::Bit(bit) => 1 << bit.0,
            Self::Any(value) => value,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Allow {
    Nothing,
    Read,
    ReadWrite,
}
