//! The `mm` of a process, by what stays with it when the process executes, exits or has its number reused: open files of
//! `/proc/PID`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use parking_lot::RwLock;
use rustix::fs::OFlags;
use swiommu_addr::{Address, Hva};

use super::directory::ProcDir;
use super::maps::{Gone, Maps};
use crate::{FileId, SpaceId};

/// An address space that devices reach by system calls.
#[derive(Debug)]
pub(crate) struct Mm {
    id: SpaceId,
    /// A process that had this `mm` when it was opened.
    pid: i32,
    maps: Maps,
    mem: File,
    /// Held for reading while a piece of its memory is copied, for writing while the process gives memory back.
    gate: RwLock<()>,
}

impl Mm {
    /// Opens the `mm` that the process has now.
    pub(crate) fn open(id: SpaceId, process: &ProcDir) -> io::Result<Self> {
        let maps = Maps::new(process.open_file("maps", OFlags::RDONLY)?);
        let mem = process.open_file("mem", OFlags::RDWR)?;
        Ok(Self {
            id,
            pid: process.pid(),
            maps,
            mem: mem.into(),
            gate: RwLock::default(),
        })
    }

    pub(crate) fn id(&self) -> SpaceId {
        self.id
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) fn gate(&self) -> &RwLock<()> {
        &self.gate
    }

    pub(crate) fn maps(&self) -> &Maps {
        &self.maps
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.maps.is_alive()
    }

    /// Whether a shared mapping of this offset of the file is at `at`.
    pub(crate) fn maps_file_at(&self, at: Hva, file: FileId, offset: u64) -> bool {
        let found = self.maps.at_or_above(at).ok().flatten();
        found.is_some_and(|vma| vma.address_of(file, offset) == Some(at))
    }

    /// Reads as a device reads pinned memory: whatever the mapping allows the process itself.
    pub(crate) fn read(&self, from: Hva, into: &mut [u8]) -> Result<(), Unreachable> {
        let done = |done| into_hva(from, done);
        let mut copied = 0;
        while copied < into.len() {
            match self.mem.read_at(&mut into[copied..], done(copied)) {
                Ok(0) => return Err(self.why()),
                Ok(len) => copied += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(self.why()),
            }
        }
        Ok(())
    }

    /// Writes as a device writes pinned memory.
    pub(crate) fn write(&self, to: Hva, from: &[u8]) -> Result<(), Unreachable> {
        let mut copied = 0;
        while copied < from.len() {
            match self.mem.write_at(&from[copied..], into_hva(to, copied)) {
                Ok(0) => return Err(self.why()),
                Ok(len) => copied += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(self.why()),
            }
        }
        Ok(())
    }

    fn why(&self) -> Unreachable {
        if self.is_alive() {
            Unreachable::Unmapped
        } else {
            Unreachable::Gone
        }
    }
}

/// Why a device cannot reach memory of an `mm`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unreachable {
    Gone,
    Unmapped,
}

impl From<Gone> for Unreachable {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

fn into_hva(start: Hva, offset: usize) -> u64 {
    start.wrapping_add(offset as u64).get()
}
