//! The cache of translations in a device (ATC), as Address Translation Services of `PCIe` have it.

use std::fmt;
use std::sync::Arc;

use swiommu_addr::{Iova, IovaRange};
use swiommu_pgtable::Access;

use crate::{
    Fault, Hit, Marks, Pasid, Retention, Scope, Tag, TagMatch, Tlb, Trace, Translate, Translated,
};

/// What a device keeps of the translations that it has asked for. An entry stays until an invalidation request for it comes to the
/// device: invalidations of the unit's own caches do not reach it.
#[derive(Debug)]
pub struct DeviceTlb {
    tlb: Tlb,
}

/// The requests whose translations are invalidated (`PCIe` 10.3.8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeviceTlbScope {
    /// Those with this PASID, or those without.
    Of(Pasid),
    /// Those with any PASID ("global invalidate"), and not those without.
    AllPasids,
}

/// Notes that a request had a PASID.
const WITH_PASID: Marks = Marks::number(0);

fn tag(pasid: Pasid) -> Tag {
    Tag::new(pasid.0.into())
}

fn marks(pasid: Pasid) -> Marks {
    if pasid.is_none() {
        Marks::NONE
    } else {
        WITH_PASID
    }
}

impl DeviceTlb {
    /// Without entries.
    pub fn new(retention: Retention) -> Self {
        Self {
            tlb: Tlb::new(retention),
        }
    }

    /// What translates requests with a PASID when the device asks `unit` only for what it does not have.
    pub fn in_front_of(
        self: &Arc<Self>,
        pasid: Pasid,
        unit: Arc<dyn Translate>,
    ) -> Arc<dyn Translate> {
        Arc::new(Ats {
            cache: self.clone(),
            tag: tag(pasid),
            pasid,
            unit,
        })
    }

    /// Forgets what an invalidation request covers, and nothing else. As with [`Tlb::invalidate`], who found an entry before may
    /// still use it, until the [`Epochs`](crate::Epochs) are synchronized.
    pub fn invalidate(&self, requests: DeviceTlbScope, range: IovaRange) {
        let scope = match requests {
            DeviceTlbScope::Of(pasid) => Scope::tags(TagMatch::exact(tag(pasid).number())),
            DeviceTlbScope::AllPasids => Scope::ALL.with(WITH_PASID),
        };
        self.tlb.invalidate(&scope.within(range));
    }

    /// Forgets everything, as a device does when ATS is disabled.
    pub fn clear(&self) {
        self.tlb.clear();
    }
}

/// Requests with one PASID, translated by a device's own cache first.
struct Ats {
    cache: Arc<DeviceTlb>,
    tag: Tag,
    pasid: Pasid,
    unit: Arc<dyn Translate>,
}

impl Translate for Ats {
    fn cached(&self, iova: Iova, wanted: Access) -> Option<Hit> {
        self.cache.tlb.lookup(self.tag, iova)?.permitting(wanted)
    }

    fn walk(&self, iova: Iova, wanted: Access) -> Result<Translated, Fault> {
        let walk = self.cache.tlb.begin_walk();
        let found = self.unit.translate(iova, wanted)?;
        walk.insert(self.tag, iova, &found, marks(self.pasid));
        Ok(found)
    }

    fn trace(&self, iova: Iova) -> Trace {
        self.unit.trace(iova)
    }

    fn of_pasid(self: Arc<Self>, pasid: Pasid) -> Option<Arc<dyn Translate>> {
        let unit = self.unit.clone().of_pasid(pasid)?;
        Some(self.cache.in_front_of(pasid, unit))
    }
}

impl fmt::Debug for Ats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ats")
            .field("pasid", &self.pasid)
            .field("unit", &self.unit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use swiommu_addr::{Pa, PageSize};

    use super::*;

    /// Everything leads to the page that was named last.
    #[derive(Debug, Default)]
    struct Unit(AtomicU64);

    impl Translate for Unit {
        fn walk(&self, _iova: Iova, wanted: Access) -> Result<Translated, Fault> {
            Ok(Translated {
                page: Pa::new(self.0.load(Ordering::Relaxed)),
                size: PageSize::SIZE_4K,
                access: wanted,
            })
        }

        fn trace(&self, _iova: Iova) -> Trace {
            Trace::without_walk(Err("there are no entries".to_owned()))
        }
    }

    const NONE: Pasid = Pasid::NONE;
    const SEVEN: Pasid = Pasid(7);
    const EIGHT: Pasid = Pasid(8);

    /// A unit whose answer is now 0x2000, behind a device that has asked for two pages of each PASID when it was 0x1000.
    fn stale(retention: Retention) -> (Arc<DeviceTlb>, impl Fn(Pasid, u64) -> u64) {
        let unit = Arc::new(Unit(AtomicU64::new(0x1000)));
        let cache = Arc::new(DeviceTlb::new(retention));
        let ports =
            [NONE, SEVEN, EIGHT].map(|pasid| (pasid, cache.in_front_of(pasid, unit.clone())));
        let ask = move |pasid, iova| {
            let (_, port) = ports.iter().find(|(of, _)| *of == pasid).unwrap();
            let found = port.translate(Iova::new(iova), Access::USER_READ);
            found.unwrap().page.get()
        };
        for pasid in [NONE, SEVEN, EIGHT] {
            assert_eq!((ask(pasid, 0x5000), ask(pasid, 0x6000)), (0x1000, 0x1000));
        }
        unit.0.store(0x2000, Ordering::Relaxed);
        (cache, ask)
    }

    fn page(at: u64) -> IovaRange {
        IovaRange::from_len(Iova::new(at), 0x1000).unwrap()
    }

    #[test]
    fn an_entry_stays_until_its_own_invalidation() {
        let (cache, ask) = stale(Retention::LegalMaximum);
        assert_eq!(ask(SEVEN, 0x5000), 0x1000);
        cache.invalidate(DeviceTlbScope::Of(SEVEN), page(0x5000));
        assert_eq!(ask(SEVEN, 0x5000), 0x2000);
        for (pasid, at) in [(SEVEN, 0x6000), (EIGHT, 0x5000), (NONE, 0x5000)] {
            assert_eq!(ask(pasid, at), 0x1000, "{pasid} {at:#x}");
        }
    }

    #[test]
    fn a_global_invalidation_is_for_requests_with_a_pasid() {
        let (cache, ask) = stale(Retention::LegalMaximum);
        cache.invalidate(DeviceTlbScope::AllPasids, page(0x6000));
        assert_eq!((ask(SEVEN, 0x6000), ask(EIGHT, 0x6000)), (0x2000, 0x2000));
        assert_eq!((ask(NONE, 0x6000), ask(SEVEN, 0x5000)), (0x1000, 0x1000));
        cache.invalidate(DeviceTlbScope::Of(NONE), IovaRange::full());
        assert_eq!((ask(NONE, 0x6000), ask(EIGHT, 0x5000)), (0x2000, 0x1000));
    }

    #[test]
    fn an_entry_does_for_what_it_was_asked_for_only() {
        let unit = Arc::new(Unit::default());
        let port = Arc::new(DeviceTlb::new(Retention::LegalMaximum)).in_front_of(NONE, unit);
        let at = Iova::new(0x5000);
        let access = |wanted| port.translate(at, wanted).unwrap().access;
        assert_eq!(access(Access::USER_READ), Access::USER_READ);
        assert_eq!(access(Access::USER_WRITE), Access::USER_WRITE);
    }

    #[test]
    fn without_a_cache_every_request_asks() {
        let (_, ask) = stale(Retention::Off);
        assert_eq!(ask(NONE, 0x5000), 0x2000);
    }

    #[test]
    fn what_is_disabled_forgets() {
        let (cache, ask) = stale(Retention::LegalMaximum);
        cache.clear();
        assert_eq!((ask(NONE, 0x5000), ask(SEVEN, 0x6000)), (0x2000, 0x2000));
    }
}
