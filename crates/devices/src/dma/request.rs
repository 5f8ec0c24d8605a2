//! What a descriptor means, once it was found to mean something, and doing it.

use swiommu_addr::{Address, Iova};
use swiommu_iommu::{DmaError, DmaPort, Pasid};

use super::crc32c::Crc32c;
use super::{Descriptor, Flags, Opcode, Status};

/// The most bytes of one descriptor: so much can be done before the engine looks up again.
pub const MAX_LENGTH: u32 = 1 << 20;

/// Data passes through the device in pieces of so many bytes; a multiple of a fill's value.
const PIECE: usize = 4096;

/// PASIDs have 20 bits.
pub(super) const PASIDS: u32 = 1 << 20;

/// A descriptor that can be carried out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) pasid: Pasid,
    pub(super) flags: Flags,
    length: u32,
    operation: Operation,
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Nop,
    Copy { from: Iova, to: Iova },
    Fill { to: Iova, value: u64 },
    Checksum { from: Iova },
}

/// How far a request came.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: Status,
    /// Bytes written, or summed.
    pub(super) done: u32,
    pub(super) sum: u32,
    pub(super) error: Option<DmaError>,
}

impl TryFrom<&Descriptor> for Request {
    type Error = Status;

    fn try_from(descriptor: &Descriptor) -> Result<Self, Status> {
        let [from, to] = [descriptor.source, descriptor.destination].map(|at| Iova::new(at.get()));
        let value = descriptor.value.get();
        let operation = match descriptor.opcode {
            code if code == Opcode::Nop as u8 => Operation::Nop,
            code if code == Opcode::Copy as u8 => Operation::Copy { from, to },
            code if code == Opcode::Fill as u8 => Operation::Fill { to, value },
            code if code == Opcode::Checksum as u8 => Operation::Checksum { from },
            _ => return Err(Status::BadOpcode),
        };
        let length = descriptor.length.get();
        if length > MAX_LENGTH {
            return Err(Status::TooLong);
        }
        let passes_end = |at: Iova| at.checked_add(u64::from(length.max(1) - 1)).is_none();
        let (has_source, has_destination, has_value) = match operation {
            Operation::Nop => (false, false, false),
            Operation::Copy { .. } => (true, true, false),
            Operation::Fill { .. } => (false, true, true),
            Operation::Checksum { .. } => (true, false, false),
        };
        let fits = |used: bool, at: Iova| {
            if used {
                !passes_end(at)
            } else {
                at == Iova::new(0)
            }
        };
        let flags = Flags::from_bits(descriptor.flags).ok_or(Status::BadField)?;
        let pasid = descriptor.pasid.get();
        let is_valid = descriptor.reserved.get() == 0
            && descriptor.reserved2.get() == 0
            && pasid < PASIDS
            && fits(has_source, from)
            && fits(has_destination, to)
            && (has_value || value == 0);
        if !is_valid {
            return Err(Status::BadField);
        }
        Ok(Self {
            pasid: Pasid(pasid),
            flags,
            length,
            operation,
        })
    }
}

impl Request {
    /// Does it.
    pub(super) fn carry_out(&self, port: &mut DmaPort) -> Outcome {
        let mut sum = Crc32c::new();
        let mut done = 0;
        let ended = self.pieces(port, &mut done, &mut sum);
        let (status, error) = match ended {
            Ok(()) => (Status::Success, None),
            Err((status, error)) => (status, Some(error)),
        };
        let has_sum = matches!(self.operation, Operation::Checksum { .. });
        Outcome {
            status,
            done,
            sum: if has_sum { sum.sum() } else { 0 },
            error,
        }
    }

    fn pieces(
        &self,
        port: &mut DmaPort,
        done: &mut u32,
        sum: &mut Crc32c,
    ) -> Result<(), (Status, DmaError)> {
        let mut room = [0; PIECE];
        if let Operation::Fill { value, .. } = self.operation {
            let (words, _) = room.as_chunks_mut();
            words.fill(value.to_le_bytes());
        }
        let length = match self.operation {
            Operation::Nop => 0,
            _ => self.length,
        };
        while *done < length {
            let piece = &mut room[..PIECE.min((length - *done) as usize)];
            let offset = u64::from(*done);
            if let Operation::Copy { from, .. } | Operation::Checksum { from } = self.operation {
                port.read(from.wrapping_add(offset), piece)
                    .map_err(|error| (Status::ReadFault, error))?;
            }
            if let Operation::Copy { to, .. } | Operation::Fill { to, .. } = self.operation {
                let to = to.wrapping_add(offset);
                if let Err(error) = port.write(to, piece) {
                    *done += before(&error, to, piece.len());
                    return Err((Status::WriteFault, error));
                }
            } else {
                sum.add(piece);
            }
            *done += u32::try_from(piece.len()).unwrap_or(u32::MAX);
        }
        Ok(())
    }
}

/// How many bytes of a write lie before the one that failed: they were written.
fn before(error: &DmaError, start: Iova, len: usize) -> u32 {
    let offset = error.iova().get().wrapping_sub(start.get());
    u32::try_from(offset.min(len as u64)).unwrap_or(0)
}
