//! The 64 bytes of a descriptor: 40 that the driver writes, and 24 that the device answers with.

use swiommu_addr::Iova;
use swiommu_iommu::Pasid;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What a descriptor asks for (byte 0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Opcode {
    /// Nothing: only the completion is written.
    Nop = 0,
    /// Copy `length` bytes from `source` to `destination`, in ascending order.
    Copy = 1,
    /// Write `value` again and again, from `destination` on.
    Fill = 2,
    /// Sum `length` bytes from `source` (CRC-32C).
    Checksum = 3,
}

bitflags::bitflags! {
    /// How a descriptor's data is accessed (byte 1).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Flags: u8 {
        /// As a privileged requester.
        const PRIVILEGED = 1;
    }
}

/// How a descriptor ended (its last word).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Status {
    /// It did not: what drivers write there.
    Pending = 0,
    /// As it should.
    Success = 1,
    /// There is no such opcode.
    BadOpcode = 2,
    /// A reserved field is not zero, a flag is not known, the device cannot have the PASID, or a range passes 2^64-1.
    BadField = 3,
    /// It is longer than [`MAX_LENGTH`](super::MAX_LENGTH).
    TooLong = 4,
    /// The source could not be read.
    ReadFault = 5,
    /// The destination could not be written.
    WriteFault = 6,
}

impl Status {
    fn from_code(code: u32) -> Option<Self> {
        use Status::{BadField, BadOpcode, Pending, ReadFault, Success, TooLong, WriteFault};
        let all = [
            Pending, Success, BadOpcode, BadField, TooLong, ReadFault, WriteFault,
        ];
        all.into_iter().find(|status| *status as u32 == code)
    }
}

/// What a driver writes into a descriptor.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Debug,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Descriptor {
    /// 0x00: an [`Opcode`].
    pub opcode: u8,
    /// 0x01: [`Flags`].
    pub flags: u8,
    /// 0x02: zero.
    pub reserved: U16,
    /// 0x04: the PASID of source and destination; 0 for requests without one.
    pub pasid: U32,
    /// 0x08: an IOVA.
    pub source: U64,
    /// 0x10: an IOVA.
    pub destination: U64,
    /// 0x18: bytes.
    pub length: U32,
    /// 0x1c: zero.
    pub reserved2: U32,
    /// 0x20: what is written by [`Opcode::Fill`]; zero for the others.
    pub value: U64,
}

impl Descriptor {
    /// The bytes of a descriptor, with its completion.
    pub const LEN: usize = 64;

    /// Copies memory.
    pub fn copy(source: Iova, destination: Iova, length: u32) -> Self {
        Self {
            source: source.get().into(),
            destination: destination.get().into(),
            ..Self::of(Opcode::Copy, length)
        }
    }

    /// Fills memory.
    pub fn fill(destination: Iova, length: u32, value: u64) -> Self {
        Self {
            destination: destination.get().into(),
            value: value.into(),
            ..Self::of(Opcode::Fill, length)
        }
    }

    /// Sums memory.
    pub fn checksum(source: Iova, length: u32) -> Self {
        Self {
            source: source.get().into(),
            ..Self::of(Opcode::Checksum, length)
        }
    }

    fn of(opcode: Opcode, length: u32) -> Self {
        Self {
            opcode: opcode as u8,
            length: length.into(),
            ..Self::default()
        }
    }

    /// The same for a PASID.
    #[must_use]
    pub fn with_pasid(mut self, pasid: Pasid) -> Self {
        self.pasid = pasid.0.into();
        self
    }

    /// The same as a privileged requester.
    #[must_use]
    pub fn privileged(mut self) -> Self {
        self.flags |= Flags::PRIVILEGED.bits();
        self
    }

    /// A descriptor that waits for its completion.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..size_of::<Self>()].copy_from_slice(self.as_bytes());
        bytes
    }
}

/// What the device answers, from byte 0x28 of the descriptor on.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Debug,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Completion {
    /// 0x28: the first address that was not reached, after a fault.
    pub fault: U64,
    /// 0x30: the sum.
    pub result: U64,
    /// 0x38: bytes written, or summed.
    pub done: U32,
    /// 0x3c: a [`Status`], written after everything else.
    pub status: U32,
}

impl Completion {
    /// Where it is in the descriptor.
    pub const OFFSET: usize = Descriptor::LEN - Self::LEN;

    /// How long it is.
    pub const LEN: usize = size_of::<Self>();

    /// What a descriptor's last bytes say.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        zerocopy::transmute!(*bytes)
    }

    /// How it ended; `None` for a number that the device does not write.
    pub fn status(&self) -> Option<Status> {
        Status::from_code(self.status.get())
    }
}
