//! Bytes on our side of a copy, in either direction.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{pread, pwrite};
use swiommu_addr::Hva;

use crate::process::{Mm, Unreachable};
use crate::{AddressSpace, Fault, VolatileSlice};

/// Where bytes of client memory are copied to, or come from.
#[derive(Debug)]
pub(crate) enum Buffer<'a> {
    Into(&'a mut [u8]),
    From(&'a [u8]),
}

impl Buffer<'_> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Into(bytes) => bytes.len(),
            Self::From(bytes) => bytes.len(),
        }
    }

    pub(crate) fn part(&mut self, start: usize, len: usize) -> Buffer<'_> {
        match self {
            Self::Into(bytes) => Buffer::Into(&mut bytes[start..start + len]),
            Self::From(bytes) => Buffer::From(&bytes[start..start + len]),
        }
    }

    #[inline]
    pub(crate) fn copy_slice(&mut self, slice: VolatileSlice<'_>) {
        match self {
            Self::Into(bytes) => slice.read(0, bytes),
            Self::From(bytes) => slice.write(0, bytes),
        };
    }

    pub(crate) fn copy_mm(&mut self, mm: &Mm, at: Hva) -> Result<(), Unreachable> {
        match self {
            Self::Into(bytes) => mm.read(at, bytes),
            Self::From(bytes) => mm.write(at, bytes),
        }
    }

    pub(crate) fn copy_space(&mut self, space: &dyn AddressSpace, at: Hva) -> Result<(), Fault> {
        match self {
            Self::Into(bytes) => space.read(at, bytes),
            Self::From(bytes) => space.write(at, bytes),
        }
    }

    /// Says whether all bytes could be copied.
    pub(crate) fn copy_file(&mut self, file: &OwnedFd, offset: u64) -> bool {
        let mut done = 0;
        while done < self.len() {
            let at = offset + done as u64;
            let copied = match self {
                Self::Into(bytes) => pread(file.as_fd(), &mut bytes[done..], at),
                Self::From(bytes) => pwrite(file.as_fd(), &bytes[done..], at),
            };
            match copied {
                Ok(0) => return false,
                Ok(len) => done += len,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }
}
