//! Mapping a served file's memory.

use bitflags::bitflags;

bitflags! {
    /// The protection and kind of a mapping (`PROT_*`, `MAP_SHARED`).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct MmapFlags: u32 {
        /// `PROT_READ`.
        const READ = 1;
        /// `PROT_WRITE`.
        const WRITE = 2;
        /// `PROT_EXEC`.
        const EXEC = 4;
        /// `MAP_SHARED` or `MAP_SHARED_VALIDATE`.
        const SHARED = 8;
    }
}

/// An `mmap(2)` of a served file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MmapRequest {
    /// The offset in the file, in bytes.
    pub offset: u64,
    /// The length, in bytes.
    pub len: u64,
    /// Protection and kind.
    pub flags: MmapFlags,
}
