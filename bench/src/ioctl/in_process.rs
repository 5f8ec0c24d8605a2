//! `IOMMU_IOAS_MAP` for a library's user: no other process, no system call.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use swiommu_abi::UapiStruct;
use swiommu_abi::ioas::{IOMMU_IOAS_MAP, IommuIoasMap, IommufdIoasMapFlags as MapFlags};
use swiommu_addr::{Iova, IovaRange};
use swiommu_files::Arg;
use swiommu_iommu::Prot;
use swiommu_iommufd::{Context, MapRequest, MapSource, ObjectId, Placement};
use swiommu_mem::{Accounting, AddressSpace};
use swiommu_selftest::client::{Buffer, Client, Host, Process};
use zerocopy::IntoBytes;

use super::bare;
use super::domain::ioas_with_domain;
use crate::rounds::{interleaved, median};
use crate::table::{Goal, Peer, Row};

const ROUNDS: usize = 51;

/// Areas mapped in a round, each of one page, with a page between two.
const AREAS: u64 = 1000;
const PAGE: u64 = 0x1000;
const STRIDE: u64 = 2 * PAGE;

/// Room for the struct of a call, in a cache line of its own.
const COMMAND: u64 = 64;

const NULL_CALLS: u64 = 10_000;

/// At most so many null system calls.
const GOAL: f64 = 3.0;

pub(crate) fn rows() -> anyhow::Result<Vec<Row>> {
    let fixture = Arc::new(Fixture::new()?);
    let mut unmapped = Vec::new();
    let rounds = interleaved(ROUNDS, 3, |_, contender| match contender {
        0 => Ok(null_call()),
        1 => fixture.round(Fixture::map, &mut unmapped),
        _ => fixture.round(Fixture::map_by_ioctl, &mut unmapped),
    });
    let rounds: Vec<Vec<f64>> = rounds
        .into_iter()
        .map(|figures| figures.into_iter().collect::<anyhow::Result<_>>())
        .collect::<anyhow::Result<_>>()?;
    let row = |name: &str, ours: &[f64]| Row {
        name: name.to_owned(),
        unit: "ns",
        ours: median(ours.iter().copied()),
        peer: Some(Peer::new("getppid", ours, &rounds[0])),
        goal: Goal::Ratio(GOAL),
    };
    Ok(vec![
        row("in-process IOAS_MAP of an area, typed", &rounds[1]),
        row("in-process IOAS_MAP of an area, ioctl", &rounds[2]),
        Row {
            name: "in-process IOAS_UNMAP of an area, typed".to_owned(),
            unit: "ns",
            ours: median(unmapped),
            peer: None,
            goal: Goal::None,
        },
        Row {
            name: format!("system calls of {AREAS} IOAS_MAP"),
            unit: "",
            ours: system_calls(&fixture)? as f64,
            peer: None,
            goal: Goal::Figure(0.0),
        },
    ])
}

fn null_call() -> f64 {
    let begin = Instant::now();
    for _ in 0..NULL_CALLS {
        black_box(rustix::process::getppid());
    }
    begin.elapsed().as_nanos() as f64 / NULL_CALLS as f64
}

/// Calls while the maps of a round are made, when there have been rounds before.
fn system_calls(fixture: &Arc<Fixture>) -> anyhow::Result<u64> {
    let mut failed = Ok(());
    let calls = bare::system_calls(|mark| {
        failed = (|| {
            for _ in 0..2 {
                fixture.map_all(Fixture::map_by_ioctl)?;
                fixture.unmap_all()?;
            }
            mark();
            fixture.map_all(Fixture::map_by_ioctl)?;
            mark();
            fixture.unmap_all()
        })();
    })?;
    failed?;
    Ok(calls)
}

/// A context with one IOAS, on which there is one domain, and a process that pays for what it pins.
struct Fixture {
    context: Arc<Context>,
    ioas: ObjectId,
    process: Arc<Process>,
    owner: Arc<dyn AddressSpace>,
    memory: Buffer,
    /// The client's structs, one for each area. An `IOAS_MAP` with a fixed IOVA leaves its own as it is.
    commands: Buffer,
    _client: Client,
}

impl Fixture {
    fn new() -> anyhow::Result<Self> {
        let process = Host::new()?.process_with(&[])?;
        let client = process.open()?;
        let ioas = ioas_with_domain(&client)?;
        let memory = process.buffer(AREAS * STRIDE)?;
        let commands = process.buffer(AREAS * COMMAND)?;
        for area in 0..AREAS {
            let command = map_command(ioas, &memory, area * STRIDE);
            commands.write(area * COMMAND, command.as_bytes())?;
        }
        Ok(Self {
            context: client.context()?,
            ioas,
            owner: process.space().clone(),
            memory,
            commands,
            process,
            _client: client,
        })
    }

    /// Nanoseconds per map. What an unmap takes is noted beside.
    fn round(
        &self,
        map: fn(&Self, u64) -> anyhow::Result<()>,
        unmapped: &mut Vec<f64>,
    ) -> anyhow::Result<f64> {
        let begin = Instant::now();
        self.map_all(map)?;
        let mapped = Instant::now();
        self.unmap_all()?;
        unmapped.push(mapped.elapsed().as_nanos() as f64 / AREAS as f64);
        Ok((mapped - begin).as_nanos() as f64 / AREAS as f64)
    }

    fn map_all(&self, map: fn(&Self, u64) -> anyhow::Result<()>) -> anyhow::Result<()> {
        (0..AREAS).try_for_each(|area| map(self, area * STRIDE))
    }

    fn unmap_all(&self) -> anyhow::Result<()> {
        for area in 0..AREAS {
            let range = IovaRange::from_len(iova(area * STRIDE), PAGE);
            self.context
                .unmap(self.ioas, range.unwrap_or(IovaRange::full()))?;
        }
        Ok(())
    }

    fn map(&self, offset: u64) -> anyhow::Result<()> {
        let request = MapRequest {
            owner: &self.owner,
            accounting: Accounting::User,
            source: MapSource::Memory(self.memory.at(offset)),
            len: PAGE,
            placement: Placement::Fixed(iova(offset)),
            prot: Prot::READ | Prot::WRITE,
        };
        self.context.map(self.ioas, request)?;
        Ok(())
    }

    fn map_by_ioctl(&self, offset: u64) -> anyhow::Result<()> {
        let command = Arg::from(self.commands.at(offset / STRIDE * COMMAND));
        self.context
            .ioctl(self.process.descriptors(), IOMMU_IOAS_MAP, command)?;
        Ok(())
    }
}

fn map_command(ioas: ObjectId, memory: &Buffer, offset: u64) -> IommuIoasMap {
    let flags = MapFlags::FIXED_IOVA | MapFlags::READABLE | MapFlags::WRITEABLE;
    IommuIoasMap {
        size: IommuIoasMap::SIZE,
        flags: flags.bits(),
        ioas_id: ioas.0,
        user_va: memory.at(offset).get(),
        length: PAGE,
        iova: iova(offset).get(),
        ..Default::default()
    }
}

fn iova(offset: u64) -> Iova {
    Iova::new((1 << 32) + offset)
}
