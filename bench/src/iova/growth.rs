//! Cost against the number of areas, to see what grows.

use std::collections::BTreeMap;
use std::hint::black_box;

use super::map::{Map, Ours};
use super::{HUGE, Times, areas, exercise, misaligned, per_operation, request, scan};
use crate::plot::{Chart, Line, Stroke};
use crate::rounds::{interleaved, median};

const ROUNDS: usize = 5;

/// The operations of `exercise`, and the search for a hole.
const LINES: [&str; 5] = [
    "insert",
    "lookup",
    "lookup, each address from the last",
    "remove",
    "aligned hole, no gap below fits",
];
const HOLE: usize = 4;

const SHOWN: [Stroke; 2] = [Stroke::Solid, Stroke::Dashed];

pub(crate) fn chart() -> Chart {
    let counts = counts();
    let costs: Vec<[[f64; LINES.len()]; 2]> = counts.iter().map(|&count| costs(count)).collect();
    let line = |shown: usize, colour: usize| Line {
        name: LINES[colour].to_owned(),
        colour,
        stroke: SHOWN[shown],
        points: counts
            .iter()
            .zip(&costs)
            .map(|(&count, costs)| (count as f64, costs[shown][colour]))
            .collect(),
    };
    let lines = (0..SHOWN.len())
        .flat_map(|shown| (0..LINES.len()).map(move |colour| (shown, colour)))
        .map(|(shown, colour)| line(shown, colour));
    Chart {
        title: "IOVA map: swiommu-iova; dashed: BTreeMap, a scan for holes",
        x: "areas",
        y: "nanoseconds",
        lines: lines.collect(),
    }
}

/// From 10^3 to 10^6, three to a decade.
fn counts() -> Vec<u64> {
    let count = |third: i32| 10_f64.powf(f64::from(third) / 3.0).round() as u64;
    (9..=18).map(count).collect()
}

/// Nanoseconds, ours and the peer's, by line.
fn costs(count: u64) -> [[f64; LINES.len()]; 2] {
    let areas = areas(count);
    let times = interleaved(ROUNDS, 2, |_, contender| match contender {
        0 => exercise::<Ours>(&areas),
        _ => exercise::<BTreeMap<u64, (u64, u64)>>(&areas),
    });
    let holes = holes(count);
    [0, 1].map(|shown| {
        let of = |line: usize| match line {
            HOLE => holes[shown],
            _ => median(times[shown].iter().map(|times: &Times| times[line])),
        };
        std::array::from_fn(of)
    })
}

/// Nanoseconds of a search for a hole, ours and by a scan.
fn holes(count: u64) -> [f64; 2] {
    let mut space = Ours::default();
    let mut plain = BTreeMap::new();
    for (start, last) in misaligned(count) {
        Map::insert(&mut space, start, last, 0);
        plain.insert(start, last);
    }
    let mut find = |times: u64| {
        per_operation(times, || {
            for _ in 0..times {
                black_box(space.place(&request(black_box(HUGE))).is_ok());
            }
        })
    };
    // The first search computes summaries.
    find(1);
    let scans = per_operation(5, || {
        for _ in 0..5 {
            black_box(scan(&plain, black_box(HUGE)));
        }
    });
    [find(10_000), scans]
}
