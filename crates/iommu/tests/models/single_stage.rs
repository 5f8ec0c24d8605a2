//! One stage of our own is a map of pages.

use proptest::prelude::*;
use swiommu_iommu::{DirtyTracking, Domain, DomainFeatures, PagingRequest, Pasid, Prot, Retention};

use crate::composition::runner;
use crate::guest::{DATA, Guest, number, pages};
use crate::model::{Model, Rights, Stage, Why};
use crate::naive::Second;
use crate::nested::{read, says, write};

/// Map or unmap a page, or look at one.
#[derive(Clone, Debug)]
enum Step {
    Map(u64, u64, Prot),
    Unmap(u64, u64),
    Read(u64),
    Write(u64),
}

const PAGES: u64 = 12;

fn step() -> impl Strategy<Value = Step> {
    let prot = prop::sample::select(vec![Prot::RW, Prot::READ]);
    prop_oneof![
        2 => (0..PAGES, 0..DATA, prot).prop_map(|(page, data, prot)| Step::Map(page, data, prot)),
        1 => (0..PAGES, 1..4_u64).prop_map(|(page, count)| Step::Unmap(page, count)),
        3 => (0..PAGES).prop_map(Step::Read),
        2 => (0..PAGES).prop_map(Step::Write),
    ]
}

/// Pages that lie on both sides of the borders of tables.
fn at(page: u64) -> u64 {
    (1 << 18) - PAGES / 2 + page
}

/// An unmap invalidates what it has to, so nothing is ever stale.
pub(crate) fn one_stage_is_a_map<M: Model>() {
    let case = (
        prop::sample::select(M::SINGLE_STAGES.to_vec()),
        prop::bool::ANY,
        prop::collection::vec(step(), 1..60),
    );
    runner(96)
        .run(&case, |((stage, flags), tracks, steps)| {
            let guest = Guest::new();
            let model = M::new(&guest.memory, Retention::LegalMaximum);
            let request = PagingRequest { flags, data: None };
            let domain = model
                .unit()
                .alloc_paging(model.endpoint(), &request)
                .unwrap();
            if tracks && domain.features().contains(DomainFeatures::DIRTY_TRACKING) {
                domain.set_dirty_tracking(DirtyTracking::On).unwrap();
            }
            let attached = Domain::Paging(domain.clone());
            model.endpoint().attach(Pasid::NONE, &attached).unwrap();
            let mut port = model.port(Pasid::NONE);
            let mut map = Second::default();
            for step in steps {
                match step {
                    Step::Map(page, data, prot) => {
                        if let std::collections::btree_map::Entry::Vacant(free) =
                            map.0.entry(at(page))
                        {
                            free.insert((data, prot));
                            guest.map(&*domain, at(page), data, prot);
                        }
                    }
                    Step::Unmap(page, count) => {
                        map.0
                            .retain(|other, _| !(at(page)..at(page + count)).contains(other));
                        domain.unmap(pages(at(page), count));
                    }
                    Step::Read(page) => {
                        let found = read(&mut port, at(page));
                        match map.translate(at(page), Rights::Read) {
                            Ok(data) => prop_assert_eq!(found, Ok(number(data))),
                            Err(why) => says::<M>(&found.unwrap_err(), at(page), &of(stage, why))?,
                        }
                    }
                    Step::Write(page) => {
                        let found = write(&mut port, at(page), 1);
                        match map.translate(at(page), Rights::Write) {
                            Ok(_) => prop_assert_eq!(found, Ok(())),
                            Err(why) => says::<M>(&found.unwrap_err(), at(page), &of(stage, why))?,
                        }
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

/// The same, as that stage reports it.
fn of(stage: Stage, why: Why) -> Why {
    match (stage, why) {
        (Stage::First, Why::Second { kind }) => Why::Entry { level: 0, kind },
        (_, why) => why,
    }
}
