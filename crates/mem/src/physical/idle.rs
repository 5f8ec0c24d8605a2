//! Closing the windows that nothing uses.

use std::collections::btree_map::Entry;

use swiommu_addr::PaRange;

use super::{PhysicalMemory, Windows};
use crate::FileId;

impl PhysicalMemory {
    /// Keeps the window of a file open, once for every call, whether or not anything of it is pinned.
    pub(crate) fn hold_file(&self, id: FileId) {
        *self.windows.write().held.entry(id).or_insert(0) += 1;
    }

    /// Takes one [`Self::hold_file`] back.
    pub(crate) fn release_file(&self, id: FileId) {
        let mut windows = self.windows.write();
        if let Entry::Occupied(mut held) = windows.held.entry(id) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
        drop(windows);
        self.close_idle();
    }

    /// Closes the windows of which nothing is pinned: a file that is mapped here keeps its memory, whether or not a client is
    /// left. Does nothing while memory is being looked up.
    pub fn close_idle(&self) {
        let Some(_nobody_looks) = self.census.try_write() else {
            return;
        };
        let mut windows = self.windows.write();
        let Windows {
            directory,
            files,
            privates,
            lost,
            held,
            ..
        } = &mut *windows;
        let pins = self.pins.lock();
        let is_idle = |mut memory: &mut dyn Iterator<Item = PaRange>| {
            (&mut memory).all(|range| !pins.any(range))
        };
        for (_, window) in files.extract_if(.., |id, window| {
            !held.contains_key(id) && is_idle(&mut window.memory())
        }) {
            for memory in window.memory() {
                lost.retain(|&start, _| !memory.contains(start));
            }
            window.close(directory, &self.region);
        }
        for (_, window) in privates.extract_if(.., |_, window| is_idle(&mut window.memory())) {
            window.close(directory);
        }
    }
}
