//! Driver data in the caller's memory.

use std::fmt;

use swiommu_abi::Errno;
use swiommu_addr::{Address, Hva};
use swiommu_files::Caller;
use swiommu_injection::{Step, step};
use swiommu_iommu::{DriverError, UserData, UserDataMut};

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
        step(Step::CopyIn)?;
        let from = self.at.checked_add(offset as u64);
        let read = from.and_then(|from| self.caller.space().read(from, into).ok());
        read.ok_or_else(|| self.unreachable())
    }

    fn unreachable(&self) -> DriverError {
        DriverError::new(
            Errno::EFAULT,
            format!("the data at {} cannot be accessed", self.at),
        )
    }
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
        step(Step::CopyOut)?;
        let to = self.at.checked_add(offset as u64);
        let written = to.and_then(|to| self.caller.space().write(to, from).ok());
        written.ok_or_else(|| self.unreachable())
    }
}
