//! What an endpoint is attached to, for its requester ID and for each PASID.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use swiommu_sabotage::Fault as Sabotage;

use super::{Blocked, Translate};
use crate::{Epochs, Pasid};

/// What translates the requests of an endpoint. A model keeps one for each endpoint, and sets it when it attaches.
pub struct Attachments {
    epochs: Arc<Epochs>,
    /// Grows with every change, so that a port sees by one load that it must ask again.
    version: AtomicU64,
    by_pasid: Mutex<BTreeMap<Pasid, Arc<dyn Translate>>>,
}

impl Attachments {
    /// Nothing is attached. Changes wait for the readers of `epochs`.
    pub fn new(epochs: &Arc<Epochs>) -> Self {
        Self {
            epochs: epochs.clone(),
            version: AtomicU64::new(0),
            by_pasid: Mutex::default(),
        }
    }

    /// The readers that changes wait for.
    pub fn epochs(&self) -> &Arc<Epochs> {
        &self.epochs
    }

    /// Lets requests be translated by something else, or blocks them. When it returns, no access that was translated as before is
    /// in flight.
    pub fn set(&self, pasid: Pasid, translate: Option<Arc<dyn Translate>>) {
        {
            let mut by_pasid = self.by_pasid.lock();
            match translate {
                Some(translate) => by_pasid.insert(pasid, translate),
                None => by_pasid.remove(&pasid),
            };
            if !Sabotage::KeepAttachment.is_on() {
                self.version.fetch_add(1, Ordering::Release);
            }
        }
        self.epochs.synchronize();
    }

    /// What translates the requests with a PASID now. What nothing is attached to is for the RID's translation to say.
    pub fn get(&self, pasid: Pasid) -> Arc<dyn Translate> {
        let by_pasid = self.by_pasid.lock();
        let found = by_pasid.get(&pasid).cloned();
        let of_rid = || by_pasid.get(&Pasid::NONE).cloned()?.of_pasid(pasid);
        found.or_else(of_rid).unwrap_or_else(|| Arc::new(Blocked))
    }

    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Attachments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.by_pasid.lock().iter()).finish()
    }
}
