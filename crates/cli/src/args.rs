//! The command line.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use swiommu_inspect::Format;
use swiommu_machine::{Choice, DeviceDescription, Entry, UnitDescription};

/// IOMMUFD in user space.
///
/// Gives an unmodified program a /dev/iommu and VFIO devices, on a machine with no IOMMU, no root and no kernel module. Behind them
/// are software models of real IOMMUs, with real page tables; errno by errno it answers as Linux 7.3 does.
#[derive(Debug, Parser)]
#[command(
    name = "swiommu",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program that finds a /dev/iommu and VFIO devices
    ///
    /// The program is not changed: its system calls on /dev/iommu, /dev/vfio/vfio and /dev/vfio/devices, and those of every process
    /// that it starts, are answered by swiommu, and all others run natively. Its exit code is passed through; if a signal kills it, the code is 128
    /// and the signal's number. swiommu's own failures end with 125, a program that cannot be executed with 126, one that is not
    /// found with 127, as env(1) has it.
    #[command(override_usage = "swiommu run [OPTIONS] -- PROGRAM [ARGUMENT]...")]
    Run(RunOptions),
    /// Tell what the options or a file say that a machine has
    ///
    /// Prints each IOMMU with what it can do, and each device with its path, its IOMMU, its group and its reserved addresses.
    Machine(MachineCommand),
    /// See what it does: a small client goes through the objects of IOMMUFD, call by call
    Try(TryOptions),
    /// Draw the objects of a program that is running under swiommu
    Show(ShowOptions),
    /// Tell what this host offers, what each lack costs, and how to mend it
    Doctor,
    /// The client of `swiommu try`
    #[command(hide = true)]
    TryClient,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swiommu run -- ./my-vmm-tests
  swiommu run --iommu vtd:aw=57,caches=small -- ./my-driver
  swiommu run --device dma:group=1 --device dma:group=1 -- ./my-driver
  swiommu run --machine lab.toml -- ./my-driver
  swiommu run --trace calls.jsonl -- cargo test
  swiommu run --memlock enforce --grant sys_resource -- ./iommufd
  swiommu run --fail-nth 17 -- ./my-driver")]
pub(crate) struct RunOptions {
    /// What happens when the program pins more memory than its `RLIMIT_MEMLOCK`
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    pub(crate) memlock: Memlock,

    /// Let the program have this capability where IOMMUFD asks for it; may be repeated
    ///
    /// Without it, the program's own capabilities count.
    #[arg(long, value_parser = capability, value_name = "CAPABILITY")]
    pub(crate) grant: Vec<Grant>,

    /// Keep the last content of memory that the program gives back while it is mapped for DMA
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) watch_memory: Watch,

    /// Write every call as one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// At the end, draw the objects of each context as they were when it had the most: .svg, .dot (Graphviz) or .txt
    #[arg(long, value_name = "FILE", value_parser = diagram_file)]
    pub(crate) diagram: Option<PathBuf>,

    /// Make the N-th fallible step of the program's calls fail, as if memory had run out
    ///
    /// Steps are counted over all calls of all threads: looking up an object, reading the program's struct, pinning memory,
    /// allocating a page table. At the end it is said which step failed, or that there were fewer; so a loop over N
    /// shows what the program does about every single one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "fault_injection")]
    pub(crate) fail_nth: Option<u32>,

    /// Show the program the kernel's own interface of fault injection
    ///
    /// That is /proc/PID/task/TID/fail-nth and the attributes in /sys/kernel/debug, as with `CONFIG_FAULT_INJECTION`. What fails is
    /// steps of the calls that swiommu answers.
    #[arg(long)]
    pub(crate) fault_injection: bool,

    #[command(flatten)]
    pub(crate) logging: LogOptions,

    #[command(flatten)]
    pub(crate) machine: MachineOptions,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

/// What the machine has.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
pub(crate) struct MachineOptions {
    /// An IOMMU: its kind, and settings; may be repeated. `swiommu machine --help` has the list
    ///
    /// Without any there is one, of kind `vtd`. The mock of the kernel's selftest, for `IOMMU_TEST_CMD`, is always there too.
    #[arg(long, value_name = "KIND[:SETTING=VALUE,...]")]
    pub(crate) iommu: Vec<UnitDescription>,

    /// A device, the first of which is /dev/vfio/devices/vfio0: its kind, and settings; may be repeated
    ///
    /// Without any there is one behind each IOMMU.
    #[arg(long, value_name = "KIND[:SETTING=VALUE,...]")]
    pub(crate) device: Vec<DeviceDescription>,

    /// The IOMMUs and devices, from a file; `swiommu machine --toml` writes one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["iommu", "device"])]
    pub(crate) machine: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = machine_help())]
pub(crate) struct MachineCommand {
    /// Print it as a file for --machine
    #[arg(long)]
    pub(crate) toml: bool,

    #[command(flatten)]
    pub(crate) machine: MachineOptions,
}

/// Every kind of IOMMU and device with its settings, and examples.
fn machine_help() -> String {
    let mut text = String::new();
    kinds::<UnitDescription>(&mut text, "--iommu");
    kinds::<DeviceDescription>(&mut text, "--device");
    text + "\
Examples:
  swiommu machine
  swiommu machine --iommu vtd:name=host,aw=57 --device dma:unit=host,at=3b:00.0
  swiommu machine --iommu vtd --iommu vtd:caches=off --toml > lab.toml
  swiommu machine --machine lab.toml"
}

fn kinds<E: Entry>(text: &mut String, option: &str) {
    for entry in E::all() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{option} {}: {}", entry.kind(), entry.meaning());
        for choice in entry.choices() {
            let Choice {
                name,
                values,
                meaning,
                value,
            } = choice;
            let default = value.map_or_else(String::new, |value| format!(" [default: {value}]"));
            let _ = writeln!(text, "  {name}: {meaning}{default}\n    {values}");
        }
        text.push('\n');
    }
}

#[derive(Debug, Args)]
pub(crate) struct LogOptions {
    /// Say more on standard error: -v what happens, -vv why
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// What to log, such as `debug` or `swiommu_supervisor=trace`; the variable `SWIOMMU_LOG` does the same
    #[arg(long, value_name = "FILTER", env = "SWIOMMU_LOG")]
    pub(crate) log: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TryOptions {
    /// Also write every call as one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swiommu show
  swiommu show 4711 --format svg > objects.svg")]
pub(crate) struct ShowOptions {
    /// The program, or any process of it, or its swiommu; not needed when there is only one
    #[arg(value_name = "PID")]
    pub(crate) pid: Option<i32>,

    /// How to draw: txt, dot (Graphviz) or svg
    #[arg(long, value_name = "FORMAT", default_value = "txt")]
    pub(crate) format: Format,
}

/// A file whose name says how to draw.
fn diagram_file(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    match Format::of(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Memlock {
    /// The mapping succeeds, and the log says which limit a real host needs
    #[default]
    Report,
    /// The mapping fails with ENOMEM, as on a real host
    Enforce,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Watch {
    /// munmap, mremap, mmap with `MAP_FIXED`, madvise and brk are looked at first
    #[default]
    On,
    /// They run natively; DMA may then reach whoever owns the address next
    Off,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grant {
    IpcLock,
    SysResource,
    SysRawio,
    All,
}

/// Accepts `CAP_SYS_RESOURCE` as well as `sys_resource`, in either case.
fn capability(name: &str) -> Result<Grant, String> {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("cap_").unwrap_or(&name) {
        "ipc_lock" => Ok(Grant::IpcLock),
        "sys_resource" => Ok(Grant::SysResource),
        "sys_rawio" => Ok(Grant::SysRawio),
        "all" => Ok(Grant::All),
        _ => Err("IOMMUFD asks for ipc_lock, sys_resource and sys_rawio; or `all`".to_owned()),
    }
}
