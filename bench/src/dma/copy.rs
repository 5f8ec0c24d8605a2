//! Copies of pages and of small pieces.

use std::hint::black_box;

use anyhow::Context;
use swiommu_addr::Iova;
use swiommu_iommu::DmaPort;

use super::memcpy::Pages;
use super::peer::VmMemory;
use crate::clock::nanoseconds;
use crate::nested::{FIRST, Machine, Model, PAGE, Stages};
use crate::pace::{of_two, picks, throughput};
use crate::rounds::interleaved;
use crate::table::{Goal, Row};

const ROUNDS: usize = 9;

/// As many pages as the processor's second cache holds, beside what they are copied to.
const PAGES: u64 = 256;

/// A descriptor or a small packet.
const SMALL: usize = 64;

/// A machine whose device has read all of its pages.
fn warm(model: Model) -> anyhow::Result<Machine> {
    let machine = Machine::new(PAGES, model)?;
    let mut port = machine.port(Stages::Two);
    let mut page = [0; PAGE as usize];
    for iova in machine.addresses() {
        port.read(iova, &mut page)?;
    }
    Ok(machine)
}

#[inline]
fn read(port: &mut DmaPort, iova: u64, into: &mut [u8]) -> u64 {
    let read = port.read(Iova::new(iova), into);
    u64::from(read.is_ok()) + u64::from(black_box(&*into)[0])
}

/// Pages of 4 KiB, beside memcpy.
pub(super) fn pages(name: &str, model: Model) -> anyhow::Result<Vec<Row>> {
    let machine = warm(model)?;
    let plain = Pages::of(&machine)?;
    let order = picks(PAGES);
    let hit = |contender: usize, order: &[u64]| {
        let mut into = [0; PAGE as usize];
        let mut port = machine.port(Stages::Two);
        match contender {
            0 => throughput(order, |page| {
                read(&mut port, FIRST + page * PAGE, &mut into)
            }),
            _ => throughput(order, |page| copy(&plain, page, &mut into)),
        }
    };
    let order = &order[..1 << 14];
    let one = interleaved(ROUNDS, 2, |_, contender| hit(contender, order));
    let two = interleaved(ROUNDS, 2, |_, contender| of_two(|_| hit(contender, order)));
    let missed = misses(&machine, &plain)?;
    let row = |name: &str, figures: &[Vec<f64>], goal| {
        Row::beside(name, "ns", "memcpy", &figures[0], &figures[1], goal)
    };
    Ok(vec![
        row(&format!("{name}, read 4 KiB, hit"), &one, Goal::Ratio(1.15)),
        row("… two threads", &two, Goal::Ratio(1.15)),
        row(
            &format!("{name}, read 4 KiB, miss"),
            &missed,
            Goal::Ratio(1.4),
        ),
    ])
}

/// Copies a page as the library does, from where it is mapped in this process.
#[inline]
fn copy(pages: &Pages<'_>, page: u64, into: &mut [u8; PAGE as usize]) -> u64 {
    pages.copy(page, into);
    u64::from(black_box(&*into)[0])
}

fn misses(machine: &Machine, plain: &Pages<'_>) -> anyhow::Result<Vec<Vec<f64>>> {
    const PASSES: usize = 128;
    let addresses = machine.addresses();
    let mut refused = None;
    let figures = interleaved(ROUNDS, 2, |_, contender| {
        let mut port = machine.port(Stages::Two);
        let mut into = [0; PAGE as usize];
        let mut sum = 0.0;
        for _ in 0..PASSES {
            refused = machine.invalidate_leaves().err().or(refused.take());
            sum += nanoseconds(|| {
                for iova in &addresses {
                    black_box(match contender {
                        0 => read(&mut port, iova.get(), &mut into),
                        _ => copy(plain, (iova.get() - FIRST) / PAGE, &mut into),
                    });
                }
            });
        }
        sum / (PASSES * addresses.len()) as f64
    });
    refused.map_or(Ok(figures), Err)
}

/// Small pieces, beside vm-memory.
pub(super) fn small(name: &str, model: Model) -> anyhow::Result<Vec<Row>> {
    let machine = warm(model)?;
    let theirs = VmMemory::new(PAGES)?;
    let order: Vec<u64> = picks(PAGES * PAGE / SMALL as u64)
        .iter()
        .map(|piece| FIRST + piece * SMALL as u64)
        .collect();
    let mut into = [0; SMALL];
    let all = order.iter().all(|iova| theirs.read(*iova, &mut into));
    all.then_some(()).context("vm-memory knows all pages")?;
    let measure = |contender: usize| {
        let mut into = [0; SMALL];
        let mut port = machine.port(Stages::Two);
        match contender {
            0 => throughput(&order, |iova| read(&mut port, iova, &mut into)),
            _ => throughput(&order, |iova| {
                let read = theirs.read(iova, &mut into);
                u64::from(read) + u64::from(black_box(&into)[0])
            }),
        }
    };
    let one = interleaved(ROUNDS, 2, |_, contender| measure(contender));
    let two = interleaved(ROUNDS, 2, |_, contender| of_two(|_| measure(contender)));
    let row = |name: &str, figures: &[Vec<f64>], goal| {
        Row::beside(name, "ns", "vm-memory", &figures[0], &figures[1], goal)
    };
    Ok(vec![
        row(
            &format!("{name}, read 64 B, hit"),
            &one,
            Goal::Ratio(1.0 / 6.0),
        ),
        row("… two threads", &two, Goal::None),
    ])
}
