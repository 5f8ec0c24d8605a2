//! A device that is bound to a context: what it is attached to.

use std::collections::BTreeSet;
use std::sync::Arc;

use swiommu_iommu::Pasid;
use swiommu_iommufd::{BoundDevice, Context, ObjectId};

use crate::Error;
use crate::owners::Ownership;

/// What an attach or a detach is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    /// The device's requests without a PASID.
    Rid,
    /// Those with this PASID. The number is as the client gave it.
    Pasid(u32),
}

impl Subject {
    fn pasid(self) -> Pasid {
        match self {
            Self::Rid => Pasid::NONE,
            Self::Pasid(number) => Pasid(number),
        }
    }
}

/// A bound device. Dropping it detaches all that it attached, and unbinds.
#[derive(Debug)]
pub(crate) struct Bound {
    // In the order of undoing: the device leaves the group, and then the context, which it keeps open.
    device: BoundDevice,
    _ownership: Ownership,
    _context: Arc<Context>,
    rid_attached: bool,
    pasids: BTreeSet<u32>,
}

impl Bound {
    pub(crate) fn new(device: BoundDevice, ownership: Ownership, context: Arc<Context>) -> Self {
        Self {
            device,
            _ownership: ownership,
            _context: context,
            rid_attached: false,
            pasids: BTreeSet::new(),
        }
    }

    /// The number of the DEVICE object.
    pub(crate) fn id(&self) -> ObjectId {
        self.device.id()
    }

    /// Attaches what was not attached by this file, and moves what was. Returns the number of the page table.
    ///
    /// # Errors
    /// §4.3 for the first, §4.4 for the second; `ENOSPC` for a PASID above 2^31 - 1.
    pub(crate) fn attach(&mut self, subject: Subject, target: ObjectId) -> Result<ObjectId, Error> {
        if self.is_attached(subject) {
            return Ok(self.device.replace(subject.pasid(), target)?);
        }
        if let Subject::Pasid(number) = subject
            && i32::try_from(number).is_err()
        {
            return Err(Error::PasidOutOfRange(number));
        }
        let hwpt = self.device.attach(subject.pasid(), target)?;
        match subject {
            Subject::Rid => self.rid_attached = true,
            Subject::Pasid(number) => {
                self.pasids.insert(number);
            }
        }
        Ok(hwpt)
    }

    /// Detaches what was attached by this file; nothing happens otherwise.
    pub(crate) fn detach(&mut self, subject: Subject) {
        let was_attached = match subject {
            Subject::Rid => std::mem::take(&mut self.rid_attached),
            Subject::Pasid(number) => self.pasids.remove(&number),
        };
        if was_attached {
            self.device.detach(subject.pasid());
        }
    }

    fn is_attached(&self, subject: Subject) -> bool {
        match subject {
            Subject::Rid => self.rid_attached,
            Subject::Pasid(number) => self.pasids.contains(&number),
        }
    }
}
