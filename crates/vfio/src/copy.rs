//! Structs from and to the caller's memory.

use swiommu_abi::vfio::command::{copy_extensible, copy_min};
use swiommu_abi::{Errno, Fault, UapiStruct};
use swiommu_addr::{Address, Hva};
use swiommu_files::Caller;
use swiommu_injection::{Step, step};

use crate::Error;

/// Reads the first `min` bytes of a struct, which must be there.
///
/// # Errors
/// `EFAULT`, `EINVAL`.
pub(crate) fn read_min<T: UapiStruct>(
    caller: &dyn Caller,
    at: Hva,
    min: usize,
) -> Result<T, Error> {
    step(Step::CopyIn)?;
    copy_min(min, |offset, into| read(caller, at, offset, into))
        .map_err(|errno| why(errno, at, min))
}

/// Reads what follows the first `min` bytes of a struct, because a flag says that it counts.
///
/// # Errors
/// `EINVAL`, `EFAULT`.
pub(crate) fn read_rest<T: UapiStruct>(
    caller: &dyn Caller,
    at: Hva,
    (cmd, argsz): (&mut T, u32),
    min: usize,
) -> Result<(), Error> {
    if argsz < T::SIZE {
        let min = size_of::<T>();
        return Err(Error::ShortArgsz { min });
    }
    step(Step::CopyIn)?;
    let rest = &mut cmd.as_mut_bytes()[min..];
    read(caller, at, min as u64, rest).map_err(|Fault| Error::CallerMemory(at))
}

/// Reads a struct by the rule of those that may grow.
///
/// # Errors
/// `EFAULT`, `EINVAL`, `E2BIG`.
pub(crate) fn read_extensible<T: UapiStruct>(
    caller: &dyn Caller,
    at: Hva,
    min: usize,
) -> Result<T, Error> {
    step(Step::CopyIn)?;
    copy_extensible(min, |offset, into| read(caller, at, offset, into))
        .map_err(|errno| why(errno, at, min))
}

/// Writes bytes of a struct, from `offset` on.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn write(
    caller: &dyn Caller,
    at: Hva,
    offset: usize,
    bytes: &[u8],
) -> Result<(), Error> {
    step(Step::CopyOut)?;
    let at = at.wrapping_add(offset as u64);
    let written = caller.space().write(at, bytes);
    written.map_err(|_| Error::CallerMemory(at))
}

fn read(caller: &dyn Caller, at: Hva, offset: u64, into: &mut [u8]) -> Result<(), Fault> {
    let from = at.checked_add(offset).ok_or(Fault)?;
    caller.space().read(from, into).map_err(|_| Fault)
}

fn why(errno: Errno, at: Hva, min: usize) -> Error {
    match errno {
        Errno::EINVAL => Error::ShortArgsz { min },
        Errno::E2BIG => Error::UnknownTail,
        _ => Error::CallerMemory(at),
    }
}
