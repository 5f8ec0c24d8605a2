//! Calls of several threads on one context at once.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use swiommu_abi::Errno;
use swiommu_addr::{Address, Hva};
use swiommu_iommufd::{AccessKind, ObjectId};
use swiommu_selftest::client::{Access, Client, CopyPath, Result};

use crate::fixture::{APERTURE, Fixture, PAGE, VARIANTS, add, errno};

const THREADS: u64 = 4;
const CALLS: u64 = 1500;
/// Areas that the threads fight over, two pages each.
const SLOTS: u64 = 8;

/// What every thread may use.
#[derive(Clone, Copy)]
struct Shared {
    ioases: [ObjectId; 2],
    stdevs: [ObjectId; 2],
    pins: Access,
    copies: Access,
    memory: Hva,
}

/// A sequence of numbers that looks random and is not.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }
}

/// One call that may well fail, because of what the others do.
fn call(iommu: &Client, shared: &Shared, dice: &mut Dice) -> Result<()> {
    let ioas = shared.ioases[usize::from(dice.below(2) == 1)];
    let stdev = shared.stdevs[usize::from(dice.below(2) == 1)];
    let slot = dice.below(SLOTS);
    let iova = add(APERTURE, slot * 2 * PAGE);
    let memory = shared.memory.wrapping_add(slot * PAGE);
    match dice.below(10) {
        0..3 => iommu.map_fixed(ioas, memory, 2 * PAGE, iova),
        3 => iommu.unmap(ioas, iova, 2 * PAGE).map(drop),
        4 => iommu.unmap(ioas, APERTURE, SLOTS * 2 * PAGE).map(drop),
        5 => {
            let pin = iommu.access_pages(shared.pins, iova, 2 * PAGE, memory)?;
            iommu.destroy_access_pages(shared.pins, pin)
        }
        6 => iommu
            .access_pages(shared.pins, iova, PAGE, memory)
            .map(drop),
        7 => {
            iommu.access_write(shared.copies, iova, &[7; 100], CopyPath::Slow)?;
            iommu
                .access_read(shared.copies, iova, 100, CopyPath::Caller)
                .map(drop)
        }
        8 => iommu.mock_domain_replace(stdev, ioas).map(drop),
        _ => {
            let device = iommu.mock_domain(ioas)?;
            let beyond = add(APERTURE, (2 * SLOTS + slot) * PAGE);
            let _ = iommu.copy((ioas, iova), PAGE, ioas, Some(beyond));
            iommu.destroy(device.stdev)
        }
    }
}

/// The errors that a call may get because another one was quicker.
const EXPECTED: [Errno; 5] = [
    Errno::ENOENT,
    Errno::EEXIST,
    Errno::EBUSY,
    Errno::EINVAL,
    Errno::EADDRINUSE,
];

#[test]
fn threads_on_one_context_leave_nothing_behind() {
    let f = Fixture::new(VARIANTS[2]);
    let iommu = f.iommu();
    let second = iommu.ioas_alloc().unwrap();
    let shared = Shared {
        ioases: [f.ioas, second],
        stdevs: [f.devices[0].stdev, f.devices[1].stdev],
        pins: iommu.create_access(f.ioas, AccessKind::Pins).unwrap(),
        copies: iommu.create_access(f.ioas, AccessKind::Copies).unwrap(),
        memory: f.at(0),
    };
    let (done, all_done) = mpsc::channel();
    for seed in 1..=THREADS {
        let client = iommu.also_in(&f.world.process).unwrap();
        let done = done.clone();
        thread::spawn(move || {
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let unexpected = (0..CALLS).find_map(|_| {
                let refusal = call(&client, &shared, &mut dice).err()?;
                (!EXPECTED.contains(&refusal.errno())).then_some(refusal)
            });
            drop(client);
            done.send(unexpected.map(|refusal| refusal.to_string()))
        });
    }
    for _ in 0..THREADS {
        let ended = all_done.recv_timeout(Duration::from_mins(2));
        assert_eq!(ended.expect("no thread hangs"), None);
    }

    iommu.unmap_all(f.ioas).unwrap();
    iommu.unmap_all(second).unwrap();
    assert_eq!(f.world.host.memory().pinned_pages(), 0);
    for stdev in shared.stdevs {
        let hwpt = iommu.mock_domain_replace(stdev, f.ioas).unwrap();
        let empty = iommu.check_map(hwpt, APERTURE, PAGE, f.at(0));
        assert_eq!(errno(empty), Errno::EINVAL);
    }
    iommu
        .destroy(second)
        .expect("no device is left on the other IOAS");
    f.world.close();
}

#[test]
fn unmap_gives_each_area_its_time_to_be_let_go() {
    let (f, _) = Fixture::one();
    let iommu = f.iommu();
    let access = iommu.create_access(f.ioas, AccessKind::Pins).unwrap();
    for n in 0..150 {
        let iova = add(APERTURE, n * PAGE);
        f.map_fixed(0, PAGE, iova);
        iommu.access_pages(access, iova, PAGE, f.at(0)).unwrap();
    }
    assert_eq!(iommu.unmap_all(f.ioas).unwrap(), 150 * PAGE);
    f.check_refs(0, PAGE, 0);
    f.world.close();
}
