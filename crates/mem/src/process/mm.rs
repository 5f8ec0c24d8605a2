//! The `mm` of a process, by what stays with it when the process executes, exits or has its number reused: open files of
//! `/proc/PID`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use swiommu_addr::{Address, Hva};

use super::maps::{Gone, Maps, Vma};
use crate::{FileId, SpaceId};

/// An address space that devices reach by system calls.
#[derive(Debug)]
pub(crate) struct Mm {
    id: SpaceId,
    /// A process that had this `mm` when it was opened.
    pid: i32,
    maps: Maps,
    mem: File,
}

impl Mm {
    /// Opens the `mm` that the process has now.
    pub(crate) fn open(id: SpaceId, pid: i32) -> io::Result<Self> {
        let maps = Maps::open(pid)?;
        let mem = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{pid}/mem"))?;
        Ok(Self { id, pid, maps, mem })
    }

    pub(crate) fn id(&self) -> SpaceId {
        self.id
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) fn maps(&self) -> &Maps {
        &self.maps
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.maps.is_alive()
    }

    /// The area at `at`, when it is a shared mapping of this offset of the file.
    pub(crate) fn maps_file_at(&self, at: Hva, file: FileId, offset: u64) -> Option<Vma> {
        let vma = self.maps.at_or_above(at).ok()??;
        (vma.address_of(file, offset) == Some(at)).then_some(vma)
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
