//! Small pieces of a waiting thread's memory: paths and the structs of file system calls.

// UNSAFETY: process_vm_readv(2) and process_vm_writev(2) take raw vectors.
#![expect(unsafe_code, reason = "see above")]

use swiommu_abi::Errno;
use swiommu_addr::{Address, Hva, PageSize};

/// The longest path, with its NUL (`PATH_MAX`).
const PATH_MAX: usize = 4096;

/// How much is read at once to find a path's end: nearly all paths are shorter.
const PATH_CHUNK: usize = 256;

/// A path of a client.
pub(crate) struct RemotePath {
    room: [u8; PATH_MAX],
    length: usize,
}

impl RemotePath {
    /// Reads a path, as `open(2)` and its kin take it, without its NUL.
    ///
    /// # Errors
    /// `EFAULT` when it is not all readable, `ENAMETOOLONG` when it has no end.
    pub(crate) fn read(tid: i32, from: Hva) -> Result<Self, Errno> {
        let mut path = Self {
            room: [0; PATH_MAX],
            length: 0,
        };
        let mut chunk = PATH_CHUNK;
        while path.length < PATH_MAX {
            let at = from.wrapping_add(path.length as u64);
            let to_page_end = PageSize::SIZE_4K.bytes() - at.offset_in(PageSize::SIZE_4K);
            let end = (path.length + chunk.min(to_page_end as usize)).min(PATH_MAX);
            let piece = &mut path.room[path.length..end];
            read(tid, at, piece)?;
            if let Some(nul) = piece.iter().position(|byte| *byte == 0) {
                path.length += nul;
                return Ok(path);
            }
            path.length = end;
            chunk = PATH_MAX;
        }
        Err(Errno::ENAMETOOLONG)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.room[..self.length]
    }
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
        iov_base: std::ptr::without_provenance_mut(at.get() as usize),
        iov_len: len,
    }
}

fn complete(copied: isize, wanted: usize) -> Result<(), Errno> {
    if copied == wanted.cast_signed() {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}
