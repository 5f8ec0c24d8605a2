//! Copying the memory of a running process as the process itself could.

#![expect(unsafe_code, reason = "system calls on memory")]

use std::io;
use std::ptr;

use swiommu_addr::Hva;

use crate::volatile::host_len;

/// Reads memory of the process; returns how much could be read.
pub(crate) fn read(pid: i32, from: Hva, into: &mut [u8]) -> usize {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = remote(from, into.len());
    // SAFETY: the kernel writes at most `into.len()` bytes to `into`, which is borrowed exclusively.
    let copied =
        unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(copied).unwrap_or(0)
}

/// Writes memory of the process; returns how much could be written.
pub(crate) fn write(pid: i32, to: Hva, from: &[u8]) -> usize {
    let local = libc::iovec {
        iov_base: from.as_ptr().cast_mut().cast(),
        iov_len: from.len(),
    };
    let remote = remote(to, from.len());
    // SAFETY: the kernel only reads the `from.len()` bytes of `from`.
    let copied =
        unsafe { libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(copied).unwrap_or(0)
}

fn remote(start: Hva, len: usize) -> libc::iovec {
    libc::iovec {
        iov_base: ptr::without_provenance_mut(host_len(start.get())),
        iov_len: len,
    }
}

/// `RLIMIT_MEMLOCK` of the process in bytes, `None` when unlimited.
pub(crate) fn memlock_limit(pid: i32) -> io::Result<Option<u64>> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: with no new limit, the kernel only writes the old one to `limit`.
    let result = unsafe { libc::prlimit64(pid, libc::RLIMIT_MEMLOCK, ptr::null(), &raw mut limit) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((limit.rlim_cur != libc::RLIM64_INFINITY).then_some(limit.rlim_cur))
}

/// Whether two processes have the same `mm`; `None` when the kernel does not say.
pub(crate) fn share_mm(one: i32, other: i32) -> Option<bool> {
    const KCMP_VM: libc::c_int = 1;
    // SAFETY: `kcmp` of this type takes no pointers.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0, 0) };
    (order >= 0).then_some(order == 0)
}
