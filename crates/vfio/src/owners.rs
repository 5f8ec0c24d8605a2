//! Who owns the DMA of a group of devices.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use swiommu_iommu::GroupId;
use swiommu_iommufd::Context;

use crate::Error;

/// Who owns the DMA of each group of a machine: devices that cannot be told apart are bound to one context only (§4.1).
#[derive(Debug, Default)]
pub struct Owners {
    claims: Mutex<BTreeMap<GroupId, Claim>>,
}

#[derive(Debug)]
struct Claim {
    context: Weak<Context>,
    devices: usize,
}

/// A device's part in the ownership of its group.
#[derive(Debug)]
pub(crate) struct Ownership {
    owners: Arc<Owners>,
    group: GroupId,
}

impl Owners {
    /// No group is owned.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Claims a group for one more device of a context.
    ///
    /// # Errors
    /// `EPERM` when it is another context's.
    pub(crate) fn claim(
        self: &Arc<Self>,
        group: GroupId,
        context: &Arc<Context>,
    ) -> Result<Ownership, Error> {
        let mut claims = self.claims.lock();
        let claim = claims.entry(group).or_insert_with(|| Claim {
            context: Arc::downgrade(context),
            devices: 0,
        });
        if !Weak::ptr_eq(&claim.context, &Arc::downgrade(context)) {
            return Err(Error::GroupOwned);
        }
        claim.devices += 1;
        Ok(Ownership {
            owners: self.clone(),
            group,
        })
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        let mut claims = self.owners.claims.lock();
        if let Some(claim) = claims.get_mut(&self.group) {
            claim.devices -= 1;
            if claim.devices == 0 {
                claims.remove(&self.group);
            }
        }
    }
}
