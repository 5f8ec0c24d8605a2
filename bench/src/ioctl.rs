//! What a call on `/dev/iommu` costs, and what a mapping costs in time and memory.

mod areas;
mod bare;
mod client;
mod domain;
mod in_process;
mod resident;
mod trapped;

use std::process::ExitCode;

pub(crate) use client::Under;

use crate::table::Table;

const ABOUT: &str = "Calls and mappings; median of interleaved rounds.
Floor of a trapped ioctl: a bare notification with a read and a write of the struct, one statx of a cached /proc/PID/fd, one
read of an empty inotify queue. Floor of a continued call: a bare notification that is continued.
Resident memory: of another process, with its pages present but not pinned; our pins, identity and accounting are included.";

pub(crate) fn run() -> anyhow::Result<Table> {
    // First, while the process has no freed memory to use again.
    let memory = areas::rows()?;
    let mut rows = trapped::rows()?;
    rows.extend(in_process::rows()?);
    rows.extend(resident::rows()?);
    rows.extend(memory);
    let about = ABOUT;
    Ok(Table { about, rows })
}

/// The program that the trapped rows measure from, supervised or not.
pub(crate) fn client(under: Under) -> anyhow::Result<ExitCode> {
    client::main(under)
}
