//! What a copy costs when nothing stands between a device and memory.

// UNSAFETY: the library's copy needs a pointer, and the pages are mapped by others.
#![expect(unsafe_code, reason = "see above")]

use std::marker::PhantomData;
use std::ptr;

use anyhow::{Context, ensure};

use crate::nested::{Machine, PAGE};

/// The pages of a machine, where they are mapped in this process.
pub(super) struct Pages<'a> {
    start: *const u8,
    count: u64,
    machine: PhantomData<&'a Machine>,
}

// SAFETY: it is only read from, and nobody writes while this program measures.
unsafe impl Sync for Pages<'_> {}

impl<'a> Pages<'a> {
    pub(super) fn of(machine: &'a Machine) -> anyhow::Result<Self> {
        let slice = machine.memory().context("the pages are mapped here")?;
        ensure!((slice.len() as u64).is_multiple_of(PAGE), "whole pages");
        Ok(Self {
            start: slice.as_ptr(),
            count: slice.len() as u64 / PAGE,
            machine: PhantomData,
        })
    }

    #[inline]
    pub(super) fn copy(&self, page: u64, into: &mut [u8; PAGE as usize]) {
        assert!(page < self.count);
        // SAFETY: the page is one of those that are mapped as long as the machine is there, and `into` is ours.
        unsafe {
            let from = self.start.add((page * PAGE) as usize);
            ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len());
        }
    }
}
