//! Memory of this process, which its children inherit at the same addresses.

#![expect(unsafe_code, reason = "maps memory")]

use std::os::fd::BorrowedFd;
use std::ptr;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};
use swiommu_addr::{Hva, HvaRange};

/// A mapping, unmapped when dropped.
pub(crate) struct Area {
    start: *mut u8,
    len: usize,
}

impl Area {
    pub(crate) fn private(len: usize) -> Self {
        Self::anonymous(len, MapFlags::PRIVATE)
    }

    pub(crate) fn shared(len: usize) -> Self {
        Self::anonymous(len, MapFlags::SHARED)
    }

    fn anonymous(len: usize, flags: MapFlags) -> Self {
        // SAFETY: a new mapping where the kernel likes.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )
        };
        Self {
            start: start.unwrap().cast(),
            len,
        }
    }

    pub(crate) fn of_file(file: BorrowedFd<'_>, len: usize, offset: u64, flags: MapFlags) -> Self {
        // SAFETY: a new mapping where the kernel likes.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
                file,
                offset,
            )
        };
        Self {
            start: start.unwrap().cast(),
            len,
        }
    }

    pub(crate) fn range(&self) -> HvaRange {
        self.part(0, self.len)
    }

    pub(crate) fn part(&self, offset: usize, len: usize) -> HvaRange {
        assert!(offset + len <= self.len);
        HvaRange::from_len(Hva::new((self.start.addr() + offset) as u64), len as u64).unwrap()
    }

    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len);
        for (n, &byte) in bytes.iter().enumerate() {
            // SAFETY: inside the mapping, to which Rust holds no references.
            unsafe { self.start.add(offset + n).write_volatile(byte) };
        }
    }

    pub(crate) fn read<const N: usize>(&self, offset: usize) -> [u8; N] {
        assert!(offset + N <= self.len);
        // SAFETY: inside the mapping, to which Rust holds no references.
        std::array::from_fn(|n| unsafe { self.start.add(offset + n).read_volatile() })
    }

    pub(crate) fn protect(&self, offset: usize, len: usize, flags: MprotectFlags) {
        assert!(offset + len <= self.len);
        // SAFETY: inside the mapping, to which Rust holds no references.
        unsafe { mprotect(self.start.add(offset).cast(), len, flags).unwrap() };
    }

    /// Unmaps a part. Only for children, which do not drop the area.
    pub(crate) fn unmap(&self, offset: usize, len: usize) {
        assert!(offset + len <= self.len);
        // SAFETY: inside the mapping, to which Rust holds no references.
        unsafe { munmap(self.start.add(offset).cast(), len).unwrap() };
    }

    /// Maps other private memory in place of a part.
    pub(crate) fn replace(&self, offset: usize, len: usize) {
        assert!(offset + len <= self.len);
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: inside the mapping, to which Rust holds no references.
        unsafe {
            let at = self.start.add(offset).cast();
            mmap_anonymous(at, len, ProtFlags::READ | ProtFlags::WRITE, flags).unwrap();
        }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: our own mapping, to which Rust holds no references.
        unsafe { munmap(self.start.cast(), self.len).unwrap() };
    }
}
