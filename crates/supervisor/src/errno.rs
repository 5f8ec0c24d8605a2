//! From rustix' error numbers to ours.

use swiommu_abi::Errno;

/// The same error number.
pub(crate) fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from(errno.raw_os_error())
}
