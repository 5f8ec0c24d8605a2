//! Instructions of a translation.

use std::hint::black_box;

use anyhow::Context;
use swiommu_addr::Iova;
use swiommu_iommu::Tlb;
use vm_memory::iommu::Iotlb;

use super::iotlb::{self, Cache, filled};
use super::walk::{self, PAGES, caching, translate, walking};
use crate::callgrind;
use crate::nested::{Model, Stages};
use crate::table::{Goal, Peer, Row, Table};

const ABOUT: &str = "Translation: instructions, counted by callgrind, without those of the loop around it. The same work as in the table of times, 1024 pages.";

/// The subcommand that is counted.
const COMMAND: &str = "translate-counted";

/// Whose instructions go off all others.
const LOOP: &str = "loop";

const HIT: &str = "IOTLB hit";
const PEER: &str = "vm-memory";

const WALK_OF_TWO: &str = "VT-d, walk of 2 stages";

/// What a piece of work must reach.
fn goal(name: &str) -> Goal {
    match name {
        HIT => Goal::Figure(30.0),
        WALK_OF_TWO => Goal::Figure(200.0),
        _ => Goal::None,
    }
}

pub(crate) fn run() -> anyhow::Result<Table> {
    let pieces = callgrind::run(COMMAND)?;
    let mut costs = Vec::new();
    for (line, sum) in &pieces {
        let (name, times) = line.rsplit_once(' ').context("a name and a number")?;
        costs.push((name, sum / times.parse::<f64>()?));
    }
    let cost = |name: &str| {
        let counted = costs.iter().find(|(counted, _)| *counted == name);
        counted.with_context(|| format!("{name} was counted"))
    };
    let (_, around) = *cost(LOOP)?;
    let (_, theirs) = *cost(PEER)?;
    let rows = costs
        .iter()
        .filter(|(name, _)| ![LOOP, PEER].contains(name));
    let rows = rows.map(|(name, ours)| {
        let ours = ours - around;
        Row {
            name: (*name).to_owned(),
            unit: "i",
            ours,
            peer: (*name == HIT).then(|| Peer::new(PEER, &[ours], &[theirs - around])),
            goal: goal(name),
        }
    });
    Ok(Table {
        about: ABOUT,
        rows: rows.collect(),
    })
}

/// The program that is counted. It prints the name of each piece of work, and how many translations that is.
pub(crate) fn counted_main() -> anyhow::Result<()> {
    let pages = iotlb::addresses(PAGES);
    count(LOOP, &pages, |iova| iova);
    let (ours, theirs): (Tlb, Iotlb) = (filled(PAGES), filled(PAGES));
    count(HIT, &pages, |iova| ours.translate(iova));
    count(PEER, &pages, |iova| theirs.translate(iova));

    let pages = walk::addresses(PAGES);
    for (name, model) in Model::all() {
        let machine = caching(model, PAGES)?;
        let mut port = machine.port(Stages::One);
        count(
            &format!("{name}, IOTLB hit behind 1 stage"),
            &pages,
            |iova| translate(&machine, &mut port, iova),
        );
        let mut port = machine.port(Stages::Two);
        count(
            &format!("{name}, IOTLB hit behind 2 stages"),
            &pages,
            |iova| translate(&machine, &mut port, iova),
        );
        let read = format!("{name}, read of 64 B behind 2 stages, hit");
        count(&read, &pages, |iova| {
            let mut into = [0; 64];
            let read = port.read(Iova::new(iova), &mut into);
            u64::from(read.is_ok()) + u64::from(black_box(into)[0])
        });
        machine.invalidate_leaves()?;
        let each: Vec<u64> = machine.addresses().iter().map(|iova| iova.get()).collect();
        let miss = format!("{name}, miss behind 2 stages, with its insertion");
        count(&miss, &each, |iova| translate(&machine, &mut port, iova));
    }
    let walked = walking()?;
    for (name, stages) in [
        ("VT-d, walk of 1 stage", Stages::One),
        (WALK_OF_TWO, Stages::Two),
    ] {
        let mut port = walked.port(stages);
        // The first fills what caches there are.
        for iova in &pages {
            translate(&walked, &mut port, *iova);
        }
        count(name, &pages, |iova| translate(&walked, &mut port, iova));
    }
    Ok(())
}

fn count(name: &str, addresses: &[u64], mut translate: impl FnMut(u64) -> u64) {
    println!("{name} {}", addresses.len());
    callgrind::counted(&mut || {
        let mut sum = 0_u64;
        for iova in addresses {
            sum = sum.wrapping_add(black_box(translate(*iova)));
        }
        black_box(sum);
    });
}
