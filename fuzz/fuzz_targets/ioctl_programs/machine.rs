//! What programs run on.

use std::any::Any;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use swiommu_addr::{Address, Hva, HvaRange};
use swiommu_files::{Arg, Caller, Capability, DeviceNumber, FdNumber, File, InstallFlags};
use swiommu_iommufd::{Context, ContextFile};
use swiommu_mem::{AddressSpace, LocalSpace, Protection, Uid};
use swiommu_selftest::client::{Buffer, Host, Process};

use crate::call::{Addresses, Argument, Call};
use crate::ledger::{Answer, Ledger, Question};
use crate::operands::{DATA_PAGES, HUGE, Memory, PAGE};
use crate::program::{Action, Allow, Place, Step, Twist};

/// Pages of the file that MAP_FILE maps.
const FILE_PAGES: u64 = 8;

/// Descriptors above this are not used: the lowest free number is.
const MOST_FDS: i32 = 128;

/// The descriptor on which [`Action::Plainly`] calls: the first context, after the file and what is not one.
const FIRST: FdNumber = FdNumber(2);

pub struct Machine {
    host: Host,
    members: Vec<Member>,
    ledger: Ledger,
    file: std::os::fd::OwnedFd,
}

/// A process, with its memory at the same addresses in all of them.
pub struct Member {
    process: Arc<Process>,
    /// One page that can only be read, one that can be written, and then nothing.
    structs: Buffer,
    data: Buffer,
    huge: Buffer,
}

impl Addresses for Member {
    fn memory(&self, memory: Memory) -> u64 {
        let at = |buffer: &Buffer, pages: u32, within: u64| {
            buffer.at(u64::from(pages) * PAGE + within).get()
        };
        match memory {
            Memory::Data(pages, within) => at(&self.data, pages.0, within.0),
            Memory::Huge(parts, within) => at(&self.huge, parts.0 * 255, within.0),
            Memory::Null => 0,
            Memory::Any(at) => at,
        }
    }

    fn data(&self) -> u64 {
        self.writable().get() + PAGE / 2
    }
}

impl Member {
    fn new(host: &Host, user: Uid, capabilities: &[Capability], file: &std::os::fd::OwnedFd) -> Self {
        let process = host.process_with(capabilities).expect("a process");
        let buffer = |len| process.buffer(len).expect("memory");
        let structs = buffer(3 * PAGE);
        let member = Self {
            data: buffer(DATA_PAGES * PAGE),
            huge: process.buffer_of(HUGE, swiommu_addr::PageSize::SIZE_2M).expect("memory"),
            structs,
            process,
        };
        member.space().set_user(user);
        member.space().protect(range(member.structs.at(0), PAGE), Protection::Read);
        member.space().unmap(range(member.structs.at(2 * PAGE), PAGE));
        member.process.open_native(file.try_clone().expect("a descriptor"));
        let other = std::fs::File::open("/dev/null").expect("/dev/null");
        member.process.open_native(other.into());
        member
    }

    pub fn space(&self) -> &LocalSpace {
        self.process.space()
    }

    fn writable(&self) -> Hva {
        self.structs.at(PAGE)
    }

    fn served(&self, fd: FdNumber) -> Option<Arc<dyn File>> {
        self.process.descriptors().served(fd)
    }

    fn install(&self, file: Arc<dyn File>) {
        if self.served(FdNumber(MOST_FDS)).is_none() {
            let _ = self.process.descriptors().install(file, InstallFlags::CLOEXEC);
        }
    }

    /// Puts a struct where a call shall find it.
    fn place(&self, place: Place, bytes: &[u8]) -> Hva {
        let at = match place {
            Place::Writable => self.writable(),
            Place::ReadOnly => self.structs.at(0),
            Place::BeforeEnd(len) => self.structs.at(2 * PAGE - u64::from(len.0)),
            Place::HalfReadOnly(len) => self.structs.at(PAGE - u64::from(len.0)),
            Place::Data(memory) => Hva::new(self.memory(memory)),
            Place::Wild(at) => Hva::new(at),
        };
        let read_only = range(self.structs.at(0), PAGE);
        self.space().protect(read_only, Protection::ReadWrite);
        for (n, byte) in bytes.iter().enumerate() {
            let _ = self.space().write(at.wrapping_add(n as u64), std::slice::from_ref(byte));
        }
        self.space().protect(read_only, Protection::Read);
        at
    }

    /// As much of a struct as can be read.
    fn look(&self, at: Hva, len: usize) -> Vec<u8> {
        let byte = |n| {
            let mut byte = 0;
            let read = self.space().read(at.wrapping_add(n as u64), std::slice::from_mut(&mut byte));
            read.ok().map(|()| byte)
        };
        (0..len).map_while(byte).collect()
    }
}

impl Machine {
    pub fn new() -> Self {
        use Capability::{IpcLock, SysRawio, SysResource};
        let host = Host::new().expect("address space");
        let file = memfd_create("mapped", MemfdFlags::CLOEXEC).expect("a memory file");
        ftruncate(&file, FILE_PAGES * PAGE).expect("a file size");
        let members = vec![
            Member::new(&host, Uid(0), &[IpcLock, SysResource, SysRawio], &file),
            Member::new(&host, Uid(1000), &[SysResource], &file),
            Member::new(&host, Uid(1000), &[], &file),
        ];
        let mut machine = Self { ledger: Ledger::new(&host), host, members, file };
        machine.open(0);
        if let Some(file) = machine.members[0].served(FIRST) {
            machine.members[1].install(file.clone());
            machine.members[2].install(file);
        }
        machine
    }

    pub fn run(&mut self, step: &Step) {
        let who = step.process.0 as usize;
        let member = &self.members[who];
        match step.action {
            Action::Ioctl { fd, ref call, place, twist } => {
                self.ioctl(who, FdNumber(fd.0.cast_signed()), call, place, twist);
            }
            Action::Plainly { ref call } => self.ioctl(who, FIRST, call, Place::Writable, None),
            Action::Open => self.open(who),
            Action::Pass { fd, to } => {
                if let Some(file) = member.served(FdNumber(fd.0.cast_signed())) {
                    self.members[to.0 as usize].install(file);
                }
            }
            Action::Close { fd } => {
                let _ = member.process.close(FdNumber(fd.0.cast_signed()));
            }
            Action::Unmap { at, len } => {
                if let Some(range) = HvaRange::from_len(Hva::new(member.memory(at)), len.get()) {
                    member.space().unmap(range);
                }
            }
            Action::Protect { at, len, allow } => {
                if let Some(range) = HvaRange::from_len(Hva::new(member.memory(at)), len.get()) {
                    member.space().protect(range, protection(allow));
                }
            }
            Action::Share { from, at, len } => {
                let at = Hva::new(member.memory(at));
                if let Some(range) = HvaRange::from_len(at, len.get()) {
                    let _ = member.space().map_shared(at, self.members[from.0 as usize].space(), range);
                }
            }
            Action::Limit { pages } => {
                member.space().set_memlock_limit(pages.map(|pages| u64::from(pages.0) * PAGE));
            }
            Action::Truncate { len } => {
                let _ = ftruncate(&self.file, len.get().min(FILE_PAGES * PAGE));
            }
            Action::Exit => member.space().exit(),
        }
        self.ledger.check(&self.members);
    }

    fn open(&mut self, who: usize) {
        const NUMBER: DeviceNumber = DeviceNumber { major: 10, minor: 125 };
        let context = Context::new(self.host.memory()).extended(self.host.selftest().clone());
        let context = Arc::new(context);
        self.ledger.track(&context);
        let file = ContextFile::new(context, "/dev/iommu", NUMBER, 0o660);
        self.members[who].install(Arc::new(file));
    }

    fn ioctl(&mut self, who: usize, fd: FdNumber, call: &Call, place: Place, twist: Option<Twist>) {
        let member = &self.members[who];
        let Some(file) = member.served(fd) else {
            return;
        };
        let call = call.encode(member);
        let _ = member.space().write(Hva::new(member.data()), &call.data);
        let (arg, sent) = match call.argument {
            Argument::Number(number) => (Arg::new(number), Vec::new()),
            Argument::Struct(mut bytes) => {
                if let Some(Twist { word, value }) = twist
                    && let Some(word) = bytes.chunks_exact_mut(4).nth(word.0 as usize)
                {
                    word.copy_from_slice(&value.get().to_ne_bytes());
                }
                let at = member.place(place, &bytes);
                (Arg::from(at), member.look(at, bytes.len()))
            }
        };
        let before = self.ledger.snapshot(&self.members);
        let result = file.ioctl(member.process.descriptors(), call.request, arg);
        let question = Question {
            context: context(file),
            request: call.request,
            can_be_answered: matches!(place, Place::Writable),
            sent: &sent,
        };
        let answer = Answer {
            result: result.map_err(|refusal| refusal.errno()),
            left: member.look(arg.pointer(), sent.len()),
        };
        self.ledger.observe(&question, &answer, &before, &self.members);
    }

    /// Closes everything, after which nothing may be left.
    pub fn close(mut self, last_first: bool) {
        let all = 0..MOST_FDS;
        for member in &self.members {
            let close = |fd| {
                let _ = member.process.close(FdNumber(fd));
            };
            if last_first {
                all.clone().rev().for_each(close);
            } else {
                all.clone().for_each(close);
            }
        }
        self.ledger.assert_empty(&self.members);
    }
}

fn protection(allow: Allow) -> Protection {
    match allow {
        Allow::Nothing => Protection::None,
        Allow::Read => Protection::Read,
        Allow::ReadWrite => Protection::ReadWrite,
    }
}

fn range(start: Hva, len: u64) -> HvaRange {
    HvaRange::from_len(start, len).expect("whole pages")
}

fn context(file: Arc<dyn File>) -> Option<Arc<Context>> {
    let file: Arc<dyn Any + Send + Sync> = file;
    Some(file.downcast::<ContextFile>().ok()?.context().clone())
}
