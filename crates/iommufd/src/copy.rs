//! Copying from and to the caller's memory.

use swiommu_addr::Hva;
use swiommu_files::Caller;
use swiommu_injection::{Step, step};

use crate::Error;

/// Reads memory of the caller.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn from_user(caller: &dyn Caller, from: Hva, into: &mut [u8]) -> Result<(), Error> {
    step(Step::CopyIn)?;
    let read = caller.space().read(from, into);
    read.map_err(|_| Error::CallerMemory(from))
}

/// Writes memory of the caller.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn to_user(caller: &dyn Caller, to: Hva, from: &[u8]) -> Result<(), Error> {
    step(Step::CopyOut)?;
    let written = caller.space().write(to, from);
    written.map_err(|_| Error::CallerMemory(to))
}
