//! A guest with a device behind a unit.

use std::sync::Arc;

use parking_lot::Mutex;
use swiommu_abi::Errno;
use swiommu_abi::hwpt::{IommuHwptArmSmmuv3, IommuHwptDataType};
use swiommu_abi::invalidate::IommuHwptInvalidateDataType;
use swiommu_abi::veventq::IommuVeventqType;
use swiommu_abi::viommu::IommuViommuType;
use swiommu_addr::{Address, HvaRange, Iova, IovaRange, PaRange, PageSizes};
use swiommu_mem::{Access as HostAccess, AddressSpace, Config, LocalSpace, PhysicalMemory};
use zerocopy::IntoBytes;

use super::super::*;
use crate::{
    DmaPort, Domain, DriverError, Endpoint, Epochs, EventHandler, GroupId, Invalidated, Mapping,
    NestedDomain, NestedRequest, NoRegions, PagingDomain, PagingFlags, PagingRequest, Pasid, Prot,
    Requests, Unit, UserData, Viommu, ViommuRequest, VirtId,
};

pub(super) const PAGE: u64 = 4096;

/// The guest's first page, and how many it has. They lie in the buffer one behind the other.
const FIRST: u64 = 16;
const PAGES: u64 = 160;

/// Where the guest has its tables: four of them, from the root down, of the lower half.
pub(super) const TABLES: u64 = 0;
/// Its descriptor, or the lower tables of them.
pub(super) const CDS: u64 = 4;
/// The upper table of descriptors.
pub(super) const L1CDS: u64 = 6;
/// Tables of the upper half.
pub(super) const UPPER_TABLES: u64 = 8;
/// What is left to data.
pub(super) const DATA: u64 = 20;

/// The stream, and what the guest calls it.
pub(super) const SID: u32 = 0x2a;
pub(super) const VSID: u32 = 0x108;

/// A page of a guest that users may read and write, accessed and not global.
pub(super) const RW: u64 = 0xf47;
/// The same, read-only.
pub(super) const RO: u64 = RW | 1 << 7;
/// An entry for a table.
pub(super) const TABLE: u64 = 3;

/// Where the guest has one of its pages.
pub(super) fn gpa(page: u64) -> u64 {
    (FIRST + page) * PAGE
}

/// What a Linux guest writes: 4 KiB, 48 bits to 44, ASID 0x42 (hw-formats.md B.2).
pub(super) fn linux_cd() -> [u64; 8] {
    let mut cd = [0; 8];
    cd[0] = 0x0042_e204_c000_3510;
    cd[1] = gpa(TABLES);
    cd[3] = 0xffff_ffff_f404_ff44;
    cd
}

pub(super) fn cd_of_asid(asid: u64) -> [u64; 8] {
    let mut cd = linux_cd();
    cd[0] = cd[0] & !(0xffff << 48) | asid << 48;
    cd
}

/// One descriptor at `CDS`, S1DSS for substream 0, as a Linux guest says it.
pub(super) fn linux_ste() -> [u64; 2] {
    [gpa(CDS) | 0xb, 0xd6]
}

/// Words of a uAPI struct, with its type.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) data_type: u32,
    pub(super) bytes: Vec<u8>,
}

impl UserData for Words {
    fn data_type(&self) -> u32 {
        self.data_type
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), DriverError> {
        let len = into.len();
        into.copy_from_slice(&self.bytes[offset..offset + len]);
        Ok(())
    }
}

pub(super) fn ste_data(ste: [u64; 2]) -> Words {
    Words {
        data_type: IommuHwptDataType::ARM_SMMUV3.0,
        bytes: IommuHwptArmSmmuv3 { ste }.as_bytes().to_vec(),
    }
}

/// Commands, one behind the other.
#[derive(Debug)]
pub(super) struct Commands {
    pub(super) data_type: u32,
    pub(super) entry_len: usize,
    pub(super) words: Vec<[u64; 2]>,
}

impl Requests for Commands {
    fn data_type(&self) -> u32 {
        self.data_type
    }

    fn entry_len(&self) -> usize {
        self.entry_len
    }

    fn count(&self) -> u32 {
        u32::try_from(self.words.len()).unwrap()
    }

    fn read(&self, index: u32, offset: usize, into: &mut [u8]) -> Result<(), DriverError> {
        let words = &self.words[usize::try_from(index).unwrap()];
        let mut bytes = words.as_bytes().to_vec();
        bytes.resize(self.entry_len.max(offset + into.len()), 0);
        into.copy_from_slice(&bytes[offset..offset + into.len()]);
        Ok(())
    }
}

/// Keeps the records that reach the guest.
#[derive(Debug, Default)]
pub(super) struct Records(Mutex<Vec<[u64; 4]>>);

impl Records {
    pub(super) fn take(&self) -> Vec<[u64; 4]> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl EventHandler for Records {
    fn report(&self, event_type: u32, data: &[u8]) -> Result<(), DriverError> {
        assert_eq!(event_type, IommuVeventqType::ARM_SMMUV3.0);
        let mut words = [0; 4];
        words.as_mut_bytes().copy_from_slice(data);
        self.0.lock().push(words.map(u64::from_le));
        Ok(())
    }
}

pub(super) struct World {
    space: Arc<LocalSpace>,
    buffer: HvaRange,
    pub(super) unit: Arc<SmmuUnit>,
    pub(super) endpoint: Arc<SmmuEndpoint>,
    pub(super) parent: Arc<dyn PagingDomain>,
    pub(super) viommu: Arc<dyn Viommu>,
    pub(super) records: Arc<Records>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(SmmuSettings::default(), DeviceFeatures::empty())
    }

    pub(super) fn with(settings: SmmuSettings, device: DeviceFeatures) -> Self {
        let memory = PhysicalMemory::new(Config::default()).unwrap();
        let space = LocalSpace::new(&memory).unwrap();
        let buffer = space.allocate(PAGES * PAGE).unwrap();
        let unit = SmmuUnit::new(&memory, &Epochs::new(), settings);
        let endpoint = SmmuEndpoint::with_features(&unit, StreamId(SID), GroupId(1), device);
        let parent = paging(&unit, &endpoint, PagingFlags::NEST_PARENT).unwrap();
        let viommu = viommu_on(&unit, &endpoint, &parent).unwrap();
        let records = Arc::<Records>::default();
        viommu.set_event_handler(records.clone());
        let device: Arc<dyn Endpoint> = endpoint.clone();
        viommu.add_device(&device, VirtId(VSID.into())).unwrap();
        let world = Self {
            space,
            buffer,
            unit,
            endpoint,
            parent,
            viommu,
            records,
        };
        for page in 0..PAGES {
            world.map_guest_page(page, page, Prot::RW);
        }
        world.poke_all(gpa(CDS), &linux_cd());
        world
    }

    /// Lets a guest page be a page of the buffer.
    pub(super) fn map_guest_page(&self, guest_page: u64, page: u64, prot: Prot) {
        self.map(&*self.parent, gpa(guest_page), page, prot);
    }

    pub(super) fn map(&self, domain: &dyn PagingDomain, iova: u64, page: u64, prot: Prot) {
        let start = self.buffer.start().wrapping_add(page * PAGE);
        let pages = HvaRange::from_len(start, PAGE).unwrap();
        let runs = self.space.resolve(pages, HostAccess::Write).unwrap();
        let memory: Vec<PaRange> = runs.iter().map(|run| run.memory).collect();
        map_memory(domain, iova, &memory, prot);
    }

    /// Lets a guest page be any physical memory.
    pub(super) fn map_memory(&self, at: u64, memory: PaRange) {
        map_memory(&*self.parent, at, &[memory], Prot::RW);
    }

    /// Takes a guest page out of the second stage.
    pub(super) fn unmap_guest_page(&self, page: u64) {
        let range = IovaRange::from_len(Iova::new(gpa(page)), PAGE).unwrap();
        self.parent.unmap(range);
    }

    /// Writes into the guest's memory.
    pub(super) fn poke(&self, at: u64, bytes: &[u8]) {
        let at = self.buffer.start().wrapping_add(at - gpa(0));
        self.space.write(at, bytes).unwrap();
    }

    pub(super) fn poke_all(&self, at: u64, words: &[u64]) {
        self.poke(at, words.as_bytes());
    }

    pub(super) fn peek(&self, at: u64) -> u64 {
        let at = self.buffer.start().wrapping_add(at - gpa(0));
        let mut word = [0; 8];
        self.space.read(at, &mut word).unwrap();
        u64::from_le_bytes(word)
    }

    /// Makes four tables from a page of the guest on, with a leaf for each of `leaves`: page below 512, and its entry.
    pub(super) fn tables_at(&self, root: u64, leaves: &[(u64, u64)]) {
        for level in 0..3 {
            self.poke_all(gpa(root + level), &[gpa(root + level + 1) | TABLE]);
        }
        for (page, entry) in leaves {
            self.poke_all(gpa(root + 3) + page * 8, &[*entry]);
        }
    }

    pub(super) fn tables(&self, leaves: &[(u64, u64)]) {
        self.tables_at(TABLES, leaves);
    }

    /// Where the leaf of a page is.
    pub(super) fn leaf_at(page: u64) -> u64 {
        gpa(TABLES + 3) + page * 8
    }

    pub(super) fn try_nested(&self, ste: [u64; 2]) -> Result<Arc<dyn NestedDomain>, DriverError> {
        self.nested_from(&ste_data(ste), PagingFlags::empty())
    }

    pub(super) fn nested_from(
        &self,
        data: &Words,
        flags: PagingFlags,
    ) -> Result<Arc<dyn NestedDomain>, DriverError> {
        let request = NestedRequest { flags, data };
        self.viommu
            .alloc_nested(&*self.endpoint, &self.parent, &request)
    }

    pub(super) fn attach(&self, ste: [u64; 2]) {
        let nested = self.try_nested(ste).unwrap();
        let domain = Domain::Nested(nested);
        self.endpoint.attach(Pasid::NONE, &domain).unwrap();
    }

    pub(super) fn port(&self) -> DmaPort {
        self.endpoint.dma_port(Pasid::NONE)
    }

    /// Attaches the guest's entry as Linux writes it.
    pub(super) fn attached(&self) -> DmaPort {
        self.attach(linux_ste());
        self.port()
    }

    pub(super) fn issue(&self, words: &[[u64; 2]]) -> (u32, Result<(), Errno>) {
        outcome(self.viommu.invalidate(&Commands {
            data_type: IommuHwptInvalidateDataType::ARM_SMMUV3.0,
            entry_len: 16,
            words: words.to_vec(),
        }))
    }

    /// Issues one command, which is accepted.
    pub(super) fn command(&self, word0: u64, word1: u64) {
        assert_eq!(self.issue(&[[word0, word1]]), (1, Ok(())));
    }
}

pub(super) fn map_memory(domain: &dyn PagingDomain, iova: u64, memory: &[PaRange], prot: Prot) {
    domain
        .map(&Mapping {
            iova: Iova::new(iova),
            memory,
            prot,
            leaves: PageSizes::ALL,
        })
        .unwrap();
}

pub(super) fn outcome(done: Invalidated) -> (u32, Result<(), Errno>) {
    (done.done, done.result.map_err(|error| error.errno))
}

pub(super) fn paging(
    unit: &Arc<SmmuUnit>,
    endpoint: &SmmuEndpoint,
    flags: PagingFlags,
) -> Result<Arc<dyn PagingDomain>, Errno> {
    let request = PagingRequest { flags, data: None };
    let made = unit.alloc_paging(endpoint, &request);
    made.map_err(|error| error.errno)
}

pub(super) fn viommu_on(
    unit: &Arc<SmmuUnit>,
    endpoint: &SmmuEndpoint,
    parent: &Arc<dyn PagingDomain>,
) -> Result<Arc<dyn Viommu>, Errno> {
    let request = ViommuRequest {
        viommu_type: IommuViommuType::ARM_SMMUV3.0,
        data: None,
        regions: &NoRegions,
    };
    let made = unit.alloc_viommu(endpoint, parent, &request);
    made.map_err(|error| error.errno)
}

/// The first byte at an address, or what is wrong with it.
pub(super) fn read(port: &mut DmaPort, iova: u64) -> Result<u8, String> {
    let mut byte = [0];
    let done = port.read(Iova::new(iova), &mut byte);
    done.map(|()| byte[0]).map_err(|error| error.to_string())
}

pub(super) fn write(port: &mut DmaPort, iova: u64, byte: u8) -> Result<(), String> {
    let done = port.write(Iova::new(iova), &[byte]);
    done.map_err(|error| error.to_string())
}
