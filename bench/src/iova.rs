//! The IOVA map at a million areas: `swiommu-iova` beside ordered maps.

mod growth;
mod map;

use std::collections::BTreeMap;
use std::hint::black_box;

use rangemap::RangeInclusiveMap;
use swiommu_addr::{Iova, IovaRange, PageSize};
use swiommu_iova::{Origin, Request};

use crate::clock::nanoseconds;
use crate::memory::resident;
use crate::random::{Random, shuffled};
use crate::rounds::{interleaved, median};
use crate::table::{Goal, Peer, Row, Table};
pub(crate) use growth::chart;
use map::{Map, Nodit, Ours};

const AREAS: u64 = 1_000_000;
const ROUNDS: usize = 5;
const QUERIES: u64 = 100_000;

/// An area every 32 KiB, 4 to 16 KiB long.
const STRIDE: u64 = 0x8000;

const ABOUT: &str =
    "IOVA map at 10^6 areas in random order; per operation, CPU time of the thread, median of 5 rounds.
Throughput: addresses do not depend on earlier results, except in the row that says so.
Ours checks for overlap and reserved intervals; BTreeMap checks nothing.";

pub(crate) fn run() -> anyhow::Result<Table> {
    // First, while the process has no freed memory to use again.
    let mut rows = vec![memory()?];
    rows.splice(0..0, maps());
    rows.extend(holes());
    let about = ABOUT;
    Ok(Table { about, rows })
}

/// The start, last address and value of each area, in random order. The values are the indices of a single cycle.
fn areas(count: u64) -> Vec<(u64, u64, u64)> {
    let order = shuffled(count, 1);
    let mut next = vec![0; order.len()];
    for (place, &index) in order.iter().enumerate() {
        next[index as usize] = order[(place + 1) % order.len()];
    }
    let area = |&index: &u64| {
        let start = (1 << 32) + index * STRIDE;
        let pages = 1 + index % 4;
        (start, start + pages * 0x1000 - 1, next[index as usize])
    };
    shuffled(count, 2).iter().map(area).collect()
}

/// Nanoseconds per operation of one contender in one round.
type Times = [f64; 4];
const OPERATIONS: [(&str, f64); 4] = [
    ("insert", 1.0),
    ("lookup", 1.0),
    ("lookup, each address from the last", 1.0),
    ("remove", 1.2),
];

fn maps() -> Vec<Row> {
    let areas = areas(AREAS);
    let names = ["", "BTreeMap", "nodit", "rangemap"];
    let times = interleaved(ROUNDS, names.len(), |_, contender| match contender {
        0 => exercise::<Ours>(&areas),
        1 => exercise::<BTreeMap<u64, (u64, u64)>>(&areas),
        2 => exercise::<Nodit>(&areas),
        _ => exercise::<RangeInclusiveMap<u64, u64>>(&areas),
    });
    let of = |contender: usize, operation: usize| -> Vec<f64> {
        times[contender]
            .iter()
            .map(|times: &Times| times[operation])
            .collect()
    };
    let mut rows = Vec::new();
    for (operation, (name, goal)) in OPERATIONS.into_iter().enumerate() {
        let ours = of(0, operation);
        for (contender, peer) in names.into_iter().enumerate().skip(1) {
            let theirs = of(contender, operation);
            rows.push(Row {
                name: name.to_owned(),
                unit: "ns",
                ours: median(ours.clone()),
                peer: Some(Peer::new(peer, &ours, &theirs)),
                goal: if contender == 1 {
                    Goal::Ratio(goal)
                } else {
                    Goal::None
                },
            });
        }
    }
    rows
}

fn exercise<M: Map>(areas: &[(u64, u64, u64)]) -> Times {
    let count = areas.len() as u64;
    let mut map = M::default();
    let insert = per_operation(count, || {
        for &(start, last, value) in areas {
            map.insert(start, last, value);
        }
    });
    let lookup = per_operation(count, || {
        let mut sum = 0;
        for &(_, last, _) in areas.iter().rev() {
            sum += map.get(last).unwrap_or(0);
        }
        black_box(sum);
    });
    let chase = per_operation(count, || {
        let mut index = 0;
        for _ in 0..count {
            index = map.get((1 << 32) + index * STRIDE).unwrap_or(0);
        }
        black_box(index);
    });
    let remove = per_operation(count, || {
        for &(start, last, _) in areas.iter().rev() {
            map.remove(start, last);
        }
    });
    [insert, lookup, chase, remove]
}

fn per_operation(operations: u64, work: impl FnOnce()) -> f64 {
    nanoseconds(work) / operations as f64
}

/// Resident bytes per area.
fn memory() -> anyhow::Result<Row> {
    let areas = areas(AREAS);
    let before = resident()?;
    let mut ours = Ours::default();
    for &(start, last, value) in &areas {
        Map::insert(&mut ours, start, last, value);
    }
    let after = resident()?;
    let mut peer = BTreeMap::default();
    for &(start, last, value) in &areas {
        Map::insert(&mut peer, start, last, value);
    }
    let end = resident()?;
    black_box((ours, peer));
    let per_area = |bytes: u64| bytes as f64 / AREAS as f64;
    let (ours, theirs) = (per_area(after - before), per_area(end - after));
    Ok(Row {
        name: "resident memory per area".to_owned(),
        unit: "B",
        ours,
        peer: Some(Peer::new("BTreeMap", &[ours], &[theirs])),
        goal: Goal::Figure(200.0),
    })
}

const HUGE: u64 = 2 << 20;

/// Each gap holds 2 MiB and none holds 2 MiB that are aligned, except one in the middle and the last.
fn misaligned(count: u64) -> Vec<(u64, u64)> {
    let area = |index: u64| {
        let start = index * 2 * HUGE + HUGE + 0x1000;
        let shift = if index == count / 2 { 0x1000 } else { 0 };
        (start, start + HUGE - 1 - shift)
    };
    (0..count).map(area).collect()
}

fn request(length: u64) -> Request {
    Request {
        origin: Origin::offset(0),
        length,
        alignment: PageSize::SIZE_4K,
        huge_page: PageSize::SIZE_2M,
    }
}

fn holes() -> Vec<Row> {
    let mut space = Ours::default();
    let mut plain = BTreeMap::new();
    for (start, last) in misaligned(AREAS) {
        Map::insert(&mut space, start, last, 0);
        plain.insert(start, last);
    }
    // The first search in a new space computes all summaries, at the cost of the insertions before it.
    black_box(space.place(&request(HUGE)).is_ok());
    black_box(space.place(&request(2 * HUGE)).is_ok());
    let mut scans = Vec::new();
    let mut finds = Vec::new();
    let mut pairs = Vec::new();
    let mut random = Random::new(3);
    for _ in 0..ROUNDS {
        finds.push(per_operation(QUERIES, || {
            for query in 0..QUERIES {
                let length = HUGE * (1 + query % 2) - 0x1000 * (query % 16);
                black_box(space.place(&request(black_box(length))).is_ok());
            }
        }));
        scans.push(per_operation(5, || {
            for _ in 0..5 {
                black_box(scan(&plain, black_box(HUGE)));
            }
        }));
        pairs.push(per_operation(QUERIES, || {
            for _ in 0..QUERIES {
                let start = Iova::new(random.below(AREAS) * 2 * HUGE + HUGE + 0x1000);
                if let Some((range, value)) = space.remove(start) {
                    black_box(space.place(&request(black_box(HUGE))).is_ok());
                    black_box(space.insert(range, value).is_ok());
                }
            }
        }));
    }
    let ours = median(finds.clone());
    let peer = Peer::new("scan", &finds, &scans);
    vec![
        Row {
            name: "aligned hole, no gap below fits".to_owned(),
            unit: "ns",
            ours,
            peer: Some(peer),
            goal: Goal::Figure(1000.0),
        },
        Row {
            name: "remove, find aligned hole, insert".to_owned(),
            unit: "ns",
            ours: median(pairs),
            peer: None,
            goal: Goal::None,
        },
    ]
}

/// The start of the first aligned hole of `length` bytes, by trying all gaps.
fn scan(areas: &BTreeMap<u64, u64>, length: u64) -> Option<IovaRange> {
    let mut end = 0x1000_u64;
    for (&start, &last) in areas {
        let place = end.next_multiple_of(length);
        if place + length <= start {
            return IovaRange::from_len(Iova::new(place), length);
        }
        end = last + 1;
    }
    IovaRange::from_len(Iova::new(end.next_multiple_of(length)), length)
}
