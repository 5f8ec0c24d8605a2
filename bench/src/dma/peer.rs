//! vm-memory's memory behind an IOMMU.

use std::sync::{RwLock, RwLockReadGuard};

use anyhow::anyhow;
use vm_memory::iommu::{Error, IotlbIterator, IovaRange};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, Iommu, IommuMemory, Iotlb, Permissions};

use crate::nested::{FIRST, PAGE};
use crate::random::cycle;

/// Memory whose translations are all in its IOTLB.
pub(super) struct VmMemory(IommuMemory<GuestMemoryMmap, Known>);

#[derive(Debug)]
struct Known(RwLock<Iotlb>);

impl Iommu for Known {
    type IotlbGuard<'a> = RwLockReadGuard<'a, Iotlb>;

    fn translate(
        &self,
        iova: GuestAddress,
        length: usize,
        access: Permissions,
    ) -> Result<IotlbIterator<Self::IotlbGuard<'_>>, Error> {
        let failed = |reason: &str| Error::CannotResolve {
            iova_range: IovaRange { base: iova, length },
            reason: reason.to_owned(),
        };
        let iotlb = self.0.read().map_err(|_| failed("poisoned"))?;
        Iotlb::lookup(iotlb, iova, length, access).map_err(|_| failed("not mapped"))
    }
}

impl VmMemory {
    /// Pages that lead where those of a [`Machine`](crate::nested::Machine) do.
    pub(super) fn new(pages: u64) -> anyhow::Result<Self> {
        let size = (pages * PAGE) as usize;
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), size)])?;
        memory.write_slice(&vec![1; size], GuestAddress(0))?;
        let mut iotlb = Iotlb::new();
        for (page, target) in (0..).zip(cycle(pages)) {
            let iova = GuestAddress(FIRST + page * PAGE);
            let to = GuestAddress(target * PAGE);
            iotlb
                .set_mapping(iova, to, PAGE as usize, Permissions::ReadWrite)
                .map_err(|error| anyhow!("{error}"))?;
        }
        let known = Known(RwLock::new(iotlb));
        Ok(Self(IommuMemory::new(memory, known, true, ())))
    }

    #[inline]
    pub(super) fn read(&self, iova: u64, into: &mut [u8]) -> bool {
        self.0.read_slice(into, GuestAddress(iova)).is_ok()
    }
}
