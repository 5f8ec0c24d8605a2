//! Cost against size, to see what grows.

use super::contenders::{CONTENDERS, Contender};
use super::exercise::Size;
use super::meter::{Clock, Costs};
use super::operation::Operation;
use super::pool::Pool;
use crate::plot::{Chart, Line, Stroke};
use crate::rounds::{interleaved, median};

const ROUNDS: usize = 5;

const OPERATIONS: [(Operation, &str); 8] = [
    (Operation::MapNew, "map, new tables, a PTE"),
    (Operation::MapExisting, "map, existing tables, a PTE"),
    (Operation::UnmapWhole, "unmap, whole tables, a PTE"),
    (Operation::UnmapPartial, "unmap, partial tables, a PTE"),
    (Operation::MapPage, "map one page"),
    (Operation::UnmapPage, "unmap one page"),
    (Operation::TranslateDependent, "translate, latency"),
    (Operation::DirtyNone, "read dirty, 0 %, a PTE"),
];

/// The same format, ours and another's.
const SHOWN: [(&str, Stroke); 2] = [("x86-64", Stroke::Solid), ("x86_64", Stroke::Dashed)];

pub(crate) fn chart() -> anyhow::Result<Chart> {
    let sizes = sizes();
    let tables = sizes.iter().map(|size| size.tables()).max();
    let pool = Pool::leak(tables.unwrap_or(0))?;
    let shown = SHOWN.map(|(name, _)| CONTENDERS.iter().find(|contender| contender.name == name));
    let shown: Vec<&Contender> = shown.into_iter().flatten().collect();
    let costs: Vec<Vec<Vec<Costs>>> = sizes
        .iter()
        .map(|&size| {
            interleaved(ROUNDS, shown.len(), |_, contender| {
                let mut clock = Clock::new();
                (shown[contender].run)(pool, size, &mut clock);
                pool.rewind();
                clock.costs
            })
        })
        .collect();

    let line = |shown: usize, colour: usize| {
        let (operation, name) = OPERATIONS[colour];
        let point = |(size, costs): (&Size, &Vec<Vec<Costs>>)| {
            let rounds = &costs[shown];
            let cost = median(rounds.iter().filter_map(|costs| costs.of(operation)));
            (cost > 0.0).then_some((size.bulk as f64, cost))
        };
        let points: Vec<(f64, f64)> = sizes.iter().zip(&costs).filter_map(point).collect();
        let stroke = SHOWN[shown].1;
        (!points.is_empty()).then(|| Line {
            name: name.to_owned(),
            colour,
            stroke,
            points,
        })
    };
    let lines = (0..SHOWN.len())
        .flat_map(|shown| (0..OPERATIONS.len()).map(move |colour| (shown, colour)))
        .filter_map(|(shown, colour)| line(shown, colour));
    Ok(Chart {
        title: "x86-64 page tables: swiommu-pgtable; dashed: the crate x86_64",
        x: "pages of 4 KiB",
        y: "nanoseconds",
        lines: lines.collect(),
    })
}

/// From about 10^3 pages to 10^7, three to a decade, whole tables each.
fn sizes() -> Vec<Size> {
    let pages = |third: i32| (10_f64.powf(f64::from(third) / 3.0) / 512.0).round() as u64 * 512;
    (9..=21)
        .map(|third| Size {
            bulk: pages(third),
            single: pages(third),
        })
        .collect()
}
