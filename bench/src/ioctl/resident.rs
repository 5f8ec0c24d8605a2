//! Mapping the memory of another process, page by page into one domain.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use swiommu_abi::option::IommufdOption;
use swiommu_addr::{Hva, Iova};
use swiommu_iommu::Prot;
use swiommu_iommufd::{MapRequest, MapSource, Placement};
use swiommu_mem::{Accounting, AddressSpace, Config, MemlockPolicy, Processes};
use swiommu_selftest::client::Host;

use super::client::{Client, Memory, Under};
use super::domain::ioas_with_domain;
use crate::rounds::median;
use crate::table::{Goal, Row};

const ROUNDS: usize = 7;
const PAGE: u64 = 0x1000;
const MAX: u64 = 16 << 30;

/// Nanoseconds per page.
const GOAL: f64 = 12.0;

pub(crate) fn rows() -> anyhow::Result<Vec<Row>> {
    let len = MAX.min(available()? / 2) & !((1 << 30) - 1);
    [Memory::Shared, Memory::Private]
        .map(|kind| row(kind, len))
        .into_iter()
        .collect()
}

fn row(kind: Memory, len: u64) -> anyhow::Result<Row> {
    let mut client = Client::start(Under::Nothing)?;
    let start = Hva::new(client.memory(kind, len)?);

    let host = Host::with_memory(Config {
        memlock: MemlockPolicy::Report,
        ..Config::default()
    })?;
    let us = host.process_with(&[])?.open()?;
    let ioas = ioas_with_domain(&us)?;
    us.set_option(IommufdOption::HUGE_PAGES, ioas, 0)?;
    let context = us.context()?;
    let processes = Processes::new(host.memory());
    let mut times = Vec::new();
    for _ in 0..=ROUNDS {
        let owner: Arc<dyn AddressSpace> = processes.get(client.pid)?;
        let request = MapRequest {
            owner: &owner,
            accounting: Accounting::User,
            source: MapSource::Memory(start),
            len,
            placement: Placement::Fixed(Iova::new(1 << 32)),
            prot: Prot::READ | Prot::WRITE,
        };
        let begin = Instant::now();
        context.map(ioas, request)?;
        times.push(begin.elapsed().as_nanos() as f64 / (len / PAGE) as f64);
        context.unmap_all(ioas)?;
    }
    Ok(Row {
        name: format!("IOAS_MAP of {} GiB, {}, a page", len >> 30, kind.name()),
        unit: "ns",
        // The first round makes the tables that the others use again.
        ours: median(times.into_iter().skip(1)),
        peer: None,
        goal: Goal::Figure(GOAL),
    })
}

/// `MemAvailable`, in bytes.
fn available() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("a line MemAvailable")?.parse::<u64>()? << 10)
}
