//! The program that calls: the same one under each supervisor, and under none.

// UNSAFETY: the memory that a client shows must be mapped at page granularity, shared or private, which no safe call does.
#![expect(unsafe_code, reason = "see above")]

use std::env::current_exe;
use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::ptr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;
use iommufd_ioctls::{IommuFd, IommufdIoas};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use swiommu_machine::{Description, Machine};
use swiommu_mem::{Processes, install_sigbus_handler};

use super::bare;

/// Who traps the calls of a client.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Under {
    /// Nobody.
    Nothing,
    /// A loop that does the least that can be done.
    Bare,
    /// The supervisor.
    Swiommu,
}

impl Under {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Bare => "bare",
            Self::Swiommu => "swiommu",
        }
    }
}

const COMMAND: &str = "ioctl-client";

/// A call that a client makes many times.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// `IOMMU_IOAS_ALLOC` and `IOMMU_DESTROY`, in turn.
    Ioctl,
    /// Opens a file of the host.
    Open,
    /// Asks for the attributes of a file of the host.
    Stat,
    /// A call that is in no filter.
    GetParent,
    /// A call whose descriptor the supervisor's filter looks at, and lets pass.
    Pread,
}

impl Operation {
    const ALL: [Self; 5] = [
        Self::Ioctl,
        Self::Open,
        Self::Stat,
        Self::GetParent,
        Self::Pread,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Ioctl => "ioctl",
            Self::Open => "open",
            Self::Stat => "stat",
            Self::GetParent => "getppid",
            Self::Pread => "pread",
        }
    }
}

/// Memory that a client keeps until it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Memory {
    /// A memfd, mapped shared: what a VMM gives a guest.
    Shared,
    /// Private anonymous memory.
    Private,
}

impl Memory {
    const ALL: [Self; 2] = [Self::Shared, Self::Private];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Private => "private",
        }
    }
}

/// A running client.
pub(crate) struct Client {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Its process ID; not that of the supervisor, which is our child.
    pub(crate) pid: i32,
    /// Its descriptor of `/dev/iommu`, or of what stands for it.
    pub(crate) fd: i32,
}

impl Client {
    pub(crate) fn start(under: Under) -> anyhow::Result<Self> {
        let mut child = Command::new(current_exe()?)
            .args([COMMAND, under.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut client = Self {
            requests: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().context("a piped stdout")?),
            child,
            pid: 0,
            fd: 0,
        };
        let hello = client.answer()?;
        let (pid, fd) = hello
            .split_once(' ')
            .context("a process ID and a descriptor")?;
        client.pid = pid.parse()?;
        client.fd = fd.parse()?;
        Ok(client)
    }

    /// Nanoseconds per call, in a batch of calls.
    pub(crate) fn time(&mut self, operation: Operation) -> anyhow::Result<f64> {
        Ok(self.ask(operation.name(), 0)?.parse()?)
    }

    /// The address of new memory whose pages are all present.
    pub(crate) fn memory(&mut self, kind: Memory, len: u64) -> anyhow::Result<u64> {
        Ok(self.ask(kind.name(), len)?.parse()?)
    }

    fn ask(&mut self, what: &str, len: u64) -> anyhow::Result<String> {
        let requests = self.requests.as_mut().context("an open stdin")?;
        writeln!(requests, "{what} {len}")?;
        self.answer()
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("a client has ended before its time");
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Client {
    /// The client ends when nobody can ask it any more.
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.child.wait();
    }
}

/// Runs a client, in this process or supervised.
pub(crate) fn main(under: Under) -> anyhow::Result<ExitCode> {
    let arguments = [COMMAND, Under::Nothing.name()];
    match under {
        Under::Nothing => serve().map(|()| ExitCode::SUCCESS),
        Under::Bare => bare::supervise(Command::new(current_exe()?).args(arguments)),
        Under::Swiommu => {
            install_sigbus_handler()?;
            let machine = Machine::new(&Description::default())?;
            let paths = Arc::new(machine.paths().clone());
            let spaces = Processes::new(machine.memory());
            let config = swiommu_supervisor::Config {
                arguments: arguments.map(Into::into).to_vec(),
                ..swiommu_supervisor::Config::new(current_exe()?, paths, spaces)
            };
            Ok(swiommu_supervisor::run(config)?.exit_code().into())
        }
    }
}

/// Does what it is asked to, until nobody asks any more.
fn serve() -> anyhow::Result<()> {
    let mut open = OpenOptions::new();
    open.read(true).write(true);
    let file = open
        .open("/dev/iommu")
        .or_else(|_| open.open("/dev/null"))?;
    println!("{} {}", std::process::id(), file.as_raw_fd());
    let iommufd = Arc::new(IommuFd::new_from_fd(file));
    let null = File::open("/dev/null")?;
    for line in stdin().lines() {
        let line = line?;
        let (what, len) = line.split_once(' ').context("what and how much")?;
        if let Some(operation) = Operation::ALL
            .into_iter()
            .find(|other| other.name() == what)
        {
            println!("{}", time(operation, &iommufd, &null)?);
        } else if let Some(kind) = Memory::ALL.into_iter().find(|other| other.name() == what) {
            println!("{}", show(kind, len.parse()?)?);
        } else {
            bail!("{what} is no operation");
        }
        stdout().flush()?;
    }
    Ok(())
}

/// Few enough that a batch often passes without an interruption.
const TRAPPED: u32 = 100;
const UNTRAPPED: u32 = 4000;

fn time(operation: Operation, iommufd: &Arc<IommuFd>, null: &File) -> anyhow::Result<f64> {
    /// A file that every host has, and nobody serves.
    const PATH: &str = "/etc/passwd";
    let begin = Instant::now();
    let calls = match operation {
        Operation::Ioctl => {
            for _ in 0..TRAPPED {
                drop(IommufdIoas::new(iommufd.clone())?);
            }
            2 * TRAPPED
        }
        Operation::Open => {
            for _ in 0..TRAPPED {
                drop(File::open(PATH)?);
            }
            TRAPPED
        }
        Operation::Stat => {
            for _ in 0..TRAPPED {
                black_box(fs::metadata(PATH)?);
            }
            TRAPPED
        }
        Operation::GetParent => {
            for _ in 0..UNTRAPPED {
                black_box(rustix::process::getppid());
            }
            UNTRAPPED
        }
        Operation::Pread => {
            for _ in 0..UNTRAPPED {
                rustix::io::pread(null, &mut [0; 1], 0)?;
            }
            UNTRAPPED
        }
    };
    Ok(begin.elapsed().as_nanos() as f64 / f64::from(calls))
}

/// Maps memory with all its pages present, for as long as the client lives. Returns where.
fn show(kind: Memory, len: u64) -> anyhow::Result<usize> {
    let (prot, size) = (ProtFlags::READ | ProtFlags::WRITE, usize::try_from(len)?);
    let start = match kind {
        Memory::Shared => {
            let file = memfd_create("ram", MemfdFlags::CLOEXEC)?;
            ftruncate(&file, len)?;
            let flags = MapFlags::SHARED | MapFlags::POPULATE;
            // SAFETY: a new mapping at an address that the kernel chooses touches no memory of anybody's.
            unsafe { mmap(ptr::null_mut(), size, prot, flags, file, 0) }?
        }
        Memory::Private => {
            let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
            // SAFETY: as above.
            unsafe { mmap_anonymous(ptr::null_mut(), size, prot, flags) }?
        }
    };
    Ok(start.addr())
}
