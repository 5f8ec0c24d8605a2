//! Calls that fail in the middle, clients that want harm, threads that call at once.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use swiommu_abi::vfio::device::COMMANDS;
use swiommu_files::{Capability, Descriptor, Task};
use swiommu_injection::Countdown;

use super::*;

/// More fallible steps than a call has.
const STEPS: u32 = 1000;

/// Makes each step of a call fail in turn, and has `check` look after every failure. Returns how many there were.
fn sweep(call: impl Fn() -> Result<(), Errno>, check: impl Fn()) -> u32 {
    for n in 1..STEPS {
        let countdown = Countdown::new(n);
        let result = countdown.during(&call);
        if countdown.failed().is_none() {
            result.unwrap();
            return n - 1;
        }
        assert!(result.is_err(), "step {n} failed and nobody said so");
        check();
    }
    panic!("the sweep has no end");
}

#[test]
fn what_fails_in_the_middle_leaves_nothing() {
    let lab = Lab::new();
    let file = lab.open(&lab.device(0, 0));
    let (context, fd) = lab.context();
    let ioas = context.ioas_alloc().unwrap();
    let objects = || context.graph().len();
    let bind = || lab.bind(&file, fd).map(|_| ());
    let steps = sweep(bind, || assert_eq!(objects(), 1));
    assert!(steps >= 3, "{steps}");
    assert_eq!(objects(), 2);

    let attach = || lab.call(&file, ATTACH, &[12, 0, ioas.0]).map(|_| ());
    let steps = sweep(attach, || assert_eq!(objects(), 2));
    assert!(steps >= 4, "{steps}");
    assert_eq!(objects(), 3);

    let table = for_pasids(&context, 2, ioas);
    let before = objects();
    let move_to = || {
        lab.call(&file, ATTACH, &[12, 0, table])
            .map(|reply| assert_eq!(reply[2], table))
    };
    // The copy of the answer is the last step: when it fails, the device is detached, and with it its automatic table goes.
    sweep(move_to, || {
        assert!((before - 1..=before).contains(&objects()));
    });
    let pasid = || lab.call(&file, ATTACH, &[16, 1, table, 9]).map(|_| ());
    sweep(pasid, || assert!(context.destroy(ObjectId(table)).is_err()));
    drop(file);
    assert!(context.destroy(ObjectId(table)).is_ok());
}

/// A client whose other thread closes a descriptor while it is being looked up.
struct Closing<'a> {
    client: &'a Local,
    file: Mutex<Option<Arc<dyn File>>>,
}

impl Caller for Closing<'_> {
    fn task(&self) -> Task {
        self.client.task()
    }

    fn space(&self) -> &Arc<dyn AddressSpace> {
        self.client.space()
    }

    fn capable(&self, capability: Capability) -> bool {
        self.client.capable(capability)
    }

    fn descriptor(&self, _: FdNumber) -> Result<Descriptor, Errno> {
        let last = self.file.lock().take().ok_or(Errno::EBADF)?;
        Ok(Descriptor::Served(last))
    }

    fn install(&self, file: Arc<dyn File>, flags: InstallFlags) -> Result<FdNumber, Errno> {
        self.client.install(file, flags)
    }
}

#[test]
fn a_device_that_is_closed_while_it_stands_for_a_context_is_released() {
    let (done, over) = mpsc::channel();
    thread::spawn(move || {
        let lab = Lab::new();
        let device = lab.device(0, 0);
        let file = lab.open(&device);
        let closing = Closing {
            client: &lab.client,
            file: Mutex::new(Some(lab.open(&device))),
        };
        let words = [16, 0, 5, 0];
        let bytes: Vec<u8> = words
            .iter()
            .flat_map(|word: &u32| word.to_ne_bytes())
            .collect();
        lab.space.write(lab.at(&words), &bytes).unwrap();
        let refused = file.ioctl(&closing, BIND, Arg::from(lab.at(&words)));
        done.send(refused.map_err(|refusal| refusal.errno()))
            .unwrap();
    });
    let refused = over.recv_timeout(Duration::from_mins(1));
    assert_eq!(refused, Ok(Err(Errno::EBADFD)), "it waits for itself");
}

#[test]
fn threads_that_bind_and_attach_at_once_leave_nothing() {
    const ROUNDS: usize = 200;
    let lab = Lab::new();
    let device = lab.device(0, 0);
    let contexts = [lab.context(), lab.context()];
    let ioases = contexts
        .each_ref()
        .map(|(context, _)| context.ioas_alloc().unwrap());
    let bound: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|n| {
                // Each thread has structs of its own.
                let client = Client::new(&lab, [&contexts[0].0, &contexts[1].0]);
                let (device, ioas) = (&device, ioases[n % 2]);
                scope.spawn(move || {
                    let bound = (0..ROUNDS).filter(|_| client.round(device, n % 2, ioas));
                    bound.count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert!(bound > 0);
    for (context, _) in &contexts {
        assert_eq!(context.graph().len(), 1, "only the IOAS is left");
    }
    let file = lab.open(&device);
    lab.bind(&file, contexts[0].1).unwrap();
}

/// A thread of a program, with descriptors of two contexts.
struct Client {
    caller: Local,
    space: Arc<LocalSpace>,
    structs: Hva,
    contexts: [FdNumber; 2],
}

impl Client {
    fn new(lab: &Lab, contexts: [&Arc<Context>; 2]) -> Self {
        let caller = Local::new(lab.space.clone());
        let contexts = contexts.map(|context| {
            let number = DeviceNumber {
                major: 10,
                minor: 1,
            };
            let file = ContextFile::new(context.clone(), "/dev/iommu", number, 0o660);
            caller
                .install(Arc::new(file), InstallFlags::empty())
                .unwrap()
        });
        Self {
            structs: lab.space.allocate(PAGE_LEN).unwrap().start(),
            space: lab.space.clone(),
            caller,
            contexts,
        }
    }

    /// Opens, binds, attaches, and closes. Whether it could bind.
    fn round(&self, device: &Arc<Device>, context: usize, ioas: ObjectId) -> bool {
        let node = DeviceNode(device.clone());
        let Ok(Opened::File(file)) = node.open(&self.caller, OpenFlags::READ) else {
            panic!("it always opens");
        };
        let call = |request, words: &[u32]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            self.space.write(self.structs, &bytes).unwrap();
            let result = file.ioctl(&self.caller, request, Arg::from(self.structs));
            result.map_err(|refusal| refusal.errno())
        };
        let fd = self.contexts[context].0.cast_unsigned();
        match call(BIND, &[16, 0, fd, 0]) {
            Ok(_) => {
                call(ATTACH, &[12, 0, ioas.0]).unwrap();
                true
            }
            Err(errno) => {
                assert_eq!(errno, Errno::EINVAL);
                assert_eq!(call(ATTACH, &[12, 0, ioas.0]), Err(Errno::EINVAL));
                false
            }
        }
    }
}

proptest! {
    #[test]
    fn no_struct_makes_it_panic(
        calls in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(word(), 1..9)), 1..20),
    ) {
        let lab = Lab::new();
        let (file, context, _) = lab.bound();
        for (command, words) in calls {
            let _ = lab.call(&file, command.get(COMMANDS).request, &words);
        }
        drop(file);
        prop_assert_eq!(context.graph().len(), 1);
    }
}

/// Small numbers, as sizes, flags, descriptors and objects are, and any others.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..25_u32, 1 => any::<u32>()]
}
