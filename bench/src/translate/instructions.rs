//! Instructions of a translation.

use std::hint::black_box;

use anyhow::Context;
use swiommu_addr::Iova;
use swiommu_iommu::Tlb;
use vm_memory::iommu::Iotlb;

use super::iotlb::{self, Cache, filled};
use super::walk::{self, PAGES, caching, translate, walking};
use crate::callgrind;
use crate::nested::Stages;
use crate::table::{Goal, Peer, Row, Table};

const ABOUT: &str = "Translation: instructions, counted by callgrind, without those of the loop around it. The same work as in the table of times, 1024 pages.";

/// The subcommand that is counted.
const COMMAND: &str = "translate-counted";

/// Whose instructions go off all others.
const LOOP: &str = "loop";

const HIT: &str = "IOTLB hit";
const PEER: &str = "vm-memory";

/// What is counted, and what it must reach.
const GOALS: [(&str, Goal); 7] = [
    (HIT, Goal::Figure(30.0)),
    ("device, IOTLB hit behind 1 stage", Goal::None),
    ("device, IOTLB hit behind 2 stages", Goal::None),
    ("device, walk of 1 stage", Goal::None),
    ("device, walk of 2 stages", Goal::Figure(200.0)),
    (
        "device, miss behind 2 stages, with its insertion",
        Goal::None,
    ),
    ("device, read of 64 B behind 2 stages, hit", Goal::None),
];

pub(crate) fn run() -> anyhow::Result<Table> {
    let pieces = callgrind::run(COMMAND)?;
    let cost = |name: &str| {
        let counted = pieces.iter().find_map(|(line, sum)| {
            let times: f64 = line.strip_prefix(name)?.trim().parse().ok()?;
            Some(sum / times)
        });
        counted.with_context(|| format!("{name} was counted"))
    };
    let around = cost(LOOP)?;
    let mut rows = Vec::new();
    for (name, goal) in GOALS {
        let ours = cost(name)? - around;
        let theirs = cost(PEER)? - around;
        rows.push(Row {
            name: name.to_owned(),
            unit: "i",
            ours,
            peer: (name == HIT).then(|| Peer::new(PEER, &[ours], &[theirs])),
            goal,
        });
    }
    Ok(Table { about: ABOUT, rows })
}

/// The program that is counted. It prints the name of each piece of work, and how many translations that is.
pub(crate) fn counted_main() -> anyhow::Result<()> {
    let pages = iotlb::addresses(PAGES);
    count(LOOP, &pages, |iova| iova);
    let (ours, theirs): (Tlb, Iotlb) = (filled(PAGES), filled(PAGES));
    count(HIT, &pages, |iova| ours.translate(iova));
    count(PEER, &pages, |iova| theirs.translate(iova));

    let pages = walk::addresses(PAGES);
    let (cached, walked) = (caching(PAGES)?, walking()?);
    let names = GOALS.map(|(name, _)| name);
    let [
        _,
        hit_behind_1,
        hit_behind_2,
        walk_of_1,
        walk_of_2,
        miss,
        read,
    ] = names;
    for (name, machine, stages) in [
        (hit_behind_1, &cached, Stages::One),
        (hit_behind_2, &cached, Stages::Two),
        (walk_of_1, &walked, Stages::One),
        (walk_of_2, &walked, Stages::Two),
    ] {
        let mut port = machine.port(stages);
        // The first fills what caches there are.
        for iova in &pages {
            translate(machine, &mut port, *iova);
        }
        count(name, &pages, |iova| translate(machine, &mut port, iova));
    }
    let mut port = cached.port(Stages::Two);
    count(read, &pages, |iova| {
        let mut into = [0; 64];
        let read = port.read(Iova::new(iova), &mut into);
        u64::from(read.is_ok()) + u64::from(black_box(into)[0])
    });
    cached.invalidate_leaves()?;
    let each: Vec<u64> = cached.addresses().iter().map(|iova| iova.get()).collect();
    count(miss, &each, |iova| translate(&cached, &mut port, iova));
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
