//! Software access to the bytes of a pages object: which copy the kernel makes when.

use swiommu_addr::Hva;
use swiommu_injection::{Step, step};

use super::{Offset, OffsetRange, Pages, PinError};
use crate::physical::Buffer;
use crate::volatile::host_len;
use crate::{AddressSpace, PAGE};

/// In whose name [`Pages::read`] and [`Pages::write`] copy.
#[derive(Clone, Copy, Debug)]
pub enum CopyBy<'a> {
    /// A thread with this memory.
    Caller(&'a dyn AddressSpace),
    /// Any other thread, or one that asks for the slow path (`IOMMUFD_ACCESS_RW_SLOW_PATH`).
    Foreign,
}

impl Pages {
    /// Copies out of the object.
    ///
    /// The mapping process copies at the virtual addresses as they are mapped now, and so does everybody else within one page
    /// while that process lives. Otherwise pages that are pinned are used, and the rest is looked up for the duration; such
    /// pages are not charged.
    ///
    /// # Errors
    /// Those of [`Pages::pin`] but for charging; some bytes may have been copied.
    pub fn read(&self, from: Offset, into: &mut [u8], by: CopyBy<'_>) -> Result<(), PinError> {
        self.copy(from, Buffer::Into(into), by)
    }

    /// Copies into the object, by the same paths. Whether it may be written is the caller's to judge.
    ///
    /// # Errors
    /// As [`Pages::read`].
    pub fn write(&self, to: Offset, from: &[u8], by: CopyBy<'_>) -> Result<(), PinError> {
        self.copy(to, Buffer::From(from), by)
    }

    fn copy(&self, start: Offset, mut bytes: Buffer<'_>, by: CopyBy<'_>) -> Result<(), PinError> {
        if bytes.len() == 0 {
            return Ok(());
        }
        step(Step::AccessCopy)?;
        let range = OffsetRange::from_len(start, bytes.len() as u64).ok_or(PinError::OutOfRange)?;
        let positions = self.positions(range).ok_or(PinError::OutOfRange)?;
        if self.file.is_none() {
            let owner = self.owner();
            let is_owner = matches!(by, CopyBy::Caller(caller) if caller.id() == owner.id());
            let one_page = positions.start() >> PAGE.log2() == positions.end() >> PAGE.log2();
            if is_owner || one_page && owner.is_alive() {
                return Ok(bytes.copy_space(&*owner, Hva::new(*positions.start()))?);
            }
        }
        let state = self.state.lock();
        let memory = state.owner.memory();
        let _nothing_closes = memory.census();
        let mut done = 0;
        for run in self.gather(&state.owner, &state.held, &positions)?.runs {
            let len = host_len(run.memory.len_minus_one() + 1);
            let mut part = bytes.part(done, len);
            memory.copy(run.memory.start(), &mut part)?;
            done += len;
        }
        Ok(())
    }
}
