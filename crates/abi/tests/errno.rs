//! Error numbers against those of the C library.

use std::collections::BTreeSet;

use swiommu_abi::Errno;

macro_rules! compare {
    ($($name:ident)*) => {
        &[$((stringify!($name), Errno::$name, libc::$name)),*]
    };
}

const ERRNOS: &[(&str, Errno, i32)] = compare! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV
    ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG
    ENOLCK ENOSYS ENOTEMPTY ELOOP EBADE ENODATA ETIME EPROTO EBADMSG EOVERFLOW EBADFD EILSEQ EUSERS ENOTSOCK EMSGSIZE
    EPROTONOSUPPORT EOPNOTSUPP EADDRINUSE ECONNRESET ENOBUFS ETIMEDOUT ECONNREFUSED EALREADY EINPROGRESS EDQUOT ECANCELED
};

#[test]
fn names_and_numbers_are_the_c_librarys() {
    for (name, ours, theirs) in ERRNOS {
        assert_eq!(ours.code(), *theirs, "{name}");
        assert_eq!(ours.name(), *name);
    }
    let compared: BTreeSet<_> = ERRNOS.iter().map(|(_, errno, _)| *errno).collect();
    assert_eq!(compared, Errno::ALL.iter().copied().collect());
}

#[test]
fn any_number_survives() {
    for code in [1, 22, 41, 4095, 70_000] {
        assert_eq!(Errno::from(code).code(), code);
        let error = std::io::Error::from(Errno::from(code));
        assert_eq!(error.raw_os_error(), Some(code));
    }
    assert_eq!(Errno::from(41).to_string(), "errno 41");
}
