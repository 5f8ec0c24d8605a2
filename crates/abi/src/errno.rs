//! The error numbers of Linux on x86-64: the contract with the client.

use std::fmt;
use std::io;

/// An error number as a system call reports it, positive: `EINVAL` is 22.
///
/// swiommu has one errno type, and this is it. A number without a name survives the round trip through [`From<i32>`] and
/// [`Errno::code`].
///
/// ```
/// use swiommu_abi::Errno;
///
/// assert_eq!(Errno::EINVAL.code(), 22);
/// assert_eq!(Errno::from(14), Errno::EFAULT);
/// assert_eq!(format!("{} {:?}", Errno::ENOTTY, Errno::from(4000)), "ENOTTY errno 4000");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        impl Errno {
            $(
                #[doc = $meaning]
                pub const $name: Self = Self($code);
            )*

            /// Every error number that has a name, ascending.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            const fn find_name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM = 1, "Operation not permitted.";
    ENOENT = 2, "No such file, directory or object.";
    ESRCH = 3, "No such process.";
    EINTR = 4, "Interrupted by a signal.";
    EIO = 5, "Input or output error; here also: malformed guest data.";
    ENXIO = 6, "No such device or address.";
    E2BIG = 7, "Argument too big; here: a struct's unknown tail is not zero.";
    ENOEXEC = 8, "Not an executable format.";
    EBADF = 9, "Bad file descriptor.";
    ECHILD = 10, "No child process.";
    EAGAIN = 11, "Try again.";
    ENOMEM = 12, "Out of memory, or over a limit on it.";
    EACCES = 13, "Permission denied.";
    EFAULT = 14, "Bad address.";
    ENOTBLK = 15, "Not a block device.";
    EBUSY = 16, "Device or resource busy.";
    EEXIST = 17, "Already exists.";
    EXDEV = 18, "Link across file systems.";
    ENODEV = 19, "No such device.";
    ENOTDIR = 20, "Not a directory.";
    EISDIR = 21, "Is a directory.";
    EINVAL = 22, "Invalid argument.";
    ENFILE = 23, "Too many open files in the system.";
    EMFILE = 24, "Too many open files in the process.";
    ENOTTY = 25, "Not an ioctl of this file.";
    ETXTBSY = 26, "Text file busy.";
    EFBIG = 27, "File too large.";
    ENOSPC = 28, "No space left.";
    ESPIPE = 29, "Not seekable.";
    EROFS = 30, "Read-only file system.";
    EMLINK = 31, "Too many links.";
    EPIPE = 32, "Broken pipe.";
    EDOM = 33, "Argument out of the function's domain.";
    ERANGE = 34, "Result out of range.";
    EDEADLK = 35, "Resource deadlock would occur.";
    ENAMETOOLONG = 36, "Name too long.";
    ENOLCK = 37, "No locks available.";
    ENOSYS = 38, "System call not implemented.";
    ENOTEMPTY = 39, "Directory not empty.";
    ELOOP = 40, "Too many symbolic links.";
    EBADE = 52, "Invalid exchange.";
    ENODATA = 61, "No data available.";
    ETIME = 62, "Timer expired.";
    EPROTO = 71, "Protocol error.";
    EBADMSG = 74, "Bad message.";
    EOVERFLOW = 75, "Value too large for its type.";
    EBADFD = 77, "File descriptor in a bad state; here: a descriptor of another kind of file.";
    EILSEQ = 84, "Illegal byte sequence.";
    EUSERS = 87, "Too many users.";
    ENOTSOCK = 88, "Not a socket.";
    EMSGSIZE = 90, "Message too long; here: the caller's array is too short.";
    EPROTONOSUPPORT = 93, "Protocol not supported.";
    EOPNOTSUPP = 95, "Operation not supported.";
    EADDRINUSE = 98, "Address already in use.";
    ECONNRESET = 104, "Connection reset by the peer.";
    ENOBUFS = 105, "No buffer space.";
    ETIMEDOUT = 110, "Timed out.";
    ECONNREFUSED = 111, "Connection refused.";
    EALREADY = 114, "Operation already in progress.";
    EINPROGRESS = 115, "Operation now in progress.";
    EDQUOT = 122, "Quota exceeded.";
    ECANCELED = 125, "Operation canceled.";
}

impl Errno {
    /// The positive number.
    pub const fn code(self) -> i32 {
        self.0
    }

    /// The name, as in `"EINVAL"`; `"errno"` for a number that has none here.
    pub const fn name(self) -> &'static str {
        match self.find_name() {
            Some(name) => name,
            None => "errno",
        }
    }
}

impl From<i32> for Errno {
    /// The error with this positive number, as in `errno` or [`io::Error::raw_os_error`].
    fn from(code: i32) -> Self {
        Self(code)
    }
}

impl From<Errno> for i32 {
    fn from(errno: Errno) -> Self {
        errno.0
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.find_name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}
