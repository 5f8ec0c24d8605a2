//! Who is measured.

use swiommu_pgtable::fmt::{Amdv1, ArmS1, Riscv, VtdSs, X86_64};

use super::dirty;
use super::exercise::{Size, exercise};
use super::meter::{Costs, Meter};
use super::operation::Operation;
use super::ours::{Configured, Ours};
use super::peers::aarch64_paging::Aarch64Paging;
use super::peers::page_table_multiarch::PageTableMultiarch;
use super::peers::x86_64::X8664;
use super::pool::Pool;
use crate::rounds::median;
use crate::table::{Goal, Peer, Row};

pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&'static Pool, Size, &mut dyn Meter),
}

const fn ours<F: Configured>() -> Contender {
    Contender {
        name: F::NAME,
        run: |pool, size, meter| {
            exercise::<Ours<F>>(pool, size, meter);
            dirty::exercise::<F>(pool, size, meter);
        },
    }
}

const OURS: usize = 5;

/// Our formats, then the peers.
pub(crate) const CONTENDERS: [Contender; OURS + 4] = [
    ours::<X86_64>(),
    ours::<ArmS1<12>>(),
    ours::<VtdSs>(),
    ours::<Amdv1>(),
    ours::<Riscv>(),
    Contender {
        name: "aarch64-paging",
        run: exercise::<Aarch64Paging>,
    },
    Contender {
        name: "page_table_multiarch",
        run: exercise::<PageTableMultiarch>,
    },
    Contender {
        name: "x86_64",
        run: exercise::<X8664>,
    },
    Contender {
        name: "bare loop",
        run: dirty::floor,
    },
];

/// The rows of what was measured, by contender and round: our first format beside every peer, the others beside the best one,
/// which the goal is about.
pub(crate) fn rows(
    costs: &[Vec<Costs>],
    unit: &'static str,
    goal: fn(Operation) -> Goal,
) -> Vec<Row> {
    Operation::ALL
        .into_iter()
        .flat_map(|operation| operation_rows(costs, unit, operation, goal))
        .collect()
}

fn operation_rows(
    costs: &[Vec<Costs>],
    unit: &'static str,
    operation: Operation,
    goal: fn(Operation) -> Goal,
) -> Vec<Row> {
    let rounds = |contender: usize| -> Vec<f64> {
        let figures = costs[contender].iter();
        figures.filter_map(|costs| costs.of(operation)).collect()
    };
    let cost = |&contender: &usize| median(rounds(contender));
    let mut peers: Vec<usize> = (OURS..CONTENDERS.len())
        .filter(|&peer| !rounds(peer).is_empty())
        .collect();
    peers.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    let row = |contender: usize, place: usize| {
        let ours = rounds(contender);
        let peer = peers[place];
        Row {
            name: format!("{}: {}", operation.name(), CONTENDERS[contender].name),
            unit,
            ours: median(ours.iter().copied()),
            peer: Some(Peer::new(CONTENDERS[peer].name, &ours, &rounds(peer))),
            goal: if place == 0 {
                goal(operation)
            } else {
                Goal::None
            },
        }
    };
    let first = (0..peers.len()).map(|place| row(0, place));
    let others = (1..OURS).map(|contender| row(contender, 0));
    first.chain(others).collect()
}
