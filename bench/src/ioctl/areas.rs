//! What a million areas of one page take.

use std::sync::Arc;

use swiommu_addr::Iova;
use swiommu_iommu::Prot;
use swiommu_iommufd::{MapRequest, MapSource, Placement};
use swiommu_mem::{Accounting, AddressSpace};
use swiommu_selftest::client::Host;

use super::domain::ioas_with_domain;
use crate::memory::resident;
use crate::random::shuffled;
use crate::table::{Goal, Row};

const AREAS: u64 = 1_000_000;
const PAGE: u64 = 0x1000;

/// No two pages of memory lie side by side, so that nothing about them can be kept together.
const STRIDE: u64 = 2 * PAGE;

/// A leaf of one page in the mock's format: two entries.
const LEAF: f64 = 16.0;

/// Bytes of an area.
const GOAL: f64 = 200.0;

pub(crate) fn rows() -> anyhow::Result<Vec<Row>> {
    let host = Host::new()?;
    let process = host.process_with(&[])?;
    let client = process.open()?;
    let (bare, linked) = (client.ioas_alloc()?, ioas_with_domain(&client)?);
    let context = client.context()?;
    let memory = process.buffer(AREAS * STRIDE)?;
    let owner: Arc<dyn AddressSpace> = process.space().clone();
    let order = shuffled(AREAS, 4);
    let mut rows = Vec::new();
    for (name, ioas, leaf) in [
        ("memory per area, no domain", bare, 0.0),
        (
            "memory per area, one domain, without its leaf",
            linked,
            LEAF,
        ),
    ] {
        let before = resident()?;
        for area in &order {
            let request = MapRequest {
                owner: &owner,
                accounting: Accounting::User,
                source: MapSource::Memory(memory.at(area * STRIDE)),
                len: PAGE,
                placement: Placement::Fixed(Iova::new((1 << 32) + area * PAGE)),
                prot: Prot::READ | Prot::WRITE,
            };
            context.map(ioas, request)?;
        }
        rows.push(Row {
            name: name.to_owned(),
            unit: "B",
            ours: (resident()? - before) as f64 / AREAS as f64 - leaf,
            peer: None,
            goal: Goal::Figure(GOAL),
        });
    }
    Ok(rows)
}
