//! A guest's first stage in front of a second.

use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_abi::hwpt::{IommuHwptVtdS1, IommuHwptVtdS1Flags};
use swiommu_abi::invalidate::{
    IommuHwptInvalidateDataType, IommuHwptVtdS1Invalidate, IommuHwptVtdS1InvalidateFlags,
};
use swiommu_sabotage::Fault as Sabotage;
use zerocopy::IntoBytes;

use super::domain::of_domain;
use super::spec::{FirstStage, FirstStageFlags, S1Invalidation};
use super::unit::{DRIVER, DomainNumber};
use super::{VtdSecondStage, VtdSettings};
use crate::{DriverError, Invalidated, NestedDomain, PagingDomain, Requests};

/// A guest's first-stage table in front of a second stage of ours (`IOMMU_HWPT_DATA_VTD_S1`).
#[derive(Debug)]
pub struct VtdNested {
    /// The same as `second`, as others see it.
    parent: Arc<dyn PagingDomain>,
    pub(super) second: Arc<VtdSecondStage>,
    pub(super) number: DomainNumber,
    data: IommuHwptVtdS1,
}

impl VtdNested {
    pub(super) fn new(
        second: &Arc<VtdSecondStage>,
        number: DomainNumber,
        data: IommuHwptVtdS1,
    ) -> Arc<Self> {
        let nested = Arc::new(Self {
            parent: second.clone(),
            second: second.clone(),
            number,
            data,
        });
        second.add_nested(&nested);
        nested
    }

    /// The first stage as the PASID entry has it. What the guest asked for is looked at only now, when it is attached.
    pub(super) fn first_stage(&self, settings: &VtdSettings) -> Result<FirstStage, DriverError> {
        let five_level = match self.data.addr_width {
            48 => false,
            57 if settings.capability().five_level_first_stage() => true,
            other => {
                return Err(DriverError::invalid(format!(
                    "addr_width {other}, where the unit has 48{}",
                    if settings.capability().five_level_first_stage() {
                        " and 57"
                    } else {
                        ""
                    }
                )));
            }
        };
        let asked = IommuHwptVtdS1Flags::from_bits_retain(self.data.flags);
        let supervisor = asked.contains(IommuHwptVtdS1Flags::SRE);
        let mut flags = FirstStageFlags::empty();
        flags.set(FirstStageFlags::FIVE_LEVEL, five_level);
        flags.set(FirstStageFlags::SRE, supervisor);
        // Linux programs it only together with SRE.
        let protect = supervisor && asked.contains(IommuHwptVtdS1Flags::WPE);
        flags.set(FirstStageFlags::WPE, protect);
        flags.set(
            FirstStageFlags::EAFE,
            asked.contains(IommuHwptVtdS1Flags::EAFE),
        );
        Ok(FirstStage {
            root: self.data.pgtbl_addr,
            flags,
        })
    }

    /// Drops all that is cached of it.
    pub(super) fn forget(&self) {
        let shared = &self.second.table.shared;
        shared.caches.invalidate(&of_domain(self.number.get()));
    }

    fn invalidate_one(&self, entry: &IommuHwptVtdS1Invalidate) -> Result<(), DriverError> {
        let flags = IommuHwptVtdS1InvalidateFlags::from_bits(entry.flags);
        let Some(flags) = flags.filter(|_| entry.__reserved == 0) else {
            let (flags, reserved) = (entry.flags, entry.__reserved);
            return Err(DriverError::unsupported(format!(
                "an invalidation with flags {flags:#x} and reserved field {reserved:#x}"
            )));
        };
        let (addr, npages) = (entry.addr, entry.npages);
        let cover = S1Invalidation::of(addr, npages).ok_or_else(|| {
            DriverError::invalid(format!("an invalidation of {npages:#x} pages at {addr:#x}"))
        })?;
        if Sabotage::SkipInvalidation.is_on() {
            return Ok(());
        }
        let caches = &self.second.table.shared.caches;
        let all = of_domain(self.number.get());
        if Sabotage::InvalidateAll.is_on() {
            caches.invalidate(&all);
        }
        match cover {
            // The descriptor for all of them has no invalidation hint.
            S1Invalidation::All => caches.invalidate(&all),
            S1Invalidation::Pages { .. } => {
                let pages = all.within(cover.range());
                let leaves = flags.contains(IommuHwptVtdS1InvalidateFlags::LEAF);
                if leaves && !Sabotage::ForgetTables.is_on() {
                    caches.invalidate_leaves(&pages);
                } else {
                    caches.invalidate(&pages);
                }
            }
        }
        Ok(())
    }
}

impl NestedDomain for VtdNested {
    fn driver(&self) -> &'static str {
        DRIVER
    }

    fn parent(&self) -> &Arc<dyn PagingDomain> {
        &self.parent
    }

    fn invalidate(&self, requests: &dyn Requests) -> Invalidated {
        if requests.data_type() != IommuHwptInvalidateDataType::VTD_S1.0 {
            return Invalidated::refused(DriverError::invalid(format!(
                "invalidations of type {:#x}, where VT-d has VTD_S1",
                requests.data_type()
            )));
        }
        let len = requests.entry_len();
        if len != size_of::<IommuHwptVtdS1Invalidate>() {
            return Invalidated::refused(DriverError::invalid(format!(
                "invalidations of {len} bytes"
            )));
        }
        let done = Invalidated::each(requests.count(), |index| {
            let mut entry = IommuHwptVtdS1Invalidate::default();
            requests.read_entry(index, entry.as_mut_bytes())?;
            self.invalidate_one(&entry)
        });
        // When the call returns, no request that used what was invalidated is in flight.
        self.second.table.shared.epochs.synchronize();
        done
    }
}

/// No free domain number (`ENOSPC`).
pub(super) fn out_of_domains() -> DriverError {
    DriverError::new(Errno::ENOSPC, "all domain numbers of the unit are taken")
}
