//! A port in the midst of an access.

use swiommu_addr::Iova;
use swiommu_mem::PhysicalMemory;
use swiommu_pgtable::Access;

use super::{DmaError, Fault, Hit, Translate, Translated};
use crate::{Guard, Trace};

/// A port that is inside its epoch, with what is attached now.
pub(super) struct Entered<'a> {
    pub(super) memory: &'a PhysicalMemory,
    translate: &'a dyn Translate,
    _guard: Guard<'a>,
}

impl<'a> Entered<'a> {
    #[inline]
    pub(super) fn new(
        memory: &'a PhysicalMemory,
        translate: &'a dyn Translate,
        guard: Guard<'a>,
    ) -> Self {
        Self {
            memory,
            translate,
            _guard: guard,
        }
    }

    /// The walk that a request for `iova` would take if nothing were cached.
    pub(super) fn trace(&self, iova: Iova) -> Trace {
        self.translate.trace(iova)
    }

    /// Where `iova` leads, for as long as the port is inside.
    #[inline]
    pub(super) fn translate(&self, iova: Iova, wanted: Access) -> Result<Translated, DmaError> {
        match self.cached(iova, wanted) {
            Some(hit) => Ok(hit.into()),
            None => walk(self.translate, iova, wanted),
        }
    }

    /// The same, and where it leads nowhere, why not in `failed`: what a cache tells then comes in registers all the way.
    #[inline]
    pub(super) fn find(
        &self,
        iova: Iova,
        wanted: Access,
        failed: &mut Result<(), DmaError>,
    ) -> Option<Translated> {
        let found = match self.cached(iova, wanted) {
            None => walk_or(self.translate, iova, wanted, failed),
            hit => hit,
        };
        found.map(Translated::from)
    }

    /// What a cache tells of it; `None` says nothing.
    #[inline]
    fn cached(&self, iova: Iova, wanted: Access) -> Option<Hit> {
        let is_one = wanted.bits().is_power_of_two();
        is_one.then(|| self.translate.cached(iova, wanted))?
    }
}

/// What the tables say.
fn walk(translate: &dyn Translate, iova: Iova, wanted: Access) -> Result<Translated, DmaError> {
    let found = if wanted.bits().is_power_of_two() {
        translate.walk(iova, wanted)
    } else {
        translate_all(translate, iova, wanted)
    };
    found.map_err(|fault| DmaError::Fault {
        iova,
        wanted,
        fault,
    })
}

/// The same, as [`Entered::find`] has it.
#[cold]
#[inline(never)]
fn walk_or(
    translate: &dyn Translate,
    iova: Iova,
    wanted: Access,
    failed: &mut Result<(), DmaError>,
) -> Option<Hit> {
    let found = walk(translate, iova, wanted);
    match found {
        Ok(found) => Some(found.into()),
        Err(error) => {
            *failed = Err(error);
            None
        }
    }
}

/// Translates for several kinds of access at once: each must be allowed.
#[cold]
fn translate_all(
    translate: &dyn Translate,
    iova: Iova,
    wanted: Access,
) -> Result<Translated, Fault> {
    let mut last = Err(Fault::abort("the request wants no access"));
    for one in wanted.iter() {
        last = Ok(translate.translate(iova, one)?);
    }
    last
}
