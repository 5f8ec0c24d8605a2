//! `swiommu run`.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use swiommu_inspect::{JsonLines, Sink, traced};
use swiommu_machine::{Description, Machine};
use swiommu_mem::{MemlockPolicy, Processes, install_sigbus_handler};
use swiommu_supervisor::{Capabilities, CapabilitySource, Config, MemoryWatch, NewPrivileges};

use crate::args::{Grant, Memlock, RunOptions, Watch};

/// Runs the program. Returns the exit code to end with.
pub(crate) fn run(options: &RunOptions) -> anyhow::Result<u8> {
    let memlock = match options.memlock {
        Memlock::Report => MemlockPolicy::Report,
        Memlock::Enforce => MemlockPolicy::Enforce,
    };
    let machine = machine(&Description { memlock })?;
    let paths = match &options.trace {
        Some(path) => traced(machine.paths(), &trace_file(path)?),
        None => machine.paths().clone(),
    };
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
        ..Config::new(
            program.clone(),
            Arc::new(paths),
            Processes::new(machine.memory()),
        )
    };
    let outcome = swiommu_supervisor::run(config)?;
    report_memlock(&machine, options.memlock);
    Ok(outcome.exit_code())
}

/// A machine, and what survives of it when a client truncates a mapped file.
pub(crate) fn machine(description: &Description) -> anyhow::Result<Machine> {
    install_sigbus_handler().context("cannot install a handler of SIGBUS")?;
    Machine::new(description).context("cannot reserve address space for the machine's memory")
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
