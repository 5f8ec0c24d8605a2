//! The contexts that are open, for whoever wants to look at them.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use swiommu_iommufd::Context;

/// The contexts that are open. Being listed does not keep one open.
#[derive(Debug, Default)]
pub struct Contexts {
    open: Mutex<Vec<Weak<Context>>>,
}

impl Contexts {
    pub(crate) fn add(&self, context: &Arc<Context>) {
        let mut open = self.open.lock();
        open.retain(|context| context.strong_count() > 0);
        open.push(Arc::downgrade(context));
    }

    /// The open contexts, oldest first.
    pub fn open(&self) -> Vec<Arc<Context>> {
        self.open.lock().iter().filter_map(Weak::upgrade).collect()
    }
}
