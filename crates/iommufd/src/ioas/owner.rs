//! `IOMMU_IOAS_CHANGE_PROCESS` (§2.19, §3.9): all mappings change hands at once.

use std::collections::HashSet;
use std::ptr;
use std::sync::Arc;

use swiommu_mem::{AddressSpace, Pages, PagesKind, change_owner};

use super::Ioas;
use crate::Error;

impl Ioas {
    /// Makes `owner` the process of every mapping of these IOASes, or changes nothing. No IOAS is made meanwhile.
    pub(crate) fn change_process(
        ioases: &[&Arc<Self>],
        owner: &Arc<dyn AddressSpace>,
    ) -> Result<(), Error> {
        // Taken in the order of their numbers, as everybody who takes several does.
        let locked: Vec<_> = ioases.iter().map(|ioas| ioas.areas.read()).collect();
        let mut seen = HashSet::new();
        let mut pages: Vec<&Pages> = Vec::new();
        for (range, area) in locked.iter().flat_map(|areas| areas.areas()) {
            if area.is_busy() {
                return Err(Error::AreaBusy(range));
            }
            let Some(of_file) = area
                .backing
                .pages()
                .ok()
                .filter(|p| p.kind() == PagesKind::File)
            else {
                return Err(Error::CannotChangeProcess(range));
            };
            if seen.insert(ptr::from_ref(of_file)) {
                pages.push(of_file);
            }
        }
        Ok(change_owner(&pages, owner)?)
    }
}
