//! DMA through a guest's page tables and ours, on Intel VT-d: what a guest changes in its tables is seen when it says so, and not
//! before.
//!
//! ```console
//! $ cargo run --package swiommu-machine --example nested
//! ```

use std::error::Error;
use std::sync::Arc;

use swiommu_abi::UapiStruct;
use swiommu_abi::hwpt::{IommuHwptDataType, IommuHwptVtdS1};
use swiommu_abi::invalidate::{
    IOMMU_HWPT_INVALIDATE, IommuHwptInvalidate, IommuHwptInvalidateDataType,
    IommuHwptVtdS1Invalidate,
};
use swiommu_addr::{Address, Hva, HvaRange, Iova};
use swiommu_files::{Arg, Local};
use swiommu_iommu::vtd::{SourceId, VtdEndpoint, VtdSettings, VtdUnit};
use swiommu_iommu::{DmaPort, DriverError, Epochs, GroupId, Pasid, Prot, UserData};
use swiommu_iommufd::{
    Context, HwptFlags, HwptRequest, MapRequest, MapSource, ObjectId, Placement,
};
use swiommu_mem::{Accounting, AddressSpace, Config, LocalSpace, PhysicalMemory};
use zerocopy::IntoBytes;

const PAGE: u64 = 4096;

/// Where the guest's memory starts, and how many pages it has.
const GUEST_START: u64 = 0x10_0000;
const GUEST_PAGES: u64 = 16;

/// Present, writable, for users, accessed, dirty: what guests write into entries.
const ENTRY: u64 = 0x67;

/// The address that the device uses.
const IOVA: Iova = Iova::new(0x5000);

/// A guest: its memory, in this process.
struct Guest {
    space: Arc<LocalSpace>,
    memory: HvaRange,
}

impl Guest {
    fn new(memory: &Arc<PhysicalMemory>) -> Result<Self, Box<dyn Error>> {
        let space = LocalSpace::new(memory)?;
        let memory = space.allocate((GUEST_PAGES + 1) * PAGE)?;
        Ok(Self { space, memory })
    }

    /// The guest physical address of a page.
    fn page(number: u64) -> u64 {
        GUEST_START + number * PAGE
    }

    fn at(&self, gpa: u64) -> Hva {
        self.memory.start().wrapping_add(gpa - GUEST_START)
    }

    fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        Ok(self.space.write(self.at(gpa), bytes)?)
    }

    /// Four levels of tables in pages 0 to 3; they translate [`IOVA`].
    fn build_tables(&self, to: u64) -> Result<(), Box<dyn Error>> {
        for level in 0..3 {
            let next = Self::page(level + 1) | ENTRY;
            self.write(Self::page(level), &next.to_le_bytes())?;
        }
        self.set_leaf(to)
    }

    fn set_leaf(&self, to: u64) -> Result<(), Box<dyn Error>> {
        let leaf = Self::page(3) + IOVA.get() / PAGE * 8;
        println!("  guest: entry at {leaf:#x} = {:#018x}", to | ENTRY);
        self.write(leaf, &(to | ENTRY).to_le_bytes())
    }
}

/// `struct iommu_hwpt_vtd_s1`, for `IOMMU_HWPT_ALLOC`.
#[derive(Debug)]
struct FirstStage(IommuHwptVtdS1);

impl UserData for FirstStage {
    fn data_type(&self) -> u32 {
        IommuHwptDataType::VTD_S1.0
    }

    fn len(&self) -> usize {
        size_of::<IommuHwptVtdS1>()
    }

    fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), DriverError> {
        let bytes = self.0.as_bytes().get(offset..offset + into.len());
        into.copy_from_slice(bytes.ok_or_else(|| DriverError::invalid("out of bounds"))?);
        Ok(())
    }
}

/// What the guest's driver does after it has changed an entry: a call of `IOMMU_HWPT_INVALIDATE` for one page.
fn invalidate(
    context: &Arc<Context>,
    guest: &Guest,
    nested: ObjectId,
) -> Result<(), Box<dyn Error>> {
    // The structs are in the page after the guest's memory.
    let request = guest.memory.start().wrapping_add(GUEST_PAGES * PAGE);
    let call = request.wrapping_add(64);
    let entry = IommuHwptVtdS1Invalidate {
        addr: IOVA.get(),
        npages: 1,
        ..Default::default()
    };
    guest.space.write(request, entry.as_bytes())?;
    let cmd = IommuHwptInvalidate {
        size: IommuHwptInvalidate::SIZE,
        hwpt_id: nested.0,
        data_uptr: request.get(),
        data_type: IommuHwptInvalidateDataType::VTD_S1.0,
        entry_len: u32::try_from(size_of_val(&entry))?,
        entry_num: 1,
        ..Default::default()
    };
    guest.space.write(call, cmd.as_bytes())?;
    let caller = Local::new(guest.space.clone());
    context.ioctl(&caller, IOMMU_HWPT_INVALIDATE, Arg::from(call))?;
    println!("  guest: invalidates the page of {IOVA}");
    Ok(())
}

fn read(device: &mut DmaPort) -> Result<String, Box<dyn Error>> {
    let mut bytes = [0; 5];
    device.read(IOVA, &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    println!("  device: reads {text:?} at {IOVA}");
    Ok(text)
}

fn main() -> Result<(), Box<dyn Error>> {
    let memory = PhysicalMemory::new(Config::default())?;
    let guest = Guest::new(&memory)?;
    let unit = VtdUnit::new(&memory, &Epochs::new(), VtdSettings::default());
    let endpoint = VtdEndpoint::new(&unit, SourceId(0x0100), GroupId(1));

    println!("The guest's memory is mapped in a nesting parent, at {GUEST_START:#x}.");
    let context = Arc::new(Context::new(&memory));
    let ioas = context.ioas_alloc()?;
    let owner: Arc<dyn AddressSpace> = guest.space.clone();
    context.map(
        ioas,
        MapRequest {
            owner: &owner,
            accounting: Accounting::None,
            source: MapSource::Memory(guest.memory.start()),
            len: GUEST_PAGES * PAGE,
            placement: Placement::Fixed(Iova::new(GUEST_START)),
            prot: Prot::RW,
        },
    )?;
    let device = context.bind(endpoint.clone())?;
    let plain = HwptRequest {
        device: device.id(),
        on: ioas,
        flags: HwptFlags::NEST_PARENT,
        fault: ObjectId(0),
        data: None,
    };
    let parent = context.hwpt_alloc(&plain)?;

    println!("The guest builds its own tables, and the device is attached through both.");
    let (first, second) = (Guest::page(8), Guest::page(9));
    guest.write(first, b"first")?;
    guest.write(second, b"later")?;
    guest.build_tables(first)?;
    let data = FirstStage(IommuHwptVtdS1 {
        pgtbl_addr: Guest::page(0),
        addr_width: 48,
        ..Default::default()
    });
    let nested = context.hwpt_alloc(&HwptRequest {
        on: parent,
        flags: HwptFlags::empty(),
        data: Some(&data),
        ..plain
    })?;
    device.attach(Pasid::NONE, nested)?;
    let mut port = endpoint.dma_port(Pasid::NONE);
    assert_eq!(read(&mut port)?, "first");

    println!(
        "The guest changes the entry, and forgets to say so: the device still goes by the old one."
    );
    guest.set_leaf(second)?;
    assert_eq!(read(&mut port)?, "first");

    println!("Now it says so.");
    invalidate(&context, &guest, nested)?;
    assert_eq!(read(&mut port)?, "later");

    println!("The second stage is emptied: nothing that was cached of both stages is left.");
    context.unmap_all(ioas)?;
    let refused = port.read(IOVA, &mut [0; 5]).expect_err("nothing is mapped");
    println!("  device: {refused}");
    Ok(())
}
