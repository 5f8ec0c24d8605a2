//! `swiommu run`.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use swiommu_injection::Countdown;
use swiommu_inspect::{JsonLines, Sink, traced};
use swiommu_machine::{Description, FaultInjection, Machine};
use swiommu_mem::{MemlockPolicy, Processes};
use swiommu_supervisor::{
    Capabilities, CapabilitySource, Config, FaultInjection as Injected, MemoryWatch, NewPrivileges,
};

use crate::args::{Grant, Memlock, RunOptions, Watch};
use crate::control;
use crate::diagram::Fullest;
use crate::machine;

/// Runs the program. Returns the exit code to end with.
pub(crate) fn run(options: &RunOptions) -> anyhow::Result<u8> {
    let memlock = match options.memlock {
        Memlock::Report => MemlockPolicy::Report,
        Memlock::Enforce => MemlockPolicy::Enforce,
    };
    let machine = machine::build(&Description {
        memlock,
        fault_injection: if options.fault_injection {
            FaultInjection::Present
        } else {
            FaultInjection::Absent
        },
        ..machine::description(&options.machine)?
    })?;
    let injected = injected(options);
    let mut paths = machine.paths().clone();
    if let Some(path) = &options.trace {
        paths = traced(&paths, &trace_file(path)?);
    }
    let diagram = options.diagram.as_deref().map(|path| {
        let fullest = Fullest::new(machine.contexts());
        paths = traced(&paths, &(fullest.clone() as Arc<dyn Sink>));
        (path, fullest)
    });
    let (program, arguments) = options
        .program
        .split_first()
        .context("no program was given")?;
    let config = Config {
        program: program.clone(),
        arguments: arguments.to_vec(),
        capabilities: capabilities(&options.grant),
        memory_watch: match options.watch_memory {
            Watch::On => MemoryWatch::On,
            Watch::Off => MemoryWatch::Off,
        },
        new_privileges: NewPrivileges::Deny,
        fault_injection: injected.clone(),
        on_start: control::answer(machine.contexts()),
        ..Config::new(
            program.clone(),
            Arc::new(paths),
            Processes::new(machine.memory()),
        )
    };
    let outcome = swiommu_supervisor::run(config)?;
    if let Some((path, fullest)) = diagram {
        fullest.write(path)?;
    }
    report_memlock(&machine, options.memlock);
    report_injection(&injected);
    Ok(outcome.exit_code())
}

/// A trace into a file.
pub(crate) fn trace_file(path: &Path) -> anyhow::Result<Arc<dyn Sink>> {
    let file = File::create(path);
    let file = file.with_context(|| format!("cannot write the trace {}", path.display()))?;
    Ok(Arc::new(JsonLines::new(BufWriter::new(file))))
}

fn capabilities(grants: &[Grant]) -> Capabilities {
    let source = |grant| {
        if grants.contains(&grant) || grants.contains(&Grant::All) {
            CapabilitySource::Grant
        } else {
            CapabilitySource::Host
        }
    };
    Capabilities {
        ipc_lock: source(Grant::IpcLock),
        sys_resource: source(Grant::SysResource),
        sys_rawio: source(Grant::SysRawio),
    }
}

/// What a real host would have needed.
fn report_memlock(machine: &Machine, policy: Memlock) {
    let needed = machine.memory().accounts().high_water();
    if matches!(policy, Memlock::Report) && needed > 0 {
        tracing::info!(
            "at most {needed} bytes were locked: a real host needs RLIMIT_MEMLOCK >= {needed}"
        );
    }
}

fn injected(options: &RunOptions) -> Injected {
    match options.fail_nth {
        Some(nth) => Injected::OneOfAll(Countdown::new(nth)),
        None if options.fault_injection => Injected::ByThread(Arc::default()),
        None => Injected::Off,
    }
}

/// What was made to fail.
fn report_injection(injected: &Injected) {
    match injected {
        Injected::Off => {}
        Injected::OneOfAll(countdown) => match countdown.failed() {
            Some(step) => eprintln!("swiommu: --fail-nth: {step} was made to fail"),
            None => eprintln!(
                "swiommu: --fail-nth: nothing failed; it would take {} more fallible steps",
                countdown.left()
            ),
        },
        Injected::ByThread(by_thread) => eprintln!(
            "swiommu: --fault-injection: {} steps were made to fail",
            by_thread.failures()
        ),
    }
}
