//! Calls of a supervised program, beside the same calls under a bare loop and under nothing.

use std::ffi::CString;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::time::Instant;

use rustix::fs::inotify::{self, CreateFlags, Reader};
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, open, statx};

use super::client::{Client, Operation, Under};
use crate::rounds::{interleaved, median};
use crate::table::{Goal, Peer, Row};

/// Many short rounds: what interrupts a batch spoils that round and no other.
const ROUNDS: usize = 101;

/// Goals, in nanoseconds more than the floor.
const IOCTL: f64 = 1000.0;
const CONTINUED: f64 = 500.0;
const UNTRAPPED: f64 = 40.0;

pub(crate) fn rows() -> anyhow::Result<Vec<Row>> {
    let mut bare = Client::start(Under::Bare)?;
    let mut ours = Client::start(Under::Swiommu)?;
    let mut free = Client::start(Under::Nothing)?;
    Ok(vec![
        ioctl(&mut bare, &mut ours)?,
        beside(
            "open of a path that is not ours",
            &mut ours,
            ("bare", &mut bare),
            Operation::Open,
            CONTINUED,
        )?,
        beside(
            "stat of a path that is not ours",
            &mut ours,
            ("bare", &mut bare),
            Operation::Stat,
            CONTINUED,
        )?,
        beside(
            "untrapped call",
            &mut ours,
            ("no filter", &mut free),
            Operation::GetParent,
            UNTRAPPED,
        )?,
        beside(
            "call that the filter looks into",
            &mut ours,
            ("no filter", &mut free),
            Operation::Pread,
            UNTRAPPED,
        )?,
    ])
}

fn ioctl(bare: &mut Client, ours: &mut Client) -> anyhow::Result<Row> {
    let parts = Parts::new(ours)?;
    let rounds = measure(4, |contender| match contender {
        0 => bare.time(Operation::Ioctl),
        1 => parts.identity(),
        2 => Ok(parts.drain()),
        _ => ours.time(Operation::Ioctl),
    })?;
    let floor: Vec<f64> = (0..ROUNDS)
        .map(|round| rounds[..3].iter().map(|part| part[round]).sum())
        .collect();
    Ok(Row {
        name: "trapped ioctl".to_owned(),
        unit: "ns",
        ours: median(rounds[3].iter().copied()),
        peer: Some(Peer::new("floor", &rounds[3], &floor)),
        goal: Goal::Excess(IOCTL),
    })
}

fn beside(
    name: &str,
    ours: &mut Client,
    (peer, theirs): (&'static str, &mut Client),
    operation: Operation,
    goal: f64,
) -> anyhow::Result<Row> {
    let rounds = measure(2, |contender| match contender {
        0 => theirs.time(operation),
        _ => ours.time(operation),
    })?;
    Ok(Row {
        name: name.to_owned(),
        unit: "ns",
        ours: median(rounds[1].iter().copied()),
        peer: Some(Peer::new(peer, &rounds[1], &rounds[0])),
        goal: Goal::Excess(goal),
    })
}

fn measure(
    contenders: usize,
    mut run: impl FnMut(usize) -> anyhow::Result<f64>,
) -> anyhow::Result<Vec<Vec<f64>>> {
    let rounds = interleaved(ROUNDS, contenders, |_, contender| run(contender));
    rounds
        .into_iter()
        .map(|figures| figures.into_iter().collect())
        .collect()
}

/// What a supervisor cannot do without, beside the notification: knowing the file, and what was closed before.
struct Parts {
    descriptors: std::os::fd::OwnedFd,
    name: CString,
    inotify: std::os::fd::OwnedFd,
}

const REPETITIONS: u32 = 1000;

impl Parts {
    fn new(client: &Client) -> anyhow::Result<Self> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            descriptors: open(format!("/proc/{}/fd", client.pid), directory, Mode::empty())?,
            name: CString::new(client.fd.to_string())?,
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
        })
    }

    fn identity(&self) -> anyhow::Result<f64> {
        let begin = Instant::now();
        for _ in 0..REPETITIONS {
            let flags = AtFlags::from_bits_retain(libc::AT_STATX_DONT_SYNC.cast_unsigned());
            black_box(statx(
                &self.descriptors,
                &*self.name,
                flags,
                StatxFlags::INO,
            )?);
        }
        Ok(begin.elapsed().as_nanos() as f64 / f64::from(REPETITIONS))
    }

    fn drain(&self) -> f64 {
        let begin = Instant::now();
        for _ in 0..REPETITIONS {
            let mut room = [MaybeUninit::uninit(); 4096];
            black_box(Reader::new(&self.inotify, &mut room).next().is_ok());
        }
        begin.elapsed().as_nanos() as f64 / f64::from(REPETITIONS)
    }
}
