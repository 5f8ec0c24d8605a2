//! What a device's request for a translation takes, through one and two stages: hits, walks and misses.

use std::hint::black_box;

use swiommu_addr::Iova;
use swiommu_iommu::vtd::VtdSettings;
use swiommu_iommu::{DmaPort, Retention};
use swiommu_pgtable::Access;

use super::bare::Bare;
use crate::clock::nanoseconds;
use crate::nested::{FIRST, Machine, Model, PAGE, Stages};
use crate::pace::{latency, of_two, picks, throughput};
use crate::rounds::interleaved;
use crate::table::{Goal, Row};

/// 4 MiB.
pub(super) const PAGES: u64 = 1024;

/// A machine whose translations are all walks, from what its paging-structure caches have.
pub(super) fn walking() -> anyhow::Result<Machine> {
    let settings = VtdSettings {
        caches: Retention::Off,
        structures: Some(Retention::LegalMaximum),
        ..VtdSettings::default()
    };
    Machine::new(PAGES, Model::Vtd(settings))
}

/// A machine that has all of its translations cached.
pub(super) fn caching(model: Model, pages: u64) -> anyhow::Result<Machine> {
    let machine = Machine::new(pages, model)?;
    for stages in [Stages::One, Stages::Two] {
        let mut port = machine.port(stages);
        for page in 0..pages {
            translate(&machine, &mut port, FIRST + page * PAGE);
        }
    }
    Ok(machine)
}

/// Where the device has the page that the memory behind `iova` is; 0 if it leads nowhere.
#[inline]
pub(super) fn translate(machine: &Machine, port: &mut DmaPort, iova: u64) -> u64 {
    let iova = Iova::new(iova);
    let found = port.translate(iova, Access::USER_READ);
    found.map_or(0, |found| machine.page_of(found.resolve(iova)).get())
}

/// Addresses of the pages in random order.
pub(super) fn addresses(pages: u64) -> Vec<u64> {
    picks(pages).iter().map(|n| FIRST + n * PAGE).collect()
}

/// The ways to measure, and how their rows are called.
const PACES: [(&str, Pace); 3] = [
    ("", Pace::Throughput),
    ("… latency", Pace::Latency),
    ("… two threads", Pace::TwoThreads),
];

#[derive(Clone, Copy)]
enum Pace {
    Throughput,
    Latency,
    TwoThreads,
}

fn measure(machine: &Machine, stages: Stages, addresses: &[u64], pace: Pace) -> f64 {
    let throughput = || {
        let mut port = machine.port(stages);
        throughput(addresses, |iova| translate(machine, &mut port, iova))
    };
    match pace {
        Pace::Throughput => throughput(),
        Pace::Latency => {
            let mut port = machine.port(stages);
            latency(FIRST, |iova| translate(machine, &mut port, iova))
        }
        Pace::TwoThreads => of_two(|_| throughput()),
    }
}

/// Hits through the whole path of a device, behind one and two stages.
pub(super) fn hits(name: &str, model: Model) -> anyhow::Result<Vec<Row>> {
    let machine = caching(model, PAGES)?;
    let addresses = addresses(PAGES);
    let title = format!("{name}, IOTLB hit behind 2 stages, {PAGES} entries");
    let rows = PACES.map(|(name, pace)| {
        let stages = [Stages::Two, Stages::One];
        let figures = interleaved(super::ROUNDS, 2, |_, contender| {
            measure(&machine, stages[contender], &addresses, pace)
        });
        let name = match pace {
            Pace::Throughput => title.clone(),
            _ => name.to_owned(),
        };
        let goal = Goal::Ratio(1.1);
        Row::beside(name, "ns", "1 stage", &figures[0], &figures[1], goal)
    });
    Ok(rows.into())
}

/// Walks of hot tables, beside a bare walk of one stage.
pub(super) fn walks() -> anyhow::Result<Vec<Row>> {
    let machine = walking()?;
    let bare = Bare::new(PAGES);
    let addresses = addresses(PAGES);
    let mut rows = Vec::new();
    for (stages, title) in [
        (Stages::Two, "VT-d, walk of 2 stages, hot"),
        (Stages::One, "VT-d, walk of 1 stage, hot"),
    ] {
        for (name, pace) in PACES {
            let figures = interleaved(super::ROUNDS, 2, |_, contender| match (contender, pace) {
                (0, pace) => measure(&machine, stages, &addresses, pace),
                (_, Pace::Throughput) => throughput(&addresses, |iova| bare.translate(iova)),
                (_, Pace::Latency) => latency(FIRST, |iova| bare.translate(iova)),
                (_, Pace::TwoThreads) => {
                    of_two(|_| throughput(&addresses, |iova| bare.translate(iova)))
                }
            });
            let goal = match (stages, pace) {
                // 0.8 and 1.5 times the kernel's 20 and 21 ns, where the bare walk takes 2 and 9.
                (Stages::Two, Pace::Throughput) => Goal::Ratio(8.0),
                (Stages::Two, Pace::Latency) => Goal::Ratio(3.5),
                _ => Goal::None,
            };
            let name = if name.is_empty() { title } else { name };
            let peer = "bare, 1 stage";
            rows.push(Row::beside(
                name,
                "ns",
                peer,
                &figures[0],
                &figures[1],
                goal,
            ));
        }
    }
    Ok(rows)
}

/// Misses: a walk whose result is cached, after the guest has invalidated all leaves.
pub(super) fn misses(name: &str, model: Model) -> anyhow::Result<Row> {
    const PASSES: usize = 64;
    let machine = caching(model, PAGES)?;
    let bare = Bare::new(PAGES);
    let addresses = machine.addresses();
    let addresses: Vec<u64> = addresses.iter().map(|iova| iova.get()).collect();
    let mut refused = None;
    let figures = interleaved(super::ROUNDS, 2, |_, contender| {
        let mut port = machine.port(Stages::Two);
        let mut sum = 0.0;
        for _ in 0..PASSES {
            refused = machine.invalidate_leaves().err().or(refused.take());
            sum += nanoseconds(|| {
                let found = addresses.iter().map(|iova| match contender {
                    0 => translate(&machine, &mut port, *iova),
                    _ => bare.translate(*iova),
                });
                black_box(found.fold(0, u64::wrapping_add));
            });
        }
        sum / (PASSES as u64 * PAGES) as f64
    });
    refused.map_or(Ok(()), Err)?;
    let name = format!("{name}, miss behind 2 stages, with its insertion");
    let peer = "bare, 1 stage";
    Ok(Row::beside(
        name,
        "ns",
        peer,
        &figures[0],
        &figures[1],
        Goal::None,
    ))
}
