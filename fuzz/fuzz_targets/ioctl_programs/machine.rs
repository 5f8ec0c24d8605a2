//! What programs run on.

use std::any::Any;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use swiommu_addr::{Address, Hva, HvaRange};
use swiommu_files::{Arg, Caller, Capability, DeviceNumber, FdNumber, File, InstallFlags, Refusal};
use swiommu_iommufd::{Context, ContextFile, Node, ObjectId};
use swiommu_mem::{AddressSpace, LocalSpace, Protection, Uid};
use swiommu_selftest::client::{Buffer, Host, Process};

use crate::call::{Argument, Call, Situation, Test};
use crate::ledger::{Answer, Ledger, Question};
use crate::operands::{Below, DATA_PAGES, HUGE, Kind, Memory, PAGE, Pick, Span};
use crate::program::{Action, Allow, Place, Setup, Step, Twist};

/// Pages of the file that MAP_FILE maps.
const FILE_PAGES: u64 = 8;

/// What the descriptors of contexts are called.
const IOMMU: &str = "/dev/iommu";

/// Descriptors stay below this: programs have fewer steps, and the lowest free number is used.
const MOST_FDS: i32 = 128;

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

/// A call about to be made: what the caller and its context have.
struct Moment<'a> {
    member: &'a Member,
    ledger: &'a Ledger,
    context: &'a Arc<Context>,
    objects: Vec<Node>,
}

impl Situation for Moment<'_> {
    fn memory(&self, memory: Memory) -> u64 {
        self.member.memory(memory)
    }

    fn data(&self) -> u64 {
        self.member.writable().get() + PAGE / 2
    }

    fn object(&self, kind: Kind, pick: Pick) -> u32 {
        let fitting = || {
            self.objects
                .iter()
                .filter(|node| kind.admits(node.type_name))
        };
        match pick {
            Pick::Number(number) => number,
            Pick::Nth(nth) => {
                let nth = nth.checked_rem(fitting().count()).unwrap_or(0);
                fitting().nth(nth).map_or(0, |node| node.id.0)
            }
        }
    }

    fn file(&self, name: &str, pick: Pick) -> i32 {
        self.member.pick(name, pick).map_or(-1, |fd| fd.0)
    }

    fn span(&self, ioas: Option<u32>, span: Span) -> (u64, u64) {
        match span {
            Span::Any(at, len) => (at, len),
            Span::Mapped { nth, skip, len } => {
                let mapped = self.ledger.mapped(self.context, ioas.map(ObjectId));
                let Some(&(first, last)) =
                    nth.checked_rem(mapped.len()).and_then(|n| mapped.get(n))
                else {
                    return (skip, len.unwrap_or(PAGE));
                };
                let start = first.wrapping_add(skip);
                (
                    start,
                    len.unwrap_or(last.wrapping_sub(start).wrapping_add(1)),
                )
            }
        }
    }
}

impl Member {
    fn new(
        host: &Host,
        user: Uid,
        capabilities: &[Capability],
        file: &std::os::fd::OwnedFd,
    ) -> Self {
        let process = host.process_with(capabilities).expect("a process");
        let buffer = |len| process.buffer(len).expect("memory");
        let structs = buffer(3 * PAGE);
        let member = Self {
            data: buffer(DATA_PAGES * PAGE),
            huge: process
                .buffer_of(HUGE, swiommu_addr::PageSize::SIZE_2M)
                .expect("memory"),
            structs,
            process,
        };
        member.space().set_user(user);
        member
            .space()
            .protect(range(member.structs.at(0), PAGE), Protection::Read);
        member
            .space()
            .unmap(range(member.structs.at(2 * PAGE), PAGE));
        member
            .process
            .open_native(file.try_clone().expect("a descriptor"));
        let other = std::fs::File::open("/dev/null").expect("/dev/null");
        member.process.open_native(other.into());
        member
    }

    /// The address of memory that may be mapped.
    fn memory(&self, memory: Memory) -> u64 {
        match memory {
            Memory::Data { page, within } => self.data.at(page * PAGE + within).get(),
            Memory::Huge { page } => self.huge.at(page * PAGE).get(),
            Memory::At(at) => at,
        }
    }

    /// A descriptor of a file whose name starts so.
    fn pick(&self, name: &str, pick: Pick) -> Option<FdNumber> {
        let is_named = |fd: &FdNumber| {
            self.served(*fd)
                .is_some_and(|file| file.name().starts_with(name))
        };
        let named: Vec<FdNumber> = (0..MOST_FDS).map(FdNumber).filter(is_named).collect();
        match pick {
            Pick::Number(number) => Some(FdNumber(number.cast_signed())),
            Pick::Nth(nth) => nth.checked_rem(named.len()).map(|nth| named[nth]),
        }
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
        let _ = self
            .process
            .descriptors()
            .install(file, InstallFlags::CLOEXEC);
    }

    /// Puts a struct where a call shall find it.
    fn place(&self, place: Place, bytes: &[u8]) -> Hva {
        let at = match place {
            Place::Writable => self.writable(),
            Place::ReadOnly => self.structs.at(0),
            Place::BeforeEnd(len) => self.structs.at(2 * PAGE - u64::from(len.0)),
            Place::HalfReadOnly(len) => self.structs.at(PAGE - u64::from(len.0)),
            Place::Data(memory) => Hva::new(self.memory(memory)),
        };
        let read_only = range(self.structs.at(0), PAGE);
        self.space().protect(read_only, Protection::ReadWrite);
        for (n, byte) in bytes.iter().enumerate() {
            let _ = self
                .space()
                .write(at.wrapping_add(n as u64), std::slice::from_ref(byte));
        }
        self.space().protect(read_only, Protection::Read);
        at
    }

    /// As much of a struct as can be read.
    fn look(&self, at: Hva, len: usize) -> Vec<u8> {
        let byte = |n| {
            let mut byte = 0;
            let read = self
                .space()
                .read(at.wrapping_add(n as u64), std::slice::from_mut(&mut byte));
            read.ok().map(|()| byte)
        };
        (0..len).map_while(byte).collect()
    }
}

impl Machine {
    pub fn new(setup: Setup) -> Self {
        use Capability::{IpcLock, SysRawio, SysResource};
        let host = Host::new().expect("address space");
        let file = memfd_create("mapped", MemfdFlags::CLOEXEC).expect("a memory file");
        ftruncate(&file, FILE_PAGES * PAGE).expect("a file size");
        let members = vec![
            Member::new(&host, Uid(0), &[IpcLock, SysResource, SysRawio], &file),
            Member::new(&host, Uid(1000), &[SysResource], &file),
            Member::new(&host, Uid(1000), &[], &file),
        ];
        let mut machine = Self {
            ledger: Ledger::new(&host),
            host,
            members,
            file,
        };
        machine.open(0);
        if let Some(file) = machine.members[0].pick(IOMMU, Pick::Nth(0)) {
            let file = machine.members[0].served(file).expect("an open file");
            machine.members[1].install(file.clone());
            machine.members[2].install(file);
        }
        machine.call(Call::IoasAlloc);
        for _ in 0..setup.devices {
            machine.call(Call::Test(Test::MockDomain { on: Pick::Nth(0) }));
        }
        if setup.pasids {
            // Its RID is on the second page table for PASIDs.
            let for_pasids = |device| Call::HwptAlloc {
                flags: Below(8),
                device,
                on: Pick::Nth(0),
                data: None,
                fault: Pick::Nth(0),
            };
            let last = Pick::Nth(setup.devices.into());
            machine.call(Call::Test(Test::MockDomainFlags {
                on: Pick::Nth(0),
                flags: Below(4),
            }));
            machine.call(for_pasids(last));
            machine.call(for_pasids(last));
            let on = Pick::Number(machine.last_id());
            machine.call(Call::Test(Test::Replace { stdev: last, on }));
        }
        if setup.access {
            machine.call(Call::Test(Test::CreateAccess {
                ioas: Pick::Nth(0),
                flags: Below(1),
            }));
        }
        if setup.vfio {
            machine.call(Call::VfioIoas {
                op: Below(1),
                ioas: Pick::Nth(0),
            });
        }
        machine.call(Call::IoasAlloc);
        machine
    }

    /// The number of the object that was made last, as long as no number is free below it.
    fn last_id(&self) -> u32 {
        let context = self.members[0]
            .pick(IOMMU, Pick::Nth(0))
            .and_then(|fd| self.members[0].served(fd));
        let objects = context.and_then(context_of).map(|context| context.graph());
        objects
            .and_then(|objects| objects.last().map(|node| node.id.0))
            .unwrap_or(0)
    }

    fn call(&mut self, call: Call) {
        let (fd, place, twist) = (Pick::Nth(0), Place::Writable, None);
        self.run(&Step {
            process: 0,
            action: Action::Ioctl {
                fd,
                call,
                place,
                twist,
            },
        });
    }

    pub fn run(&mut self, step: &Step) {
        let who = step.process;
        let member = &self.members[who];
        match step.action {
            Action::Ioctl {
                fd,
                ref call,
                place,
                twist,
            } => self.ioctl(who, fd, call, place, twist),
            Action::Open => self.open(who),
            Action::Pass { fd, to } => {
                if let Some(file) = member.served(FdNumber(fd.0.cast_signed())) {
                    self.members[to].install(file);
                }
            }
            Action::Close { fd } => {
                let _ = member.process.close(FdNumber(fd.0.cast_signed()));
            }
            Action::Unmap { at, len } => {
                if let Some(range) = HvaRange::from_len(Hva::new(member.memory(at)), len.0) {
                    member.space().unmap(range);
                }
            }
            Action::Protect { at, len, allow } => {
                if let Some(range) = HvaRange::from_len(Hva::new(member.memory(at)), len.0) {
                    member.space().protect(range, protection(allow));
                }
            }
            Action::Share { from, at, len } => {
                let at = Hva::new(member.memory(at));
                if let Some(range) = HvaRange::from_len(at, len.0) {
                    let _ = member
                        .space()
                        .map_shared(at, self.members[from].space(), range);
                }
            }
            Action::Read { fd, at, len } => transfer(member, fd, at, len, |file, caller, range| {
                file.read(caller, range)
            }),
            Action::Write { fd, at, len } => {
                transfer(member, fd, at, len, |file, caller, range| {
                    file.write(caller, range)
                })
            }
            Action::Limit { pages } => {
                member
                    .space()
                    .set_memlock_limit(pages.map(|pages| u64::from(pages.0) * PAGE));
            }
            Action::Truncate { len } => {
                let _ = ftruncate(&self.file, len.0.min(FILE_PAGES * PAGE));
            }
            Action::Exit => member.space().exit(),
        }
        self.ledger.check(&self.members);
    }

    fn open(&mut self, who: usize) {
        const NUMBER: DeviceNumber = DeviceNumber {
            major: 10,
            minor: 125,
        };
        let context = Context::new(self.host.memory()).extended(self.host.selftest().clone());
        let context = Arc::new(context);
        self.ledger.track(&context);
        let file = ContextFile::new(context, "/dev/iommu", NUMBER, 0o660);
        self.members[who].install(Arc::new(file));
    }

    fn ioctl(&mut self, who: usize, fd: Pick, call: &Call, place: Place, twist: Option<Twist>) {
        let member = &self.members[who];
        let Some(file) = member.pick(IOMMU, fd).and_then(|fd| member.served(fd)) else {
            return;
        };
        let Some(context) = context_of(file.clone()) else {
            // An access, which has no calls.
            let _ = file.ioctl(
                member.process.descriptors(),
                0x3b81,
                Arg::from(member.writable()),
            );
            return;
        };
        let now = Moment {
            member,
            ledger: &self.ledger,
            context: &context,
            objects: context.graph(),
        };
        let call = call.encode(&now);
        let _ = member.space().write(Hva::new(now.data()), &call.data);
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
        let can_be_answered = member.space().write(arg.pointer(), &sent).is_ok();
        let before = self.ledger.snapshot(&self.members);
        let result = file.ioctl(member.process.descriptors(), call.request, arg);
        let question = Question {
            context: &context,
            request: call.request,
            can_be_answered,
            sent: &sent,
        };
        let answer = Answer {
            result: result.map_err(|refusal| refusal.errno()),
            left: member.look(arg.pointer(), sent.len()),
        };
        self.ledger
            .observe(&question, &answer, &before, &self.members);
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

/// Reads or writes the file of an event queue.
fn transfer(
    member: &Member,
    fd: Pick,
    at: Memory,
    len: u64,
    transfer: impl Fn(&dyn File, &dyn Caller, Option<HvaRange>) -> Result<usize, Refusal>,
) {
    let file = member
        .pick("anon_inode:[iommufd-", fd)
        .and_then(|fd| member.served(fd));
    if let Some(file) = file {
        let range = HvaRange::from_len(Hva::new(member.memory(at)), len);
        if let Ok(done) = transfer(&*file, member.process.descriptors(), range) {
            assert!(done as u64 <= len, "more than the client has room for");
        }
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

fn context_of(file: Arc<dyn File>) -> Option<Arc<Context>> {
    let file: Arc<dyn Any + Send + Sync> = file;
    Some(file.downcast::<ContextFile>().ok()?.context().clone())
}
