//! Small pieces of a waiting thread's memory: paths and the structs of file system calls.
//!
//! The thread is named by its number, which means it for as long as it waits. A descriptor of `/proc/TID/mem` is read for two thirds
//! of the price, but it shows the memory of whoever had the number when it was opened, and to rule out that this was another
//! costs more than is saved.

// UNSAFETY: process_vm_readv(2) and process_vm_writev(2) take raw vectors.
#![expect(unsafe_code, reason = "see above")]

use std::ptr;

use swiommu_abi::Errno;
use swiommu_addr::{Address, Hva};

/// The longest path, with its NUL (`PATH_MAX`).
const PATH_MAX: usize = 4096;

/// How much of a path is read at first: nearly all are shorter.
const CHUNK: usize = 256;

/// Each page may be mapped or not.
const PAGE: usize = 4096;

/// A path of a client.
pub(crate) struct RemotePath {
    short: [u8; CHUNK],
    /// Where the path is if it does not fit into `short`.
    long: Vec<u8>,
    length: usize,
}

impl RemotePath {
    /// Reads a path, as `open(2)` and its kin take it, without its NUL. One system call for a short path.
    ///
    /// # Errors
    /// `EFAULT` when it is not all readable, `ENAMETOOLONG` when it has no end.
    pub(crate) fn read(tid: i32, from: Hva) -> Result<Self, Errno> {
        let mut path = Self {
            short: [0; CHUNK],
            long: Vec::new(),
            length: 0,
        };
        let read = read_some(tid, from, &mut path.short)?;
        if let Some(length) = end(&path.short[..read]) {
            path.length = length;
            return Ok(path);
        }
        if read < CHUNK {
            return Err(Errno::EFAULT);
        }
        path.long.resize(PATH_MAX, 0);
        let read = read_some(tid, from, &mut path.long)?;
        match end(&path.long[..read]) {
            Some(length) => path.length = length,
            None if read < PATH_MAX => return Err(Errno::EFAULT),
            None => return Err(Errno::ENAMETOOLONG),
        }
        Ok(path)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        let room = if self.long.is_empty() {
            &self.short[..]
        } else {
            &self.long
        };
        &room[..self.length]
    }
}

fn end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == 0)
}

/// Copies memory of a thread's process out, at most a page, up to the first page that cannot be read. At least one byte, or
/// `EFAULT`.
fn read_some(tid: i32, from: Hva, into: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    // One vector a page: the kernel stops between vectors.
    let first = into.len().min(PAGE - pointer(from).addr() % PAGE);
    let remote = [
        vector(from, first),
        vector(from.wrapping_add(first as u64), into.len() - first),
    ];
    // SAFETY: the kernel writes at most `iov_len` bytes to the local vector, which is a live exclusive slice of that length; the
    // remote addresses are only looked up in the other process.
    let copied = unsafe { libc::process_vm_readv(tid, &raw const local, 1, remote.as_ptr(), 2, 0) };
    usize::try_from(copied)
        .ok()
        .filter(|copied| *copied > 0)
        .ok_or(Errno::EFAULT)
}

/// Copies memory of a thread's process out. All, or `EFAULT`.
pub(crate) fn read(tid: i32, from: Hva, into: &mut [u8]) -> Result<(), Errno> {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = vector(from, into.len());
    // SAFETY: the kernel writes at most `iov_len` bytes to the local vector, which is a live exclusive slice of that length; the
    // remote address is only looked up in the other process.
    let copied =
        unsafe { libc::process_vm_readv(tid, &raw const local, 1, &raw const remote, 1, 0) };
    complete(copied, into.len())
}

/// Copies memory of a thread's process in. All, or `EFAULT`.
pub(crate) fn write(tid: i32, to: Hva, from: &[u8]) -> Result<(), Errno> {
    let local = libc::iovec {
        iov_base: from.as_ptr().cast_mut().cast(),
        iov_len: from.len(),
    };
    let remote = vector(to, from.len());
    // SAFETY: the kernel only reads from the local vector, which is a live slice of that length; the remote address is only
    // looked up in the other process.
    let copied =
        unsafe { libc::process_vm_writev(tid, &raw const local, 1, &raw const remote, 1, 0) };
    complete(copied, from.len())
}

fn vector(at: Hva, len: usize) -> libc::iovec {
    libc::iovec {
        iov_base: pointer(at),
        iov_len: len,
    }
}

/// The address as system calls take it; it means nothing in this process.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a usize has 64 bits on x86-64"
)]
fn pointer(at: Hva) -> *mut libc::c_void {
    ptr::without_provenance_mut(at.get() as usize)
}

fn complete(copied: isize, wanted: usize) -> Result<(), Errno> {
    if copied == wanted.cast_signed() {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}
