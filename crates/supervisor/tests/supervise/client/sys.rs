//! Raw system calls, as a static program would make them, and the few processes and threads that the clients need.

#![expect(unsafe_code, reason = "syscall(2), fork(2) and the like")]

use std::ffi::CString;
use std::process::abort;

/// A result or an `errno`.
pub(crate) type Result<T = i32> = std::result::Result<T, i32>;

/// Makes any call.
pub(crate) fn call(number: libc::c_long, arguments: [u64; 6]) -> Result<i64> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: the clients pass what the call takes, or on purpose what it must refuse.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    if result == -1 {
        Err(errno())
    } else {
        Ok(result)
    }
}

pub(crate) fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn small(result: Result<i64>) -> Result {
    result.map(|value| i32::try_from(value).expect("it is small"))
}

pub(crate) fn c(path: &str) -> CString {
    CString::new(path).expect("no NUL")
}

pub(crate) fn open(path: &str, flags: i32) -> Result {
    openat(libc::AT_FDCWD, path, flags)
}

pub(crate) fn openat(at: i32, path: &str, flags: i32) -> Result {
    let path = c(path);
    let flags = u64::from(flags.cast_unsigned());
    small(call(
        libc::SYS_openat,
        [at as u64, path.as_ptr() as u64, flags, 0o600, 0, 0],
    ))
}

pub(crate) fn device() -> i32 {
    open("/dev/iommu", libc::O_RDWR).expect("/dev/iommu opens")
}

pub(crate) fn close(fd: i32) -> Result {
    small(call(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0]))
}

pub(crate) fn dup(fd: i32) -> Result {
    small(call(libc::SYS_dup, [fd as u64, 0, 0, 0, 0, 0]))
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

/// `stat(2)` of a path, by the number of the call.
pub(crate) fn stat_at(at: i32, path: &str, flags: i32) -> Result<libc::stat> {
    let path = c(path);
    // SAFETY: all zeros is a struct stat; the call fills it in.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    let buffer = std::ptr::from_mut(&mut stat) as u64;
    let flags = u64::from(flags.cast_unsigned());
    let result = call(
        libc::SYS_newfstatat,
        [at as u64, path.as_ptr() as u64, buffer, flags, 0, 0],
    );
    result.map(|_| stat)
}

pub(crate) fn fstat(fd: i32) -> Result<libc::stat> {
    // SAFETY: as above.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    let buffer = std::ptr::from_mut(&mut stat) as u64;
    call(libc::SYS_fstat, [fd as u64, buffer, 0, 0, 0, 0]).map(|_| stat)
}

pub(crate) fn statx(at: i32, path: &str, flags: i32) -> Result<libc::statx> {
    let path = c(path);
    // SAFETY: as above.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    let buffer = std::ptr::from_mut(&mut stat) as u64;
    let flags = u64::from(flags.cast_unsigned());
    let mask = u64::from(libc::STATX_BASIC_STATS);
    let result = call(
        libc::SYS_statx,
        [at as u64, path.as_ptr() as u64, flags, mask, buffer, 0],
    );
    result.map(|_| stat)
}

pub(crate) fn access(path: &str, mode: i32) -> Result {
    let path = c(path);
    small(call(
        libc::SYS_access,
        [path.as_ptr() as u64, mode as u64, 0, 0, 0, 0],
    ))
}

pub(crate) fn readlink(path: &str, room: usize) -> Result<String> {
    let path = c(path);
    let mut bytes = vec![0u8; room];
    let len = call(
        libc::SYS_readlink,
        [
            path.as_ptr() as u64,
            bytes.as_mut_ptr() as u64,
            room as u64,
            0,
            0,
            0,
        ],
    )?;
    bytes.truncate(usize::try_from(len).expect("a length"));
    Ok(String::from_utf8(bytes).expect("text"))
}

/// Memory that the client mapped.
#[derive(Clone, Copy)]
pub(crate) struct Mapping {
    pub(crate) at: u64,
    pub(crate) len: u64,
}

impl Mapping {
    pub(crate) fn new(len: u64, protection: i32, flags: i32, fd: i32, offset: u64) -> Result<Self> {
        Self::at(0, len, protection, flags, fd, offset)
    }

    pub(crate) fn at(
        at: u64,
        len: u64,
        protection: i32,
        flags: i32,
        fd: i32,
        offset: u64,
    ) -> Result<Self> {
        let (protection, flags) = (protection as u64, flags as u64);
        let at = call(
            libc::SYS_mmap,
            [at, len, protection, flags, fd as u64, offset],
        )?;
        Ok(Self {
            at: at.cast_unsigned(),
            len,
        })
    }

    pub(crate) fn anonymous(len: u64) -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        Self::new(len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0).expect("there is memory")
    }

    pub(crate) fn unmap(self) -> Result<i64> {
        call(libc::SYS_munmap, [self.at, self.len, 0, 0, 0, 0])
    }

    pub(crate) fn store(self, index: usize, value: u32) {
        // SAFETY: the clients stay within what they mapped.
        unsafe {
            pointer(self.at).add(index).write_volatile(value);
        }
    }

    pub(crate) fn load(self, index: usize) -> u32 {
        // SAFETY: as above.
        unsafe { pointer(self.at).add(index).read_volatile() }
    }
}

fn pointer(at: u64) -> *mut u32 {
    std::ptr::with_exposed_provenance_mut(usize::try_from(at).expect("64 bits"))
}

/// A child process.
pub(crate) struct Child(pub(crate) i32);

/// Runs `work` in a child, which then exits with 0; 101 if it panics.
pub(crate) fn fork(work: impl FnOnce()) -> Child {
    // SAFETY: the client has one thread here, or the child only makes system calls.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", errno()),
        0 => {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            exit(if result.is_ok() { 0 } else { 101 })
        }
        pid => Child(pid),
    }
}

pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: it only ends the process.
    unsafe { libc::_exit(code) }
}

impl Child {
    /// The status of `waitpid(2)`.
    pub(crate) fn wait(self) -> i32 {
        let mut status = 0;
        // SAFETY: the status is written before the call returns.
        while unsafe { libc::waitpid(self.0, &raw mut status, 0) } < 0 {
            if errno() != libc::EINTR {
                abort();
            }
        }
        status
    }

    pub(crate) fn assert_success(self) {
        assert_eq!(self.wait(), 0, "the child fails");
    }

    pub(crate) fn kill(&self, signal: i32) {
        kill(self.0, signal);
    }
}

pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: it touches no memory.
    unsafe { libc::kill(pid, signal) };
}

pub(crate) fn gettid() -> i32 {
    i32::try_from(call(libc::SYS_gettid, [0; 6]).expect("it cannot fail")).expect("it is small")
}

/// Sends a descriptor over a socket.
pub(crate) fn send_fd(socket: i32, fd: i32) {
    // SAFETY: the message and what it points to live through the call, and the control message is written where CMSG_FIRSTHDR
    // says, within the room.
    unsafe {
        let mut byte = [0u8];
        let mut vector = libc::iovec {
            iov_base: byte.as_mut_ptr().cast(),
            iov_len: 1,
        };
        let mut room = [0u64; 4];
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = room.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let control = libc::CMSG_FIRSTHDR(&raw const message);
        (*control).cmsg_level = libc::SOL_SOCKET;
        (*control).cmsg_type = libc::SCM_RIGHTS;
        (*control).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(control).cast::<i32>().write_unaligned(fd);
        assert_eq!(libc::sendmsg(socket, &raw const message, 0), 1);
    }
}

/// Receives a descriptor.
pub(crate) fn receive_fd(socket: i32) -> i32 {
    // SAFETY: as for `send_fd`.
    unsafe {
        let mut byte = [0u8];
        let mut vector = libc::iovec {
            iov_base: byte.as_mut_ptr().cast(),
            iov_len: 1,
        };
        let mut room = [0u64; 4];
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = room.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&room);
        assert_eq!(libc::recvmsg(socket, &raw mut message, 0), 1);
        let control = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(!control.is_null(), "no descriptor came");
        libc::CMSG_DATA(control).cast::<i32>().read_unaligned()
    }
}

/// Two connected sockets.
pub(crate) fn socket_pair() -> (i32, i32) {
    let mut pair = [0; 2];
    // SAFETY: the call writes two descriptors.
    let result =
        unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()) };
    assert_eq!(result, 0);
    (pair[0], pair[1])
}

/// Sets the soft limit of descriptors.
pub(crate) fn limit_descriptors(soft: u64) {
    // SAFETY: the struct is read and written whole.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = soft;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

/// Becomes another program; the `errno` if that fails.
pub(crate) fn exec(program: &[&str]) -> i32 {
    let strings: Vec<_> = program.iter().map(|argument| c(argument)).collect();
    let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: the array is null-terminated, and its strings live through the call.
    unsafe { libc::execv(pointers[0], pointers.as_ptr()) };
    errno()
}

pub(crate) fn getpid() -> i32 {
    std::process::id().cast_signed()
}

pub(crate) fn parent() -> i32 {
    std::os::unix::process::parent_id().cast_signed()
}

/// Begins a session of its own, out of reach of signals to the process group.
pub(crate) fn setsid() {
    // SAFETY: it touches no memory.
    unsafe { libc::setsid() };
}

/// Lets a signal kill, whatever the runtime does with it.
pub(crate) fn on_signal_default(signal: i32) {
    // SAFETY: it touches no memory.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Sets a handler, which must be async-signal-safe.
pub(crate) fn on_signal(signal: i32, handler: fn(i32)) {
    extern "C" fn call(signal: i32) {
        HANDLER.get().expect("it is set before")(signal);
    }
    static HANDLER: std::sync::OnceLock<fn(i32)> = std::sync::OnceLock::new();
    HANDLER.get_or_init(|| handler);
    // SAFETY: the handler only calls what the client says is async-signal-safe.
    unsafe { libc::signal(signal, call as extern "C" fn(i32) as libc::sighandler_t) };
}
