//! Making a trace: wrappers around what a client can open.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use swiommu_abi::command::{Command, CommandSet, Route, classify};
use swiommu_abi::test_cmd::{IOMMU_TEST_CMD, IommuTestOp};
use swiommu_abi::vfio::command::{Argument, VfioCommand};
use swiommu_abi::vfio::device;
use swiommu_abi::{Field, Value};
use swiommu_addr::{Hva, HvaRange};
use swiommu_files::{
    Arg, Caller, DmaBuf, File, MmapRequest, Node, OpenFlags, Opened, Paths, Refusal, Stat,
    WaitQueue,
};

use super::{Call, Sink};

/// The same paths, with every call on what is opened through them going to `sink`.
pub fn traced(paths: &Paths, sink: &Arc<dyn Sink>) -> Paths {
    let trace = Trace {
        sink: sink.clone(),
        began: Instant::now(),
    };
    let mut traced = Paths::new();
    for (path, node) in paths.iter() {
        let name = path.display().to_string();
        let node = TracedNode {
            node: node.clone(),
            name,
            trace: trace.clone(),
        };
        traced.add(path, Arc::new(node));
    }
    traced
}

#[derive(Clone, Debug)]
struct Trace {
    sink: Arc<dyn Sink>,
    began: Instant,
}

#[derive(Debug)]
struct TracedNode {
    node: Arc<dyn Node>,
    name: String,
    trace: Trace,
}

#[derive(Debug)]
struct TracedFile {
    file: Arc<dyn File>,
    trace: Trace,
}

impl Trace {
    fn record(
        &self,
        caller: &dyn Caller,
        (file, name): (&str, String),
        arguments: Vec<(&'static str, Value)>,
        changed: Vec<(&'static str, Value)>,
        result: Result<i64, &Refusal>,
    ) {
        self.sink.record(&Call {
            at: self.began.elapsed(),
            task: caller.task(),
            fd: caller.fd(),
            file: file.to_owned(),
            name,
            arguments,
            changed,
            result: result.map_err(Refusal::errno),
            reason: result.err().map(|refusal| refusal.reason().to_string()),
        });
    }
}

impl Node for TracedNode {
    fn stat(&self) -> Stat {
        self.node.stat()
    }

    fn open(&self, caller: &dyn Caller, flags: OpenFlags) -> Result<Opened, Refusal> {
        let opened = self.node.open(caller, flags);
        let result = opened.as_ref().map(|_| 0);
        let name = format!("open {}", self.name);
        let arguments = vec![("flags", Value::Unsigned(flags.bits().into()))];
        self.trace
            .record(caller, (&self.name, name), arguments, Vec::new(), result);
        Ok(match opened? {
            Opened::File(file) => Opened::File(Arc::new(TracedFile {
                file,
                trace: self.trace.clone(),
            })),
            other @ (Opened::Text(_) | Opened::Host(_)) => other,
        })
    }
}

/// Where VFIO's device files are.
const DEVICES: &str = "/dev/vfio/devices/";

/// An ioctl that we know how to show.
enum Known {
    Command(&'static Command),
    Vfio(&'static VfioCommand),
}

impl Known {
    /// The numbers of VFIO mean one thing on a context and another on a device.
    fn of(file: &str, request: u32) -> Option<Self> {
        if file.starts_with(DEVICES) {
            let mut commands = device::COMMANDS.iter();
            return commands
                .find(|command| command.request == request)
                .map(Self::Vfio);
        }
        match classify(request, CommandSet::WithSelftest) {
            Route::Command(command) => Some(Self::Command(command)),
            Route::VfioCompat(command) => Some(Self::Vfio(command)),
            Route::Unassigned | Route::Unknown => None,
        }
    }

    /// The name in the header; of the test command with that of its operation.
    fn name(&self, arguments: &[(&'static str, Value)]) -> String {
        match self {
            Self::Command(command) => match test_operation(command, arguments) {
                Some(operation) => format!("{} {operation}", command.name),
                None => command.name.to_owned(),
            },
            Self::Vfio(command) => command.name.to_owned(),
        }
    }

    /// How long the struct is that the argument points to; 0 when it is none.
    fn size(&self) -> usize {
        match self {
            Self::Command(command) => command.full_size,
            Self::Vfio(command) => match command.argument {
                Argument::Struct { fields, .. } => fields.last().map_or(0, Field::end),
                _ => 0,
            },
        }
    }

    fn fields(&self, bytes: &[u8]) -> Vec<(&'static str, Value)> {
        match self {
            Self::Command(command) => command.fields(bytes).collect(),
            Self::Vfio(command) => command.fields(bytes).collect(),
        }
    }
}

fn test_operation(command: &Command, arguments: &[(&str, Value)]) -> Option<&'static str> {
    if command.request != IOMMU_TEST_CMD {
        return None;
    }
    let (_, operation) = arguments.iter().find(|(name, _)| *name == "op")?;
    let Value::Unsigned(number) = operation else {
        return None;
    };
    IommuTestOp(u32::try_from(*number).ok()?).name()
}

/// As much of the client's struct as there is, and no more than it says.
fn read_struct(caller: &dyn Caller, at: Hva, full: usize) -> Vec<u8> {
    let mut size = [0; 4];
    if full < size.len() || caller.space().read(at, &mut size).is_err() {
        return Vec::new();
    }
    let size = usize::try_from(u32::from_ne_bytes(size)).unwrap_or(full);
    let mut bytes = vec![0; size.min(full)];
    if caller.space().read(at, &mut bytes).is_err() {
        bytes.clear();
    }
    bytes
}

fn changed(
    before: &[(&'static str, Value)],
    after: Vec<(&'static str, Value)>,
) -> Vec<(&'static str, Value)> {
    after
        .into_iter()
        .filter(|field| !before.contains(field))
        .collect()
}

impl File for TracedFile {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn stat(&self) -> Stat {
        self.file.stat()
    }

    fn ioctl(&self, caller: &dyn Caller, request: u32, arg: Arg) -> Result<i32, Refusal> {
        let Some(known) = Known::of(self.name(), request) else {
            let result = self.file.ioctl(caller, request, arg);
            let value = result.as_ref().map(|value| i64::from(*value));
            let arguments = vec![("arg", Value::Unsigned(arg.number()))];
            let names = (self.name(), format!("ioctl {request:#x}"));
            self.trace
                .record(caller, names, arguments, Vec::new(), value);
            return result;
        };
        let read = || known.fields(&read_struct(caller, arg.pointer(), known.size()));
        let arguments = match known.size() {
            0 => vec![("arg", Value::Unsigned(arg.number()))],
            _ => read(),
        };
        let result = self.file.ioctl(caller, request, arg);
        let changed = if known.size() == 0 {
            Vec::new()
        } else {
            changed(&arguments, read())
        };
        let value = result.as_ref().map(|value| i64::from(*value));
        let names = (self.name(), known.name(&arguments));
        self.trace.record(caller, names, arguments, changed, value);
        result
    }

    fn read(&self, caller: &dyn Caller, into: Option<HvaRange>) -> Result<usize, Refusal> {
        let result = self.file.read(caller, into);
        self.record_transfer(caller, "read", into, &result);
        result
    }

    fn write(&self, caller: &dyn Caller, from: Option<HvaRange>) -> Result<usize, Refusal> {
        let result = self.file.write(caller, from);
        self.record_transfer(caller, "write", from, &result);
        result
    }

    fn read_at(
        &self,
        caller: &dyn Caller,
        position: u64,
        into: Option<HvaRange>,
    ) -> Result<usize, Refusal> {
        let result = self.file.read_at(caller, position, into);
        self.record_transfer(caller, "pread", into, &result);
        result
    }

    fn write_at(
        &self,
        caller: &dyn Caller,
        position: u64,
        from: Option<HvaRange>,
    ) -> Result<usize, Refusal> {
        let result = self.file.write_at(caller, position, from);
        self.record_transfer(caller, "pwrite", from, &result);
        result
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        self.file.wait_queue()
    }

    fn dma_buf(&self) -> Option<Arc<dyn DmaBuf>> {
        self.file.dma_buf()
    }

    fn watched(&self) -> Option<&Arc<dyn File>> {
        Some(&self.file)
    }

    fn mmap(&self, caller: &dyn Caller, request: &MmapRequest) -> Result<(), Refusal> {
        let result = self.file.mmap(caller, request);
        let arguments = vec![
            ("offset", Value::Unsigned(request.offset)),
            ("length", Value::Unsigned(request.len)),
            ("flags", Value::Unsigned(request.flags.bits().into())),
        ];
        let value = result.as_ref().map(|()| 0);
        self.trace.record(
            caller,
            (self.name(), "mmap".to_owned()),
            arguments,
            Vec::new(),
            value,
        );
        result
    }

    fn memory(&self) -> Option<BorrowedFd<'_>> {
        self.file.memory()
    }
}

impl TracedFile {
    fn record_transfer(
        &self,
        caller: &dyn Caller,
        name: &str,
        buffer: Option<HvaRange>,
        result: &Result<usize, Refusal>,
    ) {
        let count = buffer.and_then(HvaRange::len).unwrap_or(0);
        let value = result
            .as_ref()
            .map(|count| i64::try_from(*count).unwrap_or(i64::MAX));
        let arguments = vec![("count", Value::Unsigned(count))];
        self.trace.record(
            caller,
            (self.name(), name.to_owned()),
            arguments,
            Vec::new(),
            value,
        );
    }
}
