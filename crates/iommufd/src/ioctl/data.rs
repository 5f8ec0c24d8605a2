//! Driver data in the caller's memory.

use std::fmt;

use swiommu_addr::{Address, Hva};
use swiommu_files::Caller;
use swiommu_iommu::{DriverError, UserData, UserDataMut};

use crate::{Error, copy};

/// Bytes of a type that the driver knows, in the caller's memory.
pub(super) struct CallerData<'a> {
    caller: &'a dyn Caller,
    pub(super) data_type: u32,
    at: Hva,
    len: u32,
}

impl<'a> CallerData<'a> {
    pub(super) fn new(caller: &'a dyn Caller, data_type: u32, at: Hva, len: u32) -> Self {
        Self {
            caller,
            data_type,
            at,
            len,
        }
    }

    pub(super) fn read_at(&self, offset: usize, into: &mut [u8]) -> Result<(), DriverError> {
        let read = self
            .byte(offset)
            .and_then(|from| copy::from_user(self.caller, from, into));
        read.map_err(refusal)
    }

    fn byte(&self, offset: usize) -> Result<Hva, Error> {
        let byte = self.at.checked_add(offset as u64);
        byte.ok_or(Error::CallerMemory(self.at))
    }
}

/// A failed copy, as a driver hands it on.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn refusal(error: Error) -> DriverError {
    DriverError::new(error.errno(), error.to_string())
}

impl fmt::Debug for CallerData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "type {:#x}, {} bytes at {}",
            self.data_type, self.len, self.at
        )
    }
}

impl UserData for CallerData<'_> {
    fn data_type(&self) -> u32 {
        self.data_type
    }

    fn len(&self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }

    fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), DriverError> {
        self.read_at(offset, into)
    }
}

impl UserDataMut for CallerData<'_> {
    fn write(&self, offset: usize, from: &[u8]) -> Result<(), DriverError> {
        let written = self
            .byte(offset)
            .and_then(|to| copy::to_user(self.caller, to, from));
        written.map_err(refusal)
    }
}
