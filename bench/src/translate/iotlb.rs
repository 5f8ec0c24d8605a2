//! Hits in the IOTLB.

use std::hint::black_box;
use std::sync::{Barrier, RwLock};
use std::thread;

use anyhow::ensure;
use swiommu_addr::{Iova, Pa, PageSize};
use swiommu_iommu::{Marks, Retention, Tlb, Translated};
use swiommu_pgtable::Access;
use vm_memory::iommu::Iotlb;
use vm_memory::{GuestAddress, Permissions};

use crate::clock::nanoseconds;
use crate::memory::resident;
use crate::random::shuffled;
use crate::rounds::{interleaved, median};
use crate::table::{Goal, Peer, Row};

const ROUNDS: usize = 9;
const LOOKUPS: u64 = 1_000_000;

/// Entries, and how many times faster than the peer.
const SIZES: [(u64, f64); 3] = [(64, 8.0), (1024, 30.0), (65536, 12.0)];

const PAGE: u64 = 0x1000;
const FIRST: u64 = 1 << 32;
const TAG: u64 = 5;

/// Something that translates addresses.
trait Cache: Sync {
    fn new() -> Self;
    fn insert(&mut self, iova: u64, memory: u64);
    fn translate(&self, iova: u64) -> u64;
}

impl Cache for Tlb {
    fn new() -> Self {
        Self::new(Retention::LegalMaximum)
    }

    fn insert(&mut self, iova: u64, memory: u64) {
        let translated = Translated {
            page: Pa::new(memory),
            size: PageSize::SIZE_4K,
            access: Access::READ | Access::WRITE,
        };
        let walk = self.begin_walk();
        walk.insert(TAG, Iova::new(iova), &translated, Marks::NONE);
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        let iova = Iova::new(iova);
        match self.lookup(black_box(TAG), iova) {
            Some(cached) if cached.translated.access.contains(Access::READ) => {
                cached.translated.resolve(iova).get()
            }
            _ => 0,
        }
    }
}

impl Cache for Iotlb {
    fn new() -> Self {
        Self::new()
    }

    fn insert(&mut self, iova: u64, memory: u64) {
        let (iova, memory) = (GuestAddress(iova), GuestAddress(memory));
        let set = self.set_mapping(iova, memory, PAGE as usize, Permissions::ReadWrite);
        assert!(set.is_ok());
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        let found = Self::lookup(self, GuestAddress(iova), 8, Permissions::Read);
        let piece = found.ok().and_then(|mut pieces| pieces.next());
        piece.map_or(0, |piece| piece.base.0)
    }
}

impl Cache for RwLock<Iotlb> {
    fn new() -> Self {
        Self::new(Iotlb::new())
    }

    fn insert(&mut self, iova: u64, memory: u64) {
        if let Ok(iotlb) = self.get_mut() {
            iotlb.insert(iova, memory);
        }
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        self.read().map_or(0, |iotlb| iotlb.translate(iova))
    }
}

/// Pages in random order. Each leads to the next: their order is a single cycle.
fn cycle(entries: u64) -> Vec<u64> {
    let addresses = shuffled(entries, 7).into_iter();
    addresses.map(|page| FIRST + page * PAGE).collect()
}

fn filled<C: Cache>(cycle: &[u64]) -> C {
    let mut cache = C::new();
    for (place, iova) in cycle.iter().enumerate() {
        cache.insert(*iova, cycle[(place + 1) % cycle.len()]);
    }
    cache
}

/// Nanoseconds of a lookup.
fn throughput(cache: &impl Cache, cycle: &[u64]) -> f64 {
    let addresses = cycle.iter().cycle().take(LOOKUPS as usize);
    let time = nanoseconds(|| {
        let sum = addresses.fold(0_u64, |sum, iova| sum.wrapping_add(cache.translate(*iova)));
        black_box(sum);
    });
    time / LOOKUPS as f64
}

fn latency(cache: &impl Cache, cycle: &[u64]) -> f64 {
    let time = nanoseconds(|| {
        let last = (0..LOOKUPS).fold(cycle[0], |iova, _| cache.translate(iova));
        assert_ne!(last, 0, "each page leads to the next");
    });
    time / LOOKUPS as f64
}

/// Of a thread, while another one does the same.
fn throughput_of_two(cache: &impl Cache, cycle: &[u64]) -> f64 {
    let start = Barrier::new(2);
    let one = || {
        start.wait();
        throughput(cache, cycle)
    };
    thread::scope(|scope| {
        let other = scope.spawn(one);
        let mine = one();
        other
            .join()
            .map_or(f64::NAN, |other| f64::midpoint(mine, other))
    })
}

/// A row of ours and the peer's figures, round by round.
fn row(name: String, figures: &[Vec<f64>], goal: Goal) -> Row {
    let [ours, theirs] = [&figures[0], &figures[1]];
    Row {
        name,
        unit: "ns",
        ours: median(ours.iter().copied()),
        peer: Some(Peer::new("vm-memory", ours, theirs)),
        goal,
    }
}

pub(super) fn hits() -> Vec<Row> {
    let mut rows = Vec::new();
    for (entries, faster) in SIZES {
        let cycle = cycle(entries);
        let (ours, theirs): (Tlb, Iotlb) = (filled(&cycle), filled(&cycle));
        let locked: RwLock<Iotlb> = filled(&cycle);
        let figures = interleaved(ROUNDS, 2, |_, contender| match contender {
            0 => throughput(&ours, &cycle),
            _ => throughput(&theirs, &cycle),
        });
        let name = format!("IOTLB hit, {entries} entries");
        rows.push(row(name, &figures, Goal::Ratio(1.0 / faster)));
        let figures = interleaved(ROUNDS, 2, |_, contender| match contender {
            0 => latency(&ours, &cycle),
            _ => latency(&theirs, &cycle),
        });
        rows.push(row("… latency".to_owned(), &figures, Goal::None));
        let figures = interleaved(ROUNDS, 2, |_, contender| match contender {
            0 => throughput_of_two(&ours, &cycle),
            _ => throughput_of_two(&locked, &cycle),
        });
        rows.push(row("… two threads".to_owned(), &figures, Goal::None));
    }
    rows
}

/// Resident bytes per entry: the most that they are while a cache grows.
pub(super) fn memory() -> anyhow::Result<Row> {
    let pages = shuffled(1 << 18, 7);
    let mut ours = <Tlb as Cache>::new();
    let our_worst = fill(&mut ours, &pages)?;
    let mut theirs = <Iotlb as Cache>::new();
    let their_worst = fill(&mut theirs, &pages)?;
    ensure!(ours.entries() == pages.len(), "entries were lost");
    black_box((ours, theirs));
    Ok(Row {
        name: "resident memory per entry, at worst".to_owned(),
        unit: "B",
        ours: our_worst,
        peer: Some(Peer::new("vm-memory", &[our_worst], &[their_worst])),
        goal: Goal::Figure(64.0),
    })
}

fn fill(cache: &mut impl Cache, pages: &[u64]) -> anyhow::Result<f64> {
    /// With fewer entries, the program's own pages would count.
    const LEAST: u64 = 1 << 16;
    let before = resident()?;
    let mut worst = 0.0_f64;
    for (entries, page) in (1..).zip(pages) {
        // Neighbours lead apart, or the peer would have one entry for both.
        cache.insert(FIRST + page * PAGE, FIRST + page * 2 * PAGE);
        if entries >= LEAST && entries % 0x1000 == 0 {
            let bytes = resident()?.saturating_sub(before);
            worst = worst.max(bytes as f64 / entries as f64);
        }
    }
    Ok(worst)
}
