//! Raw system calls, as a static program would make them.

#![expect(unsafe_code, reason = "syscall(2)")]

use std::ffi::CString;

/// A result or an `errno`.
pub(crate) type Result = std::result::Result<i32, i32>;

/// Makes any call.
pub(crate) fn call(number: libc::c_long, arguments: [u64; 6]) -> std::result::Result<i64, i32> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the callers pass what the call takes, or on purpose what it must refuse.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 {
        Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        Ok(result)
    }
}

fn small(result: std::result::Result<i64, i32>) -> Result {
    result.map(|value| i32::try_from(value).expect("it is small"))
}

pub(crate) fn open(path: &str, flags: i32) -> Result {
    openat(libc::AT_FDCWD, path, flags)
}

pub(crate) fn openat(at: i32, path: &str, flags: i32) -> Result {
    let path = CString::new(path).expect("no NUL");
    small(call(
        libc::SYS_openat,
        [at as u64, path.as_ptr() as u64, flags as u64, 0, 0, 0],
    ))
}

pub(crate) fn close(fd: i32) -> Result {
    small(call(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0]))
}

pub(crate) fn ioctl(fd: i32, request: u32, argument: u64) -> Result {
    small(call(
        libc::SYS_ioctl,
        [fd as u64, request.into(), argument, 0, 0, 0],
    ))
}

pub(crate) fn ioctl_u32(fd: i32, request: u32, word: &mut u32) -> Result {
    ioctl(fd, request, std::ptr::from_mut(word) as u64)
}
