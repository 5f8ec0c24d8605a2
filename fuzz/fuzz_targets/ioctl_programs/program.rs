//! What a program is made of.

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::call::Call;
use crate::operands::{Below, Len, Memory, Pick};

/// The most steps of a program that are run: what an input costs is bounded.
const STEPS: usize = 96;

/// Processes that programs run in.
pub const PROCESSES: u32 = 3;

/// Bytes of an input before the first step.
pub const HEADER_BYTES: usize = 2;

/// Bytes of a step: what it does not need is ignored, and what it lacks is zero.
pub const STEP_BYTES: usize = 32;

/// A random program.
#[derive(Debug)]
pub struct Program {
    pub setup: Setup,
    /// Whether descriptors that are open at the end are closed from the last one on.
    pub last_first: bool,
    pub steps: Vec<Step>,
}

/// What there is at the start beside an empty IOAS.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Mock devices that are attached to another IOAS.
    pub devices: u8,
    /// Whether that IOAS has a software access that pins.
    pub access: bool,
    /// Whether the VFIO calls work on it.
    pub vfio: bool,
    /// Whether there is a device with PASIDs on page tables for PASIDs.
    pub pasids: bool,
}

impl<'a> Arbitrary<'a> for Program {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let [setup, end]: [u8; HEADER_BYTES] = u.arbitrary()?;
        let steps = u.bytes(u.len())?.chunks(STEP_BYTES).take(STEPS);
        Ok(Self {
            setup: Setup {
                devices: setup % 3,
                access: setup & 0x10 != 0,
                vfio: setup & 0x20 != 0,
                pasids: setup & 0x40 != 0,
            },
            last_first: end & 1 != 0,
            steps: steps
                .map(|step| Step::arbitrary(&mut Unstructured::new(step)))
                .collect::<Result<_>>()?,
        })
    }
}

/// What one process does.
#[derive(Debug)]
pub struct Step {
    pub process: usize,
    pub action: Action,
}

#[derive(Debug)]
pub enum Action {
    /// Calls on a descriptor of `/dev/iommu`, with the struct where the process likes.
    Ioctl {
        fd: Pick,
        call: Call,
        place: Place,
        twist: Option<Twist>,
    },
    /// Opens `/dev/iommu`.
    Open,
    /// Gives a descriptor to another process.
    Pass {
        fd: Below<10>,
        to: usize,
    },
    Close {
        fd: Below<10>,
    },
    /// Unmaps memory that may be mapped for DMA.
    Unmap {
        at: Memory,
        len: Len,
    },
    /// Changes what memory allows.
    Protect {
        at: Memory,
        len: Len,
        allow: Allow,
    },
    /// Maps the memory of another process in place of one's own.
    Share {
        from: usize,
        at: Memory,
        len: Len,
    },
    /// Reads the file of an event queue.
    Read {
        fd: Pick,
        at: Memory,
        len: u64,
    },
    /// Writes the file of an event queue.
    Write {
        fd: Pick,
        at: Memory,
        len: u64,
    },
    /// Sets `RLIMIT_MEMLOCK`.
    Limit {
        pages: Option<Below<24>>,
    },
    /// Changes the size of the file that MAP_FILE maps.
    Truncate {
        len: Len,
    },
    Exit,
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let who = |u: &mut Unstructured<'a>| Ok(Below::<PROCESSES>::arbitrary(u)?.0 as usize);
        let byte = u8::arbitrary(u)?;
        let action = match byte {
            // Two of three calls are plain, and most by the first process.
            0..=159 => Action::Ioctl {
                fd: Pick::Nth(0),
                call: Call::arbitrary(u)?,
                place: Place::Writable,
                twist: None,
            },
            160..=209 => Action::Ioctl {
                fd: Pick::arbitrary(u)?,
                call: Call::arbitrary(u)?,
                place: Place::arbitrary(u)?,
                twist: Option::arbitrary(u)?,
            },
            210..=213 => Action::Open,
            214..=217 => Action::Pass {
                fd: Below::arbitrary(u)?,
                to: who(u)?,
            },
            218..=223 => Action::Close {
                fd: Below::arbitrary(u)?,
            },
            224..=229 => Action::Unmap {
                at: Memory::arbitrary(u)?,
                len: Len::arbitrary(u)?,
            },
            230..=236 => Action::Protect {
                at: Memory::arbitrary(u)?,
                len: Len::arbitrary(u)?,
                allow: Allow::arbitrary(u)?,
            },
            237..=244 => Action::Share {
                from: who(u)?,
                at: Memory::arbitrary(u)?,
                len: Len::arbitrary(u)?,
            },
            245..=246 => Action::Read {
                fd: Pick::arbitrary(u)?,
                at: Memory::arbitrary(u)?,
                len: u64::from(u8::arbitrary(u)?) / 8 * 4,
            },
            247..=248 => Action::Write {
                fd: Pick::arbitrary(u)?,
                at: Memory::arbitrary(u)?,
                len: u64::from(u8::arbitrary(u)?) / 8 * 4,
            },
            249..=250 => Action::Limit {
                pages: Option::arbitrary(u)?,
            },
            251..=253 => Action::Truncate {
                len: Len::arbitrary(u)?,
            },
            254.. => Action::Exit,
        };
        let process = if byte < 100 { 0 } else { who(u)? };
        Ok(Self { process, action })
    }
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
