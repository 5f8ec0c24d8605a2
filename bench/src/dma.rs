//! Copies by a device, through a guest's tables and ours.

mod copy;
mod memcpy;
mod peer;

use crate::nested::Model;
use crate::table::Table;

const ABOUT: &str = "DMA through nested translation, random pages of 4 KiB; CPU time of the thread, median of 9 interleaved rounds.
Hit: translations are cached. Miss: the guest has invalidated all leaves; each page is walked, and cached. memcpy copies the same pages
from where they are mapped in this process. vm-memory's IommuMemory has its Iotlb in an RwLock, as its users have it, and knows
all translations.";

pub(crate) fn run() -> anyhow::Result<Table> {
    let mut rows = Vec::new();
    for (name, model) in Model::all() {
        rows.extend(copy::pages(name, model)?);
        rows.extend(copy::small(name, model)?);
    }
    Ok(Table { about: ABOUT, rows })
}
