//! Hits in the IOTLB.

use std::hint::black_box;
use std::sync::RwLock;

use anyhow::ensure;
use swiommu_addr::{Iova, Pa, PageSize};
use swiommu_iommu::{Marks, Retention, Tlb, Translated};
use swiommu_pgtable::Access;
use vm_memory::iommu::Iotlb;
use vm_memory::{GuestAddress, Permissions};

use crate::memory::resident;
use crate::pace::{latency, of_two, picks, throughput};
use crate::random::{cycle, shuffled};
use crate::rounds::interleaved;
use crate::table::{Goal, Peer, Row};

/// Entries, and how many times faster than the peer.
const SIZES: [(u64, f64); 3] = [(64, 8.0), (1024, 30.0), (65536, 12.0)];

const PAGE: u64 = 0x1000;
const FIRST: u64 = 1 << 32;
const TAG: u64 = 5;

/// Something that translates addresses.
pub(super) trait Cache: Sync {
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
        match self.lookup(TAG, iova) {
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

/// A cache of so many pages, each of which leads to the next of a single cycle.
pub(super) fn filled<C: Cache>(entries: u64) -> C {
    let mut cache = C::new();
    for (page, next) in (0..).zip(cycle(entries)) {
        cache.insert(FIRST + page * PAGE, FIRST + next * PAGE);
    }
    cache
}

/// Addresses of these pages in random order.
pub(super) fn addresses(entries: u64) -> Vec<u64> {
    picks(entries).iter().map(|n| FIRST + n * PAGE).collect()
}

fn throughput_of(cache: &impl Cache, addresses: &[u64]) -> f64 {
    throughput(addresses, |iova| cache.translate(iova))
}

fn latency_of(cache: &impl Cache) -> f64 {
    latency(FIRST, |iova| cache.translate(iova))
}

pub(super) fn hits() -> Vec<Row> {
    let mut rows = Vec::new();
    for (entries, faster) in SIZES {
        let addresses = addresses(entries);
        let (ours, theirs): (Tlb, Iotlb) = (filled(entries), filled(entries));
        let locked: RwLock<Iotlb> = filled(entries);
        let mut row = |name: String, goal, measure: &dyn Fn(usize) -> f64| {
            let figures = interleaved(super::ROUNDS, 2, |_, contender| measure(contender));
            let peer = "vm-memory";
            rows.push(Row::beside(
                name,
                "ns",
                peer,
                &figures[0],
                &figures[1],
                goal,
            ));
        };
        let name = format!("IOTLB hit, {entries} entries");
        row(
            name,
            Goal::Ratio(1.0 / faster),
            &|contender| match contender {
                0 => throughput_of(&ours, &addresses),
                _ => throughput_of(&theirs, &addresses),
            },
        );
        row(
            "… latency".to_owned(),
            Goal::None,
            &|contender| match contender {
                0 => latency_of(&ours),
                _ => latency_of(&theirs),
            },
        );
        row(
            "… two threads".to_owned(),
            Goal::None,
            &|contender| match contender {
                0 => of_two(|_| throughput_of(&ours, &addresses)),
                _ => of_two(|_| throughput_of(&locked, &addresses)),
            },
        );
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
