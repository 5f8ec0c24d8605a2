//! The contexts that are open, for whoever wants to look at them.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use swiommu_files::Task;
use swiommu_iommufd::Context;

/// An open context, with who opened it.
#[derive(Clone, Debug)]
pub struct OpenContext {
    /// Contexts are numbered in the order of their opening, from 1.
    pub number: u32,
    /// Who opened it.
    pub opened_by: Task,
    /// The context.
    pub context: Arc<Context>,
}

/// The contexts that are open. Being listed does not keep one open.
#[derive(Debug, Default)]
pub struct Contexts {
    listed: Mutex<Listed>,
}

#[derive(Debug, Default)]
struct Listed {
    opened: u32,
    open: Vec<(u32, Task, Weak<Context>)>,
}

impl Contexts {
    pub(crate) fn add(&self, context: &Arc<Context>, opened_by: Task) {
        let mut listed = self.listed.lock();
        listed
            .open
            .retain(|(.., context)| context.strong_count() > 0);
        listed.opened += 1;
        let number = listed.opened;
        listed
            .open
            .push((number, opened_by, Arc::downgrade(context)));
    }

    /// The open contexts, oldest first.
    pub fn open(&self) -> Vec<OpenContext> {
        let listed = self.listed.lock();
        let open = listed.open.iter().filter_map(|(number, task, context)| {
            Some(OpenContext {
                number: *number,
                opened_by: *task,
                context: context.upgrade()?,
            })
        });
        open.collect()
    }
}
