//! The supervisor's role.

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;

use swiommu_injection::Countdown;
use swiommu_mem::{PhysicalMemory, Processes};
use swiommu_supervisor::{CapabilitySource, Config, FaultInjection, MemoryWatch, Spaces, run};

use crate::harness::Report;
use crate::served;
use crate::space::ProcessSpaces;

pub(crate) fn main(program: &[String]) -> ExitCode {
    let descriptors = entries("/proc/self/fd");
    let memory = PhysicalMemory::new(swiommu_mem::Config::default());
    let memory = memory.expect("there is address space");
    let spaces: Arc<dyn Spaces> = if std::env::var_os("REAL_MEMORY").is_some() {
        Processes::new(&memory)
    } else {
        Arc::new(ProcessSpaces::new(memory))
    };
    let mut config = Config::new(
        program.first().map_or("", String::as_str),
        Arc::new(served::paths()),
        spaces,
    );
    config.arguments = program.iter().skip(1).map(Into::into).collect();
    if std::env::var_os("UNWATCHED").is_some() {
        config.memory_watch = MemoryWatch::Off;
    }
    if std::env::var_os("GRANT").is_some() {
        config.capabilities.sys_resource = CapabilitySource::Grant;
    }
    if let Some(nth) = std::env::var_os("FAIL_NTH") {
        let nth = nth.to_str().and_then(|nth| nth.parse().ok());
        config.fault_injection = match nth {
            Some(nth) => FaultInjection::OneOfAll(Countdown::new(nth)),
            None => FaultInjection::ByThread(Arc::default()),
        };
    }
    let result = run(config);
    let report = Report {
        opened: served::opened(),
        alive: served::alive(),
        threads: entries("/proc/self/task"),
        descriptors: entries("/proc/self/fd").saturating_sub(descriptors),
        children: fs::read_to_string("/proc/thread-self/children")
            .map_or(0, |list| list.split_whitespace().count() as u64),
    };
    if let Some(path) = std::env::var_os("REPORT") {
        fs::write(path, report.to_text()).expect("the report is written");
    }
    match result {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(error) => {
            eprintln!("swiommu: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn entries(directory: &str) -> u64 {
    fs::read_dir(directory).map_or(0, |entries| entries.count() as u64)
}
