//! What a call failed with, as a number.

use std::error::Error as _;
use std::io;

use iommufd_ioctls::IommufdError;
use rustix::io::Errno;

pub(crate) const EADDRINUSE: i32 = Errno::ADDRINUSE.raw_os_error();
pub(crate) const EBADF: i32 = Errno::BADF.raw_os_error();
pub(crate) const EBUSY: i32 = Errno::BUSY.raw_os_error();
pub(crate) const EEXIST: i32 = Errno::EXIST.raw_os_error();
pub(crate) const EINVAL: i32 = Errno::INVAL.raw_os_error();
pub(crate) const EIO: i32 = Errno::IO.raw_os_error();
pub(crate) const ENOENT: i32 = Errno::NOENT.raw_os_error();
pub(crate) const EOPNOTSUPP: i32 = Errno::OPNOTSUPP.raw_os_error();

/// The errno that upstream wraps.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(crate) fn errno(error: IommufdError) -> i32 {
    let source = error.source();
    let system = source.and_then(|source| source.downcast_ref::<vmm_sys_util::errno::Error>());
    match system {
        Some(system) => system.errno(),
        None => panic!("{error} is no errno of a call"),
    }
}

/// The errno of a call on a device.
pub(crate) fn os_error<T>(result: io::Result<T>) -> Result<T, i32> {
    result.map_err(|error| error.raw_os_error().unwrap_or(0))
}
