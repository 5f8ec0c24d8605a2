//! Memory to map: whole pages, as `IOMMU_IOAS_MAP` pins them.

use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Anonymous private memory, like a VMM's RAM.
#[derive(Debug)]
pub struct Buffer {
    start: NonNull<u8>,
    len: usize,
}

impl Buffer {
    /// `len` zeroed bytes, page aligned.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(len: usize) -> std::io::Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new anonymous mapping at an address that the kernel chooses touches no memory of anybody's.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, prot, MapFlags::PRIVATE) }?;
        let start = NonNull::new(start.cast()).ok_or(std::io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// Where it is.
    pub fn address(&self) -> u64 {
        self.start.as_ptr().addr() as u64
    }

    /// How long it is, in bytes.
    pub fn size(&self) -> u64 {
        self.len as u64
    }

    /// The first bytes, as they are in memory now.
    pub fn first_bytes(&self, count: usize) -> Vec<u8> {
        let count = count.min(self.len);
        // SAFETY: `count` bytes from `start` are mapped readable for as long as `self` lives. They are read volatile,
        // because a device may write them at any time.
        (0..count)
            .map(|at| unsafe { self.start.add(at).read_volatile() })
            .collect()
    }

    /// Writes bytes, where a device may read them at any time.
    ///
    /// # Panics
    /// When they reach beyond the end.
    pub(crate) fn write(&self, at: usize, from: &[u8]) {
        assert!(at + from.len() <= self.len, "a write beyond the buffer");
        for (offset, byte) in from.iter().enumerate() {
            // SAFETY: `at + offset` is within the mapping, which is writable for as long as `self` lives.
            unsafe { self.start.add(at + offset).write_volatile(*byte) };
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping made in `new`, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}
