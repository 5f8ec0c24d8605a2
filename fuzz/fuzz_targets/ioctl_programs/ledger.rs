//! What must hold: a naive record of what is mapped, and what a call that fails leaves alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use swiommu_abi::ioas::{
    IOMMU_IOAS_COPY, IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP, IommuIoasCopy,
    IommuIoasMap, IommuIoasMapFile, IommuIoasUnmap,
};
use swiommu_abi::test_cmd::IOMMU_TEST_CMD;
use swiommu_abi::vfio::container::{
    VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, VfioIommuType1DmaMap, VfioIommuType1DmaUnmap,
};
use swiommu_abi::{Errno, UapiStruct};
use swiommu_addr::{Iova, PaRange};
use swiommu_iommufd::{Context, Node, ObjectId};
use swiommu_mem::{AddressSpace, PAGE, PhysicalMemory, Uid};
use swiommu_selftest::client::Host;

use crate::machine::Member;

const USERS: [Uid; 2] = [Uid(0), Uid(1000)];

/// A call.
pub struct Question<'a> {
    pub context: &'a Arc<Context>,
    pub request: u32,
    /// Whether its struct can certainly be written.
    pub can_be_answered: bool,
    /// The struct.
    pub sent: &'a [u8],
}

/// What came of it.
pub struct Answer {
    pub result: Result<i32, Errno>,
    /// The struct afterwards.
    pub left: Vec<u8>,
}

/// What a client can see of the machine.
#[derive(PartialEq, Debug)]
pub struct Snapshot {
    graphs: Vec<Vec<Node>>,
    pinned: u64,
    charged: Vec<u64>,
    locked: Vec<(i64, i64)>,
}

pub struct Ledger {
    memory: Arc<PhysicalMemory>,
    contexts: Vec<Tracked>,
}

struct Tracked {
    context: Weak<Context>,
    /// What is mapped in each IOAS, unless a call left that open.
    ioases: BTreeMap<ObjectId, Option<Ranges>>,
}

/// First and last number of disjoint ranges.
#[derive(Default, Debug)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// The range that holds a number.
    fn holds(&self, at: u64) -> bool {
        let below = self.0.range(..=at).next_back();
        below.is_some_and(|(_, &last)| last >= at)
    }

    fn add(&mut self, first: u64, len: u64) {
        let last = first
            .checked_add(len - 1)
            .expect("a mapping passed the end");
        let overlap = self
            .0
            .range(..=last)
            .next_back()
            .filter(|&(_, &other)| other >= first);
        assert_eq!(overlap, None, "{first:#x}..={last:#x} was mapped twice");
        self.0.insert(first, last);
    }

    /// Removes what lies in a range, and says how many bytes that was.
    fn remove(&mut self, first: u64, last: u64) -> u128 {
        let mut removed = 0;
        let mut rest = BTreeMap::new();
        for (&start, &end) in &self.0 {
            if end < first || start > last {
                rest.insert(start, end);
                continue;
            }
            if start < first {
                rest.insert(start, first - 1);
            }
            if end > last {
                rest.insert(last + 1, end);
            }
            removed += u128::from(end.min(last) - start.max(first)) + 1;
        }
        self.0 = rest;
        removed
    }

    fn bytes(&self) -> u128 {
        self.0
            .iter()
            .map(|(first, last)| u128::from(last - first) + 1)
            .sum()
    }
}

impl Ledger {
    pub fn new(host: &Host) -> Self {
        Self {
            memory: host.memory().clone(),
            contexts: Vec::new(),
        }
    }

    pub fn track(&mut self, context: &Arc<Context>) {
        let context = Arc::downgrade(context);
        self.contexts.push(Tracked {
            context,
            ioases: BTreeMap::new(),
        });
    }

    pub fn snapshot(&self, members: &[Member]) -> Snapshot {
        let contexts = self
            .contexts
            .iter()
            .filter_map(|tracked| tracked.context.upgrade());
        Snapshot {
            graphs: contexts.map(|context| context.graph()).collect(),
            pinned: self.memory.pinned_pages(),
            charged: USERS
                .map(|user| self.memory.accounts().charged(user))
                .to_vec(),
            locked: members
                .iter()
                .map(|member| {
                    (
                        member.space().locked().pinned(),
                        member.space().locked().locked(),
                    )
                })
                .collect(),
        }
    }

    /// First and last IOVA of what was mapped in an IOAS, or in any.
    pub fn mapped(&self, context: &Arc<Context>, ioas: Option<ObjectId>) -> Vec<(u64, u64)> {
        let this = Arc::downgrade(context);
        let tracked = self
            .contexts
            .iter()
            .filter(|tracked| tracked.context.ptr_eq(&this));
        let ioases = tracked.flat_map(|tracked| &tracked.ioases);
        let wanted = ioases.filter(|(id, _)| ioas.is_none_or(|ioas| ioas == **id));
        let ranges = wanted.filter_map(|(_, ranges)| ranges.as_ref());
        ranges
            .flat_map(|ranges| ranges.0.iter().map(|(&first, &last)| (first, last)))
            .collect()
    }

    /// Notes what a call did.
    pub fn observe(
        &mut self,
        question: &Question<'_>,
        answer: &Answer,
        before: &Snapshot,
        members: &[Member],
    ) {
        let unmaps = matches!(question.request, IOMMU_IOAS_UNMAP | VFIO_IOMMU_UNMAP_DMA);
        // Such a call may have done its work, and failed to say so.
        let untold = answer.result == Err(Errno::EFAULT)
            && !question.can_be_answered
            && matches!(
                question.request,
                IOMMU_IOAS_MAP | IOMMU_IOAS_MAP_FILE | IOMMU_IOAS_COPY | IOMMU_TEST_CMD
            );
        if answer.result.is_err() && !unmaps && !untold {
            let after = self.snapshot(members);
            assert_eq!(
                *before, after,
                "request {:#x} failed, and changed something",
                question.request
            );
        }
        let context = question.context;
        let this = Arc::downgrade(context);
        let Some(tracked) = self
            .contexts
            .iter_mut()
            .find(|tracked| tracked.context.ptr_eq(&this))
        else {
            return;
        };
        tracked.reconcile(context);
        match answer.result {
            Ok(_) => tracked.note(context, question, answer),
            Err(_) if unmaps || untold => tracked.doubt(context),
            Err(_) => {}
        }
    }

    /// What must hold at any time: page tables have what is mapped and nothing else, and all of it is pinned.
    pub fn check(&mut self, _members: &[Member]) {
        self.contexts
            .retain(|tracked| tracked.context.strong_count() > 0);
        for tracked in &self.contexts {
            if let Some(context) = tracked.context.upgrade() {
                tracked.check(&context, &self.memory);
            }
        }
    }

    /// What must hold when no file is open.
    pub fn assert_empty(&mut self, members: &[Member]) {
        for tracked in &self.contexts {
            assert!(
                tracked.context.upgrade().is_none(),
                "a context outlived its files"
            );
        }
        assert_eq!(self.memory.pinned_pages(), 0, "pages are still pinned");
        assert_eq!(
            self.memory.table_bytes(),
            0,
            "page tables are still allocated"
        );
        for user in USERS {
            assert_eq!(
                self.memory.accounts().charged(user),
                0,
                "{user:?} is still charged"
            );
        }
        for member in members {
            let locked = member.space().locked();
            assert_eq!(
                (locked.pinned(), locked.locked()),
                (0, 0),
                "VmPin and VmLck"
            );
        }
    }
}

impl Tracked {
    /// Follows IOASes that come and go. One that is new is empty.
    fn reconcile(&mut self, context: &Context) {
        let ioases: Vec<ObjectId> = ioases(&context.graph()).map(|(id, _)| id).collect();
        self.ioases.retain(|id, _| ioases.contains(id));
        for id in ioases {
            self.ioases
                .entry(id)
                .or_insert_with(|| Some(Ranges::default()));
        }
    }

    fn note(&mut self, context: &Context, question: &Question<'_>, answer: &Answer) {
        match question.request {
            IOMMU_IOAS_MAP => {
                let cmd: IommuIoasMap = get(&answer.left);
                self.add(ObjectId(cmd.ioas_id), cmd.iova, cmd.length);
            }
            IOMMU_IOAS_MAP_FILE => {
                let cmd: IommuIoasMapFile = get(&answer.left);
                self.add(ObjectId(cmd.ioas_id), cmd.iova, cmd.length);
            }
            IOMMU_IOAS_COPY => {
                let cmd: IommuIoasCopy = get(&answer.left);
                self.add(ObjectId(cmd.dst_ioas_id), cmd.dst_iova, cmd.length);
            }
            IOMMU_IOAS_UNMAP => {
                let cmd: IommuIoasUnmap = get(question.sent);
                let unmapped = get::<IommuIoasUnmap>(&answer.left).length;
                self.remove(ObjectId(cmd.ioas_id), cmd.iova, cmd.length, unmapped);
            }
            VFIO_IOMMU_MAP_DMA => {
                let cmd: VfioIommuType1DmaMap = get(question.sent);
                self.add(context.vfio_ioas().expect("an IOAS"), cmd.iova, cmd.size);
            }
            VFIO_IOMMU_UNMAP_DMA => {
                let cmd: VfioIommuType1DmaUnmap = get(question.sent);
                let unmapped = get::<VfioIommuType1DmaUnmap>(&answer.left).size;
                let len = if cmd.flags == 0 { cmd.size } else { u64::MAX };
                self.remove(
                    context.vfio_ioas().expect("an IOAS"),
                    cmd.iova,
                    len,
                    unmapped,
                );
            }
            _ => {}
        }
    }

    fn add(&mut self, ioas: ObjectId, first: u64, len: u64) {
        if let Some(ranges) = self.ioases.get_mut(&ioas).expect("an IOAS") {
            ranges.add(first, len);
        }
    }

    fn remove(&mut self, ioas: ObjectId, first: u64, len: u64, unmapped: u64) {
        if let Some(ranges) = self.ioases.get_mut(&ioas).expect("an IOAS") {
            let removed = ranges.remove(
                first,
                first.saturating_add(len.saturating_sub(1)).max(first),
            );
            assert_eq!(
                u64::try_from(removed),
                Ok(unmapped),
                "the number of bytes unmapped"
            );
        }
    }

    /// Gives up on IOASes of which it is no longer known what is mapped.
    fn doubt(&mut self, context: &Context) {
        for (id, bytes) in ioases(&context.graph()) {
            let known = self
                .ioases
                .get(&id)
                .and_then(|ranges| Some(ranges.as_ref()?.bytes()));
            if known != Some(bytes) {
                self.ioases.insert(id, None);
            }
        }
    }

    fn check(&self, context: &Context, memory: &PhysicalMemory) {
        let graph = context.graph();
        for (id, bytes) in ioases(&graph) {
            if let Some(Some(ranges)) = self.ioases.get(&id) {
                assert_eq!(ranges.bytes(), bytes, "bytes mapped in IOAS {id}");
            }
        }
        for hwpt in graph.iter().filter(|node| node.type_name == "HWPT_PAGING") {
            let domain = context.paging_domain(hwpt.id).expect("a page table");
            let Some(Some(ranges)) = self.ioases.get(&hwpt.refers_to[0].to) else {
                continue;
            };
            for (&first, &last) in &ranges.0 {
                let around = [
                    first.wrapping_sub(1),
                    first,
                    first + (last - first) / 2,
                    last,
                    last.wrapping_add(1),
                ];
                for at in around {
                    let found = domain.iova_to_phys(Iova::new(at));
                    assert_eq!(
                        found.is_some(),
                        ranges.holds(at),
                        "page table {}: {at:#x}",
                        hwpt.id
                    );
                    let page = found
                        .and_then(|pa| PaRange::from_len(pa, 1))
                        .map(|pa| pa.align_out(PAGE));
                    if let Some(page) = page {
                        let pins = memory.pin_counts(page);
                        assert!(
                            pins.iter().all(|pin| pin.objects > 0),
                            "{at:#x} leads to memory that is not pinned"
                        );
                    }
                }
            }
        }
    }
}

/// The IOASes of a graph, and how many bytes each has mapped.
fn ioases(graph: &[Node]) -> impl Iterator<Item = (ObjectId, u128)> {
    let ioases = graph.iter().filter(|node| node.type_name == "IOAS");
    ioases.map(|node| {
        let bytes = node.facts.iter().find(|(name, _)| *name == "bytes");
        let digits = bytes.and_then(|(_, value)| value.strip_prefix("0x"));
        let bytes = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
        (node.id, bytes.expect("the bytes of an IOAS"))
    })
}

/// A struct of a call that has read or written it.
fn get<T: UapiStruct>(bytes: &[u8]) -> T {
    let mut value = T::new_zeroed();
    value
        .as_mut_bytes()
        .copy_from_slice(&bytes[..size_of::<T>()]);
    value
}
